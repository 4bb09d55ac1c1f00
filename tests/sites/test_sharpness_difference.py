"""How much smoother one site is than another."""

import numpy as np
import pytest

from bids_harmony.sites.scan_measures import ScanMeasures
from bids_harmony.sites.sharpness_difference import sharpness_difference


def site(blur):
    blur = np.asarray(blur, float)
    people = tuple(f"p{i}" for i in range(len(blur)))
    zeros = [np.zeros((len(blur), n)) for n in (3, 20, 2)]
    return ScanMeasures(people, *zeros, blur=blur)


def difference(source, target, *, same_person=False):
    return sharpness_difference(site(source), site(target), "T1w", same_person=same_person)


def test_each_axis_by_itself_signed_and_shrunk_by_its_evidence():
    source, target = [[1.0, 1.0, 1.0]] * 5, [[1.0, 3.0, 0.2]] * 5
    found = difference(source, target)
    assert found[0] == pytest.approx(0, abs=1e-9)
    assert 0.8 * 2 * 0.85 < found[1] < 0.8 * 2
    assert -0.8 * 0.8 < found[2] < -0.8 * 0.8 * 0.85
    fewer = difference(source[:1], target[:1])
    assert 0.5 * found[1] < fewer[1] < found[1]
    # One head at both: nothing of it can be the person's.
    assert difference(source[:1], target[:1], same_person=True)[1] > found[1]


def test_the_change_has_an_end():
    assert difference([[0, 0, 9.0]] * 5, [[9.0, 9, -1.5]] * 5) == pytest.approx([4, 4, -1.5])


def test_what_could_not_be_measured_is_not_changed():
    nan = np.nan
    found = difference([[1, nan, 1], [1, 2, 1]], [[3, nan, nan]] * 2)
    assert found[0] > 0.5 and found[1] == 0 and found[2] == 0
    part = difference([[1, 2, 1], [1, nan, 1]], [[3, 4, 3]] * 2)
    assert part[1] > 0.5
    unknown = ScanMeasures(("p",), np.zeros((1, 3)), np.zeros((1, 20)), np.zeros((1, 2)))
    assert not sharpness_difference(unknown, site([[1, 1, 1]]), "T1w", same_person=False).any()
