"""How many people would show a small effect, of each measure and state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bids_harmony.group.effects import MeasureEffect
from bids_harmony.group.measures import Measure
from bids_harmony.quality.power import people_per_site

__all__ = ["PeopleNeeded", "people_needed"]


@dataclass(frozen=True)
class PeopleNeeded:
    """People that each site must scan for a small effect on a measure to be shown, by state; None
    where no number would do. `n_sites` is that of the site effect."""

    measure: Measure
    states: Mapping[str, int | None]
    n_sites: int


def people_needed(effects: Sequence[MeasureEffect]) -> list[PeopleNeeded]:
    """People that a small effect needs, from how much of each measure the site explains.

    Where people are compared with themselves, the differences between people are left out of that
    share, and nothing follows from it.
    """
    return [
        PeopleNeeded(
            e.measure,
            {state: people_per_site(one.share, one.n_sites) for state, one in e.effects.items()},
            next(iter(e.effects.values())).n_sites,
        )
        for e in effects
        if e.effects and not any(one.within_people for one in e.effects.values())
    ]
