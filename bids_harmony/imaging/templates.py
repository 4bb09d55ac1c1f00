"""Templates of TemplateFlow that are on this machine; nothing is ever fetched."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bids_harmony.exceptions import MissingInput, NotFetched
from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.linear import FINE, register_linear
from bids_harmony.imaging.reference import reference_grid, reference_mask, reference_t1w
from bids_harmony.imaging.resampling import resample_to_grid
from bids_harmony.io.pointers import check_content, is_named

if TYPE_CHECKING:
    from bids_harmony.imaging.volume import Volume

__all__ = ["Template", "find_template", "onto", "template_home", "world_to_template"]

WORKING_MM = 2.0
"""Step of the grid on which templates are registered; they are smooth."""


@dataclass(frozen=True)
class Template:
    """A template's files.

    Attributes
    ----------
    name : str
        TemplateFlow's.
    t1w : Path
        Gives the grid.
    mask : Path or None
        Brain mask.
    """

    name: str
    t1w: Path
    mask: Path | None


def template_home(folder: Path | None = None) -> Path:
    """Where templates are looked for: the folder, ``TEMPLATEFLOW_HOME``, or TemplateFlow's own."""
    if folder is not None:
        return folder
    told = os.environ.get("TEMPLATEFLOW_HOME")
    # Unlike Path.home, it also knows what to do for a user without a home, as in containers.
    return Path(told or os.path.expanduser("~/.cache/templateflow"))


def find_template(name: str, resolution: int, home: Path) -> Template:
    """A template's files in a folder as TemplateFlow lays it out, or that holds them itself.

    Parameters
    ----------
    name : str
        Such as ``MNI152NLin2009cAsym``.
    resolution : int
        TemplateFlow's ``res``.
    home : Path

    Returns
    -------
    Template

    Raises
    ------
    MissingInput
        When its T1w is not there.
    NotFetched
        When it is there without its content.
    """
    stems = [
        folder / f"tpl-{name}_res-{number}"
        for folder in (home / f"tpl-{name}", home)
        for number in (f"{resolution:02d}", str(resolution))
    ]
    t1w = _first(stems, "T1w")
    if t1w is None:
        raise MissingInput(
            f"The template {name} is not on this machine",
            where=f"--output-spaces {name}",
            expected=f"{stems[0]}_T1w.nii.gz",
            hint="Nothing is fetched here. Set TEMPLATEFLOW_HOME, or name a folder with "
            f"--template-dir; in a container, mount it. {_how_to_fetch(name, resolution)}",
        )
    mask = _first(stems, "desc-brain_mask")
    for path in filter(None, (t1w, mask)):
        # TemplateFlow puts an empty file in the place of what was not used yet.
        if path.is_file() and path.stat().st_size == 0:
            raise NotFetched(
                "the content of a template is not here, only its empty file",
                where=str(path),
                hint=_how_to_fetch(name, resolution),
            )
        check_content(path)
    return Template(name, t1w, mask)


def _first(stems: list[Path], ending: str) -> Path | None:
    names = (Path(f"{stem}_{ending}{kind}") for stem in stems for kind in (".nii.gz", ".nii"))
    return next((path for path in names if is_named(path)), None)


def _how_to_fetch(name: str, resolution: int) -> str:
    return (
        'Where there is a network: python -c "from templateflow.api import get; '
        f"get('{name}', resolution={resolution}, suffix=['T1w', 'mask'], desc=[None, 'brain'])\""
    )


def world_to_template(template: Template) -> np.ndarray:
    """Affine from the reference to another template, made once in a process.

    Parameters
    ----------
    template : Template

    Returns
    -------
    ndarray (4, 4) float64
        RAS+ mm of the reference to RAS+ mm of the template.

    Raises
    ------
    ImageError, MissingInput, InputOutputError
        As `volume.read_volume`.
    """
    return _registered(template).copy()


@lru_cache(maxsize=8)
def _registered(template: Template) -> np.ndarray:
    from bids_harmony.imaging.volume import read_volume

    # All of them stand in MNI space, so that the reference's grid holds the template's brain.
    grid = reference_grid(WORKING_MM)

    def on_grid(path: Path) -> np.ndarray:
        volume = read_volume(path)
        return resample_to_grid(volume.data, volume.affine, np.eye(4), grid, order=1)

    fixed, region = on_grid(template.t1w), None
    if template.mask is not None:
        fixed = np.where(on_grid(template.mask) >= 0.5, fixed, np.float32(0))
    else:
        region = reference_mask(grid)
    return register_linear(
        fixed, grid, reference_t1w(grid), grid, "Affine", np.eye(4), FINE, region=region
    )


def onto(volume: Volume, world: np.ndarray, like: Volume) -> np.ndarray:
    """Resample a scan to the grid of another image, by cubic splines.

    Parameters
    ----------
    volume : Volume
    world : ndarray (4, 4)
        RAS+ mm of `volume` to RAS+ mm of `like`.
    like : Volume
        Gives the grid.

    Returns
    -------
    ndarray (X, Y, Z) float32
        On the grid of `like`, within the range of `volume`; 0 beyond its edge.
    """
    shape = (like.data.shape[0], like.data.shape[1], like.data.shape[2])
    grid = ReferenceGrid("", shape, like.affine, min(like.voxel_mm))
    moved = resample_to_grid(volume.data, volume.affine, world, grid, order=3)
    # Splines swing beyond what was measured, at the border of the head below zero.
    return np.clip(moved, min(0, volume.data.min()), volume.data.max())
