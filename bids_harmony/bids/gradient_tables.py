"""The bval and bvec file of a diffusion series, by BIDS inheritance.

PyBIDS asks only that the entities which both names have agree: for a series without a table it
gives another series' (``dir-AP`` for none). Here a table must be the series' own or stand for it.
"""

from __future__ import annotations

import os
from pathlib import Path

from bids_harmony.bids.inventory import sidecar_applies
from bids_harmony.bids.naming import file_stem
from bids_harmony.exceptions import MissingInput
from bids_harmony.reading import missing_content

__all__ = ["gradient_tables"]

_HOLDS = {".bval": "b-values", ".bvec": "directions"}


def gradient_tables(image: Path, root: Path) -> tuple[Path, Path]:
    """Find the b-values and directions of a series.

    Parameters
    ----------
    image : Path
        Below `root`.
    root : Path
        Highest folder to look in: that of the dataset, or the image's own for one outside.

    Returns
    -------
    bval, bvec : Path
        The nearest of each that applies; in one folder, the one that names most entities.

    Raises
    ------
    MissingInput
        There is none, or it is a link to annexed content that was not fetched.
    """
    return _nearest(image, root, ".bval"), _nearest(image, root, ".bvec")


def _nearest(image: Path, root: Path, extension: str) -> Path:
    for folder in image.parents:
        found = [
            path
            for path in (folder / name for name in sorted(os.listdir(folder)))
            if path.suffix == extension and sidecar_applies(path, image)
        ]
        if found:
            best = max(found, key=lambda path: (file_stem(path).count("_"), path.name))
            if not best.exists():
                raise missing_content(best)
            return best
        if folder == root:
            break
    raise MissingInput(
        f"The {_HOLDS[extension]} of a diffusion series are missing",
        where=str(image),
        expected=f"{file_stem(image)}{extension} beside it, or one to inherit from",
        hint="A diffusion series needs a .bval and a .bvec; leave it out with --modalities or a "
        "filter file if it has none.",
    )
