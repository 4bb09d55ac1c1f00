"""How a scanner's images look, as MRIQC's measures of quality tell it.

The definitions are those of MRIQC (Esteban et al. 2017, PLOS ONE 12:e0184661), so that tables of
real scanners can stand beside simulated ones. Tissues are given here, MRIQC segments them.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, generate_binary_structure, zoom
from skimage.measure import block_reduce

from bids_harmony.exceptions import DataError

__all__ = ["QUALITY_MEASURES", "ImageQuality", "fwhm_voxels", "image_quality", "smooth_field"]

#: A voxel belongs to a tissue where it holds more of it than this, as in MRIQC.
_SURE = 0.85
#: Fewer voxels than these are not eroded: nothing would be left.
_FEWEST = 1000
#: N4 runs on a grid of about this spacing, in so many iterations a level. With more levels it
#: takes anatomy for a field: a scan without one would have more of it than a tenth of real scans.
_FIELD_MM = 4.5
_ITERATIONS = (50, 50)
#: From the median absolute deviation to the standard deviation of a normal distribution.
_MAD_TO_SD = 1.4826


@dataclass(frozen=True)
class ImageQuality:
    """Measures of one scan.

    Attributes
    ----------
    log_gm_wm, log_csf_wm : float
        Logarithm of a tissue's median over that of white matter, after N4.
    noise : float
        Scaled median absolute deviation of white matter over its median, after N4.
    bias_range : float
        5th to 95th percentile of N4's field in the brain over its median: the scale of the field
        is arbitrary.
    fwhm : float
        Smoothness in voxels (`fwhm_voxels`), mean of the three axes.
    """

    log_gm_wm: float
    log_csf_wm: float
    noise: float
    bias_range: float
    fwhm: float

    def values(self) -> tuple[float, ...]:
        """Give the measures in the order of `QUALITY_MEASURES`."""
        return astuple(self)


QUALITY_MEASURES = tuple(f.name for f in fields(ImageQuality))


def image_quality(
    data: NDArray,
    mask: NDArray[np.bool_],
    fractions: NDArray,
    voxel_mm: float,
    *,
    field: NDArray | None = None,
) -> ImageQuality:
    """Measure one scan.

    Parameters
    ----------
    data : (X, Y, Z) float
        Any units.
    mask : (X, Y, Z) bool
        The brain.
    fractions : (3, X, Y, Z) float
        Grey matter, white matter and CSF, 0 to 1.
    voxel_mm : float
        Edge of the isotropic voxels.
    field : (X, Y, Z) float, optional
        The receive field, where it is known; `smooth_field` estimates it otherwise.

    Returns
    -------
    ImageQuality

    Raises
    ------
    DataError
        A tissue has no voxel, or white matter no signal.
    """
    if field is None:
        field = smooth_field(data, mask, voxel_mm)
    low, middle, high = (float(v) for v in np.percentile(field[mask], [5, 50, 95]))
    corrected = data / field
    medians = []
    for name, fraction in zip(("grey matter", "white matter", "CSF"), fractions, strict=True):
        inside = _sure(fraction)
        if not inside.any():
            raise DataError(f"no voxel is {name}", expected=f"a fraction above {_SURE}")
        medians.append(float(np.median(corrected[inside])))
    white = corrected[_sure(fractions[1])]
    if medians[1] <= 0:
        raise DataError("white matter has no signal", expected="a median above 0")
    spread = _MAD_TO_SD * float(np.median(np.abs(white - medians[1])))
    least = float(np.finfo(np.float32).tiny)
    return ImageQuality(
        log_gm_wm=float(np.log(max(medians[0], least) / medians[1])),
        log_csf_wm=float(np.log(max(medians[2], least) / medians[1])),
        noise=spread / medians[1],
        bias_range=(high - low) / middle,
        fwhm=float(np.mean(fwhm_voxels(data, mask))),
    )


def smooth_field(data: NDArray, mask: NDArray[np.bool_], voxel_mm: float) -> NDArray:
    """Estimate the receive field by N4 (Tustison et al. 2010, IEEE TMI 29:1310).

    Parameters
    ----------
    data : (X, Y, Z) float
    mask : (X, Y, Z) bool
    voxel_mm : float

    Returns
    -------
    (X, Y, Z) float32
        Positive; what `data` is to be divided by.
    """
    from bids_harmony.imaging.linear import deterministic_ants

    ants = deterministic_ants()
    step = max(1, round(_FIELD_MM / voxel_mm))
    held = block_reduce(mask.astype(np.float32), step, np.mean)
    coarse = block_reduce(np.where(mask, np.maximum(data, 0), 0).astype(np.float32), step, np.mean)
    inside = held > 0.5
    spacing = [voxel_mm * step] * 3
    found: Any = ants.n4_bias_field_correction(
        ants.from_numpy(np.where(inside, coarse / np.maximum(held, 0.5), 0), spacing=spacing),
        mask=ants.from_numpy(inside.astype(np.float32), spacing=spacing),
        shrink_factor=2,
        convergence={"iters": list(_ITERATIONS), "tol": 1e-7},
        return_bias_field=True,
    )
    fine = zoom(found.numpy(), step, order=1, mode="nearest", grid_mode=True)
    return np.maximum(fine[tuple(slice(0, n) for n in data.shape)], 1e-3).astype(np.float32)


def fwhm_voxels(data: NDArray, mask: NDArray[np.bool_]) -> tuple[float, float, float]:
    """Smoothness of an image along its axes, from the variance of first differences.

    Parameters
    ----------
    data : (X, Y, Z) float
    mask : (X, Y, Z) bool

    Returns
    -------
    tuple of float
        Full width at half maximum of the Gaussian kernel that would make white noise so smooth
        (Forman et al. 1995, Magn Reson Med 33:636), in voxels.
    """
    variance = float(data[mask].var(dtype=np.float64))
    widths = []
    for axis in range(3):
        both = np.delete(mask, -1, axis) & np.delete(mask, 0, axis)
        steps = np.diff(data, axis=axis)[both].var(dtype=np.float64)
        correlation = 1 - steps / (2 * variance)
        widths.append(
            float(np.sqrt(-2 * np.log(2) / np.log(correlation))) if correlation > 0 else 0.0
        )
    return widths[0], widths[1], widths[2]


def _sure(fraction: NDArray) -> NDArray[np.bool_]:
    inside = fraction > _SURE
    core = binary_erosion(inside, generate_binary_structure(3, 2))
    return core if int(core.sum()) >= _FEWEST else inside
