"""Which scans one scanner made, told from all sidecars of a dataset together.

A scan alone cannot tell: the sidecar of one lacks the serial number, that of another the station.
So scans are told apart by serial number first, then by station, then by vendor, model, field
strength and major software version; one that says less joins the only scanner that it fits. The
result depends on what the sidecars say and not on the order of files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field

from bids_harmony.bids.scanner_profile import Profile

__all__ = ["Observation", "ScannerGroup", "group_scanners"]

_FIELDS = ("serial", "station", "institution", "vendor", "model", "field_strength", "software")
# What one machine has one of, whatever it is called.
_OF_THE_MACHINE = ("vendor", "field_strength")
_OF_THE_KIND = ("vendor", "model", "field_strength")


@dataclass(frozen=True)
class Observation:
    """What one scan says of its scanner.

    Attributes
    ----------
    profile : Profile
    stated : str or None
        Key of the site that a table or a session's name states.
    visit : hashable
        Scans of one visit (subject and session) are taken to come from one scanner where their
        sidecars leave a choice.
    """

    profile: Profile
    stated: str | None = None
    visit: Hashable = None


@dataclass(eq=False)
class ScannerGroup:
    """One scanner: the observations that belong to it and everything that they say.

    Attributes
    ----------
    members : list of int
        Positions among the observations.
    values : dict of field to set
        What the members say; ``stated`` holds keys of stated sites.
    guessed : list of int
        Members that share nothing with the others but vendor and model.
    """

    members: list[int] = field(default_factory=list)
    values: dict[str, set[object]] = field(default_factory=lambda: defaultdict(set))
    guessed: list[int] = field(default_factory=list)

    @property
    def is_known(self) -> bool:
        """Whether a serial number or a station names it; else it is a kind of scanner."""
        return bool(self.values["serial"] or self.values["station"])

    def add(self, positions: Iterable[int], observation: Observation) -> None:
        """Take observations of equal words in."""
        self.members += positions
        for name in _FIELDS:
            if (value := getattr(observation.profile, name)) is not None:
                self.values[name].add(value)
        if observation.stated:
            self.values["stated"].add(observation.stated)

    def fit(self, one: Observation) -> int:
        """How strongly an observation belongs here: 4 serial, 3 station, 2 name, 1 kind, 0 no."""
        own, profile = self.values, one.profile
        if profile.serial and own["serial"]:
            same = profile.serial in own["serial"] and not self._differs(profile, _OF_THE_MACHINE)
            return 4 if same else 0
        agreed = bool(one.stated and one.stated in own["stated"])
        if one.stated and own["stated"] and not agreed:
            return 0
        if self._differs(profile, (*_OF_THE_KIND, "station")):
            return 0
        # Two names of an institution are no matter where a table calls both one site.
        if not agreed and self._differs(profile, ("institution",)):
            return 0
        if profile.station and profile.station in own["station"]:
            return 3
        upgraded = self._differs(profile, ("software",))
        if agreed or {one.stated, profile.institution} & (own["stated"] | own["institution"]):
            # A scanner that has a name may have been upgraded; a kind of scanner is another.
            named = agreed or self.is_known or profile.serial or profile.station
            return 2 if named or not upgraded else 0
        return 1 if profile.vendor in own["vendor"] and not upgraded else 0

    def _differs(self, profile: Profile, names: Iterable[str]) -> bool:
        return any(
            (value := getattr(profile, name)) is not None
            and self.values[name]
            and value not in self.values[name]
            for name in names
        )


def group_scanners(observations: Sequence[Observation]) -> list[ScannerGroup]:
    """Divide observations among scanners.

    Parameters
    ----------
    observations : sequence of Observation

    Returns
    -------
    list of ScannerGroup
        Every observation that says anything is in one of them.
    """
    alike: dict[tuple[Profile, str | None], list[int]] = {}
    for position, one in enumerate(observations):
        if one.stated or not one.profile.is_silent:
            alike.setdefault((one.profile, one.stated), []).append(position)
    groups: list[ScannerGroup] = []
    index: dict[tuple[str, object], list[ScannerGroup]] = defaultdict(list)
    unclear: list[tuple[Profile, str | None]] = []
    # Those who say most come first: the others have to fit them.
    for key in sorted(alike, key=_order):
        one = Observation(*key)
        best, rank = _best(one, index)
        if len(best) > 1:
            unclear.append(key)
            continue
        if not best:
            best = [ScannerGroup()]
            groups += best
        best[0].add(alike[key], one)
        if rank == 1:
            best[0].guessed += alike[key]
        _note(index, best[0], one)
    return groups + _by_visit(unclear, alike, observations, groups, index)


def _by_visit(
    unclear: Sequence[tuple[Profile, str | None]],
    alike: dict[tuple[Profile, str | None], list[int]],
    observations: Sequence[Observation],
    groups: Sequence[ScannerGroup],
    index: dict[tuple[str, object], list[ScannerGroup]],
) -> list[ScannerGroup]:
    """Several scanners fit: the one of the same visit is taken, else they stay by themselves."""
    visits: dict[Hashable, list[ScannerGroup]] = defaultdict(list)
    for group in groups:
        for visit in {observations[m].visit for m in group.members}:
            visits[visit].append(group)
    chosen = []
    for key in unclear:
        best, _ = _best(Observation(*key), index)
        alone = ScannerGroup()
        for position in alike[key]:
            there = [g for g in visits.get(observations[position].visit, ()) if g in best]
            chosen.append((there[0] if len(there) == 1 else alone, position))
    rest: dict[int, ScannerGroup] = {}
    for group, position in chosen:
        group.add([position], observations[position])
        if group not in groups:
            rest[id(group)] = group
    return list(rest.values())


def _best(
    one: Observation, index: dict[tuple[str, object], list[ScannerGroup]]
) -> tuple[list[ScannerGroup], int]:
    """Groups that an observation fits best, and how strongly."""
    profile = one.profile
    hooks = (
        [("serial", profile.serial)],
        [("station", profile.station)],
        [("name", one.stated), ("name", profile.institution)],
        [("vendor", profile.vendor)],
    )
    for rank, keys in zip((4, 3, 2, 1), hooks, strict=True):
        near = {id(g): g for key in keys if key[1] for g in index.get(key, ())}
        found = [group for group in near.values() if group.fit(one) == rank]
        if found:
            same = [g for g in found if profile.software in g.values["software"]]
            return (same if len(same) == 1 else found), rank
    return [], 0


def _note(
    index: dict[tuple[str, object], list[ScannerGroup]], group: ScannerGroup, one: Observation
) -> None:
    profile = one.profile
    for key in (
        ("serial", profile.serial), ("station", profile.station), ("name", one.stated),
        ("name", profile.institution), ("vendor", profile.vendor),
    ):  # fmt: skip
        if key[1] and group not in index[key]:
            index[key].append(group)


def _order(key: tuple[Profile, str | None]) -> tuple[object, ...]:
    profile, stated = key
    told = [getattr(profile, name) for name in _FIELDS]
    said = sum(value is not None for value in (*told, stated))
    words = tuple("" if value is None else str(value) for value in (*told, stated))
    return (profile.serial is None, profile.station is None, -said, words)
