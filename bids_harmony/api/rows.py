"""Scans as a caller gives them, a row each: read once, the sessions of a person together."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bids_harmony.api.arguments import as_affines, as_many
from bids_harmony.api.inputs import Given
from bids_harmony.api.ready import Location, Ready, Recipe
from bids_harmony.api.sessions import locate_sessions
from bids_harmony.exceptions import UsageError

__all__ = ["Row", "Seen", "Taken", "read_rows", "rows_of"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Row:
    """What was given for one scan.

    Attributes
    ----------
    number : int
        Its place among all, from 0.
    image, mask, affine : object
        As for `Harmonizer.fit`.
    site, person : str or None
    """

    number: int
    image: Any
    mask: Any = None
    affine: Any = None
    site: str | None = None
    person: str | None = None

    def read(self, recipe: Recipe, heights: Sequence[int] | None = None) -> Given:
        """Read or take the image; see `inputs.given_image`."""
        label = f"image {self.number + 1}"
        return recipe.given(self.image, label, affine=self.affine, heights=heights)


@dataclass(frozen=True, eq=False)
class Seen:
    """What is kept of a scan for when it comes again."""

    site: str
    location: Location | None
    person: str | None = None


@dataclass(frozen=True, eq=False)
class Taken:
    """A scan that was read.

    Attributes
    ----------
    row : Row
    given : Given
    digest : str
    location : Location or None
        Where its brain is, as far as that is known by now.
    seen : Seen or None
        What is known of it from an earlier time.
    """

    row: Row
    given: Given
    digest: str
    location: Location | None = None
    seen: Seen | None = None

    def ready(self, recipe: Recipe) -> Ready:
        """Put it on the reference grid; see `Recipe.ready`."""
        return recipe.ready(self.given, self.row.mask, self.location)


def rows_of(
    images: Sequence[Any],
    *,
    masks: Any = None,
    affines: Any = None,
    sites: Sequence[Any] | None = None,
    people: Any = None,
) -> list[Row]:
    """Scans with what was given for each.

    Raises
    ------
    UsageError
        Another number of masks, affines, sites or people than of images, or nobody among people.
    """
    count = len(images)
    told = as_many(people, count, "people")
    if people is not None and None in told:
        raise UsageError(
            "It must be told of each scan who was scanned, or of none",
            where="people",
            expected="a word for each image",
            got=f"None for image {told.index(None)}",
        )
    columns = zip(
        images,
        as_many(masks, count, "masks"),
        as_affines(affines, count),
        as_many(sites, count, "sites"),
        told if people is None else map(str, told),
        strict=True,
    )
    return [Row(number, *values) for number, values in enumerate(columns)]


def read_rows(
    recipe: Recipe,
    rows: Sequence[Row],
    *,
    longitudinal: bool = False,
    heights: Sequence[int] | None = None,
    known: Mapping[str, Seen] | None = None,
) -> Iterator[Taken]:
    """Read each scan once; no more are held at a time than are of one person.

    Parameters
    ----------
    recipe : Recipe
    rows : sequence of Row
    longitudinal : bool
        Several scans of a person are located together (`sessions.locate_sessions`) and come one
        after the other; otherwise scans come in the order of `rows`.
    heights : sequence of int, optional
        Of slices: indices along the reference grid's last axis.
    known : mapping of str to Seen, optional
        Scans of an earlier time, by `Given.digest`: they stay where they were, unless another
        mask is given.

    Raises
    ------
    UsageError
        Nobody says who was scanned, and it matters.
    MissingInput, InputOutputError, ImageError
        A scan cannot be read; or as `locate_sessions`.
    """
    known = known or {}
    groups: dict[object, list[Row]] = {}
    for row in rows:
        together = longitudinal and row.person is not None
        groups.setdefault(row.person if together else row.number, []).append(row)
    for group in groups.values():
        taken = [_take(recipe, row, heights, known) for row in group]
        located: dict[str, Location] = {}
        if longitudinal:
            new = [scan for scan in taken if scan.seen is None or scan.row.mask is not None]
            _check_people(new, len(rows), known)
            if len(new) > 1:
                located = locate_sessions(
                    recipe, [scan.given for scan in new], [scan.row.mask for scan in new]
                )
        for scan in taken:
            place = located.get(scan.digest)
            if scan.seen is not None and scan.row.mask is None:
                place = scan.seen.location
            yield Taken(scan.row, scan.given, scan.digest, place, scan.seen)


def _take(
    recipe: Recipe, row: Row, heights: Sequence[int] | None, known: Mapping[str, Seen]
) -> Taken:
    given = row.read(recipe, heights)
    digest = given.digest()
    return Taken(row, given, digest, seen=known.get(digest))


def _check_people(new: Sequence[Taken], count: int, known: Mapping[str, Seen]) -> None:
    """See that it is told of whom new scans are, and warn of people who were located before."""
    before = {seen.person for seen in known.values()} - {None}
    for scan in new:
        if scan.row.person is None and count > 1:
            raise UsageError(
                "It must be told who was scanned each time",
                where="people",
                expected="a word for each image, as longitudinal=True asks for",
                got="None",
            )
        if scan.row.person in before:
            logger.warning(
                "%s: the space of this person's scans was found in fit, without this one. Fit all "
                "of them together.",
                scan.given.where,
            )
