"""Where in the head a diffusion scanner does how much: k-space, noise, gradients, distortion."""

from __future__ import annotations

import numpy as np
from scipy import fft

from bids_harmony.phantom.anatomy import Anatomy, smooth_noise
from lab.diffusion_scanner import DiffusionScanner

__all__ = ["AIR", "b_scale_map", "displacement", "kspace_weights", "noise_map"]

Array = np.ndarray

#: Where air meets tissue, in reference RAS+ mm, and how far its field reaches: frontal sinus,
#: temporal poles and petrous bones (Jezzard and Balaban 1995, Magn Reson Med 34:65; Andersson et
#: al. 2003, NeuroImage 20:870).
AIR = (
    ((0.0, 42.0, -18.0), 18.0),
    ((-42.0, 10.0, -32.0), 16.0),
    ((42.0, 10.0, -32.0), 16.0),
    ((-52.0, -28.0, -28.0), 14.0),
    ((52.0, -28.0, -28.0), 14.0),
)
#: What a correction leaves elsewhere, relative to the strongest places, another in each scan.
SCAN_DISTORTION, DISTORTION_MM = 0.3, 16.0


def kspace_weights(
    shape: tuple[int, int], voxel_mm: tuple[float, float], scanner: DiffusionScanner
) -> Array | None:
    """How much of each spatial frequency in a slice is kept.

    Parameters
    ----------
    shape : (2,) int
        Of a slice; its second axis is the phase axis.
    voxel_mm : (2,) float
        Stored.
    scanner : DiffusionScanner
        `acquired_mm`, `partial_fourier` and `taper` are used.

    Returns
    -------
    (X, Y) float32, or None
        In the order of the FFT; None where all is kept. Phase partial Fourier leaves one side
        of the phase axis out (zero-filled; McGibney et al. 1993, Magn Reson Med 30:51).
    """
    frequency = [
        np.abs(2 * fft.fftfreq(n)) * max(scanner.acquired_mm / mm, 1.0)
        for n, mm in zip(shape, voxel_mm, strict=True)
    ]
    across, along = frequency[0][:, None], frequency[1][None]
    signed = np.where(fft.fftfreq(shape[1])[None] < 0, -along, along)
    kept = (across <= 1) & (along <= 1) & (signed >= 1 - 2 * scanner.partial_fourier)
    weights = kept.astype(np.float32)
    if scanner.taper > 0:
        radius = (np.hypot(across, along) - (1 - scanner.taper)) / scanner.taper
        weights = weights * (0.5 + 0.5 * np.cos(np.pi * radius.clip(0, 1))).astype(np.float32)
    return None if (weights == 1).all() else weights


def noise_map(person: Anatomy, scanner: DiffusionScanner) -> Array:
    """Standard deviation of noise in each channel, relative to white matter at b=0.

    Returns
    -------
    (X, Y, Z) float32
        Grows from the surface of the brain to its middle by `noise_growth`, as the g-factor of
        parallel imaging does (Pruessmann et al. 1999, Magn Reson Med 42:952).
    """
    inside = [np.flatnonzero(person.mask.any(others)) for others in ((1, 2), (0, 2), (0, 1))]
    squared = np.zeros((1, 1, 1), dtype=np.float32)
    for axis, (n, seen) in enumerate(zip(person.mask.shape, inside, strict=True)):
        middle, half = (seen[0] + seen[-1]) / 2, max((seen[-1] - seen[0]) / 2, 1)
        along = np.square((np.arange(n, dtype=np.float32) - middle) / half)
        squared = squared + np.expand_dims(along, [a for a in range(3) if a != axis])
    depth = 1 - squared.clip(0, 1)
    return np.asarray(scanner.noise * (1 + scanner.noise_growth * depth), dtype=np.float32)


def b_scale_map(person: Anatomy, scanner: DiffusionScanner) -> float | Array:
    """True over stated b-value.

    Returns
    -------
    float, or (V,) float32
        In the brain's voxels. Gradient fields depart from linear ones by terms that grow at
        least with the square of the distance from the isocentre, the middle of the field of view
        here (Bammer et al. 2003, Magn Reson Med 50:560); directions are left alone.
    """
    if not scanner.nonlinearity:
        return scanner.b_scale
    edges = np.linalg.norm(person.grid.affine[:3, :3], axis=0)
    middle = (np.array(person.grid.shape) - 1) / 2
    away = np.square((np.argwhere(person.mask) - middle) * edges / 100.0).sum(1)
    return np.asarray(scanner.b_scale * (1 + scanner.nonlinearity * away), dtype=np.float32)


def displacement(
    person: Anatomy, scanner: DiffusionScanner, seed: int | None
) -> np.float32 | Array:
    """Where along the phase axis a voxel's signal comes from, relative to it, in mm.

    Parameters
    ----------
    person : Anatomy
    scanner : DiffusionScanner
        `distortion_mm` is what the correction leaves where air is near; its sign is that of the
        blip.
    seed : int or None
        Of the scan's own part; None leaves it out.

    Returns
    -------
    float32, or (V,) float32
        In the brain's voxels. The change of intensity that goes with it is the same in all
        volumes and is left out.
    """
    if not scanner.distortion_mm:
        return np.float32(0)
    affine = person.grid.affine
    places = np.argwhere(person.mask) @ affine[:3, :3].T + affine[:3, 3]
    field = np.zeros(len(places))
    for centre, reach in AIR:
        away = np.square(places - np.array(centre)).sum(1)
        field = np.maximum(field, np.exp(-away / (2 * reach**2)))
    if seed is not None:
        rng = np.random.default_rng([seed, scanner.bias_seed, 0xD3])
        edge = float(np.linalg.norm(affine[:3, 0]))
        own = smooth_noise(rng, person.grid.shape, DISTORTION_MM / edge)[person.mask]
        field = field + SCAN_DISTORTION * own
    return np.asarray(scanner.distortion_mm * field, dtype=np.float32)
