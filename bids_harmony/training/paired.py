"""What cGAN and SiMix share: adversarial training on pairs of travelling subjects' slices."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from bids_harmony import __version__
from bids_harmony.devices import resolve_device
from bids_harmony.exceptions import DataError
from bids_harmony.model.encoder import Encoder
from bids_harmony.model.method_files import write_method
from bids_harmony.model.patchgan import start_normal
from bids_harmony.revisions import revisions_of
from bids_harmony.sites.prepared_scans import TrainingScan
from bids_harmony.training.adversarial import AdversarialSchedule, fit_adversarial
from bids_harmony.training.pairs import PairedScans, PairedSlices, pair_scans
from bids_harmony.training.profiled_scans import profile_scans

if TYPE_CHECKING:
    from bids_harmony.settings import Settings

__all__ = ["PairedOptions", "PairedRun", "Watch", "fit_pairs", "pairs_of_run"]

_LOGGER = logging.getLogger(__name__)
_PUBLISHED_WIDTH = 64

Distance = Callable[[Tensor, Tensor], tuple[Tensor, dict[str, float]]]
#: Shown the number of steps done and the generator, see `adversarial.fit_adversarial`.
Watch = Callable[[int, nn.Module], None]


@dataclass(frozen=True)
class PairedOptions:
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
    seed: int = 0
    device: str = "cpu"


@dataclass(frozen=True, eq=False)
class PairedRun:
    """What a run has for a supervised method.

    Attributes
    ----------
    pairs : list of PairedScans
    encoder : Encoder
    options : dict
        Those of `PairedOptions` that the settings say for all supervised methods.
    """

    pairs: list[PairedScans]
    encoder: Encoder
    options: dict[str, Any]


def pairs_of_run(
    method: str, scans: Sequence[TrainingScan], settings: Settings, out_dir: Path
) -> PairedRun:
    """Write the sites' profiles and pair the scans of travelling subjects.

    Parameters
    ----------
    method : str
    scans : sequence of TrainingScan
    settings : Settings
    out_dir : Path
        Old checkpoints there are removed where they are not to be resumed.

    Raises
    ------
    DataError
        As for `fit.fit_method`.
    """
    options, target = settings.training, str(settings.target_site)
    profiled = profile_scans(method, scans, settings, out_dir)
    pairs = pair_scans(profiled.to_learn_from(), target)
    if not options.resume:
        for old in out_dir.glob(f"{method}-*_checkpoint.safetensors"):
            old.unlink()
    shared: dict[str, Any] = {
        "target_site": target,
        "max_steps": options.paired_steps,
        "max_seconds": options.train_minutes * 60 if options.train_minutes else math.inf,
        "width": options.paired_width,
        "per_site": options.paired_per_site,
        "seed": settings.random_seed,
        "device": str(resolve_device(settings.device)),
    }
    return PairedRun(pairs, profiled.encoder, shared)


def fit_pairs(
    method: str,
    pairs: Sequence[PairedScans],
    options: PairedOptions,
    build: Callable[[PairedScans], tuple[nn.Module, nn.Module, dict[str, int]]],
    distance: Distance,
    out_dir: Path,
    *,
    signed: bool = False,
    mixing: float = 0.0,
    least_squares: bool = False,
    departures: Sequence[str] = (),
    about: Mapping[str, Any] = MappingProxyType({}),
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Train a network for every group of pairs and write the model folder.

    Parameters
    ----------
    method : str
    pairs : sequence of PairedScans
    options : PairedOptions
    build : callable
        Generator, discriminator and the generator's ``config`` for slices as those of a pair.
    distance : callable
        Loss of a result beside the adversarial one, and numbers for the log.
    out_dir : Path
        Gets ``model.json`` and ``model.safetensors``.
    signed : bool
        Networks see [-1, 1] instead of [0, 1].
    mixing : float
        A of SiMix's mixing of sources with their targets.
    least_squares : bool
        Adversarial loss; cross-entropy otherwise.
    departures : sequence of str
        What keeps the result from standing for the published method, beside what is seen here.
    about : mapping
        More of the record.
    watch : callable, optional
        As for `adversarial.fit_adversarial`, of every network.

    Returns
    -------
    dict
        The ``extra`` of ``model.json``.

    Raises
    ------
    DataError
        No pairs, or the training diverged.
    """
    if not pairs:
        raise DataError("There are no pairs to learn from", where=method, got="none")
    tensors: dict[str, Tensor] = {}
    networks: list[dict[str, Any]] = []
    checkpoints = []
    departed = set(departures)
    for number, (modality, site, group) in enumerate(_groups(pairs, options.per_site)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(options.seed)
            generator, discriminator, config = build(group[0])
            start_normal(generator)
            start_normal(discriminator)
        slices = PairedSlices(
            group,
            multiple=int(generator.multiple),  # type: ignore[arg-type]
            signed=signed,
            seed=options.seed,
            mixing=mixing,
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
            AdversarialSchedule(steps, options.learning_rate, options.max_seconds),
            checkpoints[-1],
            least_squares=least_squares,
            seed=options.seed,
            fingerprint=_fingerprint(method, group, options),
            device=options.device,
            watch=watch,
        )
        if len(rows) < published:
            departed.add(f"{modality}: {len(rows)} steps of {published}")
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
        departed.add(f"width {options.width}, not {_PUBLISHED_WIDTH}")
    extra = {
        "version": __version__,
        "seed": options.seed,
        "target_site": options.target_site,
        "versions": {"torch": torch.__version__, "numpy": np.__version__},
        "options": {k: None if v == math.inf else v for k, v in asdict(options).items()},
        "networks": networks,
        # What keeps a result from standing for the published method.
        "departures": sorted(departed),
        **about,
    }
    written = write_method(out_dir, method, tensors, extra)["extra"]
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


def _fingerprint(method: str, pairs: Sequence[PairedScans], options: PairedOptions) -> str:
    asked = {k: str(v) for k, v in asdict(options).items()}
    content = [
        revisions_of("training"),
        method,
        asked,
        [[p.subject, p.site, p.digest] for p in pairs],
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
