"""FORCE: the numbers of its description, on mixtures that are known, and always the same."""

from __future__ import annotations

import os

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from bids_harmony.diffusion import force
from bids_harmony.diffusion.force import fit_force
from bids_harmony.exceptions import DataError, ExitCode, MissingProgram
from lab.diffusion import FREE_WATER, tissue_signal, watson_moments
from tests.gradient_schemes import scheme

pytest.importorskip("dipy.reconst.force", reason="needs DIPY 1.12")

FEW = 3000
NAMES = ("nd", "ndiqr", "dispersion", "dispersioniqr", "csffraction", "csffractioniqr")


@pytest.fixture(scope="module")
def gradients():
    return scheme((1000, 20), (2000, 30))


@pytest.fixture(scope="module")
def mixtures(gradients):
    """Neurites of two densities, the first with little and with much water, and water alone."""
    density = np.array([0.45, 0.75, 0.45, 0.75, 0.6], np.float32)
    water = np.array([0.05, 0.05, 0.4, 0.4, 1.0])[:, None]
    moments = watson_moments(np.full(5, 0.3))
    along = np.array([0.36, 0.48, 0.8], np.float32)
    tissue = np.stack(
        [
            tissue_signal(b, np.full(5, g @ along, np.float32), density, moments)
            for b, g in zip(gradients.bvals, gradients.bvecs.astype(np.float32), strict=True)
        ],
        axis=1,
    )
    signal = (1 - water) * tissue + water * np.exp(-gradients.bvals * FREE_WATER)
    return (800 * signal).astype(np.float32).reshape(5, 1, 1, -1)


@pytest.fixture(scope="module")
def ours(mixtures, gradients, tmp_path_factory):
    """Maps, and what the fit left in its folder."""
    work = tmp_path_factory.mktemp("force")
    maps = fit_force(mixtures, np.ones((5, 1, 1), bool), gradients, work, simulations=FEW)
    return maps, os.listdir(work)


def values(maps, name):
    return getattr(maps, name)[:, 0, 0]


def test_mixtures_are_told_apart(ours):
    maps, left = ours
    assert left == []
    nd, water = values(maps, "nd"), values(maps, "csffraction")
    # So few simulations draw density towards their middle, and more so beside water.
    np.testing.assert_allclose(nd[:2], [0.45, 0.75], atol=0.12)
    assert nd[1] > nd[0] + 0.2 and nd[3] > nd[2]
    np.testing.assert_allclose(water, [0.05, 0.05, 0.4, 0.4, 1.0], atol=0.2)
    for name in NAMES:
        got = getattr(maps, name)
        assert got.dtype == np.float32 and got.shape == (5, 1, 1)
        assert got.min() >= 0 and got.max() <= 1
    assert 0.02 < np.median(values(maps, "ndiqr")) < 0.25
    assert maps.fitted.all() and maps.incomplete == 0


def test_numbers_are_the_posterior_over_the_most_alike(ours, mixtures, gradients, tmp_path):
    bvals, bvecs = gradients.bvals.tobytes(), gradients.bvecs.tobytes()
    library = force.library_of(force.Scheme(bvals, bvecs, FEW, 0, tmp_path))
    signals = library.index._xb.astype(np.float64)
    np.testing.assert_allclose(np.linalg.norm(signals, axis=1), 1, rtol=1e-5)
    for row, signal in enumerate(mixtures[:, 0, 0].astype(np.float64)):
        alike = signals @ (signal / np.linalg.norm(signal))
        near = np.argsort(-alike)[:50]
        score = 2000 * (alike[near] - library.penalty[near])
        weights = np.exp(score - score.max())
        weights /= weights.sum()
        for name in ("nd", "dispersion", "csffraction"):
            known = library.values[name][near]
            assert values(ours[0], name)[row] == pytest.approx(weights @ known, abs=2e-3)
            order = np.argsort(known)
            share = np.cumsum(weights[order])
            low, high = (known[order][np.searchsorted(share, q)] for q in (0.25, 0.75))
            assert values(ours[0], f"{name}iqr")[row] == pytest.approx(high - low, abs=0.02)


def test_density_and_dispersion_are_those_of_the_tissue(gradients, tmp_path):
    """Not of the voxel, as DIPY has them: water would count."""
    bvals, bvecs = gradients.bvals.tobytes(), gradients.bvecs.tobytes()
    library = force.library_of(force.Scheme(bvals, bvecs, FEW, 0, tmp_path))
    wet = library.values["csffraction"] > 0.5
    for name in ("nd", "dispersion"):
        assert abs(np.mean(library.values[name][wet]) - np.mean(library.values[name])) < 0.03
        assert 0 <= library.values[name].min() and library.values[name].max() <= 1


def test_maps_are_the_same_to_the_bit_whatever_the_threads_and_the_generator(
    ours, mixtures, gradients, tmp_path
):
    force.library_of.cache_clear()
    np.random.seed(5)  # noqa: NPY002
    expected = np.random.RandomState(5).random()
    with threadpool_limits(limits=2):
        again = fit_force(mixtures, np.ones((5, 1, 1), bool), gradients, tmp_path, simulations=FEW)
    for name in NAMES:
        np.testing.assert_array_equal(getattr(again, name), getattr(ours[0], name))
    # DIPY would have left a seed of its own there.
    assert np.random.random() == expected  # noqa: NPY002


def test_the_library_is_shared_by_fits_of_one_scheme_only(
    ours, mixtures, gradients, tmp_path, monkeypatch
):
    from dipy.sims import force as dipys

    drawn, generate = [], dipys.generate_force_simulations
    monkeypatch.setattr(
        dipys,
        "generate_force_simulations",
        lambda *words, **how: (drawn.append(1), generate(*words, **how))[1],
    )
    mask = np.ones((5, 1, 1), bool)
    fit_force(mixtures, mask, gradients, tmp_path, simulations=FEW)
    before = len(drawn)
    other = tmp_path / "other"
    other.mkdir()
    fit_force(mixtures, mask, gradients, other, simulations=FEW)
    assert len(drawn) == before
    own = fit_force(mixtures, mask, gradients, other, simulations=200, seed=1)
    drawn_again = fit_force(mixtures, mask, gradients, other, simulations=200, seed=2)
    assert len(drawn) == before + 2
    assert not np.array_equal(own.nd, drawn_again.nd)
    fit_force(mixtures, mask, scheme((1000, 20), (2500, 30)), other, simulations=200, seed=2)
    assert len(drawn) == before + 3


def test_outside_the_mask_and_without_signal_nothing_is_fitted(mixtures, gradients, tmp_path):
    data = mixtures.copy()
    data[1] = 0
    mask = np.array([True, True, True, False, True]).reshape(5, 1, 1)
    maps = fit_force(data, mask, gradients, tmp_path, simulations=FEW)
    np.testing.assert_array_equal(maps.fitted[:, 0, 0], [True, False, True, False, True])
    for name in NAMES:
        assert not getattr(maps, name)[~maps.fitted].any()


def test_a_volume_that_was_not_measured_is_told_and_changes_little(
    ours, mixtures, gradients, tmp_path
):
    data = mixtures.copy()
    data[0, 0, 0, 30] = np.nan
    maps = fit_force(data, np.ones((5, 1, 1), bool), gradients, tmp_path, simulations=FEW)
    assert maps.incomplete == 1
    assert values(maps, "nd")[0] == pytest.approx(values(ours[0], "nd")[0], abs=0.05)
    np.testing.assert_array_equal(values(maps, "nd")[1:], values(ours[0], "nd")[1:])


def test_one_shell_and_an_old_dipy_are_refused(mixtures, gradients, tmp_path, monkeypatch):
    one = scheme((1000, 50))
    mask = np.ones((5, 1, 1), bool)
    with pytest.raises(DataError, match="FORCE needs 2 non-zero shells"):
        fit_force(mixtures, mask, one, tmp_path)
    monkeypatch.setattr(force, "force_installed", lambda: False)
    with pytest.raises(MissingProgram, match="no FORCE") as told:
        fit_force(mixtures, mask, gradients, tmp_path)
    assert told.value.exit_code == ExitCode.MISSING_PROGRAM
