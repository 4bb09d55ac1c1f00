"""Distances between two images on one grid: RMSE, PSNR, SSIM, MS-SSIM; Nyquist share.

All functions take arrays in RAS voxel order (axial slices along the last axis), compute in float32
(`gain_free_rmse`: in float64) and add up in float64. ``data_range`` is always explicit, because
PSNR and SSIM mean nothing without it. Research software, not for diagnosis.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from bids_harmony.exceptions import DataError
from bids_harmony.quality.slices import foreground_slices
from bids_harmony.resources import one_torch_thread

__all__ = ["gain_free_rmse", "ms_ssim", "nyquist_share", "psnr", "rmse", "ssim", "ssim_map"]

_SSIM_SIGMA = 1.5  # voxels; Wang et al. 2004
_SSIM_WINDOW = 11  # voxels; the truncation at 3.5 sigma that goes with it
_CORNER = 0.125  # radius about a Nyquist corner, in units of the Nyquist frequency (pi)
_MS_SSIM_SCALES = 5  # Wang et al. 2003, with the published weights


def rmse(reference: NDArray, image: NDArray, *, mask: NDArray[np.bool_] | None = None) -> float:
    """Root mean squared error, in the units of the images.

    Parameters
    ----------
    reference, image : (X, Y, Z) arrays
        Any shape, as long as it is the same.
    mask : (X, Y, Z) bool array, optional
        Count these voxels only.

    Returns
    -------
    float

    Raises
    ------
    DataError
        If shapes differ or the mask is empty.
    """
    reference, image = checked_pair(reference, image)
    difference = image - reference
    if mask is not None:
        difference = difference[checked_mask(mask, reference.shape)]
    return math.sqrt(float(np.mean(np.square(difference), dtype=np.float64)))


def gain_free_rmse(
    reference: NDArray, image: NDArray, *, mask: NDArray[np.bool_] | None = None
) -> float:
    """Root mean squared error after the best gain of the image, in units of the reference.

    The gain is that of least squares, ``<image, reference> / <image, image>``: the unit of an
    image that was scaled by itself is arbitrary, and so is part of its RMSE.

    Parameters
    ----------
    reference, image : (X, Y, Z) arrays
        Any shape, as long as it is the same. The image may not be zero everywhere.
    mask : (X, Y, Z) bool array, optional
        Count these voxels only, for the gain as well.

    Returns
    -------
    float

    Raises
    ------
    DataError
        If shapes differ or the mask is empty.
    """
    _check_shapes(reference, image)
    chosen = ... if mask is None else checked_mask(mask, np.shape(reference))
    goal, ours = (np.asarray(a)[chosen].astype(np.float64).ravel() for a in (reference, image))
    gain = (ours @ goal) / (ours @ ours)
    return math.sqrt(float(np.square(gain * ours - goal).mean()))


def psnr(
    reference: NDArray,
    image: NDArray,
    *,
    data_range: float,
    mask: NDArray[np.bool_] | None = None,
) -> float:
    """Peak signal-to-noise ratio, ``20 log10(data_range / RMSE)``, in dB.

    Parameters
    ----------
    reference, image : (X, Y, Z) arrays
    data_range : float
        The peak, in the units of the images.
    mask : (X, Y, Z) bool array, optional
        Count these voxels only.

    Returns
    -------
    float
        ``inf`` for equal images.

    Raises
    ------
    DataError
        If shapes differ, the mask is empty or the data range is not positive.
    """
    check_data_range(data_range)
    error = rmse(reference, image, mask=mask)
    return math.inf if error == 0 else 20 * math.log10(data_range / error)


def ssim_map(reference: NDArray, image: NDArray, *, data_range: float) -> NDArray[np.float32]:
    """Structural similarity at every voxel, Gaussian window (1.5 voxels) in three dimensions.

    Wang et al., IEEE Trans. Image Process. 13:600 (2004), as in
    ``skimage.metrics.structural_similarity`` with its published parameters (K1 = 0.01, K2 = 0.03,
    biased covariances). Images are mirrored at their border.

    Parameters
    ----------
    reference, image : (X, Y, Z) arrays
    data_range : float
        Range of the data, in the units of the images.

    Returns
    -------
    (X, Y, Z) float32 array

    Raises
    ------
    DataError
        If shapes differ or the data range is not positive.
    """
    from skimage.metrics import structural_similarity

    reference, image = checked_pair(reference, image)
    check_data_range(data_range)
    shortest = min(reference.shape)
    _, similarity = structural_similarity(
        reference,
        image,
        data_range=data_range,
        gaussian_weights=True,
        sigma=_SSIM_SIGMA,
        use_sample_covariance=False,
        # Only sizes the border of skimage's own mean; thin slabs (a few slices) are legal input.
        win_size=min(_SSIM_WINDOW, shortest - 1 + shortest % 2),
        full=True,
    )
    return similarity


def ssim(
    reference: NDArray,
    image: NDArray,
    *,
    data_range: float,
    mask: NDArray[np.bool_] | None = None,
) -> float:
    """Mean of `ssim_map` over the mask, or over the whole image.

    Parameters
    ----------
    reference, image : (X, Y, Z) arrays
    data_range : float
        Range of the data, in the units of the images.
    mask : (X, Y, Z) bool array, optional
        Voxels whose similarity is averaged. Windows reach across the mask's border.

    Returns
    -------
    float
        At most 1.

    Raises
    ------
    DataError
        If shapes differ, the mask is empty or the data range is not positive.
    """
    similarity = ssim_map(reference, image, data_range=data_range)
    if mask is not None:
        similarity = similarity[checked_mask(mask, similarity.shape)]
    return float(np.mean(similarity, dtype=np.float64))


def ms_ssim(
    reference: NDArray,
    image: NDArray,
    *,
    data_range: float,
    mask: NDArray[np.bool_] | None = None,
    max_slices: int = 64,
) -> float:
    """Multi-scale structural similarity of axial slices, averaged over slices.

    Wang, Simoncelli and Bovik, Asilomar 2003: five scales with the published weights, by
    ``pytorch_msssim``.

    With a mask, both images are set to zero outside it and cropped to its bounding box, so that
    the field of view does not matter; the zeros that remain count as agreement, as they do in
    publications on skull-stripped slices. Five scales with the usual window of 11 pixels need more
    than 160 pixels a side. A slice that lacks up to a quarter of that is padded (zeros with a
    mask, repeated edges without). A smaller one keeps its five scales with a window of 9, 7, 5 or
    3 pixels, sigma in proportion, which at 2 mm covers nearly the same tissue as the usual window
    at 1 mm; only below 33 pixels is it padded further.

    Parameters
    ----------
    reference, image : (X, Y, Z) arrays
    data_range : float
        Range of the data, in the units of the images.
    mask : (X, Y, Z) bool array, optional
        The brain.
    max_slices : int
        Slices with less than 5 % of foreground are left out, unless all have less. Foreground is
        the mask, or else what exceeds 5 % of the data range in the reference. If more slices are
        left, as many are taken at even distances.

    Returns
    -------
    float
        Between 0 and 1.

    Raises
    ------
    DataError
        If shapes differ, the mask is empty, the data range is not positive, or there is no
        foreground.
    """
    import torch
    from pytorch_msssim import ms_ssim as similarity_of_batch

    reference, image = checked_pair(reference, image)
    check_data_range(data_range)
    pairs = foreground_slices(
        reference,
        image,
        data_range=data_range,
        mask=None if mask is None else checked_mask(mask, reference.shape),
        max_slices=max_slices,
    )
    sides = pairs[0].reference.shape
    window = _window_size(min(sides))
    needed = (window - 1) * 2 ** (_MS_SSIM_SCALES - 1) + 1
    margins = [(max(needed - side, 0) // 2, (max(needed - side, 0) + 1) // 2) for side in sides]
    total = 0.0
    for pair in pairs:
        planes = []
        for plane in (pair.reference, pair.image):
            padded = np.pad(plane, margins, mode="edge" if mask is None else "constant")
            planes.append(torch.from_numpy(np.ascontiguousarray(padded))[None, None])
        with one_torch_thread():
            total += similarity_of_batch(
                *planes,
                data_range=data_range,
                win_size=window,
                win_sigma=_SSIM_SIGMA * window / _SSIM_WINDOW,
            ).item()
    return total / len(pairs)


def nyquist_share(change: NDArray) -> float:
    """Share of a change's energy near the in-plane Nyquist corners, where checkerboards live.

    The energy is ``|FFT2|^2`` of every axial slice, summed over slices; near means within
    pi / 8 of (pi, 0), (0, pi) or (pi, pi). White noise gives three times the area of a disc of
    that radius, ``3 pi / 256``.

    Parameters
    ----------
    change : (X, Y, Z) or (X, Y) array
        Harmonized minus source **on the grid where the network ran**: interpolation hides the
        corners.

    Returns
    -------
    float
        Between 0 and 1; 0 for no change at all.
    """
    from scipy import fft

    change = np.asarray(change, dtype=np.float32)
    power = np.abs(fft.fft2(change, axes=(0, 1))).astype(np.float64) ** 2
    total = power.sum()
    if total == 0:
        return 0.0
    u = np.abs(fft.fftfreq(change.shape[0]))[:, None] * 2
    v = np.abs(fft.fftfreq(change.shape[1]))[None, :] * 2
    near = np.zeros(change.shape[:2], dtype=bool)
    for corner_u, corner_v in ((1, 0), (0, 1), (1, 1)):
        near |= np.hypot(u - corner_u, v - corner_v) <= _CORNER
    return float(power[near].sum() / total)


def _window_size(side: int) -> int:
    """Largest odd window whose five scales fit into `side` pixels plus a quarter."""
    for window in range(_SSIM_WINDOW, 3, -2):
        if 1.25 * side > (window - 1) * 2 ** (_MS_SSIM_SCALES - 1):
            return window
    return 3


def checked_pair(
    reference: NDArray, image: NDArray
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    _check_shapes(reference, image)
    return np.asarray(reference, dtype=np.float32), np.asarray(image, dtype=np.float32)


def _check_shapes(reference: NDArray, image: NDArray) -> None:
    if np.shape(reference) != np.shape(image):
        raise DataError(
            "Images to compare have different shapes",
            expected=str(np.shape(reference)),
            got=str(np.shape(image)),
        )


def checked_mask(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = np.asarray(mask, dtype=bool)
    if mask.shape != shape:
        raise DataError(
            "The mask has another shape than the image", expected=str(shape), got=str(mask.shape)
        )
    if not mask.any():
        raise DataError("The mask is empty", expected="at least one voxel", got="none")
    return mask


def check_data_range(data_range: float) -> None:
    if not (math.isfinite(data_range) and data_range > 0):
        raise DataError("The data range must be positive", expected="> 0", got=f"{data_range:g}")
