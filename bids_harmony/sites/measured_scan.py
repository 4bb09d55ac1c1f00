"""What a site's profile keeps of one scan, before scans are averaged."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from bids_harmony.imaging.landmarks import landmarks
from bids_harmony.imaging.slices import cut_stack
from bids_harmony.imaging.texture import texture
from bids_harmony.resources import at_once
from bids_harmony.sites.scan_measures import DETAIL_BANDS
from bids_harmony.sites.tissue_profile import TissueProfile, tissue_profile

if TYPE_CHECKING:
    import torch

    from bids_harmony.model.encoder import Encoder

__all__ = [
    "CODE_STEP",
    "QUANTILES",
    "MeasuredScan",
    "encode_heights",
    "mean_detail",
    "measure_scan",
]

Array = np.ndarray

#: One code for this many slices; anatomy changes little over 8 to 12 mm.
CODE_STEP = 6
#: Slices that are encoded at once: the feature maps of few stay in the processor's cache.
_AT_ONCE = 4
#: Levels of the intensity quantiles in a profile.
QUANTILES = np.linspace(0, 100, 101)


@dataclass(frozen=True, eq=False)
class MeasuredScan:
    """A scaled scan on the reference grid with its measures.

    Attributes
    ----------
    label : str
    data : (X, Y, Z) float32
    mask : (X, Y, Z) bool
    scale : float
        q, in stored units.
    landmarks : (11,) float64
    quantiles : (101,) float64
        Intensity quantiles 0 to 100 % in the mask.
    tissues : TissueProfile
        In full.
    texture : (Z, T, g, g) float32
    codes : (bins, K) float32, optional
        None where the scan was not encoded.
    """

    label: str
    data: Array
    mask: Array
    scale: float
    landmarks: Array
    quantiles: Array
    tissues: TissueProfile
    texture: Array
    codes: Array | None


def measure_scan(
    label: str,
    data: Array,
    mask: Array,
    scale: float,
    *,
    cells: int,
    voxel_mm: float,
    encoder: Encoder | None,
) -> MeasuredScan:
    """Measure a scan for a profile.

    Parameters
    ----------
    label : str
    data : (X, Y, Z) float32
        Scaled scan on the reference grid.
    mask : (X, Y, Z) bool
    scale : float
        q, in stored units.
    cells : int
        g of the g x g grid on which detail is measured.
    voxel_mm : float
        Spacing of the reference grid.
    encoder : Encoder, optional
        Without one there are no codes; encoding is the slow part.
    """
    return MeasuredScan(
        label=label,
        data=data,
        mask=mask,
        scale=scale,
        landmarks=landmarks(data, mask),
        quantiles=np.percentile(data[mask], QUANTILES),
        tissues=tissue_profile(data, mask, voxel_mm, in_full=True),
        texture=texture(data, mask, cells),
        codes=None if encoder is None else encode_heights(data, encoder),
    )


def encode_heights(data: Array, encoder: Encoder) -> Array:
    """Encode the middle slice of every height bin.

    Parameters
    ----------
    data : (X, Y, Z) float32
        Scaled scan on the reference grid.
    encoder : Encoder

    Returns
    -------
    (bins, K) float32
        Codes of empty slices included: they are the same for everyone.
    """
    import torch

    depth = data.shape[2]
    centres = np.minimum(np.arange(0, depth, CODE_STEP) + CODE_STEP // 2, depth - 1)
    stack = torch.from_numpy(np.clip(cut_stack(data, centres), 0, 1.5))
    device = next(encoder.parameters()).device

    def encode(part: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode():  # of each thread
            return encoder.code(part.to(device)).cpu()

    parts = stack.split(_AT_ONCE)
    return torch.cat(at_once(*(partial(encode, part) for part in parts))).numpy()


def mean_detail(detail: Array) -> Array:
    """Average `imaging.texture.texture` over the cells that hold brain.

    Parameters
    ----------
    detail : (Z, T, g, g) float32

    Returns
    -------
    (2,) float
        Log-energy of each of the bands of `DETAIL_BANDS`.
    """
    # Cells without brain hold the floor of the logarithm.
    seen = detail > detail.min() + 1e-3
    return np.array(
        [
            band[own].mean()
            for band, own in zip(
                np.moveaxis(detail, 1, 0)[:DETAIL_BANDS],
                np.moveaxis(seen, 1, 0)[:DETAIL_BANDS],
                strict=True,
            )
        ]
    )
