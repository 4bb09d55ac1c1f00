"""Weights side by side: where a network is better than the closed form, and where it spoils it.

    python benchmarks/weights.py --weights NAME=PATH ...

Pairs of simulated people at simulated scanners that no training drew: wide ranges and like real
ones, T1w, T2w and FLAIR at 2 mm, sites known from one to 24 people. Gain of each network over the
closed form in dB (brain-masked RMSE to the noise-free twin after the best gain), means over pairs
by what the closed form leaves, by how many people show the worse known site, and by contrast. The
mean over all pairs hides that a network may learn hard pairs and spoil easy ones. A PATH is a
model folder, or a file of weights or a checkpoint of ``benchmarks/pretrain.py``, which may be of
an earlier build that knew fewer maps; the shipped model is always among them. Writes
``benchmarks/results/weights.json`` and a table.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import provenance
from safetensors.torch import load_file
from tqdm import tqdm
from travelling_tables import markdown

from bids_harmony.io.atomic import write_atomically
from bids_harmony.methods.conditioned import Conditioned, change_volume
from bids_harmony.model.checkpoint import load_members
from bids_harmony.model.encoder import Encoder, load_encoder
from bids_harmony.model.network import IHFNetwork
from bids_harmony.model.presets import DEFAULT_PRESET, preset
from bids_harmony.model.shipped import SHIPPED_MODEL
from bids_harmony.quality.image_metrics import gain_free_rmse
from bids_harmony.training.twin_pool import TwinPlan, make_pool
from bids_harmony.training.twins import twin_pair

RESULTS = Path(__file__).resolve().parent / "results"
SEED = 91
#: Scanners and contrasts; twelve pairs each.
SETS = {"real": ("T1w", "T2w"), "wide": ("T1w", "T2w", "FLAIR")}
_PAIRS = 12
#: Borders of the groups, RMSE and people.
_LEFT, _PEOPLE = (0.0, 0.03, 0.045, 0.065, 0.09, np.inf), (1, 2, 5, np.inf)

#: Networks of one model, whose mean is applied.
Members = tuple[IHFNetwork, ...]


@dataclass(frozen=True)
class Scored:
    """One pair: what it is, what the closed form leaves, and the gain of each network in dB."""

    scanners: str
    modality: str
    people: int
    left: float
    gains: Mapping[str, float]


def main() -> None:
    """Score all weights on all pairs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--weights", nargs="*", default=[], metavar="NAME=PATH")
    options = parser.parse_args()
    torch.set_num_threads(1)
    encoder = load_encoder("mri")
    files = {"shipped": SHIPPED_MODEL}
    files |= {name: Path(path) for name, path in (w.split("=", 1) for w in options.weights)}
    networks = {name: _members(path, encoder) for name, path in files.items()}
    scored = list(_scored(networks, encoder))
    rows = [row for by, groups in _groups(scored).items() for row in _rows(by, groups)]
    record = {
        "name": "weights",
        "command": "python benchmarks/weights.py --weights NAME=PATH ...",
        "seeds": [SEED],
        **provenance(("numpy", "scipy", "torch")),
        "rows": rows,
    }
    write_atomically(RESULTS / "weights.json", (json.dumps(record, indent=1) + "\n").encode())
    write_atomically(RESULTS / "weights.md", _page(rows, list(networks)).encode())
    print(_page(rows, list(networks)))


def _members(path: Path, encoder: Encoder) -> Members:
    if path.is_dir():
        return load_members(path)[0]
    tensors = load_file(path)
    averaged = {k.split(".", 1)[1]: v for k, v in tensors.items() if k.startswith("average.")}
    weights = {k: v.float() for k, v in (averaged or tensors).items()}
    n_maps = weights["stages.0.aan.heads.maps.0.weight"].shape[1]
    network = IHFNetwork(preset(DEFAULT_PRESET, n_maps=n_maps), encoder.code_length)
    network.load_state_dict(weights)
    return (network.eval(),)


def _known(scan: Conditioned, members: Members) -> Conditioned:
    """With as many maps as the networks know."""
    assert scan.maps_source is not None and scan.maps_target is not None
    first = slice(members[0].config.aan.n_maps)
    return replace(
        scan, maps_source=scan.maps_source[:, first], maps_target=scan.maps_target[:, first]
    )


def _scored(networks: Mapping[str, Members], encoder: Encoder) -> Iterator[Scored]:
    config = preset(DEFAULT_PRESET)
    for scanners, modalities in SETS.items():
        plan = TwinPlan(
            training_people=1, profile_people=24, validation_people=4, scans_per_profile=(1, 24),
            training_scanners=1, validation_scanners=14, modalities=modalities, coded=1,
            scanners_like=scanners, seed=SEED,
        )  # fmt: skip
        pool = make_pool(plan, encoder, cells=config.aan.grid, threads=2)
        rng = np.random.default_rng(SEED)
        for number in tqdm(range(_PAIRS * len(modalities)), scanners, disable=None):
            source, target, modality = pool.draw_unseen(rng, number)
            person = pool.validation[number % len(pool.validation)]
            both = (pool.profiles[source.site, modality], pool.profiles[target.site, modality])
            scan, _, twin = twin_pair(
                person, source, target, both, int(rng.integers(1 << 40)),
                voxel_mm=plan.voxel_mm, config=config, use_closed_form=True,
            )  # fmt: skip
            unit = np.percentile(twin[scan.mask], 99.5)
            left = gain_free_rmse(twin, scan.image, mask=scan.mask) / unit
            gains = {}
            for name, members in networks.items():
                change = change_volume(members, _known(scan, members))
                made = np.maximum(scan.image + change, 0)
                error = gain_free_rmse(twin, made, mask=scan.mask) / unit
                gains[name] = 20 * float(np.log10(left / error))
            people = min(len(profile.scans) for profile in both)
            yield Scored(scanners, modality, people, float(left), gains)


def _groups(scored: list[Scored]) -> dict[str, dict[str, list[Scored]]]:
    """Pairs by what they have in common."""
    found: dict[str, dict[str, list[Scored]]] = {"closed form leaves": {}, "people": {}}
    for low, high in itertools.pairwise(_LEFT):
        name = f"{low:g} to {high:g}"
        found["closed form leaves"][name] = [s for s in scored if low <= s.left < high]
    for few, many in itertools.pairwise(_PEOPLE):
        name = f"{few:g} to {many - 1:g}" if np.isfinite(many) else f"{few:g} and more"
        found["people"][name] = [s for s in scored if few <= s.people < many]
    found["scanners and contrast"] = {
        f"{scanners} {modality}": [
            s for s in scored if (s.scanners, s.modality) == (scanners, modality)
        ]
        for scanners, modalities in SETS.items()
        for modality in modalities
    }
    return found


def _rows(by: str, groups: Mapping[str, list[Scored]]) -> Iterator[dict[str, Any]]:
    for group, own in groups.items():
        if own:
            gains = {name: [s.gains[name] for s in own] for name in own[0].gains}
            yield {
                "by": by, "group": group, "n": len(own),
                "gain_db": {k: round(float(np.mean(v)), 2) for k, v in gains.items()},
                "spoiled": {k: int(np.sum(np.array(v) < -0.1)) for k, v in gains.items()},
            }  # fmt: skip


def _page(rows: list[dict[str, Any]], names: list[str]) -> str:
    heads = ["by", "group", "pairs", *names]
    body = [
        [row["by"], row["group"], str(row["n"])]
        + [f"{row['gain_db'][name]:+.2f} ({row['spoiled'][name]})" for name in names]
        for row in rows
    ]
    about = (__doc__ or "").split("\n\n")[2].strip()
    table = "\n".join(markdown(heads, body, words=2))
    return (
        f"# Weights side by side\n\n{about}\n\nGain in dB; in brackets pairs that are worse by "
        f"more than 0.1 dB.\n\n{table}\n"
    )


if __name__ == "__main__":
    main()
