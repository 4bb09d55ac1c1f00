"""Factors by which a series changed: found again where it was changed by them, and undone."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.diffusion.rish import harmonics
from bids_harmony.diffusion.series import Series
from bids_harmony.methods.series_change import series_change
from tests.diffusion.simple_series import make_gradients, make_series
from tests.methods.simple_sites import make_rish, make_site

GRADIENTS = make_gradients(20, b0=4)
FACTORS = {1000.0: (1.1, 0.8, 1.3), 2000.0: (0.9, 1.2, 0.7)}


@pytest.fixture(scope="module")
def series():
    made, mask = make_series(GRADIENTS, seed=1, noise=0.02)
    raw = made.raw.astype(np.float32)
    return Series(raw, 1.0, 0.0, nib.Nifti1Image(raw, made.affine), None), mask


def by_formula(data, maps, power):
    """The formula of `SeriesChange`, or its way back with a power of -1."""
    data = data * maps[..., :1] ** power
    for place, shell in enumerate(GRADIENTS.shells):
        basis = harmonics(GRADIENTS.bvecs[shell.volumes], 4, smooth=0.0)
        scales = maps[..., 1 + 3 * place : 4 + 3 * place] ** power
        signal = data[..., shell.volumes]
        coefficients = basis.coefficients(signal)
        rest = signal - basis.signal(coefficients)
        explained = basis.signal(coefficients * scales[..., basis.orders // 2])
        data[..., shell.volumes] = explained + scales[..., :1] * rest
    return data


def changed(series, mask):
    """The series by known factors, of which that of the mean b=0 varies from voxel to voxel."""
    x, y, z, _ = series.shape
    ratio = np.broadcast_to(1 + 0.02 * np.arange(x)[:, None, None], (x, y, z))
    data = series.signal(...) * ratio[..., None]
    for shell in GRADIENTS.shells:
        basis = harmonics(GRADIENTS.bvecs[shell.volumes], 4, smooth=0.0)
        signal = data[mask][:, shell.volumes]
        coefficients = basis.coefficients(signal)
        factors = np.array(FACTORS[shell.nominal])
        rest = signal - basis.signal(coefficients)
        inside = data[mask]
        inside[:, shell.volumes] = (
            basis.signal(coefficients * factors[basis.orders // 2]) + factors[0] * rest
        )
        data[mask] = inside
    return data.astype(np.float32), ratio


def test_factors_are_those_by_which_it_was_changed(series):
    given, mask = series
    data, ratio = changed(given, mask)
    found = series_change(given, data, GRADIENTS, mask)
    assert found.parts == (
        (0.0, 0), (1000.0, 0), (1000.0, 2), (1000.0, 4), (2000.0, 0), (2000.0, 2), (2000.0, 4)
    )  # fmt: skip
    assert found.maps.shape == (*mask.shape, 7) and found.maps.dtype == np.float32
    assert found.maps[mask][:, 0] == pytest.approx(ratio[mask], abs=1e-3)
    for place, (b, order) in enumerate(found.parts[1:], 1):
        # Where nearly nothing is of an order, float32 and steps of the factors show.
        error = np.abs(found.maps[mask][:, place] / FACTORS[b][order // 2] - 1)
        assert np.median(error) < 1e-4 and np.quantile(error, 0.99) < 5e-3, (b, order)
    assert (found.maps[~mask][:, 1:] == 1).all()


def test_what_did_not_change_has_factors_of_one(series):
    given, mask = series
    assert (series_change(given, given.raw, GRADIENTS, mask).maps == 1).all()


def test_signals_of_nothing_are_left_out_of_the_factors(series):
    given, mask = series
    raw = given.raw.copy()
    where = tuple(np.argwhere(mask)[0])
    raw[where] = 0
    # Changed to something all the same: no factor can tell that.
    after = given.raw.copy()
    found = series_change(replace(given, raw=raw), after, GRADIENTS, mask)
    assert (found.maps[where] == 1).all() and np.isfinite(found.maps).all()


@pytest.mark.parametrize(
    ("scanner", "left"),
    [({"noise": 0.02}, [0.03, 0.06]), ({"noise": 0.04, "channels": 2}, [0.1, 0.3])],
    ids=["gradients", "floor"],
)
def test_the_formula_holds_most_of_what_a_model_did(scanner, left):
    """Gradients and floor change strong signals less than weak ones: no factor of an order can."""
    people = (0.97, 1.0, 1.03)
    source = make_site("A", GRADIENTS, people, b_scale=1.05, **scanner)
    target = make_site("B", GRADIENTS, people, noise=0.02)
    given, mask = make_series(GRADIENTS, seed=1, b_scale=1.05, **scanner)
    model = make_rish(given, mask, source, target, GRADIENTS)
    before = given.signal(...)
    mean = np.maximum(before[mask][:, GRADIENTS.b0].mean(axis=1), 1)
    after = before.copy()
    for shell in GRADIENTS.shells:
        inside = after[mask]
        inside[:, shell.volumes] = model(shell, inside[:, shell.volumes], mean)
        after[mask] = inside
    float_series = replace(given, raw=before)
    maps = series_change(float_series, after, GRADIENTS, mask).maps
    for shell, most in zip(GRADIENTS.shells, left, strict=True):
        one, other = (data[mask][:, shell.volumes] for data in (before, after))
        moved = np.abs(other - one).mean()
        redone, undone = (
            by_formula(data.copy(), maps, power)[mask][:, shell.volumes]
            for data, power in ((before, 1), (after, -1))
        )
        errors = [np.abs(redone - other).mean() / moved, np.abs(undone - one).mean() / moved]
        assert max(errors) < most, (shell.b, errors)
        # The orders are needed: by the factor of order 0 alone it is further off.
        flat = maps.copy()
        flat[..., [2, 3, 5, 6]] = flat[..., [1, 1, 4, 4]]
        alone = by_formula(before.copy(), flat, 1)[mask][:, shell.volumes]
        assert np.abs(alone - other).mean() > 1.5 * np.abs(redone - other).mean()
