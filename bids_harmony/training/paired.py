"""Fitting the methods for one target site: SSIMH, and cGAN and SiMix from travelling subjects.

Arrays in, a model folder out. The folder still needs the site profiles, which all methods share
(`profile_files.write_profiles`); `fit.fit_method` writes both.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bids_harmony import __version__
from bids_harmony.exceptions import DataError
from bids_harmony.imaging.spectrum import CORNER, low_frequencies
from bids_harmony.model.encoder import Encoder
from bids_harmony.model.fitted_files import write_fitted
from bids_harmony.model.patchgan import PatchGAN, start_normal
from bids_harmony.model.resnet import RESNET_BLOCKS, ResNetGenerator
from bids_harmony.model.unet import UNet, levels_for
from bids_harmony.revisions import revisions_of
from bids_harmony.sites.prepared_scans import PreparedScan
from bids_harmony.training.adversarial import AdversarialSchedule, fit_adversarial
from bids_harmony.training.pairs import PairedScans, PairedSlices
from bids_harmony.training.perceptual import PerceptualDistance

__all__ = ["CGANOptions", "PairedScans", "SiMixOptions", "fit_cgan", "fit_simix", "fit_ssimh"]

_LOGGER = logging.getLogger(__name__)
_PUBLISHED_WIDTH = 64

Distance = Callable[[Tensor, Tensor], tuple[Tensor, dict[str, float]]]


@dataclass(frozen=True)
class _AdversarialOptions:
    """What cGAN and SiMix share.

    Attributes
    ----------
    target_site : str
    epochs : int
        With constant rate, and as many again with the rate falling to 0; an epoch shows every
        slice once.
    max_steps : int
        Bound on the steps of each network, one slice a step; 0 for none. The rate falls over the
        second half of what is left.
    max_seconds : float
        Bound on the wall clock of each network.
    width : int
        Filters of the first layer of both networks; 64 as published.
    per_site : bool
        One network per source site instead of one for all.
    l1 : float
        Weight of the mean absolute difference.
    learning_rate : float
        Of Adam with beta1 = 0.5.
    checkpoint_seconds : float
    seed : int
    device : str
    """

    target_site: str
    epochs: int
    max_steps: int = 0
    max_seconds: float = math.inf
    width: int = _PUBLISHED_WIDTH
    per_site: bool = False
    l1: float = 100.0
    learning_rate: float = 2e-4
    checkpoint_seconds: float = 300.0
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True)
class CGANOptions(_AdversarialOptions):
    """Options of `fit_cgan`; the defaults are those of pix2pix."""

    epochs: int = 100


@dataclass(frozen=True)
class SiMixOptions(_AdversarialOptions):
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


def fit_cgan(pairs: Sequence[PairedScans], options: CGANOptions, out_dir: Path) -> dict[str, Any]:
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

    return _fit("cgan", pairs, options, build, distance, out_dir, {})


def fit_simix(
    pairs: Sequence[PairedScans],
    options: SiMixOptions,
    out_dir: Path,
    *,
    encoder: Encoder,
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

    about: dict[str, Any] = {
        "perceptual": {"features": perceptual.name, "sha256": encoder.sha256},
        "departures": [],
    }
    if options.perceptual and not perceptual.published:
        about["departures"].append(f"perceptual distance by {perceptual.name}, not VGG-16 relu2_2")
    return _fit("simix", pairs, options, build, distance, out_dir, about)


def fit_ssimh(
    scans: Sequence[PreparedScan],
    target_site: str,
    out_dir: Path,
    *,
    corner: int = CORNER,
    seed: int = 0,
) -> dict[str, Any]:
    """Keep the low frequencies of one training scan of the target site (Guan et al. 2022).

    Parameters
    ----------
    scans : sequence of PreparedScan
        Scaled, on one reference grid; the reference is drawn from those of the target site.
    target_site : str
    out_dir : Path
    corner : int
        b: the b x b lowest frequencies of every slice are the target's.
    seed : int

    Returns
    -------
    dict
        The ``extra`` of ``model.json``.

    Raises
    ------
    DataError
        No scan of the target site.
    """
    groups: dict[str, list[PreparedScan]] = {}
    for scan in sorted(scans, key=lambda s: s.label):
        if scan.site == target_site:
            groups.setdefault(scan.modality, []).append(scan)
    if not groups:
        raise DataError(
            "There is no reference scan",
            expected=f"a training scan of the target site {target_site}",
            got="sites " + (", ".join(sorted({s.site for s in scans})) or "none"),
        )
    chosen = {
        kind: group[int(np.random.default_rng([seed, n]).integers(len(group)))]
        for n, (kind, group) in enumerate(sorted(groups.items()))
    }
    extra = {
        "version": __version__,
        "seed": seed,
        "target_site": target_site,
        "corner": corner,
        "references": {kind: scan.label for kind, scan in chosen.items()},
    }
    tensors = {
        kind: torch.from_numpy(low_frequencies(scan.data, corner)) for kind, scan in chosen.items()
    }
    return write_fitted(out_dir, "ssimh", tensors, extra)["extra"]


def _fit(
    method: str,
    pairs: Sequence[PairedScans],
    options: CGANOptions | SiMixOptions,
    build: Callable[[PairedScans], tuple[nn.Module, nn.Module, dict[str, int]]],
    distance: Distance,
    out_dir: Path,
    about: dict[str, Any],
) -> dict[str, Any]:
    """Train a network for every group of pairs and write the model folder."""
    if not pairs:
        raise DataError("There are no pairs to learn from", where=method, got="none")
    tensors: dict[str, Tensor] = {}
    networks: list[dict[str, Any]] = []
    checkpoints = []
    departures = set(about.pop("departures", []))
    for number, (modality, site, group) in enumerate(_groups(pairs, options.per_site)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            generator, discriminator, config = build(group[0])
            start_normal(generator)
            start_normal(discriminator)
        slices = PairedSlices(
            group,
            multiple=int(generator.multiple),  # type: ignore[arg-type]
            signed=method == "cgan",
            seed=options.seed,
            mixing=getattr(options, "mixing", 0.0),
        )
        published = 2 * options.epochs * len(slices)
        steps = min(published, options.max_steps or published)
        checkpoints.append(out_dir / f"{method}-{number}_checkpoint.safetensors")
        _LOGGER.info("%s: %d steps on %d slices of %s", method, steps, len(slices), modality)
        rows = fit_adversarial(
            generator,
            discriminator,
            slices.draw,
            distance,
            AdversarialSchedule(
                steps, options.learning_rate, options.max_seconds, options.checkpoint_seconds
            ),
            checkpoints[-1],
            least_squares=method == "simix",
            seed=options.seed,
            fingerprint=_fingerprint(method, group, options),
            device=options.device,
        )
        if len(rows) < published:
            departures.add(f"{modality}: {len(rows)} steps of {published}")
        tensors |= {f"{number}.{name}": t for name, t in generator.state_dict().items()}
        networks.append(
            {
                "modality": modality,
                "source_site": site,
                "config": config,
                "slices": len(slices),
                "steps": len(rows),
                "l1": float(np.mean([row["l1"] for row in rows[-100:]])) if rows else None,
                "pairs": [f"{pair.subject} {pair.site}" for pair in group],
            }
        )
    if options.width != _PUBLISHED_WIDTH:
        departures.add(f"width {options.width}, not {_PUBLISHED_WIDTH}")
    extra = {
        "version": __version__,
        "seed": options.seed,
        "target_site": options.target_site,
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "options": {k: None if v == math.inf else v for k, v in asdict(options).items()},
        "networks": networks,
        # What keeps a result from standing for the published method.
        "departures": sorted(departures),
        **about,
    }
    written = write_fitted(out_dir, method, tensors, extra)["extra"]
    for path in checkpoints:
        path.unlink(missing_ok=True)
    return written


def _groups(
    pairs: Sequence[PairedScans], per_site: bool
) -> Iterator[tuple[str, str | None, list[PairedScans]]]:
    """Modality, source site (None for all) and pairs of each network."""
    groups: dict[tuple[str, str], list[PairedScans]] = {}
    for pair in pairs:
        groups.setdefault((pair.modality, pair.site if per_site else ""), []).append(pair)
    for (modality, site), group in sorted(groups.items()):
        yield modality, site or None, group


def _fingerprint(
    method: str, pairs: Sequence[PairedScans], options: CGANOptions | SiMixOptions
) -> str:
    asked = {k: str(v) for k, v in asdict(options).items() if k != "checkpoint_seconds"}
    revisions = revisions_of("training")
    content = [revisions, method, asked, [[p.subject, p.site, p.digest] for p in pairs]]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
