# bids_harmony as a BIDS App. See docs/containers.md.
#   docker build -t bids_harmony .                              torch for processors
#   docker build -t bids_harmony:cuda --build-arg TORCH=cuda .  torch for graphics cards
# Base: Debian 12 with Python 3.11, or bare; then Python comes from Debian.
ARG BASE_IMAGE=docker.io/library/python:3.11-slim-bookworm
# Of the program. For a commit between releases: --build-arg VERSION="$(python -m setuptools_scm)".
ARG VERSION=0.1.0

FROM ${BASE_IMAGE} AS builder
ARG VERSION
ARG TORCH=cpu
ARG CPU_TORCH_INDEX=https://download.pytorch.org/whl/cpu
# 0 leaves out AMICO, whose licence allows research and education only.
ARG NODDI=1
# For sites with an own package index: a file that is mounted during the build.
ARG PIP_CONFIG_FILE
COPY setup.cfg pyproject.toml constraints.txt README.md LICENSE /src/
COPY bids_harmony /src/bids_harmony
COPY workflows /src/workflows
COPY containers/install containers/requirements.lock /src/containers/
RUN /src/containers/install

FROM ${BASE_IMAGE}
ARG VERSION
RUN command -v python3 || { \
        apt-get update && apt-get install -y --no-install-recommends python3 \
        && apt-get clean && rm -rf /var/lib/apt/lists/*; }
COPY --from=builder /opt/bids_harmony /opt/bids_harmony
# Any user may run it, also one without a name in the image.
RUN install -d -m 1777 /home/bids_harmony && /opt/bids_harmony/bin/bids_harmony --version

LABEL org.opencontainers.image.title="bids_harmony" \
      org.opencontainers.image.description="Harmonization of multi-site MR images, as a BIDS App. Research software, not for diagnosis." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.documentation="docs/containers.md"

# Nothing is read from a home. What libraries want to write goes to /tmp, also where the rest is read-only.
ENV PATH="/opt/bids_harmony/bin:${PATH}" \
    LANG=C.UTF-8 \
    HOME=/home/bids_harmony \
    PYTHONNOUSERSITE=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    NIPYPE_NO_ET=1 \
    NO_ET=1 \
    MPLBACKEND=Agg \
    MPLCONFIGDIR=/tmp/bids_harmony/matplotlib \
    DIPY_HOME=/tmp/bids_harmony/dipy \
    XDG_CACHE_HOME=/tmp/bids_harmony/cache \
    OMP_NUM_THREADS=1 \
    OPENBLAS_NUM_THREADS=1 \
    MKL_NUM_THREADS=1 \
    ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS=1
WORKDIR /tmp
ENTRYPOINT ["bids_harmony"]
