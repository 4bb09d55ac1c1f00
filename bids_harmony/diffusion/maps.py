"""Maps of diffusion models: what each shows, and its form as an image."""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np

from bids_harmony.diffusion.series import Series

__all__ = ["MAPS", "SHOWN", "MapKind", "map_image", "maps_of", "world_directions"]


@dataclass(frozen=True)
class MapKind:
    """What a map shows.

    Attributes
    ----------
    model : {"tensor", "noddi", "force"}
    meaning : str
    unit : str
        As BIDS spells units.
    synonyms : tuple of str
        Names that other programs give it.
    """

    model: str
    meaning: str
    unit: str
    synonyms: tuple[str, ...] = ()


_SPREAD = "Uncertainty (interquartile range of the posterior) of the"

MAPS = {
    "fa": MapKind("tensor", "Fractional anisotropy of the diffusion tensor", "1"),
    "md": MapKind("tensor", "Mean diffusivity", "mm^2/s", ("adc", "trace/3")),
    "ad": MapKind("tensor", "Axial diffusivity", "mm^2/s", ("l1",)),
    "rd": MapKind("tensor", "Radial diffusivity", "mm^2/s"),
    "v1": MapKind("tensor", "Direction of the largest diffusivity, either sign", "1", ("evec1",)),
    "ndi": MapKind("noddi", "Neurite density index", "1", ("icvf", "ficvf")),
    "odi": MapKind("noddi", "Orientation dispersion index", "1", ("od",)),
    "fwf": MapKind("noddi", "Free water fraction", "1", ("isovf", "fiso")),
    "nd": MapKind("force", "Neurite density of the tissue", "1", ("ndi", "icvf")),
    "dispersion": MapKind("force", "Orientation dispersion of the tissue", "1", ("odi",)),
    "csffraction": MapKind("force", "Free water fraction", "1", ("fwf", "isovf")),
    "ndiqr": MapKind("force", f"{_SPREAD} neurite density", "1"),
    "dispersioniqr": MapKind("force", f"{_SPREAD} orientation dispersion", "1"),
    "csffractioniqr": MapKind("force", f"{_SPREAD} free water fraction", "1"),
}
"""By parameter, as file names spell it; in the order in which they are shown."""

SHOWN = ("fa", "md", "ndi", "odi", "nd", "dispersion")
"""What tables and figures show."""


def maps_of(model: str) -> tuple[str, ...]:
    """Parameters of a model, in the order of `MAPS`."""
    return tuple(name for name, kind in MAPS.items() if kind.model == model)


def map_image(series: Series, data: np.ndarray) -> nib.Nifti1Image:
    """A map on the grid of the series that it was fitted to.

    Parameters
    ----------
    series : Series
    data : ndarray (X, Y, Z) or (X, Y, Z, 3)
        In the voxel order of the series' file.

    Returns
    -------
    nibabel.Nifti1Image or nibabel.Nifti2Image
        float32 with slope 1; affine, orientation codes and units of the series' file.
    """
    if data.shape[:3] != series.shape[:3]:
        raise ValueError(f"shape must be {series.shape[:3]}; got {data.shape}")
    header = series.image.header.copy()
    header.set_data_shape(data.shape)
    header.set_data_dtype(np.float32)
    header.set_slope_inter(1, 0)
    # A fourth axis holds components, not times; windows were about the signal.
    header.set_zooms([*header.get_zooms()[:3], *(1.0 for _ in data.shape[3:])])
    header["cal_min"], header["cal_max"] = 0, 0
    return type(series.image)(np.asarray(data, np.float32), series.affine, header)


def world_directions(directions: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Turn directions from the frame of bvec files into the scanner's.

    Parameters
    ----------
    directions : ndarray (..., 3)
        Along the voxel axes of the image as it is stored, the first reversed if the affine's
        determinant is positive (FSL, BIDS).
    affine : ndarray (4, 4)
        Voxels of that image to RAS+ mm.

    Returns
    -------
    ndarray (..., 3)
        Right, anterior, superior; of the type of `directions`.
    """
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    if np.linalg.det(axes) > 0:
        axes = axes * [-1, 1, 1]
    return directions @ axes.T.astype(directions.dtype)
