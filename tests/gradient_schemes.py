"""Schemes and signals whose tensor is known."""

from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.diffusion.gradients import Gradients


def spread_directions(n: int, seed: int = 3) -> np.ndarray:
    """Evenly spread unit vectors on a turned half-sphere (a golden spiral)."""
    k = np.arange(n) + 0.5
    z, phi = 1 - k / n, np.pi * (1 + np.sqrt(5)) * k
    r = np.sqrt(1 - z * z)
    turn, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    bvecs = np.stack([r * np.cos(phi), r * np.sin(phi), z], axis=1) @ turn.T
    return bvecs / np.linalg.norm(bvecs, axis=1, keepdims=True)


def scheme(*shells: tuple[float, int], n_b0: int = 2) -> Gradients:
    """Gradients of b=0 volumes and shells given as (b, directions)."""
    bvals = np.concatenate([np.zeros(n_b0), *[np.full(n, float(b)) for b, n in shells]])
    directions = [spread_directions(n, seed=int(b)) for b, n in shells]
    return Gradients(bvals, np.concatenate([np.zeros((n_b0, 3)), *directions]))


def tensor_signal(gradients: Gradients, tensor: np.ndarray, s0: float = 800.0) -> np.ndarray:
    """S = S0 exp(-b g'Dg), (N,)."""
    along = np.einsum("ni,ij,nj->n", gradients.bvecs, tensor, gradients.bvecs)
    return s0 * np.exp(-gradients.bvals * along)


@pytest.fixture(scope="session")
def multishell() -> Gradients:
    """2 b=0, 12 at b=1000 and 20 at b=2500 s/mm2."""
    return scheme((1000, 12), (2500, 20))


@pytest.fixture(scope="session")
def noisy(multishell) -> tuple[np.ndarray, np.ndarray]:
    """Series (5, 4, 3, 34) float32 of random tensors with noise, and a mask with holes."""
    rng = np.random.default_rng(7)
    data = np.zeros((5, 4, 3, len(multishell.bvals)), np.float32)
    for at in np.ndindex(data.shape[:3]):
        axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        tensor = axes @ np.diag(rng.uniform(2e-4, 2e-3, 3)) @ axes.T
        signal = tensor_signal(multishell, tensor, rng.uniform(200, 1000))
        data[at] = np.abs(signal + rng.normal(0, 10, len(signal)))
    mask = rng.random(data.shape[:3]) < 0.7
    return data, mask
