"""Scans a row each: read once, the sessions of a person together."""

from __future__ import annotations

import numpy as np
import pytest

from bids_harmony import simulate
from bids_harmony.api import ready
from bids_harmony.api import rows as module
from bids_harmony.api.ready import Recipe
from bids_harmony.api.rows import Seen, read_rows, rows_of
from bids_harmony.exceptions import UsageError
from tests.api.conftest import MM

RECIPE = Recipe("T1w", MM, sloppy=True)
PEOPLE = ("a", "b", "a")


@pytest.fixture(scope="module")
def images():
    """Person a at COI, b at GE, a at GE."""
    scans = ((1, "COI"), (2, "GE"), (1, "GE"))
    return [simulate(person, site, voxel_scale=MM) for person, site in scans]


@pytest.fixture(autouse=True)
def located(monkeypatch):
    """Which scans were located together; where they are is test_sessions' matter."""
    together = []

    def locate(recipe, scans, masks):
        together.append([scan.label for scan in scans])
        return {scan.digest(): object() for scan in scans}

    monkeypatch.setattr(module, "locate_sessions", locate)
    return together


def places(taken):
    return {scan.row.number: scan.location for scan in taken}


def test_only_people_of_several_scans_share(images, located):
    found = places(read_rows(RECIPE, rows_of(images, people=PEOPLE), longitudinal=True))
    assert list(found) == [0, 2, 1]  # those of a person one after the other
    assert found[0] is not None and found[2] is not None and found[1] is None
    assert located == [["image 1", "image 3"]]
    alone = rows_of(images, people=("a", "b", "c"))
    for rows, together in ((rows_of(images, people=PEOPLE), False), (alone, True)):
        found = places(read_rows(RECIPE, rows, longitudinal=together))
        assert found == dict.fromkeys(range(3))
    assert len(located) == 1


def test_each_scan_is_read_once_and_only_when_its_turn_comes(images, monkeypatch):
    read = []
    whole = ready.given_image
    monkeypatch.setattr(
        ready,
        "given_image",
        lambda image, *words, label, **more: (
            read.append(label) or whole(image, *words, label=label, **more)
        ),
    )
    scans = read_rows(RECIPE, rows_of(images, people=PEOPLE), longitudinal=True)
    next(scans)
    assert read == ["image 1", "image 3"]
    assert len(list(scans)) == 2
    assert read == ["image 1", "image 3", "image 2"]


def test_scans_of_an_earlier_time_stay_where_they_were(images):
    rows = rows_of(images, people=PEOPLE)
    known = {
        scan.digest: Seen("COI", scan.location, scan.row.person)
        for scan in read_rows(RECIPE, rows, longitudinal=True)
    }
    again = list(read_rows(RECIPE, rows_of(images), longitudinal=True, known=known))
    assert all(scan.location is known[scan.digest].location for scan in again)
    assert [scan.seen.person for scan in again] == list(PEOPLE)
    masks = [np.asarray(images[0].dataobj) > 0, None, None]
    masked = rows_of(images, masks=masks, people=PEOPLE)
    found = places(read_rows(RECIPE, masked, longitudinal=True, known=known))
    assert found[0] is None  # one new scan shares with nobody
    assert found[2] is known[again[2].digest].location


def test_who_was_scanned_matters_where_there_are_several(images):
    assert len(list(read_rows(RECIPE, rows_of(images[:1]), longitudinal=True))) == 1
    with pytest.raises(UsageError, match="who was scanned"):
        next(read_rows(RECIPE, rows_of(images[:2]), longitudinal=True))


def test_a_row_has_what_was_given_for_it(images):
    first, second, _ = rows_of(images, sites=["x", "y", "z"], people=[1, 2, 3], affines=np.eye(4))
    assert (first.number, first.site, first.person) == (0, "x", "1")
    assert second.image is images[1] and np.array_equal(second.affine, np.eye(4))
    with pytest.raises(UsageError, match=r"as many.*\[masks\].*3, one for each image.*Got: 1"):
        rows_of(images, masks=[None])


def test_people_are_told_of_each_scan_or_of_none(images):
    assert [row.person for row in rows_of(images)] == [None] * len(images)
    with pytest.raises(UsageError, match="None for image 1"):
        rows_of(images, people=("a", None, "b"))
