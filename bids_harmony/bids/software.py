"""Versions of the software that results depend on, as provenance."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

__all__ = ["PACKAGES", "software_versions"]

#: Distributions whose version can change a result or its form.
PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "nibabel",
    "antspyx",
    "deepbet",
    "dipy",
    "dmri-amico",
    "nilearn",
    "scikit-image",
    "pytorch-msssim",
    "nipype",
    "pybids",
)


def software_versions() -> dict[str, str]:
    """Versions of those `PACKAGES` that are installed; none of them is imported."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
