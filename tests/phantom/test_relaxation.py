"""Relaxation times by field strength."""

import numpy as np
import pytest

from bids_harmony.phantom.relaxation import relaxation_factors


@pytest.mark.parametrize("tissue", ["GM", "WM", "CSF"])
def test_at_three_tesla_tissues_are_as_given(tissue):
    assert relaxation_factors(tissue, 3.0) == pytest.approx((1.0, 1.0))


@pytest.mark.parametrize(
    ("tissue", "tesla", "t1", "t2"),
    [
        ("GM", 1.5, 0.5**0.376, 87 / 76),
        ("WM", 7.0, (7 / 3) ** 0.382, 47 / 71),
        ("GM", 0.05, 327 / 1295, 97 / 76),
    ],
)
def test_measured_times_come_out(tissue, tesla, t1, t2):
    longitudinal, transverse = relaxation_factors(tissue, tesla)
    assert longitudinal == pytest.approx(t1, rel=1e-3)
    assert transverse == pytest.approx(t2, rel=0.05)


def test_t1_grows_and_t2_falls_with_the_field_but_not_in_csf():
    for tissue in ("GM", "WM"):
        t1, t2 = np.array([relaxation_factors(tissue, b) for b in np.geomspace(0.05, 7, 30)]).T
        assert (np.diff(t1) > 0).all() and (np.diff(t2) < 0).all()
    assert relaxation_factors("CSF", 0.05) == (1.0, 1.0)
