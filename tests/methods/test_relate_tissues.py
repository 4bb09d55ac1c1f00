"""The difference of two sites applied to small arrays: what can be reckoned by hand."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.imaging.legendre import FIELD_TERMS, log_field
from bids_harmony.methods.tissue_form import goal_means, match_tissues, relate_tissues
from bids_harmony.sites.curve_difference import Bend
from bids_harmony.sites.difference import SiteDifference
from bids_harmony.sites.random_effects import Difference
from bids_harmony.sites.scan_measures import ScanMeasures
from bids_harmony.sites.tissue_profile import TissueProfile

SHAPE = (6, 7, 8)
MASK = np.ones(SHAPE, bool)
FLAT = np.zeros(FIELD_TERMS)
SOURCE, TARGET = np.array([0.6, 0.8, 0.2]), np.array([0.5, 0.9, 0.16])
#: Log contrasts of the source, and what the sites differ in.
SITE = np.log([0.6 / 0.8, 0.2 / 0.8])
APART = np.array([-0.3, 0.1])
#: Ratio of the sites' white matter.
GAIN = 0.9 / 0.8


def looks(means, field=FLAT):
    return ScanMeasures(
        people=("a", "b"),
        means=np.tile(means, (2, 1)),
        fields=np.tile(field, (2, 1)),
        detail=np.zeros((2, 2)),
    )


def difference(contrasts=APART, *, field=FLAT, standard_error=0.0, **others):
    one = Difference(0.0, 0.0, standard_error, 0.0, 0.0, 0.0)
    known = {"probability": 1.0, "scan_field": 0.0, "people": (5, 5)} | others
    return SiteDifference(
        by_part=(1.0, 1.0, 1.0),
        contrasts=np.asarray(contrasts, float),
        field=field,
        by_contrast=(one, one),
        repeat_sd=np.full(2, np.nan),
        covariates=(),
        separation=(),
        **known,
    )


def goal(own, found, modality="T1w"):
    """Log contrasts of start and goal, and white matter of the goal."""
    start, end = goal_means(np.asarray(own), looks(SOURCE), looks(TARGET), found, modality)
    assert start[1] == own[1]
    logs = [np.log(means[[0, 2]] / means[1]) for means in (start, end)]
    return *logs, end[1]


def related(value, found, own=SOURCE, fields=(FLAT, FLAT), modality="T1w"):
    """What the form makes of an image of one intensity; `fields` of the scan and of its site."""
    data = np.full(SHAPE, value, np.float32)
    profile = TissueProfile(np.asarray(own, float), fields[0])
    return relate_tissues(
        data, MASK, profile, looks(SOURCE, fields[1]), looks(TARGET), found, modality, 2.0
    )


def mapped(value, found, **options):
    result = related(value, found, **options)
    assert np.ptp(result) < 1e-6
    return float(result[0, 0, 0])


def test_the_mean_person_goes_to_the_target_as_the_sites_differ():
    start, end, white = goal(SOURCE, difference())
    assert start == pytest.approx(SITE)
    assert end == pytest.approx(SITE + APART)
    assert white == pytest.approx(0.8 * GAIN)


@pytest.mark.parametrize(
    ("modality", "k"),
    [("T1w", (SITE[0] - 0.3 - 0.17) / (SITE[0] - 0.17)), ("FLAIR", 1.0)],
)
def test_a_persons_deviation_goes_along_by_the_law_of_contrast(modality, k):
    own = [0.6 * np.exp(0.05), 0.8, 0.2 * np.exp(-0.2)]
    start, end, _ = goal(own, difference(), modality)
    assert start == pytest.approx(SITE + np.array([0.05, -0.2]))
    assert end == pytest.approx(SITE + APART + np.array([k * 0.05, -0.2]))


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_deviation_beyond_belief_stays_at_its_bound(sign):
    own = [0.6 * np.exp(0.4 * sign), 0.8, 0.2 * np.exp(0.9 * sign)]
    start, _, _ = goal(own, difference())
    assert start == pytest.approx(SITE + sign * np.array([0.25, 0.75]))


@pytest.mark.parametrize("standard_error", [0.0, 0.1, 0.5, np.inf])
def test_contrasts_no_larger_than_their_error_do_not_stretch(standard_error):
    there = SITE[0] + APART[0]
    stretch = np.expm1(there) / np.expm1(SITE[0])
    error = standard_error**2 * (SITE[0] ** -2 + there**-2) / 2
    kept = 0.25 / (0.25 + error) if np.isfinite(error) else 0
    _, end, _ = goal(SOURCE, difference(standard_error=standard_error))
    assert np.expm1(end[0]) / np.expm1(SITE[0]) == pytest.approx(stretch**kept)
    # CSF has no such ratio.
    assert end[1] == pytest.approx(SITE[1] + APART[1])


def test_a_contrast_that_turns_round_is_left_to_the_bounds_of_slopes():
    _, end, _ = goal(SOURCE, difference([0.5, 0.0], standard_error=0.3))
    assert end[0] == pytest.approx(SITE[0] + 0.5)


def test_tissues_lie_where_they_go_and_between_them_a_line():
    found = difference()
    white = 0.8 * GAIN
    grey, csf = white * np.exp(SITE + APART)
    for value, expected in ((0.8, white), (0.6, grey), (0.2, csf), (0.7, (grey + white) / 2)):
        assert mapped(value, found) == pytest.approx(expected, rel=1e-5)
    assert mapped(0.0, found) == 0
    # The probability that sites differ scales all of it.
    for share in (0.0, 0.25):
        less = mapped(0.6, replace(found, probability=share))
        assert less == pytest.approx(0.6 + share * (grey - 0.6), rel=1e-5)


@pytest.mark.parametrize(
    ("people", "most"), [((5, 9), 3.0), ((4, 9), 1.1 * (3 / 1.1) ** (2 / 3)), ((9, 2), 1.1)]
)
def test_slope_between_tissues_has_the_bounds_that_people_support(people, most):
    found = difference([0.25, 0.0], people=people)
    rise = (mapped(0.79, found) - mapped(0.61, found)) / 0.18
    assert rise == pytest.approx(GAIN / most, rel=1e-4)
    bright_csf = difference([0.0, 5.0], people=people)
    assert mapped(0.2, bright_csf) == pytest.approx(0.2 * GAIN * most, rel=1e-5)


@pytest.mark.parametrize(
    ("people", "most"), [((5, 9), 1.25), ((3, 9), 1.1 * (1.25 / 1.1) ** (1 / 3)), ((9, 2), 1.1)]
)
@pytest.mark.parametrize("apart", [-0.5, 0.25])
def test_slope_beyond_the_brightest_tissue_is_bounded_closer(people, most, apart):
    found = difference([apart, 0.0], people=people)
    rise = (mapped(1.3, found) - mapped(0.9, found)) / 0.4
    assert rise == pytest.approx(GAIN * (most if apart < 0 else 1 / most), rel=1e-4)


def test_slope_beyond_the_brightest_goes_on_within_its_bounds():
    there = SITE[0] - 0.05
    slope = GAIN * np.expm1(there) / np.expm1(SITE[0])
    rise = (mapped(1.3, difference([-0.05, 0])) - mapped(0.9, difference([-0.05, 0]))) / 0.4
    assert GAIN < slope < 1.25 * GAIN and rise == pytest.approx(slope, rel=1e-4)


def test_fields_of_sites_are_exchanged_and_the_scanners_share_of_the_scans_goes():
    own, site, apart = FLAT.copy(), FLAT.copy(), FLAT.copy()
    own[1], site[4], apart[10] = 0.2, 0.15, -0.1
    # No contrast to change: what is left is the gain of white matter and fields.
    for share in (0.0, 0.3, 1.0):
        found = difference([0.0, 0.0], field=apart, scan_field=share)
        result = related(0.7, found, fields=(site + own, site))
        expected = 0.7 * GAIN * np.exp(log_field(apart - share * own, SHAPE))
        assert result == pytest.approx(expected, rel=1e-5)


def test_outside_the_brain_nothing_is_left():
    mask = MASK.copy()
    mask[:3] = False
    profile = TissueProfile(SOURCE, FLAT)
    data = np.full(SHAPE, 0.7, np.float32)
    arguments = profile, looks(SOURCE), looks(TARGET), difference(probability=0.5), "T1w", 2.0
    found = relate_tissues(data, mask, *arguments)
    assert not found[:3].any() and found[3:].all() and found.dtype == np.float32


def test_matching_puts_the_targets_field_in_the_place_of_the_scans():
    own, there = FLAT.copy(), FLAT.copy()
    own[1], there[4] = 0.2, 0.15
    data = np.float32(0.6) * np.exp(log_field(own, SHAPE))
    found = match_tissues(data, MASK, TissueProfile(SOURCE, own), TissueProfile(TARGET, there))
    assert found == pytest.approx(0.5 * np.exp(log_field(there, SHAPE)), rel=1e-5)


@pytest.mark.parametrize(
    ("target", "value", "expected"),
    [
        ((0.5, 0.9, 0.16), 1.0, 0.9 + 2.0 * 0.2),
        ((0.5, 0.6, 0.16), 1.0, 0.6 + 0.5 * 0.2),
        ((0.58, 0.6, 0.16), 1.0, 0.6 + 0.25 * 0.2),
        ((0.55, 0.5, 0.16), 0.8, 0.55 + 0.1 * 0.2),
    ],
)
def test_matching_has_bounds_of_slopes_of_its_own(target, value, expected):
    data = np.full(SHAPE, value, np.float32)
    goal = TissueProfile(np.array(target), FLAT)
    found = match_tissues(data, MASK, TissueProfile(SOURCE, FLAT), goal)
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_smoother_target_blurs_as_far_as_people_support_it():
    data = np.zeros(SHAPE, np.float32)
    middle = tuple(n // 2 for n in SHAPE)
    data[middle] = 0.7
    profile = TissueProfile(SOURCE, FLAT)

    def peak(blur, people):
        found = difference([0.0, 0.0], people=people, blur=np.asarray(blur, float))
        arguments = profile, looks(SOURCE), looks(SOURCE), found, "T1w", 2.0
        return relate_tissues(data, np.ones(SHAPE, bool), *arguments)[middle]

    plain = peak([0, 0, 0], (5, 5))
    assert plain == pytest.approx(0.7, rel=1e-5)
    once, most = peak([1.5, 0, 0], (5, 5)), peak([4.0, 0, 0], (5, 5))
    assert 0.3 * plain < once < 0.75 * plain and most == once
    assert once < peak([1.5, 0, 0], (3, 9)) < plain
    # One or two people support none, and a sharper target is left to the network.
    assert peak([1.5, 0, 0], (9, 2)) == peak([-1.5, 0, 0], (5, 5)) == plain


def test_the_bend_of_the_sites_is_applied_between_tissues():
    places = np.linspace(0.05, 1.4, 28)
    change = 0.05 * np.exp(-np.square((places - 0.875) / 0.05))
    bend = Bend((2, 0, 1), np.array([0.25, 0.75, 1.0]), places, change)
    found = difference([0.0, 0.0], bend=bend)
    plain = difference([0.0, 0.0])
    # Half way between grey (0.6) and white matter (0.8).
    assert mapped(0.7, found) - mapped(0.7, plain) == pytest.approx(0.05 * 0.8 * GAIN, rel=0.2)
    assert mapped(0.8, found) == pytest.approx(mapped(0.8, plain), rel=0.005)
    # One or two people support hardly any.
    few = mapped(0.7, replace(found, people=(2, 9))) - mapped(0.7, replace(plain, people=(2, 9)))
    assert 0 < few < 0.025
