"""People and simulated scanners that twins are drawn from, with the scanners' profiles."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.model.encoder import Encoder
from bids_harmony.phantom.anatomy import Anatomy, make_anatomy
from bids_harmony.phantom.biology import LOCAL_VARIATION, Biology, draw_biology, with_biology
from bids_harmony.phantom.people import SourceMaps, Variety, draw_person
from bids_harmony.phantom.random_scanner import random_scanner
from bids_harmony.phantom.real_scanners import real_scanner
from bids_harmony.phantom.scanner import Scanner, acquire
from bids_harmony.revisions import revisions_of
from bids_harmony.sites.image_profile import ImageProfile, average_scans
from bids_harmony.sites.measured_scan import MeasuredScan, encode_heights, measure_scan
from bids_harmony.sites.profile_files import read_made_of, read_profile, write_profile
from bids_harmony.sites.training_range import mean_code

__all__ = ["TwinPlan", "TwinPool", "make_pool"]

Array = np.ndarray

#: Seeds of people and scanners for training start here, so that no cohort shares one.
_PEOPLE, _SCANNERS = 7_000_000, 7_000_000
#: Beyond what healthy people of one age differ by, every second person who is scanned by both
#: scanners of a pair differs by so much: the transfer must hold for whom a study is made, too.
_ILL_SD = {"grey_t1": 0.04, "white_t1": 0.04, "grey_t2": 0.04, "white_t2": 0.04, "deep_t2": 0.1}
_ILL_LESIONS_ML = 4.0
#: Of so many scanners the most alike is chosen, where that is asked for.
_CANDIDATES = 12
#: Where a plan may draw scanners from.
_DRAWS = {
    "wide": random_scanner,
    "real": real_scanner,
    "both": lambda seed: (real_scanner if seed % 2 else random_scanner)(seed),
}


@dataclass(frozen=True)
class TwinPlan:
    """How many people and scanners make the twins.

    Attributes
    ----------
    training_people, profile_people, validation_people : int
        Three groups that never overlap. All differ as real people do (`phantom.biology`); every
        second of those who train or validate as ill people do.
    scans_per_profile : tuple of int
        Fewest and most profile people that a simulated site draws for itself, evenly in the
        logarithm: real sites have not scanned the same people, some have scanned one.
    people_per_source : int
        Training people drawn from every source of tissue maps besides the template; a third as
        many more are for profiles.
    training_scanners, validation_scanners : int
        Two groups that never overlap.
    modalities : tuple of str
        Pairs are drawn evenly; a modality that is named twice counts twice.
    voxel_mm : float
        Spacing of the reference grid.
    profiles_per_scanner : int
        Of every modality, each from people of its own. A network that sees one alone learns how
        far it is from the truth, which nobody can know of a real site.
    coded : int
        Scans per profile that are encoded.
    scanners_like : {"wide", "real", "both"}
        Where scanners are drawn from: wide ranges (`phantom.random_scanner`; the shipped weights
        were trained on them), a distribution fitted to real ones (`phantom.real_scanners`), or
        every second from either.
    seed : int
    """

    training_people: int = 20
    profile_people: int = 16
    scans_per_profile: tuple[int, int] = (1, 30)
    validation_people: int = 4
    people_per_source: int = 6
    training_scanners: int = 32
    validation_scanners: int = 6
    modalities: tuple[str, ...] = ("T1w", "T2w")
    voxel_mm: float = 2.0
    profiles_per_scanner: int = 1
    coded: int = 2
    scanners_like: str = "wide"
    seed: int = 0


@dataclass(frozen=True, eq=False)
class TwinPool:
    """People, scanners and their profiles.

    `profiles` holds the first of every scanner and modality, which validation sees; `more` holds
    the others. `alike` is the share of the training pairs whose target is, of some drawn, the one
    most like the source.
    """

    plan: TwinPlan
    grid: ReferenceGrid
    training: tuple[Anatomy, ...]
    validation: tuple[Anatomy, ...]
    scanners: tuple[Scanner, ...]
    profiles: Mapping[tuple[str, str], ImageProfile]
    more: Mapping[tuple[str, str], tuple[ImageProfile, ...]] = field(default_factory=dict)
    alike: float = 0.0

    @property
    def training_scanners(self) -> tuple[Scanner, ...]:
        """Scanners that training may draw."""
        return self.scanners[: self.plan.training_scanners]

    @property
    def validation_scanners(self) -> tuple[Scanner, ...]:
        """Scanners that only validation sees."""
        return self.scanners[self.plan.training_scanners :]

    def draw(self, rng: np.random.Generator) -> tuple[Scanner, Scanner, str]:
        """Draw source, target and modality of a pair for training."""
        scanners = self.training_scanners
        modality = str(rng.choice(self.plan.modalities))
        count = _CANDIDATES + 1 if rng.random() < self.alike else 2
        drawn = rng.choice(len(scanners), min(count, len(scanners)), replace=False)
        first, second, *others = (scanners[index] for index in drawn)
        if others:
            second = min([second, *others], key=lambda own: self._apart(first, own, modality))
        return first, second, modality

    def _apart(self, first: Scanner, second: Scanner, modality: str) -> float:
        """How far the codes of two scanners are from each other."""
        one, other = (self._codes[scanner.site, modality] for scanner in (first, second))
        return float(np.linalg.norm(one - other))

    @cached_property
    def _codes(self) -> dict[tuple[str, str], Array]:
        """Code of every scanner and modality, in standard deviations of the modality."""
        found: dict[tuple[str, str], Array] = {}
        for modality in sorted({kind for _, kind in self.profiles}):
            keys = [key for key in self.profiles if key[1] == modality]
            own = [self.profiles[key] for key in keys]
            codes = np.stack([mean_code(profile.codes, profile.mask) for profile in own])
            codes = codes / np.maximum(codes.std(axis=0), 1e-6)
            found |= dict(zip(keys, codes, strict=True))
        return found

    def draw_profile(self, rng: np.random.Generator, site: str, modality: str) -> ImageProfile:
        """Draw one of a scanner's profiles."""
        every = (self.profiles[site, modality], *self.more.get((site, modality), ()))
        return every[int(rng.integers(len(every)))]

    def draw_unseen(self, rng: np.random.Generator, number: int) -> tuple[Scanner, Scanner, str]:
        """Draw those of the pair of this number for validation; modalities in turn."""
        first, second = rng.choice(len(self.validation_scanners), 2, replace=False)
        modality = self.plan.modalities[number % len(self.plan.modalities)]
        return self.validation_scanners[first], self.validation_scanners[second], modality


def make_pool(
    plan: TwinPlan,
    encoder: Encoder,
    *,
    cells: int,
    threads: int = 1,
    sources: Sequence[SourceMaps] = (),
    kept: Path | None = None,
) -> TwinPool:
    """Draw people and scanners and build every scanner's profiles.

    Parameters
    ----------
    plan : TwinPlan
    encoder : Encoder
    cells : int
        g of the network's grid.
    threads : int
        Profiles built side by side; does not change them.
    sources : sequence of SourceMaps
        Tissue of other brains than the template's, on the reference grid of the plan; their people
        train and fill profiles, validation stays with people of the template.
    kept : Path, optional
        Folder in which profiles stay for a later run of the same plan.
    """
    grid = reference_grid(plan.voxel_mm)
    total = plan.training_people + plan.profile_people + plan.validation_people
    first = _PEOPLE + plan.seed * 10_000
    people = [
        make_anatomy(grid, first + i, variation=LOCAL_VARIATION)
        for i in tqdm(range(total), desc="people", unit="person", disable=None)
    ]
    validation = people[plan.training_people + plan.profile_people :]
    bankers = people[plan.training_people : plan.training_people + plan.profile_people]
    training = people[: plan.training_people]
    for number, maps in enumerate(sources):
        seed = first + 5_000 + number * 100
        variety = Variety(variation=LOCAL_VARIATION)
        more = [
            draw_person(maps, seed + i, variety) for i in range(plan.people_per_source * 4 // 3)
        ]
        training += more[: plan.people_per_source]
        bankers += more[plan.people_per_source :]
    # Every second one is ill: what is abnormal in a person must survive.
    training, validation = (
        [with_biology(p, _biology(p.seed, ill=i % 2 == 1)) for i, p in enumerate(own)]
        for own in (training, validation)
    )
    bankers = [with_biology(p, _biology(p.seed, ill=False)) for p in bankers]
    scanners = [
        _DRAWS[plan.scanners_like](_SCANNERS + plan.seed * 10_000 + i)
        for i in range(plan.training_scanners + plan.validation_scanners)
    ]

    made_of = json.dumps(
        [asdict(plan), revisions_of("profile", "training"), encoder.sha256, cells, len(sources)]
    )

    def known(scanner: Scanner, modality: str) -> tuple[ImageProfile, ...]:
        make = partial(_draw_profiles, plan, scanner, modality, bankers, encoder, cells)
        if kept is None:
            return make()
        paths = [
            kept / f"{scanner.site}_{modality}_{number}.safetensors"
            for number in range(plan.profiles_per_scanner)
        ]
        of = {"pool": made_of, "scanner": json.dumps(asdict(scanner), default=str)}
        if not all(path.is_file() and read_made_of(path) == of for path in paths):
            for path, profile in zip(paths, make(), strict=True):
                write_profile(path, profile, plan.voxel_mm, of)
        return tuple(read_profile(path)[0] for path in paths)

    kinds = sorted(set(plan.modalities))
    wanted = [(scanner, modality) for scanner in scanners for modality in kinds]
    # Filters and convolutions let go of the interpreter's lock: threads use the processors.
    with ThreadPoolExecutor(max_workers=threads) as workers:
        made = workers.map(lambda pair: known(*pair), wanted)
        built = list(tqdm(made, "simulated sites", len(wanted), unit="profile", disable=None))
    keys = [(scanner.site, modality) for scanner, modality in wanted]
    return TwinPool(
        plan=plan,
        grid=grid,
        training=tuple(training),
        validation=tuple(validation),
        scanners=tuple(scanners),
        profiles={key: first for key, (first, *_) in zip(keys, built, strict=True)},
        more={key: tuple(more) for key, (_, *more) in zip(keys, built, strict=True)},
    )


def _draw_profiles(
    plan: TwinPlan,
    scanner: Scanner,
    modality: str,
    people: Sequence[Anatomy],
    encoder: Encoder,
    cells: int,
) -> tuple[ImageProfile, ...]:
    """Profiles of a scanner, from other people each; a person is scanned once."""
    drawn = np.random.default_rng([plan.seed, scanner.bias_seed, 0xBA])
    fewest, most = np.log(plan.scans_per_profile)
    measured: dict[int, MeasuredScan] = {}

    def measure(index: int, *, coded: bool) -> MeasuredScan:
        if index not in measured:
            person = people[index]
            data = acquire(person, scanner, modality, scan_seed=person.seed * 3 + 1)
            scale = robust_scale(data, person.mask)
            measured[index] = measure_scan(
                f"person-{person.seed}", data / scale, person.mask, scale,
                cells=cells, voxel_mm=plan.voxel_mm, encoder=None,
            )  # fmt: skip
        scan = measured[index]
        if coded and scan.codes is None:
            scan = replace(scan, codes=encode_heights(scan.data, encoder))
            measured[index] = scan
        return scan

    made = []
    for _ in range(plan.profiles_per_scanner):
        count = min(round(float(np.exp(drawn.uniform(fewest, most)))), len(people))
        chosen = sorted(drawn.choice(len(people), count, replace=False).tolist())
        scans = [measure(index, coded=number < plan.coded) for number, index in enumerate(chosen)]
        # Encoded for another profile: here as many are as the plan says.
        scans[plan.coded :] = [replace(scan, codes=None) for scan in scans[plan.coded :]]
        made.append(average_scans(scanner.site, modality, scans))
    return tuple(made)


def _biology(seed: int, *, ill: bool) -> Biology:
    """How a person of a pool differs from others; healthy people have no lesions here."""
    healthy = replace(draw_biology(seed), lesions_ml=0.0)
    if not ill:
        return healthy
    rng = np.random.default_rng([seed, 0x111])
    changes = {
        name: getattr(healthy, name) + float(rng.normal(0, sd)) for name, sd in _ILL_SD.items()
    }
    lesions = _ILL_LESIONS_ML * float(np.exp(rng.normal(0, 1)))
    return replace(healthy, lesions_ml=lesions, **changes)
