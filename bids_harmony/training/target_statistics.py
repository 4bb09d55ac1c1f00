"""Channel statistics of targets, encoded once: what the artefact loss compares with."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from bids_harmony.imaging.slices import cut_stack
from bids_harmony.model.encoder import Encoder
from bids_harmony.sites.prepared_scans import PreparedScan
from bids_harmony.training.losses import channel_statistics

__all__ = ["ChannelStatistics", "TargetStatistics", "together"]

Array = np.ndarray
#: Means and standard deviations per encoder tap, (n, C) each.
ChannelStatistics = list[tuple[Tensor, Tensor]]
#: Slices whose statistics are kept; with the widest encoder that is 150 MB.
_KEPT = 20_000


class TargetStatistics:
    """Statistics of slices and of sites, computed when first asked for.

    Parameters
    ----------
    encoder : Encoder
    kept : int
        Slices that are remembered at most.
    """

    def __init__(self, encoder: Encoder, kept: int = _KEPT) -> None:
        self.encoder, self.kept = encoder, kept
        self.slices: dict[tuple[str, int], ChannelStatistics] = {}
        self._sites: dict[tuple[str, str, int], ChannelStatistics] = {}

    def of_slices(self, scan: PreparedScan, heights: Iterable[int]) -> ChannelStatistics:
        """ChannelStatistics of slices of a scan, one row per height."""
        wanted = [int(k) for k in heights]
        known = {k: self.slices.get((scan.label, k)) for k in wanted}
        found = {k: statistics for k, statistics in known.items() if statistics is not None}
        # One by one: the last bits of a convolution depend on what else is in its batch, and a
        # training that was cut off draws in another order.
        for k in (k for k in known if k not in found):
            found[k] = self.slices[scan.label, k] = self._encode(scan, k)
        while len(self.slices) > self.kept:
            self.slices.pop(next(iter(self.slices)))
        return together([found[k] for k in wanted])

    def of_site(self, scans: Sequence[PreparedScan], heights: Iterable[int]) -> ChannelStatistics:
        """Mean statistics of a site's scans of one modality, one row per height."""
        rows = []
        for k in heights:
            key = scans[0].site, scans[0].modality, int(k)
            if key not in self._sites:
                statistics = together(
                    [self.of_slices(s, s.nearest(np.array([int(k)]))) for s in scans]
                )
                self._sites[key] = [(m.mean(0, True), s.mean(0, True)) for m, s in statistics]
            rows.append(self._sites[key])
        return together(rows)

    @torch.no_grad()
    def _encode(self, scan: PreparedScan, height: int) -> ChannelStatistics:
        stack = torch.from_numpy(cut_stack(scan.data, [height])).clamp(0, 1)
        device = next(self.encoder.parameters()).device
        taps = [channel_statistics(tap) for tap in self.encoder.features(stack.to(device))]
        return [(mean.cpu(), std.cpu()) for mean, std in taps]


def together(statistics: Sequence[ChannelStatistics]) -> ChannelStatistics:
    """Rows of several statistics in one."""
    return [
        (
            torch.cat([statistics[t][0] for statistics in statistics]),
            torch.cat([statistics[t][1] for statistics in statistics]),
        )
        for t in range(len(statistics[0]))
    ]
