"""RISH features know nothing of direction; scaling changes energies and nothing else."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bids_harmony.diffusion.rish import SMOOTH, harmonics
from lab.diffusion_scanner import spread_directions

COUNT = 40


@pytest.fixture(scope="module")
def bvecs():
    return spread_directions(COUNT, np.random.default_rng(1))


def rish_features(signal, bvecs, order=4, smooth=SMOOTH):
    """Energy of a shell's signal in each even order."""
    basis = harmonics(bvecs, order, smooth=smooth)
    return basis.energy(basis.coefficients(signal))


def scale_rish(signal, bvecs, scales):
    """Multiply a shell's coefficients order by order; what they do not explain stays."""
    scales = np.asarray(scales)
    basis = harmonics(bvecs, 2 * scales.shape[-1] - 2, smooth=0)
    return signal + basis.signal(basis.coefficients(signal) * (scales - 1)[..., basis.orders // 2])


def peaks(bvecs, axis, second=(0.0, 1.0, 0.0)):
    """A signal of order 4: two fibres, of which one is seen as a square only."""
    return 1 + 2 * (bvecs @ axis) ** 4 - 0.7 * (bvecs @ np.asarray(second)) ** 2


def test_energies_are_those_of_the_closed_form(bvecs):
    # x^2 = P_0 / 3 + 2 P_2 / 3, and P_l has the energy 4 pi / (2 l + 1).
    features = rish_features(np.square(bvecs[:, 2]), bvecs, 4, smooth=0)
    expected = 4 * np.pi * np.array([1 / 9, 4 / 9 / 5, 0])
    assert np.allclose(features, expected, atol=1e-10)


def test_turning_the_fibres_changes_no_feature(bvecs):
    axis = np.array([0.6, 0.0, 0.8])
    turn = Rotation.from_euler("xyz", [40, 70, -25], degrees=True).as_matrix()
    signal = peaks(bvecs, axis)
    turned = peaks(bvecs, turn @ axis, turn @ [0.0, 1.0, 0.0])
    assert not np.allclose(signal, turned, atol=0.1)
    exact = [rish_features(s, bvecs, 4, smooth=0) for s in (signal, turned)]
    assert np.allclose(*exact, rtol=1e-8) and (exact[0] > 0.01).all()
    # The penalty holds whatever the fibres' direction, up to uneven sampling.
    assert np.allclose(*[rish_features(s, bvecs, 4) for s in (signal, turned)], rtol=0.02)


def test_turning_all_directions_changes_no_feature(bvecs):
    signal = np.random.default_rng(2).normal(1, 0.2, (3, COUNT))
    turn = Rotation.from_euler("xyz", [10, -60, 35], degrees=True).as_matrix()
    for moved in (bvecs @ turn.T, bvecs * [-1, 1, 1], -bvecs):
        assert np.allclose(rish_features(signal, bvecs, 4), rish_features(signal, moved, 4))


def test_precision_is_that_of_the_signal(bvecs):
    signal = np.random.default_rng(3).gamma(2, 100, (4, 5, COUNT)).astype(np.float32)
    basis = harmonics(bvecs, 6)
    coefficients = basis.coefficients(signal)
    assert coefficients.shape == (4, 5, basis.count) and coefficients.dtype == np.float32
    assert basis.signal(coefficients).dtype == np.float32


def test_a_map_of_scales_multiplies_energies_by_their_squares(bvecs):
    axes = Rotation.random(6, random_state=4).apply([0.0, 0.0, 1.0])
    signal = np.stack([peaks(bvecs, axis) for axis in axes])
    scales = np.random.default_rng(5).uniform(0.7, 1.4, (6, 3))
    result = scale_rish(signal, bvecs, scales)
    before, after = (rish_features(s, bvecs, 4, smooth=0) for s in (signal, result))
    assert np.allclose(after, before * np.square(scales), rtol=1e-8)


def test_what_harmonics_do_not_explain_stays(bvecs):
    rng = np.random.default_rng(6)
    signal = peaks(bvecs, np.array([1.0, 0.0, 0.0])) + 0.1 * rng.standard_normal(COUNT)
    result = scale_rish(signal, bvecs, [1.5, 1.5, 1.5])
    # The change lies in the harmonics' span: scaled the same again, it is 1.5 times itself.
    change = result - signal
    again = scale_rish(change, bvecs, [1.5, 1.5, 1.5])
    assert np.allclose(again, 1.5 * change)
    residual = signal - 2 * change
    assert np.std(residual) > 0.05
    assert np.allclose(rish_features(residual, bvecs, 4, smooth=0), 0, atol=1e-12)


def test_the_mean_follows_order_nought_alone(bvecs):
    signal = peaks(bvecs, np.array([0.0, 0.6, 0.8]))[None]
    flat = scale_rish(signal, bvecs, [1.0, 0.0, 0.0])
    assert np.allclose(flat, 1 + 2 / 5 - 0.7 / 3)
    assert np.allclose(scale_rish(signal, bvecs, [2.0, 1.0, 1.0]) - signal, flat)


@pytest.mark.parametrize(
    ("order", "vectors", "message"),
    [
        (3, lambda v: v, "even"),
        (-2, lambda v: v, "even"),
        (8, lambda v: v, "45 directions"),
        (4, lambda v: np.where(np.arange(COUNT)[:, None] == 3, 0, v), "unit vectors"),
    ],
)
def test_what_cannot_be_fitted_is_refused(bvecs, order, vectors, message):
    with pytest.raises(ValueError, match=message):
        harmonics(vectors(bvecs), order)
