"""Names of files."""

from __future__ import annotations

from pathlib import Path

__all__ = ["file_stem"]


def file_stem(path: str | Path) -> str:
    """File name without its (double) extension: ``sub-01_T1w`` of ``sub-01_T1w.nii.gz``."""
    return Path(path).name.split(".", 1)[0]
