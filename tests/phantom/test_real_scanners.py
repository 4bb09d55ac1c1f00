"""Scanners as real ones differ: the fitted distribution is what is drawn."""

import json
from importlib import resources

import numpy as np
import pytest

from bids_harmony.phantom.anatomy import TISSUES
from bids_harmony.phantom.real_scanners import (
    PROPERTIES,
    Differences,
    differences,
    features,
    real_scanner,
    scanner_with,
)
from bids_harmony.quality.image_quality import QUALITY_MEASURES

GAIN = np.ones(2)


def contrasts(scanner):
    grey, white, csf = (scanner.signal_of(t, "T1w") for t in TISSUES)
    return scanner.gamma * np.log([grey / white, csf / white])


def test_the_same_seed_gives_the_same_scanner_and_others_differ():
    assert real_scanner(5) == real_scanner(5)
    assert real_scanner(5) != real_scanner(6)


def test_numbers_of_every_measure_travel_with_the_package():
    known = differences()
    assert known.quantiles.shape == (len(QUALITY_MEASURES), len(known.scores))
    assert (np.diff(known.quantiles, axis=1) > 0).all()
    assert np.allclose(known.correlation, known.correlation.T)
    assert np.linalg.eigvalsh(known.correlation).min() > 0
    assert known.response.shape == (5, len(features(np.zeros(len(PROPERTIES)), GAIN)))


def test_what_is_asked_for_is_near_the_tables_numbers():
    """Of one man on about 115 scanners: GM/WM 0.72; it goes together with CSF/WM."""
    file = resources.files("bids_harmony.data") / "scanner_differences.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    assert "Opfer" in content["source"] and content["measures"] == list(QUALITY_MEASURES)
    tables = np.array(content["quantiles"])
    assert np.exp(tables[0, 5]) == pytest.approx(0.72, abs=0.01)
    assert content["correlation"][0][1] > 0.85
    spread = tables[:, -2] - tables[:, 1]
    assert (np.abs(differences().quantiles[:, 5] - tables[:, 5]) < 0.3 * spread).all()


def test_measures_are_drawn_with_the_quantiles_and_correlations_of_the_numbers():
    known = differences()
    drawn = np.array([known.draw(np.random.default_rng(seed)) for seed in range(1500)])
    at = [2, 5, 8]
    shares = [(drawn < known.quantiles[:, k]).mean(axis=0) for k in at]
    np.testing.assert_allclose(shares, np.array([[0.1], [0.5], [0.9]]) * np.ones(5), atol=0.04)
    ranks = drawn.argsort(axis=0).argsort(axis=0)
    wanted = 6 / np.pi * np.arcsin(known.correlation / 2)
    np.testing.assert_allclose(np.corrcoef(ranks.T), wanted, atol=0.08)


def test_properties_show_the_measures_that_were_drawn():
    """Noise and range enter squared, width as its logarithm."""
    known = differences()
    missed = []
    for seed in range(30):
        wanted = known.draw(np.random.default_rng([seed, 1]))
        found = known.measures(known.properties(wanted, GAIN), GAIN)
        missed.append(found - [*wanted[:2], *wanted[2:4] ** 2, np.log(wanted[4])])
    assert (np.median(np.abs(missed), axis=0) < [0.01, 0.05, 3e-4, 0.01, 0.02]).all()


def test_the_response_is_inverted_where_it_is_known():
    """A response that is the properties themselves."""
    response = np.zeros((5, len(features(np.zeros(5), GAIN))))
    sizes = np.array([0.1, 0.4, 0.02, 0.08, 0.6])
    response[np.arange(5), 1 + np.arange(5)] = sizes
    known = Differences(np.zeros(1), np.zeros((5, 1)), np.eye(5), response)
    properties = known.properties(np.array([-0.3, -1.4, 0.2, 0.3, np.exp(0.5)]), GAIN)
    np.testing.assert_allclose(properties, [-0.3, -1.4, 0.04, 0.09, 0.5], atol=1e-3)


@pytest.mark.parametrize("wanted", [(-0.3, -1.5), (-0.5, -2.4), (-0.2, -1.1)])
def test_a_sequence_shows_the_contrasts_that_are_asked_for(wanted):
    scanner = scanner_with(np.array([*wanted, 0.03, 0.1, 0.2]), 3)
    np.testing.assert_allclose(contrasts(scanner), wanted, atol=0.12)
    left = scanner.bias_log_sd * (1 - scanner.effects.bias_correction)
    assert (scanner.noise, scanner.sharpness_mm) == (0.03, 0.2)
    assert left == pytest.approx(0.1)


def test_vendors_and_files_differ_as_in_life():
    scanners = [real_scanner(seed) for seed in range(40)]
    effects = [s.effects for s in scanners]
    for share, low, high in (
        (np.mean([e.bias_correction > 0 for e in effects]), 0.4, 0.9),
        (np.mean([e.bits == 8 for e in effects]), 0.0, 0.3),
        (np.mean([e.saturation > 0 for e in effects]), 0.0, 0.25),
        (np.mean([e.elliptical for e in effects]), 0.1, 0.55),
        (np.mean([min(e.matrix) < 1 for e in effects]), 0.1, 0.55),
        (np.mean([e.unsharp > 0 for e in effects]), 0.05, 0.4),
        (np.mean([s.field_tesla not in (1.0, 1.5, 3.0) for s in scanners]), 0.0, 0.2),
    ):
        assert low < share < high
    assert all(0.05 <= s.field_tesla <= 7 for s in scanners)
    assert all(s.bias_log_sd <= 0.61 for s in scanners)
