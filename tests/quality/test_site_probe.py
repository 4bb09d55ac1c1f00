"""The site probe at chance, at certainty, and against leaks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from bids_harmony.exceptions import DataError
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.scanner import SITES, acquire
from bids_harmony.quality.site_probe import (
    CLASSIFIERS,
    ProbeResult,
    mask_features,
    scan_features,
    site_probes,
)


def _probe(
    x, sites, subjects, *, folds=5, repeats=2, seed=0, classifier=CLASSIFIERS[0]
) -> ProbeResult:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bids_harmony.quality.site_probe.FOLDS", folds)
        patch.setattr("bids_harmony.quality.site_probe.REPEATS", repeats)
        return site_probes(x, sites, subjects, seed=seed, classifiers=(classifier,))[0]


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_random_labels_are_at_chance(classifier, rng):
    results = []
    for _ in range(10):
        x, sites = rng.standard_normal((60, 8)), rng.permutation(["A", "B", "C"] * 20)
        results.append(_probe(x, sites, np.arange(60), classifier=classifier, repeats=1))
    assert results[0].chance == pytest.approx(1 / 3)
    assert results[0].n == 60
    assert np.mean([r.balanced_accuracy for r in results]) == pytest.approx(1 / 3, abs=0.07)
    assert sum(r.low <= r.chance <= r.high for r in results) >= 7


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_separable_sites_are_found(classifier, rng):
    sites = np.repeat(["A", "B", "C", "D"], 8)
    x = rng.standard_normal((32, 5)) + 20 * (sites[:, None] == ["A", "B", "C", "D", "E"])
    got = _probe(x, sites, np.tile(np.arange(8), 4), classifier=classifier)
    assert got.balanced_accuracy > 0.95
    assert got.high <= 1
    assert got.classifier == classifier


def test_only_the_kernel_sees_a_nonlinear_trace(rng):
    x = rng.standard_normal((160, 2))
    sites = np.where((x[:, 0] > 0) == (x[:, 1] > 0), "A", "B")
    linear, kernel = (_probe(x, sites, np.arange(160), classifier=c) for c in CLASSIFIERS)
    assert linear.balanced_accuracy < 0.65
    assert kernel.balanced_accuracy > 0.9


@pytest.mark.parametrize("classifier", CLASSIFIERS)
def test_features_that_name_the_subject_but_not_the_site_stay_at_chance(classifier, rng):
    # Every person has six scans at one site and a code of their own: with a person on both sides
    # of the split, remembering people would name the site of every scan.
    person = np.repeat(np.arange(20), 6)
    x = rng.standard_normal((20, 30))[person] + 0.01 * rng.standard_normal((120, 30))
    sites = rng.permutation(np.repeat(["A", "B"], 10))[person]
    got = _probe(x, sites, person, classifier=classifier, repeats=4)
    assert got.balanced_accuracy < 0.72
    leaking = _probe(x, sites, np.arange(120), classifier=classifier)
    assert leaking.balanced_accuracy > 0.95


def test_agrees_with_a_plain_cross_validation_in_sklearn(rng):
    sites = np.array(["A"] * 30 + ["B"] * 15)
    x = rng.standard_normal((45, 80)) + 0.25 * (sites == "A")[:, None]
    people = np.arange(45)
    scores = []
    for seed in (7, 8):
        predicted = sites.copy()
        split = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        for train, test in split.split(x, sites, people):
            model = make_pipeline(
                StandardScaler(), LogisticRegression(max_iter=2000, class_weight="balanced")
            )
            predicted[test] = model.fit(x[train], sites[train]).predict(x[test])
        scores.append(balanced_accuracy_score(sites, predicted))
    got = _probe(x, sites, people, seed=7)
    assert got.balanced_accuracy == pytest.approx(np.mean(scores), abs=0.02)
    assert got.low < got.balanced_accuracy < got.high


def test_the_same_seed_gives_the_same_result(rng):
    x, sites = rng.standard_normal((40, 6)), np.tile(["A", "B"], 20)
    for classifier in CLASSIFIERS:
        first, second = (_probe(x, sites, np.arange(40), classifier=classifier) for _ in range(2))
        assert first == second


def test_features_see_scanners_and_their_control_does_not():
    grid = reference_grid(4.0)
    people = [make_anatomy(grid, seed) for seed in range(6)]
    rows, shapes, sites, subjects = [], [], [], []
    for index, person in enumerate(people):
        for site in ("COI", "GE"):
            scan = acquire(person, SITES[site], "T1w", scan_seed=index)
            rows.append(scan_features(scan, person.mask, 4.0))
            shapes.append(mask_features(person.mask, 4.0))
            sites.append(site)
            subjects.append(index)
    look = _probe(np.stack(rows), sites, subjects, folds=3)
    shape = _probe(np.stack(shapes), sites, subjects, folds=3)
    assert look.balanced_accuracy > 0.9
    # Everybody was at both sites: the mask cannot know.
    assert shape.balanced_accuracy == pytest.approx(0.5)


def test_features_do_not_depend_on_gain_but_on_sharpness():
    grid = reference_grid(4.0)
    person = make_anatomy(grid, 1)
    sharp = acquire(person, SITES["COI"], "T1w", scan_seed=1)
    blurred = acquire(person, replace(SITES["COI"], sharpness_mm=3.0), "T1w", scan_seed=1)
    first = scan_features(sharp, person.mask, 4.0)
    np.testing.assert_allclose(scan_features(9 * sharp, person.mask, 4.0), first, atol=1e-4)
    detail = slice(21, 21 + 2 * 4**3)
    change = scan_features(blurred, person.mask, 4.0)[detail] - first[detail]
    assert change.mean() < -0.05


def test_features_in_the_stored_unit_and_of_some_blocks():
    grid = reference_grid(4.0)
    person = make_anatomy(grid, 1)
    scan = acquire(person, SITES["COI"], "T1w", scan_seed=1)
    whole = scan_features(scan, person.mask, 4.0)
    stored = scan_features(scan, person.mask, 4.0, unit=1.0)
    scale = np.percentile(scan[person.mask], 99.5)
    look = slice(21 + 2 * 4**3, None)
    for columns in (slice(21), look):
        np.testing.assert_allclose(stored[columns], scale * whole[columns], rtol=1e-4)
    # Blocks of two voxels; the first of them lies in here, half of the second does not count.
    within = np.zeros(grid.shape, bool)
    at = np.array(grid.shape) // 4 * 2
    within[at[0] : at[0] + 3, at[1] : at[1] + 2, at[2] : at[2] + 2] = True
    some = scan_features(scan, person.mask, 4.0, within=within)
    np.testing.assert_array_equal(some[:-1], whole[: look.start])
    block = np.where(person.mask, scan, 0)[tuple(slice(i, i + 2) for i in at)]
    np.testing.assert_allclose(some[-1], block.mean() / scale, rtol=1e-5)


def test_mask_features_measure_the_head():
    mask = np.zeros((20, 24, 16), bool)
    mask[2:12, 4:20, 0:16] = True
    features = mask_features(mask, 2.0)
    np.testing.assert_allclose(features[:4], [10 * 16 * 16 * 8 / 1000, 20, 32, 32])
    assert features[4:].sum() == pytest.approx(mask.sum() / 4**3)


def test_bad_input_is_named(rng):
    x = rng.standard_normal((6, 3))
    with pytest.raises(DataError, match="two sites"):
        _probe(x, ["A"] * 6, range(6))
    with pytest.raises(DataError, match="B: 1"):
        _probe(x, ["A"] * 4 + ["B"] * 2, [0, 1, 2, 3, 4, 4])
    with pytest.raises(DataError, match="one row per scan"):
        _probe(x, ["A"] * 5, range(6))
    with pytest.raises(DataError, match="Unknown classifier"):
        _probe(x, ["A", "B"] * 3, range(6), classifier="oracle")
    with pytest.raises(DataError, match="No positive signal"):
        scan_features(np.zeros((4, 4, 4)), np.ones((4, 4, 4), bool), 4.0)
    with pytest.raises(DataError, match="empty"):
        mask_features(np.zeros((4, 4, 4), bool), 4.0)
