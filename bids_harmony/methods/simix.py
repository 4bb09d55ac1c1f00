"""SiMix: a supervised residual generator, shown the scan in several mixtures with its result."""

from __future__ import annotations

import numpy as np
from torch import nn

from bids_harmony.methods.trained import SliceTranslator
from bids_harmony.model.resnet import ResNetGenerator

__all__ = ["VIEWS", "SiMix"]

#: Shares a of the first result in the further views, and the weight of every view.
VIEWS = (-0.6, -0.3, 0.3, 0.6)
_WEIGHT = 0.2


class SiMix(SliceTranslator):
    """SiMix with its multi-view test (Xu et al. 2024).

    The first result y0 is mixed into the scan, clip((1 - a) x + a y0 / max y0, 0, 1), for four
    shares a; the output is the mean of all five results. The maximum is the volume's: slices keep
    their ratios. Every view starts from the first result (in the released script later views
    build on earlier ones).
    """

    name, build, signed = "simix", ResNetGenerator, False

    def translated(self, network: nn.Module, data: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Mean result of the five views of a scan in [0, 1]."""
        first = self.translate(network, data, mask)
        inside = np.where(mask, first, 0)
        peak = float(inside.max())
        # A network that gives no signal has no view to mix in.
        mixed_in = inside / np.float32(peak) if peak > 0 else inside
        result = _WEIGHT * first
        for share in VIEWS:
            view = np.clip((1 - share) * data + share * mixed_in, 0, 1).astype(np.float32)
            result += _WEIGHT * self.translate(network, view, mask)
        return result
