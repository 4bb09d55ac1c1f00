"""Diffusion series: the equations of the tissue model, and what each scanner setting does."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import erf

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import TISSUES, make_anatomy
from bids_harmony.phantom.scanner import SITES
from lab.diffusion import (
    acquire_series,
    tissue_signal,
    truth_fa,
    watson_moments,
)
from lab.diffusion_scanner import (
    DIFFUSION_SITES,
    GradientScheme,
    gradient_scheme,
    random_diffusion_scanner,
    spread_directions,
)
from lab.microstructure import concentration, make_microstructure

GRID = reference_grid(5.0)
CLEAN = replace(
    DIFFUSION_SITES["COI"], bias_log_sd=0.0, noise=0.0, blur_mm=0.0, drift=0.0, b_scale=1.0
)
SCHEME = gradient_scheme(replace(CLEAN, shells=((1000.0, 12), (2000.0, 8)), b0_every=10))


@pytest.fixture(scope="module")
def clean(person, truth):
    return acquire_series(person, truth, CLEAN, SCHEME, 1, noise=False)


@pytest.fixture(scope="module")
def water(person):
    """A head full of water."""
    nothing = np.zeros_like(person.fractions[0])
    return replace(person, fractions=np.stack([nothing, nothing, person.mask * np.float32(1)]))


def dispersed(b, cosine, ndi, odi):
    """The tissue's signal by summation over a fine sphere of neurites about z."""
    x, weights = np.polynomial.legendre.leggauss(300)
    turns = np.linspace(0, 2 * np.pi, 256, endpoint=False)
    sine, up = np.sqrt(1 - x**2)[:, None], x[:, None]
    neurites = np.stack(np.broadcast_arrays(sine * np.cos(turns), sine * np.sin(turns), up))
    share = weights[:, None] * np.exp(concentration(odi) * (up**2 - 1)) * np.ones(256)
    share /= share.sum()
    g = np.array([np.sqrt(1 - cosine**2), 0, cosine])
    within = (share * np.exp(-b * 1.7e-3 * np.tensordot(g, neurites, 1) ** 2)).sum()
    spread = np.einsum("ixy,jxy,xy->ij", neurites, neurites, share)
    tensor = 1.7e-3 * ((1 - ndi) * np.eye(3) + ndi * spread)
    return ndi * within + (1 - ndi) * np.exp(-b * g @ tensor @ g)


@pytest.mark.parametrize("b", [1000.0, 3200.0])
@pytest.mark.parametrize("odi", [0.02, 0.2, 0.6, 0.99])
def test_tissue_signal_is_the_sum_over_neurites(b, odi):
    cosines = np.array([0.0, 0.3, 0.8, 1.0], dtype=np.float32)
    ndi = np.full(4, 0.6, np.float32)
    found = tissue_signal(b, cosines, ndi, watson_moments(np.full(4, odi)))
    expected = [dispersed(b, float(c), 0.6, odi) for c in cosines]
    assert np.allclose(found, expected, atol=2e-4)


def test_isotropic_neurites_have_the_powder_average():
    # Mean of exp(-x cos^2) over the sphere.
    root = np.sqrt(2000 * 1.7e-3)
    one = np.ones(1, np.float32)
    found = tissue_signal(2000.0, 0.4 * one, one, watson_moments(np.ones(1)))
    assert np.isclose(found[0], np.sqrt(np.pi) / 2 * erf(root) / root, atol=1e-5)


def test_without_weighting_tissue_and_fibres_cannot_be_told(person, clean):
    b0 = clean[..., SCHEME.b_values == 0]
    assert b0.shape[-1] == 2 and np.allclose(b0[..., 0], b0[..., 1], rtol=1e-5)
    white, water = TISSUES[1], TISSUES[2]
    seen = [
        t.density * (1 - np.exp(-8500 / t.t1_ms)) * np.exp(-84 / t.t2_ms) for t in (white, water)
    ]
    for tissue, expected in ((1, 1.0), (2, seen[1] / seen[0])):
        pure = person.fractions[tissue] > 0.98
        assert np.isclose(np.median(b0[pure, 0]), CLEAN.gain * expected, rtol=0.03)


def test_free_water_decays_by_its_diffusivity(water, truth):
    left = acquire_series(water, truth, CLEAN, SCHEME, 1, noise=False)[water.mask]
    assert np.allclose(left / left[:, :1], np.exp(-3e-3 * SCHEME.b_values), rtol=1e-4)


def test_a_voxel_has_two_populations_by_their_share(person, truth, clean):
    voxel = tuple(np.argwhere((truth.second_share > 0.3) & (person.fractions[2] < 1e-3))[0])
    ndi, odi, share = (float(m[voxel]) for m in (truth.ndi, truth.odi, truth.second_share))
    n = int(np.flatnonzero(SCHEME.b_values == 2000)[0])
    cosines = [float(SCHEME.directions[n] @ f[(slice(None), *voxel)]) for f in truth.fibres]
    parts = [dispersed(2000.0, cosine, ndi, odi) for cosine in cosines]
    water = float(person.fractions[2][voxel])
    expected = (1 - share) * parts[0] + share * parts[1]
    assert np.isclose(clean[voxel][n] / clean[voxel][0], expected, atol=2e-3 + 3 * water)


def test_series_are_float32_and_empty_outside_the_brain(person, clean):
    assert clean.dtype == np.float32 and clean.shape == (*GRID.shape, 22)
    assert not clean[~person.mask].any() and (clean[person.mask] > 0).all()


def test_true_b_values_differ_from_stated_ones_by_the_scale(person, truth, clean):
    strong = acquire_series(person, truth, replace(CLEAN, b_scale=1.05), SCHEME, 1, noise=False)
    stated = GradientScheme(SCHEME.b_values * 1.05, SCHEME.directions)
    assert np.allclose(strong, acquire_series(person, truth, CLEAN, stated, 1, noise=False))
    assert np.allclose(strong[..., 0], clean[..., 0])
    assert (strong[person.mask, 1] < clean[person.mask, 1]).all()


def test_a_longer_echo_makes_water_weigh_more(person, truth):
    mixed = (person.fractions[2] > 0.3) & (person.fractions[2] < 0.7)
    left = []
    for echo in (70.0, 110.0):
        series = acquire_series(
            person, truth, replace(CLEAN, echo_ms=echo), SCHEME, 1, noise=False
        )
        left.append(series[mixed, 1] / series[mixed, 0])
    assert (left[1] < left[0]).all()


def test_drift_is_linear_in_time(person, truth, clean):
    drifting = acquire_series(person, truth, replace(CLEAN, drift=-0.1), SCHEME, 1)
    ratio = np.median(drifting[person.mask] / clean[person.mask], axis=0)
    assert np.allclose(ratio, 1 - 0.1 * np.arange(22) / 21, atol=1e-3)


def test_noise_is_repeatable_and_of_the_stated_size(person, truth):
    noisy = replace(CLEAN, noise=0.05)
    one, again, other = (acquire_series(person, truth, noisy, SCHEME, s) for s in (1, 1, 2))
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    white = person.fractions[1] > 0.9
    difference = (one - other)[white][:, SCHEME.b_values == 0]
    assert np.isclose(difference.std(), np.sqrt(2) * 0.05 * CLEAN.gain, rtol=0.1)


def test_what_water_leaves_is_the_rician_floor(water, truth):
    noisy = replace(CLEAN, noise=0.1)
    dark = acquire_series(water, truth, noisy, SCHEME, 1)[water.mask][:, SCHEME.b_values == 2000]
    clean = acquire_series(water, truth, CLEAN, SCHEME, 1, noise=False)
    # The mean of the magnitude of noise alone; a signal of a tenth of sigma adds next to nothing.
    assert clean[water.mask][:, SCHEME.b_values == 2000].max() < 0.02 * CLEAN.gain
    assert np.isclose(dark.mean(), np.sqrt(np.pi / 2) * 0.1 * CLEAN.gain, rtol=0.02)


def test_the_receive_field_is_the_same_in_all_volumes(person, truth, clean):
    fielded = replace(CLEAN, bias_log_sd=0.2)
    one, other = (
        acquire_series(person, truth, fielded, SCHEME, s, noise=False, scan_field=False)
        for s in (1, 2)
    )
    assert np.array_equal(one, other)
    ratio = one[person.mask] / clean[person.mask]
    assert np.allclose(ratio, ratio[:, :1], rtol=1e-4)
    assert np.isclose(np.log(ratio[:, 0]).std(), 0.2, rtol=0.01)
    own = acquire_series(person, truth, fielded, SCHEME, 2, noise=False)
    assert not np.allclose(own, one, rtol=0.01)


def test_blur_softens_every_volume(person, truth, clean):
    soft = acquire_series(person, truth, replace(CLEAN, blur_mm=4.0), SCHEME, 1, noise=False)
    core = person.mask[1:] & person.mask[:-1]
    for n in (0, 5):
        rough = [np.square(np.diff(s[..., n], axis=0))[core].mean() for s in (soft, clean)]
        assert rough[0] < 0.6 * rough[1]


def test_truth_on_another_grid_is_refused(person):
    other = make_microstructure(make_anatomy(reference_grid(6.0), 8))
    with pytest.raises(ValueError, match="on the person's grid"):
        acquire_series(person, other, CLEAN, SCHEME, 1)


def test_tensors_find_fibres_and_anisotropy(person, truth):
    fa, md, v1 = truth_fa(person, truth, SCHEME, CLEAN)
    for data in (fa, md, v1):
        assert data.dtype == np.float32 and not data[~person.mask].any()
    pure = [f > 0.97 for f in person.fractions]
    single = pure[1] & (truth.second_share == 0)
    crossing = pure[1] & (truth.second_share > 0.35)
    assert np.median(fa[pure[0]]) < 0.2 < np.median(fa[crossing]) < np.median(fa[single]) - 0.1
    # Along and across the fibres, apparent diffusivities follow from the tissue's signal.
    ndi, moments = truth.ndi[single], watson_moments(truth.odi[single])
    along, across = (
        -np.log(tissue_signal(1000.0, np.full(len(ndi), c, np.float32), ndi, moments))
        for c in (1.0, 0.0)
    )
    expected = (along - across) / np.sqrt(along**2 + 2 * across**2)
    assert np.quantile(np.abs(fa[single] - expected), 0.9) < 0.05
    assert np.corrcoef(fa[single], expected)[0, 1] > 0.9
    assert np.isclose(np.median(md[person.fractions[2] > 0.97]), 3e-3, rtol=0.1)
    assert 0.5e-3 < np.median(md[single]) < 1.1e-3
    cosine = np.abs(np.einsum("vi,iv->v", v1[single], truth.fibres[0][:, single]))
    assert np.degrees(np.arccos(np.quantile(cosine, 0.05).clip(max=1))) < 6


def test_density_and_dispersion_can_be_told_from_the_powder_average(person, truth, clean):
    # The mean over directions does not depend on dispersion; with density it falls less.
    pure = (person.fractions[1] > 0.995) & (truth.second_share == 0)
    left = (clean[pure][:, SCHEME.b_values == 2000] / clean[pure, :1]).mean(1)
    assert np.corrcoef(left, truth.ndi[pure])[0, 1] > 0.8


def test_gradients_are_spread_seeded_and_interleaved():
    scanner = DIFFUSION_SITES["PHILIPS"]
    scheme, again = gradient_scheme(scanner), gradient_scheme(scanner)
    assert np.array_equal(scheme.directions, again.directions)
    zero = scheme.b_values == 0
    assert np.array_equal(np.flatnonzero(zero), np.arange(7) * 11)
    assert not scheme.directions[zero].any()
    assert np.allclose(np.linalg.norm(scheme.directions[~zero], axis=1), 1)
    for b, count in scanner.shells:
        assert (scheme.b_values == b).sum() == count
    # Shells take turns.
    assert (np.diff(scheme.b_values[~zero]) != 0).sum() > 15
    one, other = (spread_directions(30, np.random.default_rng(s)) for s in (1, 2))
    assert not np.allclose(one, other)
    nearest = np.abs(one @ one.T - 2 * np.eye(30)).clip(max=1)
    nearest[np.eye(30, dtype=bool)] = 0
    # 30 evenly spread axes are 26 degrees apart; random ones come as near as one or two.
    assert np.degrees(np.arccos(nearest.max())) > 12


def test_sites_differ_and_belong_to_known_scanners():
    assert len(DIFFUSION_SITES) >= 5 and next(iter(DIFFUSION_SITES)) == "COI"
    assert set(DIFFUSION_SITES) <= set(SITES)
    for name in ("echo_ms", "gain", "noise", "bias_seed", "b_scale", "repetition_ms"):
        assert len({getattr(s, name) for s in DIFFUSION_SITES.values()}) == len(DIFFUSION_SITES)
    assert DIFFUSION_SITES["COI"].b_scale == 1


def test_random_scanners_are_reproducible_and_stay_within_what_is_simulated():
    scanners = [random_diffusion_scanner(s) for s in range(40)]
    assert scanners[5] == random_diffusion_scanner(5) != scanners[6]
    assert {len(s.shells) for s in scanners} == {1, 2, 3}
    assert all(b * s.b_scale <= 3400 for s in scanners for b, _ in s.shells)
