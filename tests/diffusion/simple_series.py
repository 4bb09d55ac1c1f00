"""A block of water between blocks of tissue, with scanners of which all is known."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.series import Series
from lab.diffusion_scanner import spread_directions

SHAPE = (20, 20, 12)
WATER = 3.0e-3
ALONG, ACROSS, GREY = 1.5e-3, 0.4e-3, 0.8e-3


def make_gradients(count=20, shells=(1000.0, 2000.0), b0=6):
    rng = np.random.default_rng(4)
    bvecs = [np.zeros((b0, 3))] + [spread_directions(count, rng) for _ in shells]
    bvals = [np.zeros(b0)] + [np.full(count, b) for b in shells]
    return Gradients(np.concatenate(bvals), np.concatenate(bvecs))


def make_series(
    gradients,
    *,
    seed=0,
    noise=0.0,
    b_scale=1.0,
    person=1.0,
    drift=0.0,
    gain=1000.0,
    channels=1,
):
    """Water in the middle, white matter on one side, grey on the other; the edge is no brain."""
    rng = np.random.default_rng(seed)
    b, x = b_scale * gradients.bvals, gradients.bvecs[:, 0]
    white = np.exp(-b * person * (ACROSS + (ALONG - ACROSS) * x**2))
    grey, water = np.exp(-b * person * GREY), 2 * np.exp(-b * WATER)
    signal = np.zeros((*SHAPE, len(b)))
    signal[2:8, 2:-2, 2:-2] = white
    signal[8:12, 2:-2, 2:-2] = water
    signal[12:18, 2:-2, 2:-2] = grey
    mask = signal.any(axis=3)
    signal = signal * (1 + drift * np.linspace(0, 1, len(b)))
    shape = (*mask.shape, len(b))
    real = signal + noise * rng.standard_normal(shape)
    magnitude = np.hypot(real, noise * rng.standard_normal(shape)) * mask[..., None]
    if channels > 1:
        others = noise * np.sqrt(2 * rng.standard_gamma(channels - 1, shape))
        magnitude = np.hypot(magnitude, others) * mask[..., None]
    raw = np.rint(gain * magnitude).astype(np.int16)
    image = nib.Nifti1Image(raw, np.diag([2.0, 2.0, 2.0, 1.0]))
    return Series(raw, 1.0, 0.0, image, None), mask
