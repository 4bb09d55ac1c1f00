"""Training cGAN: pix2pix from travelling subjects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional as F

from bids_harmony.model.patchgan import PatchGAN
from bids_harmony.model.unet import UNet, levels_for
from bids_harmony.sites.prepared_scans import TrainingScan
from bids_harmony.training.paired import PairedOptions, Watch, fit_pairs, pairs_of_run
from bids_harmony.training.pairs import PairedScans

if TYPE_CHECKING:
    from bids_harmony.settings import Settings

__all__ = ["CGANOptions", "fit_cgan", "train_cgan"]


@dataclass(frozen=True)
class CGANOptions(PairedOptions):
    """Options of `fit_cgan`; the defaults are those of pix2pix."""

    epochs: int = 100


def train_cgan(scans: Sequence[TrainingScan], settings: Settings, out_dir: Path) -> dict[str, Any]:
    """Train as the settings say; see `fit.fit_method`."""
    run = pairs_of_run("cgan", scans, settings, out_dir)
    options = CGANOptions(epochs=settings.training.cgan_epochs, **run.options)
    return fit_cgan(run.pairs, options, out_dir)


def fit_cgan(
    pairs: Sequence[PairedScans],
    options: CGANOptions,
    out_dir: Path,
    *,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Train pix2pix from source to target slices (Isola et al. 2017).

    One network per modality for all source sites (many to one), or with `options.per_site` one for
    each. Cross-entropy and 100 times the mean absolute difference, on slices in [-1, 1].

    Parameters
    ----------
    pairs : sequence of PairedScans
        Of travelling subjects; never of somebody who will be scored.
    options : CGANOptions
    out_dir : Path
        Gets ``model.json`` and ``model.safetensors``.
    watch : callable, optional
        As for `adversarial.fit_adversarial`.

    Returns
    -------
    dict
        The ``extra`` of ``model.json``.

    Raises
    ------
    DataError
        No pairs, or the training diverged.
    """

    def distance(made: Tensor, target: Tensor) -> tuple[Tensor, dict[str, float]]:
        difference = F.l1_loss(made, target)
        return options.l1 * difference, {"l1": float(difference.detach())}

    def build(pair: PairedScans) -> tuple[nn.Module, nn.Module, dict[str, int]]:
        generator = UNet(options.width, levels_for(pair.mask.shape[:2]))
        config = {"width": generator.width, "levels": generator.levels}
        return generator, PatchGAN(options.width), config

    return fit_pairs("cgan", pairs, options, build, distance, out_dir, signed=True, watch=watch)
