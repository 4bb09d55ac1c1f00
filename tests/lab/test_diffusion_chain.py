"""From ideal images to stored ones: noise of channels, point spread, gradients, displacement."""

from dataclasses import replace
from math import factorial

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from bids_harmony.imaging.reference import reference_grid
from lab.diffusion import acquire_series, neurite_weight, tissue_signal, watson_moments
from lab.diffusion_chain import ImageChain, denoised
from lab.diffusion_fields import AIR, b_scale_map, displacement
from lab.diffusion_scanner import DIFFUSION_SITES, DiffusionScanner, gradient_scheme

GRID = reference_grid(5.0)
EDGE = 5.0
CLEAN = DiffusionScanner(
    "X", "", "", "", 3.0, 8000, 84, ((1000.0, 12), (2000.0, 8)), bias_log_sd=0.0, noise=0.0,
    blur_mm=0.0, gain=1.0,
)  # fmt: skip
SCHEME = gradient_scheme(CLEAN)


@pytest.fixture(scope="module")
def slab(person):
    """A box of brain that fills the grid: no edge within reach of the point spread."""
    return replace(person, mask=np.ones(GRID.shape, dtype=bool))


def recorded(person, scanner, image, *, noise=False, seed=1):
    chain = ImageChain(person, scanner, seed, 1, noise=noise, scan_field=False)
    flat = np.zeros(GRID.shape, dtype=np.float32)
    flat[person.mask] = chain.record(image.astype(np.float32), 0)
    return flat


@pytest.mark.parametrize("channels", [1, 2, 4, 8])
@pytest.mark.parametrize("coverage", [{}, {"partial_fourier": 0.75, "taper": 0.5}])
def test_the_floor_grows_with_channels_as_non_central_chi_has_it(slab, channels, coverage):
    scanner = replace(CLEAN, noise=0.05, channels=channels, **coverage)
    dark = recorded(slab, scanner, np.zeros(GRID.shape), noise=True)
    # (2L - 1)!! / (2^(L-1) (L-1)!) sqrt(pi / 2) sigma; Constantinides et al. 1997.
    odd = np.prod(np.arange(1, 2 * channels, 2, dtype=float))
    mean = np.sqrt(np.pi / 2) * odd / (2 ** (channels - 1) * factorial(channels - 1))
    assert np.isclose(dark.mean(), 0.05 * mean, rtol=0.01)


def test_bright_signals_have_the_noise_of_one_channel(slab):
    scanner = replace(CLEAN, noise=0.05, channels=4, taper=0.5)
    bright = recorded(slab, scanner, np.full(GRID.shape, 5.0), noise=True)
    assert np.isclose(bright.std(), 0.05, rtol=0.03)
    # Second order of the floor: (L - 1/2) sigma^2 / S.
    assert np.isclose(bright.mean() - 5, 3.5 * 0.05**2 / 5, atol=0.001)


def test_filtered_noise_is_correlated_between_neighbours(slab):
    bright = np.full(GRID.shape, 5.0)
    found = {}
    for name, own in {"all": {}, "finer": {"acquired_mm": 1.5 * EDGE}}.items():
        noise = recorded(slab, replace(CLEAN, noise=0.05, **own), bright, noise=True) - 5
        found[name] = np.corrcoef(noise[1:].ravel(), noise[:-1].ravel())[0, 1]
    # Of a band of two thirds: sin(2 pi / 3) / (2 pi / 3).
    assert abs(found["all"]) < 0.02
    assert np.isclose(found["finer"], np.sinc(2 / 3), atol=0.05)


def test_partial_fourier_spreads_a_point_along_phase_as_computed(slab):
    image = np.zeros(GRID.shape)
    at = tuple(n // 2 for n in GRID.shape)
    image[at] = 1.0
    spread = recorded(slab, replace(CLEAN, partial_fourier=0.75), image)
    # The transform of a one-sided box, by summation over its frequencies.
    n = GRID.shape[1]
    k = np.arange(n) - n // 2
    k = k[2 * k / n >= -0.5]
    y = np.arange(n) - at[1]
    expected = np.abs(np.exp(2j * np.pi * np.outer(y, k) / n).sum(1)) / n
    assert np.allclose(spread[at[0], :, at[2]], expected, atol=1e-5)
    assert np.isclose(spread[at], 0.75, atol=1 / n)
    assert not np.delete(spread, at[0], axis=0).max() > 1e-5


def test_a_voxel_is_weighted_by_the_b_value_that_it_has(person, truth):
    bent = replace(CLEAN, nonlinearity=0.15)
    series = acquire_series(person, truth, bent, SCHEME, 1, noise=False)
    straight = acquire_series(person, truth, CLEAN, SCHEME, 1, noise=False)
    scale = b_scale_map(person, bent)
    # Where one population is, and where two are: each has its part of the signal.
    for here in (truth.second_share == 0, truth.second_share > 0.3):
        n = int(np.argmax(scale * here[person.mask]))
        plain = replace(CLEAN, b_scale=float(scale[n]))
        same = acquire_series(person, truth, plain, SCHEME, 1, noise=False)
        assert np.allclose(series[person.mask][n], same[person.mask][n], rtol=2e-4)
        assert not np.allclose(series[person.mask][n], straight[person.mask][n], rtol=0.01)


def test_signals_move_along_phase_near_air_and_elsewhere_with_the_scan(person):
    scanner = replace(CLEAN, distortion_mm=-2.0)
    shift = displacement(person, scanner, None)
    places = np.argwhere(person.mask) @ GRID.affine[:3, :3].T + GRID.affine[:3, 3]
    to_air = np.min([np.linalg.norm(places - np.array(c), axis=1) for c, _ in AIR], axis=0)
    assert shift[to_air.argmin()] < -1.7 and abs(shift[to_air > 60]).max() < 0.05
    one, other = (displacement(person, scanner, seed) for seed in (1, 2))
    assert not np.array_equal(one, other)
    assert np.isclose((one - shift).std(), 2.0 * 0.3, rtol=0.4)
    # A ramp along y moves by what it is told, in mm.
    ramp = np.broadcast_to(np.arange(GRID.shape[1])[None, :, None] * EDGE, GRID.shape)
    moved = recorded(person, scanner, ramp) - ramp
    assert np.allclose(moved[person.mask], shift, atol=1e-3)


def test_pulsation_is_smooth_differs_between_volumes_and_goes_with_noise(person):
    scanner = replace(CLEAN, pulsation=0.05)
    chain = ImageChain(person, scanner, 1, 60, noise=True, scan_field=False)
    flat = np.ones(GRID.shape, dtype=np.float32)
    seen = np.stack([chain.record(flat, n) for n in range(60)])
    # Its own size is that of the scanner to what 24 fields allow.
    assert np.isclose(seen.std(0).mean(), 0.05, rtol=0.15)
    volume = np.zeros(GRID.shape)
    volume[person.mask] = seen[0] - 1
    pairs = person.mask[1:] & person.mask[:-1]
    assert np.corrcoef(volume[1:][pairs], volume[:-1][pairs])[0, 1] > 0.9
    assert (recorded(person, scanner, flat)[person.mask] == 1).all()


def test_denoising_predicts_each_volume_from_the_others():
    rng = np.random.default_rng(0)
    b = np.repeat([0.0, 1000.0], (4, 20))
    clean = rng.uniform(1, 2, (3000, 4)) @ rng.uniform(0.2, 1, (4, 24))
    noisy = (clean + 0.1 * rng.standard_normal(clean.shape)).astype(np.float32)
    found = denoised(noisy, b)
    for n in (1, 10):
        others = np.flatnonzero((b == b[n]) & (np.arange(24) != n))
        fit = LinearRegression().fit(noisy[:, others].astype(float), noisy[:, n])
        assert np.allclose(found[:, n], fit.predict(noisy[:, others]), atol=1e-4)
    assert np.abs(found - clean).mean() < 0.7 * np.abs(noisy - clean).mean()
    alone = denoised(noisy[:, 3:], b[3:])
    assert np.array_equal(alone[:, 0], noisy[:, 3])


def test_denoised_series_are_denoised(person, truth):
    noisy = replace(CLEAN, noise=0.05)
    ideal, rough, smooth = (
        acquire_series(person, truth, s, SCHEME, 1, noise=n)
        for s, n in ((CLEAN, False), (noisy, True), (replace(noisy, denoised=True), True))
    )
    white = person.fractions[1] > 0.9
    errors = [np.abs(s - ideal)[white].mean() for s in (rough, smooth)]
    assert errors[1] < errors[0] and smooth.dtype == np.float32


def test_images_without_weighting_alone_have_the_excess(person, truth):
    plain, more = (
        acquire_series(person, truth, s, SCHEME, 1, noise=False)[person.mask]
        for s in (CLEAN, replace(CLEAN, b0_excess=0.05))
    )
    zero = SCHEME.b_values == 0
    assert np.allclose(more[:, zero], 1.05 * plain[:, zero], rtol=1e-5)
    assert np.array_equal(more[:, ~zero], plain[:, ~zero])


def test_neurites_weigh_more_at_long_echo_times(person, truth):
    ndi = np.array([0.6], dtype=np.float32)
    # Rates of a ratio of 1.5, whose mean is that of white matter.
    within, between = (2 / 79.6 * share / 2.5 for share in (1, 1.5))
    left = [0.6 * np.exp(-80 * within), 0.4 * np.exp(-80 * between)]
    assert neurite_weight(ndi, 1.5, 80.0)[0] == pytest.approx(left[0] / sum(left), rel=1e-5)
    assert neurite_weight(ndi, 1.0, 80.0) is ndi
    one = np.zeros(1, np.float32)
    moments = watson_moments(np.full(1, 0.2))
    across = [tissue_signal(2000.0, one, ndi, moments, w * ndi) for w in (1.0, 1.2)]
    assert across[1] > across[0]
    own = replace(truth, t2_ratio=1.5)
    changed = acquire_series(person, own, CLEAN, SCHEME, 1, noise=False)
    plain = acquire_series(person, truth, CLEAN, SCHEME, 1, noise=False)
    assert np.allclose(changed[..., 0], plain[..., 0]) and (changed != plain).any()


def test_known_sites_have_none_of_it(person, truth):
    for scanner in DIFFUSION_SITES.values():
        assert scanner.channels == scanner.partial_fourier == 1
        for name in ("acquired_mm", "taper", "noise_growth", "nonlinearity", "distortion_mm"):
            assert getattr(scanner, name) == 0
        assert scanner.pulsation == scanner.b0_excess == 0 and not scanner.denoised
    assert truth.t2_ratio == 1


def test_neutral_settings_leave_the_bits_of_the_plain_equations(person):
    # What the chain did before it knew of more: blur, field, two parts of noise.
    from bids_harmony.phantom.image_chain import bias_field

    scanner = replace(DIFFUSION_SITES["GE"], blur_mm=0.0)
    image = (person.mask * np.float32(0.7)).astype(np.float32)
    chain = ImageChain(person, scanner, 3, 1, noise=True, scan_field=False)
    log_field = scanner.bias_log_sd * bias_field(GRID.shape, person.mask, [scanner.bias_seed, 7])
    values = np.exp(log_field[person.mask]).astype(np.float32) * image[person.mask]
    rng = np.random.default_rng([3, scanner.bias_seed, 0xD1])
    sigma = np.float32(scanner.noise)
    real = values + sigma * rng.standard_normal(values.shape, dtype=np.float32)
    expected = np.hypot(real, sigma * rng.standard_normal(values.shape, dtype=np.float32))
    assert np.array_equal(chain.record(image, 0), expected)
