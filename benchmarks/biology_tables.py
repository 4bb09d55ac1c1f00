"""Figures of the biology benchmark: effects kept, people kept, sites gone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import biology_diffusion_data as diffusion_data
import numpy as np
from biology_apply import CEILING, TRUTH, measured_rows
from biology_measures import CONTRASTS, MEASURE_OF
from biology_people import read_cohort
from biology_volumes import MODALITY, segmented_rows

from bids_harmony.quality.effects_kept import EffectKept, effect_kept
from lab.deviations import person_correlation, site_variance

__all__ = ["tables"]

Array = np.ndarray
Row = dict[str, Any]

#: Means of their own for people of each label map where so much freedom is left: people of one
#: map look alike.
_FREE = 10
_VOLUMES = ("grey_ml", "white_ml", "csf_ml", "contrast")


@dataclass(frozen=True, eq=False)
class _Table:
    """One measure of a method in one draw.

    Attributes
    ----------
    names : tuple of str
    effects : (people, names) float
        What each person is in every effect.
    sources : tuple of str
        What each person's anatomy was made of.
    truth : (people,) float
        At the target, without noise.
    at_target : (people,) float
        Of the people's own scans at the target.
    values : (people, sites) float
    """

    names: tuple[str, ...]
    effects: Array
    sources: tuple[str, ...]
    truth: Array
    at_target: Array
    values: Array


def tables(folders: Mapping[int, Path]) -> Row:
    """All rows of the result.

    Parameters
    ----------
    folders : mapping of seed to folder of the draw

    Returns
    -------
    dict
        ``rows``: method x modality x effect over all seeds; ``seed_rows``: the same for each;
        ``contrasts``: variance of tissue contrasts between sites.
    """
    labels = sorted({p.name for f in folders.values() for p in (f / "parts").glob("*")})
    labels = [label for label in labels if label != TRUTH]
    modalities = {m: None for f in folders.values() for m in read_cohort(f)["draw"]["modalities"]}
    rows, seed_rows, contrasts = [], [], []
    for label in labels:
        for modality in modalities:
            one = _Source(folders, _measured(modality), tuple(MEASURE_OF), _effects)
            about = {"method": label, "modality": modality}
            for effect, measure in MEASURE_OF.items():
                own, seeds = _effect_rows(one, label, effect, measure)
                rows += [about | {"effect": effect, "measure": measure} | r for r in own]
                seed_rows += [about | {"effect": effect, "measure": measure} | r for r in seeds]
            contrasts += [about | r for r in _contrast_rows(one, label)]
        source = _Source(folders, cache(segmented_rows), tuple(MEASURE_OF), _effects)
        about = {"method": label, "modality": MODALITY}
        for measure in _VOLUMES:
            # Contrast of what was segmented shows grey matter's T1, volumes show atrophy.
            effect = "grey_t1" if measure == "contrast" else "atrophy"
            name = f"{effect} (segmented {measure.removesuffix('_ml')})"
            own, seeds = _effect_rows(source, label, effect, measure)
            rows += [about | {"effect": name, "measure": measure} | r for r in own]
            seed_rows += [about | {"effect": name, "measure": measure} | r for r in seeds]
    diffusion = _Source(folders, _diffusion_read, diffusion_data.EFFECTS, _white, TRUTH)
    for label in sorted({p.name for f in folders.values() for p in diffusion_data.labels(f)}):
        for name in diffusion_data.MAPS:
            for effect in diffusion_data.EFFECTS:
                about = {"method": label, "modality": name, "effect": effect, "measure": "white"}
                own, seeds = _effect_rows(diffusion, label, effect, name)
                rows += [about | r for r in own]
                seed_rows += [about | r for r in seeds]
    return {"rows": rows, "seed_rows": seed_rows, "contrasts": contrasts}


@cache
def _measured(modality: str) -> Callable[[Path, str], list[Row]]:
    """Reads measures of images, each file once."""
    return cache(lambda folder, label: list(measured_rows(folder, label, modality)))


@cache
def _diffusion_read(folder: Path, label: str) -> list[Row]:
    return list(diffusion_data.rows(folder, label))


@dataclass(frozen=True)
class _Source:
    """Where measures of a kind come from."""

    folders: Mapping[int, Path]
    read: Callable[[Path, str], list[Row]]
    names: tuple[str, ...]
    effects: Callable[[Path], dict[str, list[float]]]
    at_target: str = CEILING

    def table(self, seed: int, label: str, measure: str) -> _Table | None:
        """A measure of all people that have it at all sites; None where they are too few."""
        folder = self.folders[seed]
        cohort = read_cohort(folder)
        effects = self.effects(folder)
        sources = {p["person"]: p["source"] for p in cohort["people"]}

        def read(name: str) -> dict[tuple[str, str], float]:
            found = self.read(folder, name)
            return {(r["person"], r["site"]): r[measure] for r in found}

        ours, truth, ceiling = (read(name) for name in (label, TRUTH, self.at_target))
        sites = sorted({site for _, site in ours})
        people = [
            p
            for p in effects
            if all((p, s) in ours for s in sites)
            and any(q == p for q, _ in truth)
            and any(q == p for q, _ in ceiling)
        ]
        # A draw counts when everybody is done; only volumes are of some.
        least = 2 if measure in _VOLUMES else len(effects)
        if len(people) < max(least, 2) or not sites:
            return None
        alone = [{p: v for (p, _), v in found.items()} for found in (truth, ceiling)]
        return _Table(
            self.names,
            np.array([effects[p] for p in people]),
            tuple(sources[p] for p in people),
            *(np.array([values[p] for p in people]) for values in alone),
            np.array([[ours[p, s] for s in sites] for p in people]),
        )

    def all_tables(self, label: str, measure: str) -> dict[int, _Table]:
        """Those of all seeds that have them."""
        found = {seed: self.table(seed, label, measure) for seed in self.folders}
        return {seed: table for seed, table in found.items() if table is not None}


@cache
def _effects(folder: Path) -> dict[str, list[float]]:
    """What each person is in every effect: atrophy is the log-odds of true CSF in the brain.

    The planted share alone would leave to chance that people have wide or narrow sulci anyway.
    """
    found = {}
    for person in read_cohort(folder)["people"]:
        volumes = person["volumes_ml"]
        csf = float(np.log(volumes["csf"] / (volumes["grey"] + volumes["white"])))
        own = person["biology"] | {"atrophy": csf}
        found[person["person"]] = [own[effect] for effect in MEASURE_OF]
    return found


@cache
def _white(folder: Path) -> dict[str, list[float]]:
    """True medians of white matter of each person."""
    return {p: [*own.values()] for p, own in diffusion_data.true_medians(folder).items()}


def _effect_rows(
    source: _Source, label: str, effect: str, measure: str
) -> tuple[list[Row], list[Row]]:
    """The row over all seeds, and that of each."""
    found = source.all_tables(label, measure)
    if not found:
        return [], []
    raw = source.all_tables("none", measure)
    images = measure in MEASURE_OF.values()
    figures = source.all_tables(label, "psnr_db") if images else {}
    seeds: list[Row] = []
    for seed, table in found.items():
        row = _slopes([table], effect) | _people_and_sites(table, raw.get(seed))
        if seed in figures:
            row["psnr_db"] = _finite(float(figures[seed].values.mean()))
        seeds.append({"seed": seed, "n": len(table.truth), **row})
    pooled = _slopes(list(found.values()), effect)
    medians = {k: _median([r.get(k) for r in seeds]) for k in seeds[0] if k not in ("seed", "n")}
    ends = {k: pooled[k] for k in ("slope_kept_low", "slope_kept_high", "truth_p")}
    total = {"n": sum(r["n"] for r in seeds), "seeds": len(seeds)}
    return [medians | ends | {"slope_kept_pooled": pooled["slope_kept"]} | total], seeds


def _slopes(draws: Sequence[_Table], effect: str) -> Row:
    """Effect kept of the means over sites, whose intercepts cancel: each site has everybody."""
    names = list(draws[0].names)
    effects = np.concatenate([d.effects for d in draws])
    at = names.index(effect)
    blocks = [f"{i} {source}" for i, d in enumerate(draws) for source in d.sources]
    if len(blocks) - len(set(blocks)) - len(names) < _FREE:
        blocks = [str(i) for i, d in enumerate(draws) for _ in d.truth]
    truth = np.concatenate([d.truth for d in draws])

    def kept(after: Array) -> EffectKept:
        others = np.delete(effects, at, axis=1)
        return effect_kept(effects[:, at], truth, after, sites=blocks, others=others)

    if len(truth) < len(names) + 3 + len(draws):
        return dict.fromkeys(
            ("slope_kept", "slope_kept_low", "slope_kept_high", "truth_slope", "truth_p")
        )
    pooled = kept(np.concatenate([d.values.mean(axis=1) for d in draws]))
    sites = [
        kept(np.concatenate([d.values[:, s] for d in draws])).ratio
        for s in range(draws[0].values.shape[1])
    ]
    return {
        "slope_kept": pooled.ratio,
        "slope_kept_low": _finite(pooled.low),
        "slope_kept_high": _finite(pooled.high),
        "slope_kept_lowest_site": min(sites),
        "slope_kept_highest_site": max(sites),
        "truth_slope": pooled.slope_before,
        "truth_p": pooled.p_before,
    }


def _people_and_sites(table: _Table, raw: _Table | None) -> Row:
    with_target = np.column_stack([table.values, table.at_target])
    row: Row = {
        "person_correlation": person_correlation(table.values, table.truth),
        "site_variance_left": None,
        "site_cov": float(
            np.sqrt(np.square(with_target.std(axis=1, ddof=1)).mean()) / abs(with_target.mean())
        ),
    }
    if raw is not None and len(raw.truth) == len(table.truth):
        before = site_variance(np.column_stack([raw.values, raw.at_target]))
        row["site_variance_left"] = site_variance(with_target) / before if before else None
    return row


def _contrast_rows(source: _Source, label: str) -> list[Row]:
    """Standard deviations of tissue contrasts between sites and people."""
    rows = []
    for contrast in CONTRASTS:
        found, raw = (source.all_tables(name, contrast) for name in (label, "none"))
        seeds = []
        for seed, table in found.items():
            with_target = np.column_stack([table.values, table.at_target])
            seeds.append(
                _people_and_sites(table, raw.get(seed))
                | {"site_sd": np.sqrt(site_variance(with_target)),
                   "person_sd": float(with_target.mean(axis=1).std(ddof=1))}
            )  # fmt: skip
        if seeds:
            medians = {k: _median([r[k] for r in seeds]) for k in seeds[0] if k != "site_cov"}
            rows.append({"contrast": contrast, "seeds": len(seeds), **medians})
    return rows


def _median(values: Sequence[float | None]) -> float | None:
    known = [v for v in values if v is not None]
    return float(np.median(known)) if known else None


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
