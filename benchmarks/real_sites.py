"""Rows of several sites of other people each: three hospitals, four institutions."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from real_door import Door, unchanged
from real_measures import tissue_ratios, tumour_contrast, within_sites
from real_slices import Scan, halves, ixi_scans, lgg_scans
from tqdm import tqdm

from bids_harmony.api.profile import SiteProfile
from bids_harmony.api.ready import Ready
from bids_harmony.exceptions import BidsHarmonyError
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.quality.site_effect import site_effect
from bids_harmony.quality.site_probe import mask_features, scan_features, site_probes

__all__ = ["ixi_rows", "lgg_rows"]

Array = np.ndarray
Row = dict[str, Any]
Ratios = Mapping[str, Mapping[str, float]]

#: Of the array interface.
METHODS = ("histogram", "histogram-relative", "ihf")
_ANOVA = {"gm_wm": "anova_p", "csf_wm": "anova_p_csf_wm", "noise": "anova_p_noise"}


@dataclass(frozen=True, eq=False)
class Cohort:
    """Scans of several sites, of which each half is known from the other half's people."""

    scans: list[Scan]
    voxel_mm: float

    @cached_property
    def door(self) -> Door:
        """The array interface for the scans' modality."""
        return Door(self.scans[0].modality, self.voxel_mm)

    @cached_property
    def ready(self) -> dict[str, Ready]:
        """By person; who is refused is told and left out."""
        found = {}
        for scan in self.scans:
            try:
                found[scan.person] = self.door.ready(scan)
            except BidsHarmonyError as error:
                print(f"{scan.person} is refused: {error}")
        return found

    @cached_property
    def sites(self) -> dict[tuple[str, int], SiteProfile]:
        """By site and the half that may use it, of which nobody is in it."""
        half = halves(self.scans)
        names = sorted({s.site for s in self.scans})
        return {
            (name, use): self.door.site(
                name,
                [
                    self.ready[s.person] for s in self.scans
                    if s.site == name and half[s.person] != use and s.person in self.ready
                ],
            )
            for name in names for use in (0, 1)
        }  # fmt: skip

    def harmonized(self, method: str, target: str) -> tuple[list[Scan], int]:
        """Every scan at the target, and how many scans of other sites were left as they were."""
        half, made, left = halves(self.scans), [], 0
        for scan in self.scans:
            if method == "none" or scan.site == target or scan.person not in self.ready:
                made.append(scan)
                continue
            own, goal = (self.sites[site, half[scan.person]] for site in (scan.site, target))
            data = self.door.harmonize(method, self.ready[scan.person], own, goal)
            left += unchanged(data, scan)
            made.append(replace(scan, data=data))
        return made, left


def ixi_rows(voxel_mm: float, seed: int) -> Iterator[Row]:
    """One row per contrast, method and target hospital."""
    grid, kept = reference_grid(voxel_mm), {}
    for modality in ("T1w", "T2w"):
        cohort = Cohort(list(ixi_scans(modality, grid)), voxel_mm)
        for method, target in _ways(cohort, f"hospitals {modality}"):
            scans, left = cohort.harmonized(method, target)
            ratios = {s.person: tissue_ratios(s.data, s.mask, modality, seed=seed) for s in scans}
            kept[modality, method, target] = ratios
            yield {
                "set": "ixi", "modality": modality, "method": method, "n": len(scans),
                "target": target, **_anova(scans, ratios),
                **_probe(scans, voxel_mm, seed, before=not target),
                "left_unchanged": left if method != "none" else None,
            }  # fmt: skip
    place = {s.person: s.site for s in cohort.scans}
    before = _together(kept, "none", "")
    for modality, method, target in kept:
        if modality == "T1w":
            after = _together(kept, method, target)
            people = sorted(before)
            sites = [place[p] for p in people]
            pair = [[ratio[p] for p in people] for ratio in (before, after)]
            yield {
                "set": "ixi", "modality": "T1w/T2w", "method": method, "n": len(people),
                "target": target, "anova_p": site_effect(pair[1], sites).p,
                "ratio_t1w_t2w_kept": within_sites(*pair, sites),
                "note": "grey over white matter of T1w over that of T2w; correlation of people "
                "within hospitals, before and after",
            }  # fmt: skip


def _together(kept: Mapping[Any, Ratios], *way: str) -> dict[str, float]:
    """Grey over white matter of T1w over that of T2w, by person with both."""
    first, second = (kept[modality, *way] for modality in ("T1w", "T2w"))
    return {p: first[p]["gm_wm"] / second[p]["gm_wm"] for p in first.keys() & second.keys()}


def lgg_rows(voxel_mm: float, seed: int) -> Iterator[Row]:
    """One row per method and target institution."""
    cohort = Cohort(list(lgg_scans(reference_grid(voxel_mm))), voxel_mm)
    first = {s.person: _tumour(s) for s in cohort.scans}
    grey = {s.person: _grey(s, seed) for s in cohort.scans}
    for method, target in _ways(cohort, "institutions"):
        scans, left = cohort.harmonized(method, target)
        others = [s for s in scans if s.site != target]
        ratios = [(_tumour(s) / first[s.person], _grey(s, seed) / grey[s.person]) for s in others]
        kept, tissue = np.array([r for r in ratios if np.isfinite(r[0])]).T
        healthy = [replace(s, mask=s.mask & ~s.tumour) for s in scans if s.tumour is not None]
        yield {
            "set": "lgg", "modality": "FLAIR", "method": method, "n": len(scans),
            "target": target, **_probe(healthy, voxel_mm, seed, before=not target),
            "lesion_contrast_kept": float(np.median(kept)),
            "lesion_contrast_range": [round(float(v), 3) for v in np.quantile(kept, (0.05, 0.95))],
            "tissue_contrast_kept": float(np.median(tissue)),
            "lesion_over_tissue_kept": float(np.median(kept / tissue)),
            "tumours": len(kept),
            "tumours_within_5_percent": int(np.sum(np.abs(kept - 1) <= 0.05)),
            "left_unchanged": left if method != "none" else None,
        }  # fmt: skip


def _tumour(scan: Scan) -> float:
    assert scan.tumour is not None
    return tumour_contrast(scan.data, scan.mask, scan.tumour)


def _grey(scan: Scan, seed: int) -> float:
    """Grey over white matter outside the tumour, minus 1."""
    assert scan.tumour is not None
    rest = scan.mask & ~scan.tumour
    return tissue_ratios(scan.data, rest, "FLAIR", seed=seed)["gm_wm"] - 1


def _ways(cohort: Cohort, what: str) -> Iterator[tuple[str, str]]:
    targets = sorted({s.site for s in cohort.scans})
    yield "none", ""
    yield from tqdm([(method, target) for target in targets for method in METHODS], what)


def _probe(scans: Sequence[Scan], voxel_mm: float, seed: int, *, before: bool) -> Row:
    """The stronger of two classifiers of the site, trained on these very scans.

    They see intensities and fine detail, not the blocks of the image: slices are no one anatomy.
    """
    nothing = np.zeros_like(scans[0].mask)

    def best(features: Callable[[Scan], Array]) -> Any:
        found = site_probes(
            np.stack([features(s) for s in scans]), [s.site for s in scans],
            [s.person for s in scans], seed=seed,
        )  # fmt: skip
        return max(found, key=lambda result: result.balanced_accuracy)

    seen = best(lambda s: scan_features(s.data, s.mask, voxel_mm, within=nothing))
    return {
        "probe_accuracy": seen.balanced_accuracy,
        "probe_interval": [round(seen.low, 3), round(seen.high, 3)],
        "probe_chance": seen.chance,
    } | (
        {"probe_of_mask": best(lambda s: mask_features(s.mask, voxel_mm)).balanced_accuracy}
        if before else {}
    )  # fmt: skip


def _anova(scans: Sequence[Scan], ratios: Ratios) -> Row:
    sites = [s.site for s in scans]
    row: Row = {}
    for name, key in _ANOVA.items():
        values = np.array([ratios[s.person][name] for s in scans])
        row[key] = site_effect(values, sites).p
        row[f"{name}_by_site"] = {
            site: round(float(np.nanmean(values[np.array(sites) == site])), 4)
            for site in sorted(set(sites))
        }
    return row
