"""Simulated scanners of wanted contrast, and draws from what tables show."""

import numpy as np
import pytest
from scipy.stats import ks_2samp, spearmanr

from benchmarks.scanner_draw import any_scanner, contrasts, with_contrasts
from benchmarks.scanner_targets import t1w_targets


@pytest.mark.parametrize("wanted", [(-0.3, -1.4), (-0.5, -2.5), (-0.22, -1.05)])
@pytest.mark.parametrize("tesla", [1.5, 3.0])
def test_a_sequence_is_found_that_shows_the_contrasts(wanted, tesla):
    scanner = with_contrasts(any_scanner(3, tesla, smooth=False), "T1w", np.array(wanted), 3)
    assert (np.abs(contrasts(scanner, "T1w") - wanted) < [0.02, 0.08]).all()


def test_a_small_change_of_contrast_moves_the_sequence_a_little():
    scanner = any_scanner(5, 3.0, smooth=False)
    wanted = contrasts(scanner, "T1w") + np.array([0.01, 0.04])
    moved = with_contrasts(scanner, "T1w", wanted, None)
    np.testing.assert_allclose(contrasts(moved, "T1w"), wanted, atol=0.01)
    one, other = scanner.sequences["T1w"], moved.sequences["T1w"]
    assert other.kind == one.kind
    assert other.repetition_ms == pytest.approx(one.repetition_ms, rel=0.5)


def test_t2w_contrasts_follow_echo_and_repetition_time():
    scanner = any_scanner(5, 3.0, smooth=False)
    found = with_contrasts(scanner, "T2w", np.array([0.4, 1.0]), None)
    np.testing.assert_allclose(contrasts(found, "T2w"), [0.4, 1.0], atol=0.03)


def test_targets_have_the_quantiles_and_correlations_of_the_table():
    rng = np.random.default_rng(0)
    scores = rng.multivariate_normal(np.zeros(5), 0.5 + 0.5 * np.eye(5), 119)
    table = np.exp(scores * [0.1, 0.4, 0.2, 0.5, 0.2])
    field = np.where(np.arange(119) % 3, 1.5, 3.0)
    drawn, tesla = t1w_targets(table, field, 150, rng)
    assert max(ks_2samp(a, b).statistic for a, b in zip(table.T, drawn.T, strict=True)) < 0.03
    off = spearmanr(drawn).statistic - spearmanr(table).statistic
    assert np.abs(off).max() < 0.1
    assert 0.25 < (tesla == 3.0).mean() < 0.4 and tesla.min() >= 0.05 and tesla.max() <= 7
