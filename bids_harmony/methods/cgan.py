"""The supervised conditional GAN: plain pix2pix, slice by slice."""

from __future__ import annotations

from bids_harmony.methods.trained import SliceTranslator
from bids_harmony.model.unet import UNet

__all__ = ["CGAN"]


class CGAN(SliceTranslator):
    """pix2pix from the source to the target site (Isola et al. 2017).

    Dropout is off at test time, so that the same scan gives the same bits.
    """

    name, build, signed = "cgan", UNet, True
