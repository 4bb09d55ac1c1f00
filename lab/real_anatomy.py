"""People made of real scans: their own folds and texture, for simulated scanners to look at.

A T1w scan is denoised (or its noise would become anatomy), brought to the reference grid, freed
of its receive field and split into three tissues. Intensities between those of pure tissues count
as mixtures; what no mixture explains stays as mild local factors of relaxation and density.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.linear import deterministic_ants
from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.prepared import Prepared, prepare
from bids_harmony.imaging.volume import Volume
from bids_harmony.phantom.anatomy import deep_grey
from bids_harmony.phantom.people import SourceMaps

__all__ = ["denoised", "scan_to_maps"]

Array = np.ndarray

FACTOR_LIMITS = (0.8, 1.25)
"""Bounds of the local factors: texture, not pathology."""
TEXTURE_IN_T1 = 0.7
"""Share of the log residual that goes to T1, with the sign turned; the rest goes to density. The
T1w signal of grey and white matter falls about as T1^-0.8 at common inversion times, so most of
the scan's own texture comes back in a simulated T1w image, and a little of it in a T2w one."""
TEXTURE_MM = 20.0
"""Standard deviation of the smoothing that tells texture from what N4 left of the field."""
LEAST_SHARES = (0.25, 0.2, 0.03)
"""Shares of the brain that grey matter, white matter and CSF must have."""


def denoised(volume: Volume, mask: BrainMask) -> Volume:
    """Remove a scan's noise on its own grid by non-local means.

    Parameters
    ----------
    volume : Volume
    mask : BrainMask
        On the grid of `volume`; voxels outside it and a margin come back as zeros.

    Returns
    -------
    Volume
        Intensities in the units of `volume`. Noise is estimated from the image (Rician; Coupe et
        al. 2008 for the filter); an interpolated image hides some of its noise from the estimate.
    """
    from dipy.denoise.nlmeans import nlmeans
    from dipy.denoise.noise_estimate import estimate_sigma

    box = ndimage.find_objects(mask.data.astype(np.int8))[0]
    window = tuple(slice(max(0, s.start - 6), s.stop + 6) for s in box)
    part = np.ascontiguousarray(np.maximum(volume.data[window], 0), dtype=np.float64)
    # Zeros of a defaced or stripped background have no noise and are left out of the estimate.
    sigma = float(np.ravel(estimate_sigma(part))[0])
    data = np.zeros_like(volume.data)
    data[window] = nlmeans(
        part,
        sigma,
        mask=np.ascontiguousarray(mask.data[window], dtype=np.float64),
        patch_radius=1,
        block_radius=3,
        rician=True,
        num_threads=1,
        method="classic",
    )
    return replace(volume, data=data)


def scan_to_maps(
    volume: Volume, mask: BrainMask, world: Array, grid: ReferenceGrid, *, name: str = ""
) -> SourceMaps:
    """Tissue fractions and texture of a real T1w scan in reference space.

    Parameters
    ----------
    volume : Volume
        T1w, of about 2 mm and less in every direction: thick slices give thick tissue.
    mask : BrainMask
        On the grid of `volume`.
    world : (4, 4) float
        RAS+ mm of the scan to reference RAS+ mm (`register_to_reference(...).world`).
    grid : ReferenceGrid
        1 mm or 2 mm.
    name : str
        Tells the scan from others; its file name by default.

    Returns
    -------
    SourceMaps
        Fractions by linear mixing between the intensities of pure tissues (Liao, Chen and Chung
        2001 for the thresholds that find them).

    Raises
    ------
    ImageError
        A tissue has too few voxels: the scan has no T1w contrast or a wrong brain mask.
    """
    prepared = prepare(denoised(volume, mask), mask, world, grid)
    image = _without_field(prepared)
    fractions = _segmented(image, prepared.mask, str(volume.path or name or "volume"))
    ratio = _texture(image, fractions, prepared.mask, grid)
    low, high = FACTOR_LIMITS
    # Iron shortens T2 more than a T1w scan can tell (as in make_anatomy).
    iron = 0.18 * deep_grey(grid) * fractions[0]
    return SourceMaps(
        fractions=fractions,
        t1_factor=np.clip(np.exp(-TEXTURE_IN_T1 * ratio), low, high).astype(np.float32),
        t2_factor=np.where(prepared.mask, 1 - iron, 1).astype(np.float32),
        density_factor=np.clip(np.exp((1 - TEXTURE_IN_T1) * ratio), low, high).astype(np.float32),
        grid=grid,
        name=name or (Path(volume.path).name.partition(".")[0] if volume.path else "scan"),
    )


def _without_field(prepared: Prepared) -> Array:
    """N4 (Tustison et al. 2010) inside the mask; result in units of the prepared scan."""
    ants = deterministic_ants()
    step = prepared.grid.voxel_mm
    image = ants.from_numpy(prepared.data, spacing=(step,) * 3)
    inside = ants.from_numpy(prepared.mask.astype(np.float32), spacing=(step,) * 3)
    # On 4 mm voxels: the field has no detail, and the time goes with their number.
    corrected = ants.n4_bias_field_correction(
        image,
        mask=inside,
        shrink_factor=max(2, round(4.0 / step)),
        convergence={"iters": [40, 40, 30], "tol": 1e-4},
        spline_param=100.0,
    )
    return np.where(prepared.mask, np.maximum(corrected.numpy(), 0), 0).astype(np.float32)


def _segmented(image: Array, mask: Array, where: str) -> Array:
    """Fractions of grey matter, white matter and CSF from a T1w image.

    Three classes by Otsu's thresholds give the intensities of pure tissues; fractions follow by
    linear mixing between neighbours in intensity: CSF, grey matter, white matter. Class
    probabilities would be hard at borders and take grey matter beside CSF for CSF.
    """
    from skimage.filters import threshold_multiotsu

    values = image[mask]
    top = np.percentile(values, 99)  # vessels and fat
    if not values.min() < top:
        raise _no_tissues(where, "one intensity")
    try:
        thresholds = threshold_multiotsu(np.minimum(values, top), classes=3)
    except ValueError as error:  # fewer than three intensities
        raise _no_tissues(where, str(error)) from error
    classes = np.digitize(values, thresholds)
    # Pure CSF is rare in sulci: most voxels of its class hold some cortex.
    csf = np.percentile(values[classes == 0], 10)
    grey, white = (np.median(values[classes == k]) for k in (1, 2))
    not_csf = np.clip((values - csf) / max(grey - csf, 1e-6), 0, 1)
    in_white = np.clip((values - grey) / max(white - grey, 1e-6), 0, 1)
    fractions = np.zeros((3, *mask.shape), np.float32)
    fractions[:, mask] = not_csf * (1 - in_white), in_white, 1 - not_csf
    shares = fractions[:, mask].mean(axis=1)
    if np.any(shares < LEAST_SHARES):
        raise _no_tissues(where, "GM {:.1%}, WM {:.1%}, CSF {:.1%}".format(*shares))
    return fractions


def _no_tissues(where: str, got: str) -> ImageError:
    return ImageError(
        "three tissues were not found",
        where=where,
        expected="GM {:.0%}, WM {:.0%}, CSF {:.0%} of the brain and more".format(*LEAST_SHARES),
        got=got,
        hint="Is it a T1w scan, and is the brain mask right?",
    )


def _texture(image: Array, fractions: Array, mask: Array, grid: ReferenceGrid) -> Array:
    """Log of the image over what three tissues explain, without its smooth part; 0 in CSF."""
    flat = fractions[:, mask]
    # Least squares gives the tissues' intensities, partial volumes included.
    levels, *_ = np.linalg.lstsq(flat.T.astype(np.float64), image[mask], rcond=None)
    explained = np.maximum(levels @ flat, 1e-3)
    residual = np.zeros(grid.shape, np.float32)
    weight = np.zeros(grid.shape, np.float32)
    residual[mask] = np.clip(np.log(np.maximum(image[mask], 1e-3) / explained), -0.4, 0.4)
    weight[mask] = 1 - flat[2]  # ratios of small numbers: CSF has no texture worth keeping
    sigma = TEXTURE_MM / grid.voxel_mm
    smooth = ndimage.gaussian_filter(residual * weight, sigma, truncate=2.0)
    smooth /= np.maximum(ndimage.gaussian_filter(weight, sigma, truncate=2.0), 1e-3)
    return weight * (residual - smooth)
