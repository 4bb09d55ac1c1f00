"""The bend between two sites: found, bounded, applied."""

import numpy as np
import pytest

from bids_harmony.imaging.tissue_units import CURVE_LEVELS, anchored
from bids_harmony.sites.curve_difference import Bend, curve_difference
from bids_harmony.sites.scan_measures import ScanMeasures

#: Grey matter, white matter, CSF.
SOURCE, TARGET = np.array([0.6, 0.8, 0.2]), np.array([0.5, 0.9, 0.15])
WIDE = (0.4, 2.5), (0.8, 1.25)


def looks(rng, means, bend=lambda y: y, count=5):
    """People whose tissues scatter; between the tissues their intensities bend."""
    people = means * np.exp(rng.normal(0, 0.03, (count, 3)))
    order = np.argsort(means)
    # Between 0, the tissues, and somewhat more than the brightest.
    place = np.interp(CURVE_LEVELS, [0, 0.15, 0.6, 0.97, 1], [0.05, 1, 2, 3, 3.3])
    curves = [
        np.interp(bend(place), [0, 1, 2, 3, 4], [0, *own[order], own[order][-1] * 4 / 3])
        for own in people
    ]
    return ScanMeasures(
        tuple(f"p{i}" for i in range(count)),
        people,
        np.zeros((count, 20)),
        np.zeros((count, 2)),
        curves=np.stack(curves),
    )


def between(y):
    """Half way between two tissues a quarter of the way farther."""
    return y + 0.25 * np.sin(np.pi * np.clip(y, 1, 3)) ** 2 * (y > 1) * (y < 3)


def test_contrast_gain_and_people_are_no_bend(rng):
    found = curve_difference(looks(rng, SOURCE), looks(rng, TARGET), "T1w", same_person=False)
    assert found.tissues == (2, 0, 1)
    assert found.anchors == pytest.approx(TARGET[[2, 0, 1]] / TARGET[1], rel=0.05)
    assert np.abs(found.change).max() < 0.012


def test_a_bend_is_found_and_takes_the_source_to_the_target(rng):
    source, target = looks(rng, SOURCE), looks(rng, TARGET, between)
    found = curve_difference(source, target, "T1w", same_person=False)
    anchors = found.anchors
    own, there = anchored(np.array([0.7, 0.6, 0.8]), SOURCE[[2, 0, 1]], anchors)[0], None
    # Half way between grey and white matter.
    middle = (anchors[1] + anchors[2]) / 2
    there = anchors[1] + 0.75 * (anchors[2] - anchors[1])
    assert own == pytest.approx(middle, abs=0.02)
    image = np.full((2, 2, 2), middle * TARGET[1], np.float32)
    bent = found.apply(image, TARGET, *WIDE)
    assert bent[0, 0, 0] / TARGET[1] == pytest.approx(there, abs=0.03)
    # Tissues stay where they are, whatever this person's are.
    person = TARGET * [1.05, 1, 0.9]
    tissues = np.tile(person.astype(np.float32), (1, 1, 1))
    assert found.apply(tissues, person, *WIDE)[0, 0] == pytest.approx(person, rel=0.03)


def test_where_tissues_lie_is_left_to_the_anchors(rng):
    """A whole curve that lies higher is contrast, which others measured better, and no bend."""
    higher = lambda y: np.where(y > 0, y + 0.15, y)  # noqa: E731
    source, target = looks(rng, SOURCE), looks(rng, TARGET, higher)
    found = curve_difference(source, target, "T1w", same_person=False)
    at_tissues = np.interp(found.anchors, found.places, found.change)
    assert np.abs(at_tissues).max() < 0.01
    unpinned = [anchored(c, m[[2, 0, 1]], found.anchors) for c, m in
                zip(target.curves, target.means, strict=True)]  # fmt: skip
    apart = np.mean(unpinned, axis=0) - found.places
    assert np.abs(np.interp(found.anchors, found.places, apart)).max() > 0.02


def test_one_person_shows_less_of_a_bend_than_many(rng):
    def largest(count, same):
        source, target = looks(rng, SOURCE, count=count), looks(rng, TARGET, between, count=count)
        return np.abs(curve_difference(source, target, "T1w", same_person=same).change).max()

    assert largest(1, False) < largest(20, False)
    assert largest(1, False) < largest(1, True)


def test_tissues_in_another_order_leave_white_matter_as_the_anchor(rng):
    turned = np.array([0.9, 0.8, 0.2])
    found = curve_difference(looks(rng, turned), looks(rng, TARGET), "T1w", same_person=False)
    assert found.tissues == (1,) and found.anchors == pytest.approx([1.0])


def test_without_curves_there_is_no_bend(rng):
    known = looks(rng, SOURCE)
    unknown = ScanMeasures(known.people, known.means, known.fields, known.detail)
    assert curve_difference(known, unknown, "T1w", same_person=False) is None
    assert curve_difference(unknown, known, "T1w", same_person=False) is None


ANCHORS = np.array([0.2, 0.6, 1.0])
PLACES = np.linspace(0.05, 1.4, 28)


def bent(change, value, slopes=(0.5, 2.0), beyond=(0.8, 1.25)):
    made = Bend((2, 0, 1), ANCHORS, PLACES, change).apply(
        np.full((1, 1, 1), value, np.float32), np.array([0.6, 1.0, 0.2]), slopes, beyond
    )
    return float(made[0, 0, 0])


def test_slopes_stay_within_their_bounds_and_closer_beyond_the_brain():
    steep = np.where(PLACES > 0.7, 5.0, 0.0)
    rise = (bent(steep, 0.95) - bent(steep, 0.8)) / 0.15
    assert rise == pytest.approx(2.0, rel=0.02)
    rise = (bent(steep, 1.35) - bent(steep, 1.15)) / 0.2
    assert rise == pytest.approx(1.25, rel=0.02)
    flat = np.where(PLACES > 0.7, -5.0, 0.0)
    assert (bent(flat, 0.95) - bent(flat, 0.8)) / 0.15 == pytest.approx(0.5, rel=0.02)


def test_no_change_is_none_and_beyond_all_knots_it_goes_on():
    none = np.zeros(28)
    for value in (0.0, 0.01, 0.3, 1.0, 1.6, 3.0):
        assert bent(none, value) == pytest.approx(value, abs=1e-6)
    more = 0.02 * np.ones(28)
    assert bent(more, 3.0) == pytest.approx(3.02, abs=1e-5)


def test_a_person_whose_tissues_lie_otherwise_is_not_bent():
    data = np.full((1, 1, 1), 0.5, np.float32)
    made = Bend((2, 0, 1), ANCHORS, PLACES, np.ones(28)).apply(
        data, np.array([1.0, 0.6, 0.2]), *WIDE
    )
    assert made is data


def test_brighter_than_grey_and_white_matter_the_bend_is_bounded_closer():
    """In T2w CSF is brightest, and lesions lie below it."""
    places = np.linspace(0.1, 2.8, 28)
    steep = Bend((1, 0, 2), np.array([1.0, 1.3, 2.5]), places, np.where(places > 1.5, 5.0, 0.0))
    data = np.array([1.6, 2.2], np.float32).reshape(1, 1, 2)
    low, high = steep.apply(data, np.array([1.3, 1.0, 2.5]), (0.5, 2.0), (0.8, 1.25))[0, 0]
    assert (high - low) / 0.6 == pytest.approx(1.25, rel=0.02)


def test_an_unusual_bend_is_shrunk_less_than_a_usual_one(rng):
    def kept(size):
        bend = lambda y: y + size * np.sin(np.pi * np.clip(y, 1, 3)) ** 2  # noqa: E731
        source, target = looks(rng, SOURCE, count=1), looks(rng, TARGET, bend, count=1)
        found = curve_difference(source, target, "T1w", same_person=False)
        own, other = (
            anchored(site.curves[0], site.means[0][[2, 0, 1]], found.anchors)
            for site in (source, target)
        )
        raw = other - own
        middle = np.abs(raw - np.interp(own, found.anchors, np.interp(found.anchors, own, raw)))
        return np.abs(found.change).max() / middle.max()

    assert kept(0.02) + 0.02 < kept(0.4)
