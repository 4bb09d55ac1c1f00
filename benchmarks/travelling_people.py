"""Who the people of the travelling-subject benchmark are, by role."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path

from anatomies import load_people, source_names
from travelling_cohort import Group, Plan, groups, taught_needed

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import Anatomy

__all__ = ["FIRST_TEST_MAP", "mixed_people", "people_of"]

#: Label maps from this one on are for tests; earlier ones helped to train the shipped weights.
FIRST_TEST_MAP = 5


@lru_cache(maxsize=2)
def people_of(plan: Plan, folder: Path) -> dict[str, Group]:
    """Everyone of a plan, by role.

    Seeds of the plan draw other people of the template, and other deformations of the same label
    maps and scans: a source is a test source in all of them.
    """
    grid, cache = reference_grid(plan.voxel_mm), folder / "people"
    first = 40_000 + 1000 * plan.seed
    if plan.varied:
        return _varied_people(plan, grid, cache, first)
    return _people(plan, grid, cache, first)


def _varied_people(plan: Plan, grid: ReferenceGrid, cache: Path, first: int) -> dict[str, Group]:
    # Builds to compare with may have no such people.
    from bids_harmony.phantom.biology import LOCAL_VARIATION, draw_biology, with_biology

    plain = _people(plan, grid, cache, first, variation=LOCAL_VARIATION)
    return {
        role: replace(
            group, people=tuple(with_biology(p, draw_biology(p.seed)) for p in group.people)
        )
        for role, group in plain.items()
    }


def _people(
    plan: Plan, grid: ReferenceGrid, cache: Path, first: int, variation: float | None = None
) -> dict[str, Group]:
    load = partial(load_people, variation=variation)
    test: dict[str, list[Anatomy]] = {}
    for kind, count in plan.test:
        if kind == "phantom":
            test[kind] = load(kind, grid, cache, range(first + 900, first + 900 + count))
            continue
        names = source_names(kind)[FIRST_TEST_MAP - 1 if kind == "labels" else 0 :]
        # Other sources in every draw, as far as there are any.
        turned = names[plan.seed % len(names) :] + names[: plan.seed % len(names)] if names else []
        if turned[:count]:
            test[kind] = load(kind, grid, cache, [plan.seed], names=turned[:count])
    maps = source_names("labels")[: FIRST_TEST_MAP - 1]
    taught = mixed_people(taught_needed(plan), maps, grid, cache, first, variation=variation)
    return groups(plan, taught, test)


def mixed_people(
    count: int,
    maps: Sequence[str],
    grid: ReferenceGrid,
    cache: Path,
    first: int,
    *,
    variation: float | None = None,
) -> list[Anatomy]:
    """In turn one person of the template and one of every label map that is named.

    The template's cortex is an average of many and blurred; profiles of it alone would not be of
    the same population as single heads. Seeds count from `first`.
    """
    load = partial(load_people, grid=grid, cache_dir=cache, variation=variation)
    draws = range(first, first + -(-count // (1 + len(maps))))
    sources = [load("phantom", seeds=draws)]
    sources += [load("labels", seeds=draws, names=[name]) for name in maps]
    return [person for together in zip(*sources, strict=True) for person in together][:count]
