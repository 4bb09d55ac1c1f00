"""Training SiMix: a residual generator from travelling subjects, on mixtures of their scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional as F

from bids_harmony.model.encoder import Encoder
from bids_harmony.model.patchgan import PatchGAN
from bids_harmony.model.resnet import RESNET_BLOCKS, ResNetGenerator
from bids_harmony.sites.prepared_scans import TrainingScan
from bids_harmony.training.paired import PairedOptions, Watch, fit_pairs, pairs_of_run
from bids_harmony.training.pairs import PairedScans
from bids_harmony.training.perceptual import PerceptualDistance

if TYPE_CHECKING:
    from bids_harmony.settings import Settings

__all__ = ["SiMixOptions", "fit_simix", "train_simix"]


@dataclass(frozen=True)
class SiMixOptions(PairedOptions):
    """Options of `fit_simix`; the defaults are those of its repository.

    Attributes
    ----------
    mixing : float
        A of the site mixing.
    perceptual : float
        Weight of the perceptual distance.
    blocks : int
        Residual blocks.
    """

    epochs: int = 25
    l1: float = 10.0
    mixing: float = 0.3
    perceptual: float = 1.0
    blocks: int = RESNET_BLOCKS


def train_simix(
    scans: Sequence[TrainingScan], settings: Settings, out_dir: Path
) -> dict[str, Any]:
    """Train as the settings say; see `fit.fit_method`."""
    run, asked = pairs_of_run("simix", scans, settings, out_dir), settings.training
    options = SiMixOptions(epochs=asked.simix_epochs, mixing=asked.simix_mixing, **run.options)
    return fit_simix(run.pairs, options, out_dir, encoder=run.encoder)


def fit_simix(
    pairs: Sequence[PairedScans],
    options: SiMixOptions,
    out_dir: Path,
    *,
    encoder: Encoder,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Train SiMix (Xu et al. 2024): a residual generator on sources mixed with their targets.

    Least-squares adversarial loss, 10 times the mean absolute difference, and the perceptual
    distance, on slices in [0, 1]. One network per modality for all source sites.

    Parameters
    ----------
    pairs : sequence of PairedScans
    options : SiMixOptions
    out_dir : Path
    encoder : Encoder
        A VGG-16 for the published distance; the record says what it was.
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
    perceptual = PerceptualDistance(encoder).to(options.device)

    def distance(made: Tensor, target: Tensor) -> tuple[Tensor, dict[str, float]]:
        difference = F.l1_loss(made, target)
        loss, numbers = options.l1 * difference, {"l1": float(difference.detach())}
        if options.perceptual:
            seen = perceptual(made, target)
            loss, numbers["perceptual"] = loss + options.perceptual * seen, float(seen.detach())
        return loss, numbers

    def build(pair: PairedScans) -> tuple[nn.Module, nn.Module, dict[str, int]]:
        generator = ResNetGenerator(options.width, options.blocks)
        config = {"width": generator.width, "blocks": generator.blocks}
        return generator, PatchGAN(options.width, affine=False), config

    departures = []
    if options.perceptual and not perceptual.published:
        departures.append(f"perceptual distance by {perceptual.name}, not VGG-16 relu2_2")
    return fit_pairs(
        "simix",
        pairs,
        options,
        build,
        distance,
        out_dir,
        mixing=options.mixing,
        least_squares=True,
        departures=departures,
        about={"perceptual": {"features": perceptual.name, "sha256": encoder.sha256}},
        watch=watch,
    )
