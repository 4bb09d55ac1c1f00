"""From the ideal images of a diffusion series to stored magnitudes: what a scanner does to them.

Susceptibility moves them, the point spread and the k-space that was covered blur them, channels
add their noise and are combined, and some sites denoise. Every step is neutral by default.
"""

from __future__ import annotations

import numpy as np
from scipy import fft
from scipy.ndimage import gaussian_filter

from bids_harmony.phantom.anatomy import Anatomy, smooth_noise
from bids_harmony.phantom.image_chain import bias_field
from lab.diffusion_fields import displacement, kspace_weights, noise_map
from lab.diffusion_scanner import DiffusionScanner

__all__ = ["ImageChain", "denoised"]

Array = np.ndarray

#: Pulsation: correlation length, and number of fields of which each volume is a random mixture.
PULSATION_MM, PULSATION_FIELDS = 20.0, 24


def denoised(voxels: Array, b_values: Array) -> Array:
    """Denoise as sites do: what all other volumes tell of each (Fadnavis et al. 2020, Patch2Self).

    Each volume is predicted by least squares from the other weighted ones, each b=0 from the
    others. DIPY 1.12 is not used: its Patch2Self draws voxels without a seed (version 3) or loses
    the mean (version 1); `tests/lab/test_diffusion_chain.py` fits each volume by itself.

    Parameters
    ----------
    voxels : (V, N) float32
    b_values : (N,) float

    Returns
    -------
    (V, N) float32
        Not below zero. A volume with b=0 that is alone is left as it is.
    """
    found = voxels.copy()
    for chosen in (b_values == 0, b_values > 0):
        if chosen.sum() < 2:
            continue
        some = voxels[:, chosen].astype(np.float64)
        mean = some.mean(0)
        precision = np.linalg.inv(np.cov(some.T))
        # The residual of each column's regression on all others, by the inverse of their
        # covariance (Whittaker 1990, Graphical Models in Applied Multivariate Statistics).
        residual = (some - mean) @ precision / np.diag(precision)
        found[:, chosen] = np.maximum(some - residual, 0)
    return found


class ImageChain:
    """Makes stored magnitudes of a series' ideal images, volume after volume.

    Parameters
    ----------
    person : Anatomy
        As placed in the scanner.
    scanner : DiffusionScanner
    seed : int
        Of noise and of the scan's own fields.
    count : int
        Number of volumes.
    noise : bool
        False leaves out noise, drift and pulsation.
    scan_field : bool
        False leaves out the scan's own parts of receive field and distortion.
    """

    def __init__(
        self,
        person: Anatomy,
        scanner: DiffusionScanner,
        seed: int,
        count: int,
        *,
        noise: bool,
        scan_field: bool,
    ) -> None:
        mask, shape = person.mask, person.grid.shape
        edges = np.linalg.norm(person.grid.affine[:3, :3], axis=0)
        log_field = scanner.bias_log_sd * bias_field(shape, mask, [scanner.bias_seed, 7])[mask]
        if scan_field:
            own = bias_field(shape, mask, [seed, scanner.bias_seed, 5])[mask]
            log_field = log_field + scanner.bias_log_sd * scanner.scan_bias * own
        self._field = np.exp(log_field).astype(np.float32)
        self._mask, self._scanner, self._noise = mask, scanner, noise
        self._drift = 1 + scanner.drift * np.linspace(0, 1, count) if noise else np.ones(count)
        self._sigma = noise_map(person, scanner)
        self._inside = self._sigma[mask]
        seen = np.flatnonzero(mask.any((0, 1)))
        self._slices = slice(seen[0], seen[-1] + 1)
        self._blur = scanner.blur_mm / edges
        self._rng = np.random.default_rng([seed, scanner.bias_seed, 0xD1])
        self._weights = kspace_weights(shape[:2], (edges[0], edges[1]), scanner)
        self._shift = displacement(person, scanner, seed if scan_field else None) / edges[1]
        self._pulse: Array | None = None
        if noise and scanner.pulsation:
            self._rng_pulse = np.random.default_rng([seed, scanner.bias_seed, 0xD4])
            sigma = PULSATION_MM / float(edges[0])
            fields = [
                smooth_noise(self._rng_pulse, shape, sigma)[mask] for _ in range(PULSATION_FIELDS)
            ]
            self._pulse = np.stack(fields) / np.float32(np.sqrt(PULSATION_FIELDS))

    def record(self, image: Array, n: int) -> Array:
        """Magnitude of volume `n` in the brain.

        Parameters
        ----------
        image : (X, Y, Z) float32
            Ideal, zero outside the brain; white matter has about 1 at b=0.
        n : int
            Volumes are taken in their order: each draws its noise.

        Returns
        -------
        (V,) float32
            In the units of `image`.
        """
        mask = self._mask
        blurred = gaussian_filter(self._displaced(image), self._blur, truncate=3.0)[mask]
        values = np.float32(self._drift[n]) * self._field * blurred
        if self._pulse is not None:
            own = self._rng_pulse.standard_normal(len(self._pulse), dtype=np.float32) @ self._pulse
            values = values * (1 + np.float32(self._scanner.pulsation) * own)
        if self._weights is not None:
            values = np.abs(self._covered(values))
        elif self._noise:
            sigma, shape = self._inside, values.shape
            real = values + sigma * self._rng.standard_normal(shape, dtype=np.float32)
            values = np.hypot(real, sigma * self._rng.standard_normal(shape, dtype=np.float32))
        return self._combined(values) if self._noise else values

    def _displaced(self, image: Array) -> Array:
        if not np.any(self._shift):
            return image
        x, y, z = np.nonzero(self._mask)
        whence = (y + self._shift).clip(0, image.shape[1] - 1.001)
        before = whence.astype(int)
        part = (whence - before).astype(np.float32)
        moved = np.zeros_like(image)
        moved[self._mask] = (1 - part) * image[x, before, z] + part * image[x, before + 1, z]
        return moved

    def _covered(self, values: Array) -> Array:
        """The complex image of the k-space that was covered, with noise: (V,) complex64."""
        assert self._weights is not None
        shape, slices = self._mask.shape, self._slices
        image = np.zeros((shape[0], shape[1], slices.stop - slices.start), dtype=np.complex64)
        image[self._mask[..., slices]] = values
        if self._noise:
            parts = self._rng.standard_normal((2, *image.shape), dtype=np.float32)
            # What is left of white noise in k-space has the stated size in the image.
            size = 1 / np.sqrt(np.mean(np.square(self._weights)))
            image += self._sigma[..., slices] * np.float32(size) * (parts[0] + 1j * parts[1])
        spectrum = fft.fft2(image, axes=(0, 1), overwrite_x=True)
        spectrum *= self._weights[:, :, None]
        covered = fft.ifft2(spectrum, axes=(0, 1), overwrite_x=True)
        return np.asarray(covered[self._mask[..., slices]])

    def _combined(self, values: Array) -> Array:
        """Root of the sum of squares over channels (Constantinides et al. 1997).

        Noise is alike in all, so that the sum does not depend on how they share the signal: one
        channel has it all. What the others add varies little; that it is correlated between
        voxels where k-space is filtered is left out. Magn Reson Med 38:852.
        """
        others = self._scanner.channels - 1
        if not others:
            return values
        squares = 2 * self._rng.standard_gamma(others, values.shape, dtype=np.float32)
        return np.sqrt(np.square(values) + np.square(self._inside) * squares)
