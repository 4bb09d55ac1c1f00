"""The cohort of the article's experiment, in the manner of SRPBS-TS: who is scanned where.

Nine source sites and COI, simulated at 3 T as real scanners differ; four roles that share nobody:
*training* (five a site, scanned once), *paired* (scanned at every site, for supervised methods
only), *validation* (at every site; watched while a method trains, never trained on) and
*travellers* (scored). Scans and profiles are kept, so that parts of the experiment share them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from travelling_cohort import TARGET, Case, Group, Plan, cases, scan_at, twin_of
from travelling_cohort import write_training_scans as write_scans
from travelling_forms import HAS_DATA
from travelling_people import people_of

from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.io.atomic import write_atomically
from bids_harmony.model.encoder import Encoder
from bids_harmony.model.presets import preset
from bids_harmony.phantom import scanner as scanner_module
from bids_harmony.phantom.anatomy import Anatomy
from bids_harmony.phantom.real_scanners import scanner_rows
from bids_harmony.sites.image_profile import ImageProfile
from bids_harmony.sites.prepared_scans import (
    PreparedScan,
    TrainingScan,
    build_profiles,
    load_scans,
)
from bids_harmony.sites.profile_files import PROFILES_FILE, read_profiles, write_profiles

__all__ = ["ARTICLE_PLAN", "Cohort", "Shot", "unseen_seeds"]

Array = np.ndarray
#: A traveller is scored at every third source, so that nine see each of nine sources thrice.
_EVERY = 3
#: Slices of a validation scan that are watched, as shares of its height.
_WATCHED = (0.35, 0.6)
#: Seeds of scanners are this many times the table's length and more: nobody else draws them.
_TABLES = 40_000


def unseen_seeds(count: int, tesla: float = 3.0) -> tuple[int, ...]:
    """Draw seeds of `real_scanner` whose rows no training of the shipped networks drew.

    These drew wide ranges for even seeds and rows of the table for odd ones, which its even length
    keeps: rows of even numbers are unseen.
    """
    rows = scanner_rows()
    unseen = [n for n in range(0, len(rows), 2) if float(rows[n]["field_tesla"]) == tesla]
    drawn = np.random.default_rng(2602).permutation(unseen)[:count]
    return tuple(len(rows) * _TABLES + int(row) for row in drawn)


_SITES = (TARGET, *(f"S{number}" for number in range(1, 10)))
_PAIRED, _VALIDATION = 5, 3
ARTICLE_PLAN = Plan(
    sites=_SITES,
    training_per_site=5,
    paired=_PAIRED + _VALIDATION,
    test=(("phantom", 3), ("labels", 3), ("scans", 3)) if HAS_DATA else (("phantom", 9),),
    seed=24,
    varied=True,
    calibrated=unseen_seeds(len(_SITES)),
)


@dataclass(frozen=True, eq=False)
class Shot:
    """A scan of somebody whose truth is known: all that a method gets, and the noise-free twin."""

    prepared: Prepared
    twin: Array
    site: str

    @property
    def heights(self) -> Array:
        """Slices that are watched in validation."""
        tall = np.flatnonzero(self.prepared.mask.any(axis=(0, 1)))
        return tall[[int(share * len(tall)) for share in _WATCHED]]


@dataclass(frozen=True)
class Cohort:
    """Everyone of the experiment, and their scans.

    Attributes
    ----------
    plan : Plan
        Its `paired` people are those of two roles: paired first, then validation.
    folder : Path
        Keeps people, scans and profiles.
    validation : int
        How many of `plan.paired` are for validation.
    """

    plan: Plan
    folder: Path
    validation: int = _VALIDATION

    @cached_property
    def people(self) -> dict[str, tuple[Anatomy, ...]]:
        """Everyone by role: ``training``, ``paired``, ``validation``, ``travellers``."""
        roles = people_of(self.plan, self.folder)
        everywhere = roles["paired"].people
        cut = len(everywhere) - self.validation
        return {
            "training": roles["training"].people,
            "paired": everywhere[:cut],
            "validation": everywhere[cut:],
            "travellers": roles["test"].people,
        }

    @cached_property
    def kept(self) -> Path:
        """Folder of what depends on plan and scanners."""
        code = Path(scanner_module.__file__).parent
        content = b"".join(path.read_bytes() for path in sorted(code.glob("*.py")))
        content += repr((self.plan, scanner_rows())).encode()
        return self.folder / f"cohort-{hashlib.sha256(content).hexdigest()[:12]}"

    def scans(self, role: str, modality: str) -> list[TrainingScan]:
        """Scans that methods may learn from, of ``training`` or ``paired`` people."""
        if role not in ("training", "paired"):
            raise ValueError(f"nobody learns from scans of role {role!r}")
        wanted = {str(person.seed) for person in self.people[role]}
        return [scan for scan in self._written(modality) if scan.subject in wanted]

    def loaded(self, role: str, modality: str) -> list[PreparedScan]:
        """The same, read."""
        return load_scans(self.scans(role, modality), self.plan.voxel_mm)

    def _written(self, modality: str) -> list[TrainingScan]:
        index = self.kept / f"scans_{modality}.json"
        if not index.is_file():
            plan = replace(self.plan, modalities=(modality,))
            people = people_of(self.plan, self.folder)
            people = people | {"paired": Group(self.people["paired"], ())}
            made = write_scans(plan, people, self.kept / "scans", paired=True)
            rows = [asdict(scan) | {"prepared": scan.prepared.name} for scan in made]
            write_atomically(index, json.dumps(rows).encode())
        rows = json.loads(index.read_text())
        where = self.kept / "scans"
        return [TrainingScan(**row | {"prepared": where / row["prepared"]}) for row in rows]

    def profiles(self, modality: str, encoder: Encoder) -> dict[tuple[str, str], ImageProfile]:
        """Profiles of all sites from their training people, with codes of an encoder."""
        where = self.kept / f"profiles_{encoder.name}_{modality}"
        if not (where / PROFILES_FILE).is_file():
            made = build_profiles(
                self.loaded("training", modality), encoder, cells=preset("local").aan.grid,
                size=self.plan.training_per_site, voxel_mm=self.plan.voxel_mm,
            )  # fmt: skip
            where.mkdir(parents=True, exist_ok=True)
            write_profiles(where, made.values(), self.plan.voxel_mm)
        return read_profiles(where)[0]

    def watched(self, modality: str) -> list[Shot]:
        """Scans of the validation people at all source sites."""
        people = self.people["validation"] if self._missing("validation", modality) else ()
        shots = ((person, self.plan.sources) for person in people)
        return list(self._shots("validation", modality, shots))

    def shown(self, modality: str) -> Iterator[Shot]:
        """Scans of the travellers at the sites at which they are scored; never at the target."""
        travels = self.travels() if self._missing("travellers", modality) else ()
        shots = ((group.people[0], sites) for group, sites in travels)
        return self._shots("travellers", modality, shots)

    def _missing(self, role: str, modality: str) -> bool:
        return not (self.kept / f"{role}_{modality}" / "done").is_file()

    def _shots(
        self, role: str, modality: str, shots: Iterable[tuple[Anatomy, Sequence[str]]]
    ) -> Iterator[Shot]:
        """Scan people where that was not done yet, and read what was kept."""
        where = self.kept / f"{role}_{modality}"
        if self._missing(role, modality):
            where.mkdir(parents=True, exist_ok=True)
            number = 0
            for person, sites in shots:
                twin = twin_of(self.plan, person, modality)
                for site in sites:
                    own = scan_at(self.plan, person, site, modality)
                    np.savez(
                        where / f"{number:03d}_{site}.npz",
                        data=own.data, mask=own.mask, scale=own.scale, twin=twin,
                    )  # fmt: skip
                    number += 1
            (where / "done").touch()
        grid = reference_grid(self.plan.voxel_mm)
        for path in sorted(where.glob("*.npz")):
            with np.load(path) as file:
                prepared = Prepared(
                    file["data"], file["mask"], float(file["scale"]), np.eye(4), grid
                )
                yield Shot(prepared, file["twin"], path.stem.partition("_")[2])

    def travels(self) -> Iterator[tuple[Group, tuple[str, ...]]]:
        """Every traveller, and the source sites at which they are scored."""
        everyone = people_of(self.plan, self.folder)["test"]
        for number, (person, kind) in enumerate(zip(everyone.people, everyone.kinds, strict=True)):
            sites = self.plan.sources[number % _EVERY :: _EVERY]
            yield Group((person,), (kind,)), sites

    def cases(self, modality: str) -> Iterator[Case]:
        """Scans of the travellers with all that is true of them."""
        for group, sites in self.travels():
            yield from cases(self.plan, group, sites=sites, modality=modality)
