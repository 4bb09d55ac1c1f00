"""Rows of the low field: four patients at 0.055 T, each against the same patient at 3 T."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from real_door import Door, unchanged
from real_measures import linear
from real_slices import Scan, ulf_scans
from tqdm import tqdm

from bids_harmony.imaging.landmarks import landmark_map, landmarks
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.methods.histogram import match_distribution
from bids_harmony.quality.image_metrics import gain_free_rmse, psnr, rmse
from bids_harmony.sites.measured_scan import QUANTILES

__all__ = ["ulf_rows"]

Array = np.ndarray
Row = dict[str, Any]

#: Of the array interface; maps of intensity alone are applied to every contrast.
METHODS = ("histogram-tissue", "histogram-relative", "ihf")
#: Diffusion-weighted slices, b0 and b1, have no modality of the array interface.
MODALITIES = ("T1w", "T2w", "FLAIR")
CONTRASTS = (*MODALITIES, "b0", "b1")


def ulf_rows(voxel_mm: float, seed: int) -> Iterator[Row]:
    """One row per contrast, method and what is known of the target; means over people."""
    grid = reference_grid(voxel_mm)
    for contrast in tqdm(CONTRASTS, "low field"):
        pairs = [(_unit(low), _unit(high)) for low, high in ulf_scans(contrast, grid)]
        images: dict[tuple[str, str], list[Array]] = {}
        for number, pair in enumerate(pairs):
            others = pairs[:number] + pairs[number + 1 :]
            for known, made in (("other people", others), ("the target scan itself", [pair])):
                for method, image in _by_intensity(pair[0], made).items():
                    images.setdefault((method, known), []).append(image)
            images.setdefault(("none", "nothing"), []).append(pair[0].data)
            per_slice = _linear_per_slice(*pair)
            images.setdefault(("linear-per-slice", "the target scan itself"), []).append(per_slice)
        taken = contrast in MODALITIES
        if taken:
            for key, made in _ulf_by_door(contrast, pairs, voxel_mm).items():
                images[key] = made
        for (method, known), made in images.items():
            scores = [_score(i, high) for i, (_, high) in zip(made, pairs, strict=True)]
            same = [unchanged(i, low) for i, (low, _) in zip(made, pairs, strict=True)]
            yield {
                "set": "ulf", "modality": contrast, "method": method, "n": len(pairs),
                "target_known_from": known,
                **{k: float(np.mean([s[k] for s in scores])) for k in scores[0]},
                "rmse_by_person": [round(s["rmse"], 4) for s in scores],
                "left_unchanged": sum(same) if method in METHODS else None,
            }  # fmt: skip
        yield _ulf_head(contrast, voxel_mm)
        if not taken:
            for method in METHODS:
                yield {
                    "set": "ulf", "modality": contrast, "method": method, "n": 0,
                    "note": "not applied: the array interface takes T1w, T2w and FLAIR",
                }  # fmt: skip


def _ulf_by_door(
    contrast: str, pairs: Sequence[tuple[Scan, Scan]], voxel_mm: float
) -> dict[tuple[str, str], list[Array]]:
    door = Door(contrast, voxel_mm)
    ready = [tuple(door.ready(scan) for scan in pair) for pair in pairs]
    images: dict[tuple[str, str], list[Array]] = {}
    for number, (own, twin) in enumerate(ready):
        others = [pair for k, pair in enumerate(ready) if k != number]
        low = door.site("0.055T", [pair[0] for pair in others])
        sides = {
            "other people": (low, door.site("3T", [pair[1] for pair in others])),
            "the target scan itself": (door.site("0.055T", [own]), door.site("3T", [twin])),
        }
        for known, (source, target) in sides.items():
            for method in METHODS:
                made = door.harmonize(method, own, source, target)
                images.setdefault((method, known), []).append(made)
    return images


def _by_intensity(low: Scan, pairs: Sequence[tuple[Scan, Scan]]) -> dict[str, Array]:
    """Maps of intensity alone, learnt from pairs of scans."""
    goals = [(high.data, high.mask) for _, high in pairs]
    wanted = np.mean([landmarks(data, mask) for data, mask in goals], axis=0)
    spread = np.mean([np.percentile(data[mask], QUANTILES) for data, mask in goals], axis=0)
    return {
        "histogram": landmark_map(low.data, landmarks(low.data, low.mask), wanted),
        "histogram-cdf": match_distribution(low.data, low.mask, spread),
        "linear": linear(
            low.data,
            np.concatenate([one.data[one.mask] for one, _ in pairs]),
            np.concatenate([other.data[other.mask] for _, other in pairs]),
        ),
    }


def _linear_per_slice(low: Scan, high: Scan, where: Array | None = None) -> Array:
    where = low.mask if where is None else where
    planes = [
        linear(a, a[inside], b[inside])
        for a, b, inside in (
            (low.data[..., k], high.data[..., k], where[..., k]) for k in range(len(low.heights))
        )
    ]
    return np.stack(planes, axis=2)


def _ulf_head(contrast: str, voxel_mm: float) -> Row:
    """The reference of the data's page: all voxels of the head, one line per slice."""
    scores = []
    for low, high in ulf_scans(contrast, reference_grid(voxel_mm)):
        assert low.head is not None
        low, high = (_unit(replace(scan, mask=low.head)) for scan in (low, high))
        scores.append(_score(_linear_per_slice(low, high), high))
    return {
        "set": "ulf", "modality": contrast, "method": "linear-per-slice", "n": len(scores),
        "target_known_from": "the target scan itself", "voxels": "whole head",
        **{k: float(np.mean([s[k] for s in scores])) for k in scores[0]},
    }  # fmt: skip


def _unit(scan: Scan) -> Scan:
    return replace(scan, data=scan.data / np.float32(np.percentile(scan.data[scan.mask], 99.5)))


def _score(image: Array, goal: Scan) -> dict[str, float]:
    """Both in units of the 99.5th percentile; the image's unit is the method's own affair."""
    return {
        "rmse": rmse(goal.data, image, mask=goal.mask),
        "rmse_gain_free": gain_free_rmse(goal.data, image, mask=goal.mask),
        "psnr_db": psnr(goal.data, image, data_range=1.0, mask=goal.mask),
    }
