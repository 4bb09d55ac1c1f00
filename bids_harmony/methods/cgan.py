"""The supervised conditional GAN: plain pix2pix, slice by slice."""

from __future__ import annotations

from pathlib import Path

from bids_harmony.methods.fitted import SliceTranslator
from bids_harmony.model.unet import UNet

__all__ = ["CGAN"]


class CGAN(SliceTranslator):
    """pix2pix from the source to the target site (Isola et al. 2017).

    Dropout is off at test time, so that the same scan gives the same bits.

    Parameters
    ----------
    model_dir : Path
    device : str
    batch_size : int
        Slices per pass, 0 for what suits the device; the result does not depend on it beyond
        rounding.
    """

    def __init__(self, model_dir: Path, *, device: str = "cpu", batch_size: int = 0) -> None:
        super().__init__(
            "cgan", model_dir, UNet, signed=True, device=device, batch_size=batch_size
        )
