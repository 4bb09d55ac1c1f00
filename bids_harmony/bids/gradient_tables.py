"""The bval and bvec file of a diffusion series, by BIDS inheritance.

PyBIDS asks only that the entities which both names have agree: for a series without a table it
gives another series' (``dir-AP`` for none). Here a table must be the series' own or stand for it.
"""

from __future__ import annotations

import os
from pathlib import Path

from bids_harmony.bids.inventory import sidecar_applies
from bids_harmony.exceptions import DataError, MissingInput
from bids_harmony.io.names import file_stem
from bids_harmony.io.pointers import check_content
from bids_harmony.io.reading import read_text

__all__ = ["gradient_tables", "is_b0_alone"]

_HOLDS = {".bval": "b-values", ".bvec": "directions"}
# Fewer distinct directions carry no diffusion model; some converters give b=0 volumes one.
_LEAST_DIRECTIONS = 6


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
        There is none, or its content was not fetched.
    """
    return _nearest(image, root, ".bval"), _nearest(image, root, ".bvec")


def is_b0_alone(bval: Path, bvec: Path, b0_threshold: float) -> bool:
    """Whether a series only shows b=0, as reversed ones do that serve to correct others.

    BIDS keeps them in ``dwi/``, too. Six directions and more beside small b-values are something
    else: weighted volumes in another unit, which whoever reads the tables refuses.

    Parameters
    ----------
    bval, bvec : Path
        What is wrong with their text is told by whoever reads all of them.
    b0_threshold : float
        s/mm2.

    Raises
    ------
    MissingInput, InputOutputError
        When one of them is not there or cannot be read.
    """
    try:
        bvals = [float(word) for word in read_text(bval, holds="b-values").split()]
        lines = read_text(bvec, holds="directions").splitlines()
        table = [[float(word) for word in line.split()] for line in lines if line.strip()]
    except (DataError, ValueError):
        return False
    # The same direction and its opposite weight alike; NaN stands for none.
    columns = zip(*table, strict=False) if len(table) == 3 else table
    directions = {tuple(v) for v in columns if any(v) and all(x == x for x in v)}
    axes = {max(v, tuple(-x for x in v)) for v in directions}
    few = len(axes) < _LEAST_DIRECTIONS
    return bool(bvals) and few and all(0 <= b <= b0_threshold for b in bvals)


def _nearest(image: Path, root: Path, extension: str) -> Path:
    for folder in image.parents:
        found = [
            path
            for path in (folder / name for name in sorted(os.listdir(folder)))
            if path.suffix == extension and sidecar_applies(path, image)
        ]
        if found:
            best = max(found, key=lambda path: (file_stem(path).count("_"), path.name))
            check_content(best)
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
