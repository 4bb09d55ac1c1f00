"""Is the site gone, and is the person still there? Probe, fingerprint, tissues, lesions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm
from travelling_cohort import TARGET, Case, Group, Plan, cases
from travelling_methods import apply
from travelling_people import people_of
from travelling_run import Work

from bids_harmony.imaging.reference import reference_grid, reference_tissues
from bids_harmony.imaging.tissues import segment_tissues
from bids_harmony.quality.site_probe import mask_features, scan_features, site_probes
from lab.boundaries import boundary_displacement_mm, tissue_boundaries
from lab.fingerprint import fingerprint
from lab.lesions import Lesion, contrast_kept, insert_lesion, place_lesion
from lab.tissue_scores import (
    dice_per_class,
    tissue_densities,
    volume_change,
)

__all__ = ["density_curves", "proofs"]

Array = np.ndarray
Models = Mapping[str, tuple[str, Path]]

#: What T1 and T2 are multiplied by in a lesion that scanners see.
_LESION_TIMES = (1.6, 1.8)
#: Of a painted one, relative to the white matter round it: dark in T1w, bright in T2w.
_LESION = {"T1w": -0.35, "T2w": 0.5}


def proofs(plan: Plan, work: Work, models: Models, modality: str) -> list[dict[str, Any]]:
    """Rows of all proofs for raw, blurred and harmonized images of the test people.

    Parameters
    ----------
    plan : Plan
        With many test people: the probe is trained anew on each method's outputs.
    work : Work
    models : mapping of row name to (method, model folder)
    modality : str
    """
    people = people_of(plan, work.folder)["test"]
    found = list(cases(plan, people, sites=plan.sources, modality=modality))
    outputs = {
        name: [
            apply(case, model)
            for case in tqdm(found, f"{name} {modality}", unit="scan", disable=None)
        ]
        for name, model in models.items()
    }
    rows = _site_probes(found, outputs, plan)
    rows += _fingerprints(found, outputs, plan)
    rows += _tissues(found, outputs, plan)
    rows += _lesions(found, models, plan)
    return [row | {"modality": modality, "fields": plan.fields, "seed": plan.seed} for row in rows]


def _site_probes(
    found: Sequence[Case], outputs: Mapping[str, Sequence[Array]], plan: Plan
) -> list[dict[str, Any]]:
    sites, subjects = [c.site for c in found], [c.subject for c in found]
    mm = plan.voxel_mm
    masks = [case.prepared.mask for case in found]
    features = {
        name: np.stack([scan_features(d, m, mm) for d, m in zip(images, masks, strict=True)])
        for name, images in outputs.items()
    }
    features["head shape"] = np.stack([mask_features(mask, mm) for mask in masks])
    rows = []
    for name, table in features.items():
        for classifier in ("linear", "kernel"):
            (result,) = site_probes(
                table, sites, subjects, seed=plan.seed, classifiers=(classifier,)
            )
            rows.append({"proof": "probe", "method": name, **asdict(result)})
    return rows


def _fingerprints(
    found: Sequence[Case], outputs: Mapping[str, Sequence[Array]], plan: Plan
) -> list[dict[str, Any]]:
    """Every output is looked up among the people's scans at the target."""
    gallery = {case.subject: case.target_scan for case in found}
    common = np.logical_and.reduce([case.prepared.mask for case in found])
    rows = []
    for name, images in outputs.items():
        result = fingerprint(
            images, list(gallery.values()), [c.subject for c in found], list(gallery), common,
            plan.voxel_mm,
        )  # fmt: skip
        rows.append(
            {"proof": "fingerprint", "method": name, "rate": result.rate,
             "chance": result.chance, "margin": result.margin, "n": result.n}
        )  # fmt: skip
    return rows


def _tissues(
    found: Sequence[Case], outputs: Mapping[str, Sequence[Array]], plan: Plan
) -> list[dict[str, Any]]:
    """Segment source and output alike and compare; three scans of each person."""
    template = reference_tissues(reference_grid(plan.voxel_mm))
    picked = [i for i, case in enumerate(found) if plan.sources.index(case.site) % 3 == 0]
    before = {
        i: segment_tissues(found[i].prepared.data, found[i].prepared.mask, template)
        for i in picked
    }
    rows = []
    for name, images in outputs.items():
        own = []
        for i in picked:
            mask = found[i].prepared.mask
            after = segment_tissues(images[i], mask, template)
            truth = np.where(mask, found[i].fractions.argmax(0) + 1, 0).astype(after.labels.dtype)
            borders = tissue_boundaries(before[i].probabilities)
            moved = tissue_boundaries(after.probabilities)
            row = {
                f"dice_{k}": v for k, v in dice_per_class(before[i].labels, after.labels).items()
            }
            row |= {f"dice_truth_{k}": v for k, v in dice_per_class(truth, after.labels).items()}
            volumes = volume_change(before[i].labels, after.labels)
            row |= {f"volume_change_{k}": v for k, v in volumes.items()}
            for name_of, border in borders.items():
                distance = boundary_displacement_mm(border, moved[name_of], plan.voxel_mm)
                row[f"boundary_{name_of}_mm"] = distance.mean_mm
                row[f"boundary_{name_of}_p95_mm"] = distance.p95_mm
            own.append(row)
        means = {key: float(np.mean([row[key] for row in own])) for key in own[0]}
        rows.append({"proof": "tissues", "method": name, "scans": len(own), **means})
    return rows


def _lesions(found: Sequence[Case], models: Models, plan: Plan) -> list[dict[str, Any]]:
    """Is a lesion as strong as the target would show it?

    Two kinds: one of longer T1 and T2 in the simulated person, whom both scanners see; and one
    painted into source and twin with the same contrast, which no scanner would show so.
    """
    picked = [c for c in found if plan.sources.index(c.site) % 3 == 0]
    sick: list[tuple[str, Case, Lesion]] = []
    for number, case in enumerate(picked):
        lesion = place_lesion(case.fractions[1] > 0.9, plan.voxel_mm, seed=number)
        sick.append(("relaxation", _with_lesion(case, lesion, plan), lesion))
        contrast = _LESION[case.modality]
        painted = insert_lesion(case.prepared.data, lesion, contrast)
        twin = insert_lesion(case.twin, lesion, contrast)
        prepared = replace(case.prepared, data=painted)
        sick.append(("painted", replace(case, prepared=prepared, twin=twin), lesion))
    rows = []
    for name, model in models.items():
        for kind in ("relaxation", "painted"):
            kept = [
                asdict(
                    contrast_kept(
                        case.prepared.data, apply(case, model), lesion, case.prepared.mask,
                        case.twin,
                    )
                )
                for own, case, lesion in sick
                if own == kind
            ]  # fmt: skip
            means = {
                key: float(np.mean([row[key] for row in kept]))
                for key, value in kept[0].items()
                if isinstance(value, float)
            }
            rows.append(
                {"proof": "lesion", "method": name, "lesion": kind, "scans": len(kept), **means}
            )
    return rows


def _with_lesion(case: Case, lesion: Lesion, plan: Plan) -> Case:
    """The same scans of the same person, with a lesion of longer T1 and T2."""
    person = case.person
    t1, t2 = (1 + (times - 1) * lesion.profile for times in _LESION_TIMES)
    sick = replace(
        person,
        t1_factor=(person.t1_factor * t1).astype(np.float32),
        t2_factor=(person.t2_factor * t2).astype(np.float32),
    )
    group = Group((sick,), (case.kind,))
    (scanned,) = cases(plan, group, sites=[case.site], modality=case.modality)
    return scanned


def density_curves(plan: Plan, work: Work, models: Models, modality: str) -> dict[str, Any]:
    """Intensity densities of every source before and after, and of the target (brain, 0 to 1.2).

    One curve a site: the mean over the test people.
    """
    people = people_of(plan, work.folder)["test"]
    grid = np.linspace(0, 1.2, 121)

    def density(data: Array, mask: Array) -> Array:
        scaled = data / np.percentile(data[mask], 99.5)
        return tissue_densities(scaled, mask.astype(np.uint8), grid)["brain"]

    before: dict[str, list[Array]] = {}
    after: dict[str, list[Array]] = {}
    target = []
    for case in cases(plan, people, sites=plan.sources, modality=modality):
        mask = case.prepared.mask
        before.setdefault(case.site, []).append(density(case.prepared.data, mask))
        after.setdefault(case.site, []).append(density(apply(case, models["ihf"]), mask))
        target.append(density(case.target_scan, mask))

    def means(table: Mapping[str, list[Array]]) -> dict[str, list[float]]:
        return {site: _rounded(np.mean(v, axis=0)) for site, v in table.items()}

    return {
        "site": TARGET,
        "grid": _rounded(grid),
        "target": _rounded(np.mean(target, axis=0)),
        "before": means(before),
        "after": means(after),
    }


def _rounded(values: Array) -> list[float]:
    return [round(float(v), 4) for v in values]
