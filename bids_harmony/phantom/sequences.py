"""Pulse sequences: what a tissue's relaxation gives as signal.

Signal equations after Bernstein, King and Zhou 2004 (Handbook of MRI Pulse Sequences).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bids_harmony.phantom.anatomy import Tissue

__all__ = ["Sequence"]

Array = np.ndarray


@dataclass(frozen=True)
class Sequence:
    """One pulse sequence; times in ms, flip angle in degrees.

    `kind` is "mprage" (inversion-prepared), "spgr" (spoiled gradient echo), "tse"
    (spin echo, with an inversion when `inversion_ms` is above 0) or "epi" (spin echo, with
    diffusion weighting `b_value` in s/mm2, which vendors store without an intensity curve).
    """

    kind: str
    repetition_ms: float
    echo_ms: float
    inversion_ms: float = 0.0
    flip_deg: float = 90.0
    b_value: float = 0.0

    def signal(
        self,
        t1: Array | float,
        t2: Array | float,
        density: Array | float,
        flip_factor: Array | float,
    ) -> Array:
        """Evaluate the signal equation; relaxation times in ms, result in arbitrary units."""
        flip = np.deg2rad(self.flip_deg) * flip_factor
        if self.kind == "spgr":
            e1 = np.exp(-self.repetition_ms / t1)
            steady = np.sin(flip) * (1 - e1) / (1 - np.cos(flip) * e1)
            return density * steady * np.exp(-self.echo_ms / (0.6 * t2))
        recovered = 1 - np.exp(-self.repetition_ms / t1)
        if self.inversion_ms > 0:
            # Inversion recovery in its steady state, magnitude image.
            recovered = np.abs(
                1 - 2 * np.exp(-self.inversion_ms / t1) + np.exp(-self.repetition_ms / t1)
            )
        if self.kind == "mprage":
            return density * recovered * np.sin(flip) * np.exp(-self.echo_ms / (0.6 * t2))
        return density * recovered * np.exp(-self.echo_ms / t2)

    def attenuation(self, tissue: Tissue, along: Array | float) -> Array | float:
        """Share of the signal that diffusion weighting leaves (Stejskal and Tanner 1965).

        `along` is the squared cosine between fibres and gradient.
        """
        axial, radial = tissue.diffusivity
        # um2/ms are 1e-3 mm2/s.
        return np.exp(-1e-3 * self.b_value * (radial + (axial - radial) * along))
