"""Scores against a twin: their figures, and what does not count."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio
from sklearn.linear_model import LinearRegression

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.scanner import SITES, acquire
from bids_harmony.quality.travelling import TWIN_FIGURES, score_against_twin

GRID = reference_grid(4.0)


@pytest.fixture(scope="module")
def person():
    return make_anatomy(GRID, 7)


@pytest.fixture(scope="module")
def scans(person):
    """Source at GE, noise-free twin at COI."""
    source = acquire(person, SITES["GE"], "T1w", scan_seed=1)
    twin = acquire(person, SITES["COI"], "T1w", scan_seed=2, noise=False, scan_field=False)
    return source, twin


def test_figures_are_those_of_other_libraries(scans, person):
    source, twin = scans
    mask = person.mask
    row = score_against_twin(source, twin, mask)
    assert tuple(row) == TWIN_FIGURES and all(isinstance(v, float) for v in row.values())
    ours, goal = (d[mask] / np.percentile(d[mask], 99.5) for d in (source, twin))
    expected = peak_signal_noise_ratio(goal, ours, data_range=1.0)
    assert row["psnr_db"] == pytest.approx(expected, abs=1e-4)
    line = LinearRegression(fit_intercept=False).fit(ours[:, None], goal)
    left = goal - line.predict(ours[:, None])
    assert row["rmse_gain_free"] == pytest.approx(np.sqrt(np.square(left).mean()), rel=1e-4)
    assert row["rmse_gain_free"] <= row["rmse"]
    assert 0 < row["ssim"] < 1 and 0 < row["ms_ssim"] < 1


def test_units_and_what_lies_outside_the_brain_do_not_count(scans, person):
    source, twin = scans
    row = score_against_twin(7 * twin, twin, person.mask)
    assert row["rmse"] == pytest.approx(0, abs=1e-6)
    head = np.where(person.mask, source, 5000)
    assert score_against_twin(head, twin, person.mask) == score_against_twin(
        source, twin, person.mask
    )
    shifted = score_against_twin(np.where(person.mask, 3 * twin + 100, 0), twin, person.mask)
    assert shifted["rmse"] > shifted["rmse_gain_free"] > 0.005
