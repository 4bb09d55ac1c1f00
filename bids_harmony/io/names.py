"""Names of files, and the suffixes of those that are worked on."""

from __future__ import annotations

from pathlib import Path

__all__ = ["MODALITIES", "file_stem"]

#: BIDS suffixes of images that can be harmonized.
MODALITIES = ("T1w", "T2w", "FLAIR", "dwi")


def file_stem(path: str | Path) -> str:
    """File name without its (double) extension: ``sub-01_T1w`` of ``sub-01_T1w.nii.gz``."""
    return Path(path).name.split(".", 1)[0]
