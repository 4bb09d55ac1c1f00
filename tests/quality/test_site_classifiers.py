"""Classifiers by inner products against those by features, as scikit-learn has them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from threadpoolctl import threadpool_limits

from bids_harmony.quality.site_classifiers import CLASSIFIERS, recognized

BY_FEATURES = {
    "linear": lambda: make_pipeline(
        StandardScaler(),
        PCA(svd_solver="full"),
        LogisticRegression(max_iter=1000, class_weight="balanced"),
    ),
    "kernel": lambda: make_pipeline(StandardScaler(), SVC(C=10.0, class_weight="balanced")),
}


def cohort(rng, columns: int):
    """Three sites, the last with fewer people; some people have two scans, one feature none."""
    people = np.concatenate([np.arange(50), np.arange(10)])
    sites = np.repeat([0, 1, 2], [20, 20, 10])[people]
    features = rng.normal(size=(60, columns)) * rng.uniform(0.1, 100, columns)
    features += 8 * (sites[:, None] == np.arange(columns) % 7)
    features[:, 0] = 4.0
    return features, sites, people


@pytest.mark.parametrize("columns", [15, 900])
def test_sees_what_the_features_show(rng, columns):
    features, sites, people = cohort(rng, columns)
    got = recognized(features, sites, people, CLASSIFIERS, seed=3, folds=5)
    for name, right in zip(CLASSIFIERS, got, strict=True):
        expected = np.zeros(60, bool)
        split = StratifiedGroupKFold(5, shuffle=True, random_state=3)
        for train, test in split.split(features, sites, people):
            model = BY_FEATURES[name]().fit(features[train], sites[train])
            expected[test] = model.predict(features[test]) == sites[test]
        assert 0.35 < expected.mean() < 0.98
        np.testing.assert_array_equal(right, expected)


def test_does_not_depend_on_threads(rng):
    seen = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            features, sites, people = cohort(np.random.default_rng(5), 3000)
            seen.append(recognized(features, sites, people, CLASSIFIERS, seed=0, folds=5))
    np.testing.assert_array_equal(*seen)


def test_scans_without_any_difference_are_at_chance():
    sites, people = np.repeat([0, 1], 6), np.arange(12)
    for columns in (3, 40):
        right = recognized(np.ones((12, columns)), sites, people, CLASSIFIERS, seed=0, folds=3)
        assert 0.3 <= right.mean() <= 0.7
