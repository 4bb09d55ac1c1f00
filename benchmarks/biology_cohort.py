"""The cohort of the biology benchmark: people with planted effects, scanned at every site.

All people differ as real people do; on top of that, those who are tested have planted effects,
drawn independently of each other. Everything that a method or a measure needs is written to disk,
so that other builds of the program can be applied to the very same scans.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from anatomies import source_names
from scipy.stats import qmc
from tqdm import tqdm
from travelling_cohort import TARGET, Group, Plan, scan_at, twin_of, write_training_scans
from travelling_people import FIRST_TEST_MAP, mixed_people

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom import anatomy, biology, pathology, people, scanner
from bids_harmony.phantom.anatomy import Anatomy
from bids_harmony.phantom.biology import LOCAL_VARIATION, Biology, draw_biology, with_biology
from lab import label_maps

__all__ = [
    "PLANTED",
    "SOURCES",
    "Draw",
    "Someone",
    "profile_people",
    "tested_people",
    "write_cohort",
]

#: What is planted: added to the person's own value, evenly between both ends. T1 and T2 are logs
#: of ratios; atrophy is a share of grey matter; lesions replace the person's own.
PLANTED = {
    "grey_t1": (-0.08, 0.08),
    "white_t1": (-0.05, 0.05),
    "deep_t2": (-0.20, 0.20),
    "atrophy": (-0.04, 0.10),
    "lesions_ml": (0.0, 20.0),
}
#: Three vendors, inversion-prepared and spoiled sequences, 1.5 and 3 T.
SOURCES = ("GE", "PHILIPS", "SIEMENS", "SKYRA")
#: Seeds of people: no other benchmark's, and none of the shipped model's training.
_PROFILES, _TESTED = 400_000, 450_000
#: T2 by so much longer than without the lesion: what counts as lesion.
_LESION = 1.1


@dataclass(frozen=True)
class Draw:
    """One draw of the cohort.

    Attributes
    ----------
    seed : int
    people : int
        Tested, each at all sites.
    profile_people : int
        Others behind the profile of each site.
    sources, modalities : tuple of str
    voxel_mm : float
    """

    seed: int = 0
    people: int = 24
    profile_people: int = 5
    sources: tuple[str, ...] = SOURCES
    modalities: tuple[str, ...] = ("T1w", "T2w", "FLAIR")
    voxel_mm: float = 2.0

    @property
    def plan(self) -> Plan:
        """As the travelling-subject benchmark has it."""
        return Plan(
            sites=(TARGET, *self.sources),
            modalities=self.modalities,
            training_per_site=self.profile_people,
            paired=0,
            voxel_mm=self.voxel_mm,
            seed=self.seed,
        )

    @property
    def key(self) -> str:
        """Of the draw and the code that makes people and scans."""
        modules = (anatomy, biology, label_maps, pathology, people, scanner)
        code = b"".join(Path(m.__file__).read_bytes() for m in modules)
        own = Path(__file__).read_bytes()
        return hashlib.sha256(json.dumps(asdict(self)).encode() + code + own).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class Someone:
    """A person, the biology that they were given, and the anatomy without it."""

    anatomy: Anatomy
    biology: Biology
    plain: Anatomy


def write_cohort(draw: Draw, folder: Path, cache: Path) -> None:
    """Scan everybody, unless the same cohort is there.

    Parameters
    ----------
    draw : Draw
    folder : Path
        Gets ``cohort.json``, ``scans`` of the profiles and ``people``, one file each.
    cache : Path
        Of anatomies.
    """
    about = folder / "cohort.json"
    if about.is_file() and json.loads(about.read_text())["key"] == draw.key:
        return
    (folder / "people").mkdir(parents=True, exist_ok=True)
    plan = draw.plan
    bankers = tuple(b.anatomy for b in profile_people(draw, cache))
    group = Group(bankers, ("taught",) * len(bankers))
    scans = write_training_scans(plan, {"training": group}, folder / "scans", paired=False)
    profiles = [
        {"label": s.label, "subject": s.subject, "modality": s.modality, "site": s.site,
         "age": draw_biology(int(s.subject)).age, "file": str(s.prepared.relative_to(folder))}
        for s in scans
    ]  # fmt: skip
    shown = tqdm(tested_people(draw, cache), f"cohort {draw.seed}", draw.people, disable=None)
    tested = [_write_person(draw, folder, each) for each in shown]
    record = {"key": draw.key, "draw": asdict(draw), "banks": profiles, "people": tested}
    about.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def _anatomies(draw: Draw, cache: Path, first: int, count: int, maps: slice) -> list[Anatomy]:
    return mixed_people(
        count,
        source_names("labels")[maps],
        reference_grid(draw.voxel_mm),
        cache,
        first + 1000 * draw.seed,
        variation=LOCAL_VARIATION,
    )


def profile_people(draw: Draw, cache: Path) -> list[Someone]:
    """People behind the profiles, `profile_people` for the target, then for each source."""
    count, maps = draw.profile_people * len(draw.plan.sites), slice(0, FIRST_TEST_MAP - 1)
    plain = _anatomies(draw, cache, _PROFILES, count, maps)
    return [_someone(each, draw_biology(each.seed)) for each in plain]


def tested_people(draw: Draw, cache: Path) -> Iterator[Someone]:
    """People with planted effects: each is spread evenly, and effects hardly go together."""
    anatomies = _anatomies(draw, cache, _TESTED, draw.people, slice(FIRST_TEST_MAP - 1, None))
    levels = qmc.LatinHypercube(len(PLANTED), rng=draw.seed).random(draw.people)
    low, high = np.transpose(list(PLANTED.values()))
    for each, row in zip(anatomies, low + levels * (high - low), strict=True):
        own = draw_biology(each.seed)
        planted = dict(zip(PLANTED, row.tolist(), strict=True))
        added = {n: getattr(own, n) + v for n, v in planted.items() if n != "lesions_ml"}
        yield _someone(each, replace(own, lesions_ml=planted["lesions_ml"], **added))


def _someone(plain: Anatomy, own: Biology) -> Someone:
    return Someone(with_biology(plain, own), own, plain)


def _write_person(draw: Draw, folder: Path, tested: Someone) -> dict[str, Any]:
    person, own = tested.anatomy, tested.biology
    healthy = with_biology(tested.plain, replace(own, lesions_ml=0.0))
    mask, plan = person.mask, draw.plan
    arrays = {
        "mask": np.packbits(mask),
        "shape": np.array(mask.shape),
        "fractions": person.fractions[:, mask].astype(np.float32),
        "lesion": np.packbits((person.t2_factor > _LESION * healthy.t2_factor)[mask]),
    }
    for modality in draw.modalities:
        arrays[f"{modality}-twin"] = twin_of(plan, person, modality)[mask]
        for site in plan.sites:
            prepared = scan_at(plan, person, site, modality)
            arrays[f"{modality}-{site}"] = prepared.data[mask]
            arrays[f"{modality}-{site}-scale"] = np.float64(prepared.scale)
    name = str(person.seed)
    np.savez(folder / "people" / f"{name}.npz", **arrays)
    volumes = person.fractions.reshape(3, -1).sum(1, dtype=np.float64) * draw.voxel_mm**3 / 1000
    return {
        "person": name,
        "source": person.source or "template",
        "biology": asdict(own),
        "volumes_ml": dict(zip(("grey", "white", "csf"), volumes.tolist(), strict=True)),
    }
