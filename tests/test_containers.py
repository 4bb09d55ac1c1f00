"""What must hold of Dockerfile and Singularity.def; `make container-test` builds and runs both."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FALLBACK = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools_scm"][
    "fallback_version"
]
INSTALL = ROOT / "containers" / "install"


def dockerfile() -> list[tuple[str, str]]:
    """Its instructions in order, as (word, rest), lines joined and comments left out."""
    text = re.sub(r"^\s*#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.M)
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]
    return [(line.split(None, 1)[0], line.split(None, 1)[1].strip()) for line in lines]


def definition() -> dict[str, list[str]]:
    """Sections of Singularity.def and the lines in them; the head is section ''."""
    sections: dict[str, list[str]] = {"": []}
    name = ""
    for line in (ROOT / "Singularity.def").read_text().splitlines():
        if line.startswith("%"):
            name = line.removeprefix("%").strip()
            sections[name] = []
        elif line.strip():
            sections[name].append(line.strip())
    return sections


def assignments(words: str) -> dict[str, str]:
    return dict(re.findall(r"([A-Z_]+)=(\"[^\"]*\"|\S+)", words))


def docker_environment() -> dict[str, str]:
    (environment,) = [rest for word, rest in dockerfile() if word == "ENV"]
    return assignments(environment)


def docker_arguments() -> dict[str, str]:
    # Said once with its value, an argument is only named in the stages that take it.
    arguments = [rest.partition("=") for word, rest in dockerfile() if word == "ARG"]
    return {name: "" for name, _, _ in arguments} | {n: v for n, _, v in arguments if v}


def definition_arguments() -> dict[str, str]:
    return dict(line.split("=", 1) for line in definition()["arguments"])


def test_the_entry_point_is_the_program():
    assert dockerfile()[-1] == ("ENTRYPOINT", json.dumps(["bids_harmony"]))
    assert definition()["runscript"] == ['exec bids_harmony "$@"']


def test_two_stages_and_the_last_holds_no_source():
    words = dockerfile()
    stages = [i for i, (word, _) in enumerate(words) if word == "FROM"]
    assert len(stages) == 2
    copies = [rest for word, rest in words[stages[1] :] if word in ("COPY", "ADD")]
    assert copies == ["--from=builder /opt/bids_harmony /opt/bids_harmony"]


def test_both_files_have_the_same_arguments_and_public_defaults():
    docker, own = docker_arguments(), definition_arguments()
    assert docker == {k: v for k, v in own.items() if k != "BOOTSTRAP"}
    assert docker["BASE_IMAGE"] == "docker.io/library/python:3.11-slim-bookworm"
    assert docker["TORCH"] == "cpu" and docker["NODDI"] == "1"
    assert docker["CPU_TORCH_INDEX"].startswith("https://download.pytorch.org/")
    assert docker["PIP_CONFIG_FILE"] == ""
    head = definition()[""]
    assert head == ["Bootstrap: {{ BOOTSTRAP }}", "From: {{ BASE_IMAGE }}"]


def test_both_files_set_the_same_variables():
    docker = docker_environment()
    own = assignments(" ".join(definition()["environment"]))
    places = {"MPLCONFIGDIR", "DIPY_HOME", "XDG_CACHE_HOME"}
    # Apptainer sets the home itself.
    assert set(docker) - {"HOME"} == set(own)
    assert {k: docker[k] for k in set(own) - places - {"PATH"}} == {
        k: own[k] for k in set(own) - places - {"PATH"}
    }
    assert all(docker[name].startswith("/tmp/") for name in places)
    assert docker["PYTHONNOUSERSITE"] == docker["NIPYPE_NO_ET"] == "1"
    threads = [name for name in docker if name.endswith("_THREADS")]
    assert len(threads) == 4 and {docker[name] for name in threads} == {"1"}


def test_both_files_take_the_same_sources_and_all_that_the_package_is_made_of():
    builder = [rest.split() for word, rest in dockerfile() if word == "COPY" and "--" not in rest]
    docker = {source for *sources, _ in builder for source in sources}
    own = {line.split()[0] for line in definition()["files"]}
    kept = {
        line.removeprefix("!")
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    assert docker == own == kept
    assert docker >= {
        "setup.cfg",
        "pyproject.toml",
        "constraints.txt",
        "bids_harmony",
        "workflows",
    }
    assert all((ROOT / name).exists() for name in docker)


def test_labels_tell_the_version_and_the_licence():
    (labels,) = [rest for word, rest in dockerfile() if word == "LABEL"]
    docker = {k: v.strip('"') for k, v in re.findall(r"(\S+)=(\"[^\"]*\"|\S+)", labels)}
    own = dict(line.split(None, 1) for line in definition()["labels"])
    name = "org.opencontainers.image.version"
    assert (docker[name], own[name]) == ("${VERSION}", "{{ VERSION }}")
    assert {k: v for k, v in docker.items() if k != name} == {
        k: v for k, v in own.items() if k != name
    }
    # Nothing in an image's sources tells a version: it gets the release unless told another.
    assert docker_arguments()["VERSION"] == FALLBACK
    assert docker["org.opencontainers.image.licenses"] == "Apache-2.0"


def test_the_definition_tests_itself_and_helps():
    test = definition()["test"]
    assert "bids_harmony --version" in test
    assert any("bids_harmony.cli.selftest" in line for line in test)
    assert any("--containall --cleanenv" in line for line in definition()["help"])


@pytest.mark.parametrize(
    "name",
    [
        "Dockerfile",
        "Singularity.def",
        ".dockerignore",
        *sorted(p.name for p in INSTALL.parent.iterdir() if p.is_file()),
    ],
)
def test_no_file_names_a_place_of_the_machine_that_wrote_it(name):
    file = ROOT / name if (ROOT / name).is_file() else INSTALL.parent / name
    text = file.read_text()
    assert str(ROOT) not in text and str(Path.home()) + "/" not in text.replace("/root/", "")
    hosts = set(re.findall(r"https?://([^/\s\"']+)", text))
    assert hosts <= {"download.pytorch.org"}
    # Outside paths that every Debian has, only what the image makes itself.
    for path in re.findall(r"(?<![\w.}/$\"*-])/(?:opt|srv|work|home|var)/[\w./-]+", text):
        assert path.startswith(("/opt/bids_harmony", "/home/bids_harmony", "/var/lib/apt")), path


@pytest.mark.parametrize("wrong", [{"TORCH": "rocm"}, {"NODDI": "yes"}])
def test_a_build_argument_that_means_nothing_is_told_before_anything_is_done(wrong):
    variables = {"TORCH": "cpu", "NODDI": "1", "PATH": os.environ["PATH"]} | wrong
    run = subprocess.run(["sh", INSTALL], env=variables, capture_output=True, text=True)
    assert run.returncode == 64 and str(*wrong.values()) in run.stderr


def test_settings_of_pip_are_taken_along_and_the_environment_wins(tmp_path):
    certificate = tmp_path / "certificates.crt"
    certificate.write_text("mine\n")
    settings = (
        "global.index-url='https://elsewhere.example/simple'\n"
        f"global.cert='{certificate}'\n"
        ":env:.index-url='https://here.example/simple'\n"
        "global.user='true'\n"
    )
    folder = tmp_path / "pip"
    folder.mkdir()
    run = subprocess.run(
        [sys.executable, ROOT / "containers" / "pip_settings.py", folder],
        input=settings,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0 and run.stdout == "", run.stderr
    written = (folder / "pip.conf").read_text().splitlines()
    assert written == ["[global]", "cert = /mnt/0", "index-url = https://here.example/simple"]
    assert (folder / "0").read_text() == "mine\n"


def test_the_lock_has_the_versions_of_the_constraints_and_hashes_for_all():
    def pins(name: str) -> dict[str, str]:
        lines = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / name).read_text(), flags=re.M)
        return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in lines}

    lock = (ROOT / "containers" / "requirements.lock").read_text()
    locked, tested = pins("containers/requirements.lock"), pins("constraints.txt")
    assert len(locked) == len(
        re.findall(r" --hash=sha256:[0-9a-f]{64}(?:$|  # noddi$)", lock, re.M)
    )
    # Those that constraints.txt does not name are wanted by AMICO only.
    for name, version in locked.items():
        assert tested.get(name, version) == version.partition("+")[0], name
    only_noddi = set(re.findall(r"^(\S+?)==.*# noddi$", lock, flags=re.M))
    assert {"dmri-amico", "dmri-dicelib"} <= only_noddi
    assert not only_noddi & {"numpy", "dipy", "torch", "setuptools"}


def test_what_the_test_saw_becomes_a_result():
    seen = "row\tDockerfile built\t600\t1700000000\nversion\tpodman\tpodman version 4.3.1\n"
    command = [sys.executable, ROOT / "containers" / "result.py"]
    run = subprocess.run(
        command, input=seen + "not_tried\tCUDA\n", capture_output=True, text=True, check=True
    )
    record = json.loads(run.stdout)
    assert record["rows"] == [{"what": "Dockerfile built", "seconds": 600, "bytes": 1700000000}]
    assert record["versions"] == {"podman": "podman version 4.3.1"}
    assert record["not_tried"] == ["CUDA"]
