from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from dipy.core.gradients import gradient_table
from dipy.reconst.dti import TensorModel

from bids_harmony.diffusion import tensor
from bids_harmony.diffusion.tensor import fit_tensor, tensor_volumes
from bids_harmony.exceptions import DataError, ImageError
from tests.gradient_schemes import scheme, tensor_signal

SCALARS = ("fa", "md", "ad", "rd")


def _direct(data, mask, gradients, volumes, method):
    table = gradient_table(gradients.bvals[volumes], bvecs=gradients.bvecs[volumes])
    signals = data[mask][:, volumes].astype(np.float64)
    return TensorModel(table, fit_method=method).fit(signals)


@pytest.mark.parametrize("method", ["WLS", "RESTORE"])
def test_numbers_are_those_of_dipy(noisy, multishell, method):
    data, mask = noisy
    if method == "RESTORE":
        mask = mask & (np.arange(5) < 1)[:, None, None]
    maps = fit_tensor(data, mask, multishell, method)
    low = np.arange(14)  # b=0 and b=1000
    np.testing.assert_array_equal(maps.volumes, low)
    direct = _direct(data, mask, multishell, low, method)
    # RESTORE iterates from a start whose last bit depends on how many voxels come at once.
    same = {"rtol": 0, "atol": 0} if method == "WLS" else {"rtol": 1e-5, "atol": 1e-9}
    for name in SCALARS:
        values = getattr(maps, name)
        assert values.dtype == np.float32
        expected = getattr(direct, name).astype(np.float32)
        np.testing.assert_allclose(values[mask], expected, **same)
        assert not values[~mask].any()
    np.testing.assert_allclose(maps.v1[mask], direct.evecs[..., 0].astype(np.float32), atol=1e-6)
    assert not maps.v1[~mask].any()
    np.testing.assert_array_equal(maps.fitted, mask)


def test_restore_leaves_out_a_lost_volume(multishell, monkeypatch):
    monkeypatch.setattr("bids_harmony.diffusion.tensor.HIGHEST_B", 2500)
    signal = tensor_signal(multishell, np.diag([1.7e-3, 4e-4, 2e-4]))
    rng = np.random.default_rng(2)
    clean = (signal + rng.normal(0, 2, (2, 2, 2, len(signal)))).astype(np.float32)
    mask = np.ones((2, 2, 2), bool)
    lost = clean.copy()
    lost[..., 5] *= 0.3  # moved while it was measured
    # All 34 volumes: of 14, seven parameters leave too few residuals to tell an outlier by.
    expected = fit_tensor(clean, mask, multishell).md
    robust, plain = (
        fit_tensor(lost, mask, multishell, method).md for method in ("RESTORE", "WLS")
    )
    assert np.abs(robust - expected).max() < 0.2 * np.abs(plain - expected).min()


def test_a_known_tensor_is_found(multishell):
    axes, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    values = np.array([1.7e-3, 4e-4, 2e-4])  # mm2/s
    signal = tensor_signal(multishell, axes @ np.diag(values) @ axes.T)
    data = np.tile(signal, (2, 2, 2, 1)).astype(np.float32)
    maps = fit_tensor(data, np.ones((2, 2, 2), bool), multishell)
    mean = values.mean()
    fa = np.sqrt(1.5 * ((values - mean) ** 2).sum() / (values**2).sum())
    np.testing.assert_allclose(maps.fa, fa, rtol=1e-5)
    np.testing.assert_allclose(maps.md, mean, rtol=1e-5)
    np.testing.assert_allclose(maps.ad, values[0], rtol=1e-5)
    np.testing.assert_allclose(maps.rd, values[1:].mean(), rtol=1e-5)
    np.testing.assert_allclose(np.abs(maps.v1 @ axes[:, 0]), 1, rtol=1e-5)


def test_no_bit_depends_on_the_size_of_the_blocks_or_on_the_neighbours(
    noisy, multishell, monkeypatch
):
    data, mask = noisy
    whole = fit_tensor(data, mask, multishell)
    part = mask & (np.arange(3) == 1)
    for at_once in (8, 17, 64):
        monkeypatch.setitem(tensor.VOXELS_AT_ONCE, "WLS", at_once)
        for region in (mask, part):
            again = fit_tensor(data, region, multishell)
            for name in (*SCALARS, "v1"):
                expected = getattr(whole, name)[region]
                np.testing.assert_array_equal(getattr(again, name)[region], expected)


def test_one_gain_for_the_whole_series_changes_no_map(noisy, multishell):
    data, mask = noisy
    maps = fit_tensor(data, mask, multishell)
    scaled = fit_tensor(data * np.float32(4), mask, multishell)
    for name in SCALARS:
        np.testing.assert_allclose(getattr(scaled, name), getattr(maps, name), rtol=1e-4)


def test_voxels_without_signal_at_b0_are_left_out(noisy, multishell):
    data, mask = noisy[0].copy(), np.ones(noisy[1].shape, bool)
    data[0, 0, 0, :2] = 0
    data[1, 0, 0, :2] = [-30, 20]
    data[2, 0, 0, :2] = [-10, 20]
    fitted = fit_tensor(data, mask, multishell).fitted
    assert fitted[:, 0, 0].tolist() == [False, False, True, True, True]
    assert np.count_nonzero(~fitted) == 2


def test_signals_of_zero_give_finite_maps(noisy, multishell):
    data, mask = noisy[0].copy(), np.ones(noisy[1].shape, bool)
    data[0, 0, 0, 2:] = 0
    data[1, 0, 0, 4] = -5
    maps = fit_tensor(data, mask, multishell)
    assert all(np.isfinite(getattr(maps, name)).all() for name in (*SCALARS, "v1"))
    assert not maps.fitted[0, 0, 0] and maps.fitted[1, 0, 0]
    assert (maps.incomplete, maps.unfitted) == (1, 1)


WHITE = np.diag([1.7e-3, 3e-4, 3e-4])  # mm2/s; FA 0.799, MD 7.67e-4


@pytest.mark.parametrize("method", ["WLS", "RESTORE"])
@pytest.mark.parametrize("lost", [0, -5, 1e-4, np.nan, np.inf])
@pytest.mark.parametrize("volumes", [[0], [5], [0, 3, 9]])
def test_volumes_that_were_not_measured_are_left_out_of_the_voxel(method, lost, volumes):
    gradients = scheme((1000, 30), n_b0=2)
    data = np.tile(tensor_signal(gradients, WHITE), (3, 1, 1, 1)).astype(np.float32)
    data[1, 0, 0, volumes] = lost
    maps = fit_tensor(data, np.ones((3, 1, 1), bool), gradients, method)
    assert maps.fitted.all()
    assert (maps.incomplete, maps.unfitted) == (1, 0)
    np.testing.assert_allclose(maps.fa, 0.799, atol=1e-3)
    np.testing.assert_allclose(maps.md, 7.667e-4, rtol=1e-3)


def test_a_fit_without_some_volumes_is_dipys_fit_of_the_others(noisy, multishell):
    data, mask = noisy[0].copy(), np.ones(noisy[1].shape, bool)
    data[1, 0, 0, [1, 6]] = 0
    maps = fit_tensor(data, mask, multishell)
    there = np.setdiff1d(maps.volumes, [1, 6])
    one = np.zeros_like(mask)
    one[1, 0, 0] = True
    direct = _direct(noisy[0], one, multishell, there, "WLS")
    for name in SCALARS:
        np.testing.assert_allclose(getattr(maps, name)[1, 0, 0], getattr(direct, name)[0], 1e-5)
    # Its neighbours do not notice.
    whole = fit_tensor(noisy[0], mask, multishell)
    np.testing.assert_array_equal(maps.fa[2:], whole.fa[2:])


def test_a_voxel_left_with_too_few_directions_is_not_fitted(noisy, multishell):
    data, mask = noisy[0].copy(), np.ones(noisy[1].shape, bool)
    data[0, 0, 0, 7:14] = 0  # five weighted ones are left
    data[1, 0, 0, :2] = [0, 1e-30]
    maps = fit_tensor(data, mask, multishell)
    assert maps.fitted[:2, 0, 0].tolist() == [False, True]
    assert maps.unfitted == 1 and not maps.md[0, 0, 0]
    none = np.where(np.isin(np.arange(data.shape[3]), [0, 1]), data, 0)
    with pytest.raises(ImageError, match="none with enough weighted volumes"):
        fit_tensor(none, mask, multishell)


@pytest.mark.parametrize("unit", [1e-12, 1e-7, 1e-5, 1e6])
@pytest.mark.parametrize("method", ["WLS", "RESTORE"])
def test_the_unit_of_a_series_changes_no_map(unit, method):
    gradients = scheme((1000, 30), n_b0=1)
    data = np.tile(tensor_signal(gradients, WHITE), (2, 2, 2, 1))
    maps = fit_tensor(
        (data * unit).astype(np.float32), np.ones((2, 2, 2), bool), gradients, method
    )
    np.testing.assert_allclose(maps.fa, 0.799, atol=1e-3)
    np.testing.assert_allclose(maps.md, 7.667e-4, rtol=1e-3)


@pytest.mark.parametrize(
    ("shells", "used"),
    [
        (((1000, 12), (2500, 20)), [0, 1000]),
        (((700, 12), (1500, 12), (3000, 12)), [0, 700, 1500]),
        (((1520, 12), (3000, 12)), [0, 1520]),  # nominally 1500
        (((2500, 20),), [0, 2500]),  # none up to 1500
        (((300, 3), (2000, 20)), [0, 300, 2000]),  # three directions carry no tensor
    ],
)
def test_shells_up_to_1500_when_they_carry_a_tensor(shells, used):
    gradients = scheme(*shells)
    assert np.unique(gradients.bvals[tensor_volumes(gradients)]).tolist() == used


def test_the_highest_b_can_be_chosen(multishell):
    assert len(tensor_volumes(multishell, highest_b=2500)) == 34


def test_directions_that_leave_a_tensor_open_are_refused():
    with pytest.raises(DataError, match="do not determine"):
        tensor_volumes(scheme((1000, 5)))
    flat = scheme((1000, 12))
    bvecs = flat.bvecs * [1, 1, 0]
    bvecs[2:] /= np.linalg.norm(bvecs[2:], axis=1, keepdims=True)
    with pytest.raises(DataError, match="in one plane"):
        tensor_volumes(replace(flat, bvecs=bvecs))


def test_restore_needs_more_volumes_than_parameters(noisy):
    gradients = scheme((1000, 6), n_b0=1)
    data, mask = noisy
    assert fit_tensor(data[..., :7], mask, gradients).fitted.any()
    with pytest.raises(DataError, match="robust"):
        fit_tensor(data[..., :7], mask, gradients, "RESTORE")


def test_arrays_that_do_not_go_together_are_refused(noisy, multishell):
    data, mask = noisy
    with pytest.raises(DataError, match="one volume for each gradient"):
        fit_tensor(data[..., :30], mask, multishell)
    with pytest.raises(DataError, match="mask is not on the grid"):
        fit_tensor(data, mask[:4], multishell)


def test_nothing_to_fit_is_refused(noisy, multishell):
    data, mask = noisy
    with pytest.raises(ImageError, match="empty mask"):
        fit_tensor(data, np.zeros_like(mask), multishell)
    with pytest.raises(ImageError, match="none with signal"):
        fit_tensor(np.zeros_like(data), mask, multishell)


def test_eight_volumes_are_enough_for_a_robust_tensor(noisy):
    gradients = scheme((1000, 7), n_b0=1)
    data, mask = noisy
    assert fit_tensor(data[..., :8], mask, gradients, "RESTORE").fitted.any()
