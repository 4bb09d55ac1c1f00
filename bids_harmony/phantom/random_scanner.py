"""Scanners drawn for training from wide ranges: what the shipped weights were trained on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bids_harmony.phantom.scanner import Scanner
from bids_harmony.phantom.sequences import Sequence

__all__ = ["random_scanner"]


def random_scanner(seed: int) -> Scanner:
    """Draw a scanner from wide ranges, for training: never one of `SITES`.

    Parameters
    ----------
    seed : int
        The same seed gives the same scanner.
    """
    rng = np.random.default_rng([seed, 0x5C])
    u = rng.uniform
    if u() < 0.65:
        t1w = Sequence("mprage", u(1600, 2700), u(2, 4.5), u(650, 1200), u(7, 16))
    else:
        t1w = Sequence("spgr", u(6, 22), u(2, 5), 0, u(17, 30))
    # A quarter of the scanners have next to no receive field: the model must also learn that.
    amplitude = 0.0 if u() < 0.15 else u(0.02, 0.26)
    scanner = Scanner(
        f"R{seed:04d}",
        "Simulated",
        "Random",
        float(rng.choice([1.5, 3.0])),
        {
            "T1w": t1w,
            "T2w": Sequence("tse", u(2200, 6500), u(70, 130)),
            "FLAIR": Sequence("tse", u(7000, 12000), u(80, 140), u(2000, 2900)),
        },
        bias_log_sd=float(amplitude),
        scan_bias=float(u(0.1, 0.4)),
        bias_seed=int(seed) + 1000,
        noise=float(u(0.01, 0.07)),
        sharpness_mm=float(u(-0.6, 1.0)),
        gamma=float(u(0.88, 1.14)),
        gain=float(np.exp(u(np.log(100), np.log(3000)))),
        flip_spread=float(u(0.0, 0.12)),
    )
    epi = Sequence("epi", u(3000, 12000), u(60, 110))
    sequences = {**scanner.sequences, "b0": epi, "dwi": replace(epi, b_value=u(700, 1300))}
    thick = float(u(1.5, 4.0)) if u() < 0.3 else 0.0
    return replace(scanner, sequences=sequences, thick_mm=thick, thick_axis=int(rng.integers(3)))
