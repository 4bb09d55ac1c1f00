"""Pulse sequences: what a tissue's relaxation gives as signal.

Signal equations after Bernstein, King and Zhou 2004 (Handbook of MRI Pulse Sequences), the train
of readouts of an MPRAGE after Marques et al. 2010 (NeuroImage 49:1271).
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

    With `views`, an "mprage" is a train of so many spoiled readouts, `spacing_ms` apart, in its
    steady state; `centre` is the share of the train that lies before the centre of k-space, which
    is `inversion_ms` after the inversion. Without, the readouts are taken for one.
    """

    kind: str
    repetition_ms: float
    echo_ms: float
    inversion_ms: float = 0.0
    flip_deg: float = 90.0
    b_value: float = 0.0
    views: int = 0
    spacing_ms: float = 0.0
    centre: float = 0.5

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
        if self.kind == "mprage" and self.views:
            return density * self._train(t1, flip) * np.exp(-self.echo_ms / (0.6 * t2))
        recovered = 1 - np.exp(-self.repetition_ms / t1)
        if self.inversion_ms > 0:
            # Inversion recovery in its steady state, magnitude image.
            recovered = np.abs(
                1 - 2 * np.exp(-self.inversion_ms / t1) + np.exp(-self.repetition_ms / t1)
            )
        if self.kind == "mprage":
            return density * recovered * np.sin(flip) * np.exp(-self.echo_ms / (0.6 * t2))
        return density * recovered * np.exp(-self.echo_ms / t2)

    def _train(self, t1: Array | float, flip: Array | float) -> Array:
        """Magnitude at the centre of k-space for unit density, without the echo's decay."""
        before = round(self.centre * self.views)
        first = self.inversion_ms - before * self.spacing_ms
        last = self.repetition_ms - first - self.views * self.spacing_ms
        kept = np.cos(flip) * np.exp(-self.spacing_ms / t1)
        steady = (1 - np.exp(-self.spacing_ms / t1)) / (1 - kept)
        e_first, e_last = np.exp(-first / t1), np.exp(-last / t1)
        # From the end of one repetition to the end of the next, m becomes offset - slope m.
        slope = e_first * kept**self.views * e_last
        after_inversion = 1 - e_first
        offset = (steady + (after_inversion - steady) * kept**self.views - 1) * e_last + 1
        reached = offset / (1 + slope)
        start = after_inversion - reached * e_first
        return np.abs(np.sin(flip) * (steady + (start - steady) * kept**before))

    def attenuation(self, tissue: Tissue, along: Array | float) -> Array | float:
        """Share of the signal that diffusion weighting leaves (Stejskal and Tanner 1965).

        `along` is the squared cosine between fibres and gradient.
        """
        axial, radial = tissue.diffusivity
        # um2/ms are 1e-3 mm2/s.
        return np.exp(-1e-3 * self.b_value * (radial + (axial - radial) * along))
