"""What vendors and files do to an image."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import TISSUES, make_anatomy
from bids_harmony.phantom.file_effects import FileEffects, filtered, stored
from bids_harmony.phantom.scanner import SITES, acquire, without_fields
from bids_harmony.quality.image_quality import fwhm_voxels

NOISE = np.abs(np.random.default_rng(0).standard_normal((40, 40, 40))).astype(np.float32) + 5


@pytest.fixture(scope="module")
def person():
    return make_anatomy(reference_grid(4.0), 3, variation=0)


def test_the_default_does_nothing(person):
    plain = acquire(person, SITES["GE"], "T1w", scan_seed=1)
    same = acquire(person, replace(SITES["GE"], effects=FileEffects()), "T1w", scan_seed=1)
    np.testing.assert_allclose(same, plain, rtol=1e-6)


def test_interpolation_smooths_along_its_axes_only():
    everywhere = np.ones(NOISE.shape, bool)
    x, y, z = fwhm_voxels(filtered(NOISE, FileEffects(matrix=(1.0, 0.6, 0.6))), everywhere)
    assert x < 0.5 and min(y, z) > 1.3
    spectrum = np.abs(np.fft.fftn(filtered(NOISE, FileEffects(matrix=(1.0, 0.6, 1.0)))))
    beyond = np.abs(np.fft.fftfreq(40)) > 0.31
    assert spectrum[:, beyond].max() < 1e-3 * spectrum[1:, ~beyond].max()


def test_elliptical_k_space_loses_its_corners_and_keeps_its_axes():
    spectrum = np.abs(np.fft.fftn(filtered(NOISE, FileEffects(elliptical=True))))
    before = np.abs(np.fft.fftn(NOISE))
    assert spectrum[18, 18, 18] < 1e-2 * before[18, 18, 18]
    assert spectrum[18, 0, 0] == pytest.approx(before[18, 0, 0], rel=1e-3)


def test_an_unsharp_mask_strengthens_noise():
    assert filtered(NOISE, FileEffects(unsharp=0.5)).std() > 1.2 * NOISE.std()


def test_a_saturated_file_ends_where_it_says():
    image = np.linspace(0, 900, 1000, dtype=np.float32).reshape(10, 10, 10)
    found = stored(image, 500.0, FileEffects(saturation=1.2))
    assert found.max() == 600 and np.array_equal(found[image < 600], image[image < 600])


def test_a_file_saturates_above_the_brightest_tissue_in_every_contrast(person):
    plain = replace(without_fields(SITES["COI"]), noise=0.0, sharpness_mm=0.0)
    clipped = replace(plain, effects=FileEffects(saturation=1.05))
    csf = person.fractions[2] > 0.99
    scans = [acquire(person, s, "T2w", scan_seed=1)[csf] for s in (plain, clipped)]
    np.testing.assert_allclose(scans[1], scans[0], rtol=1e-5)
    noisy = replace(clipped, noise=0.2)
    tissue = plain.signal_of(TISSUES[2], "T2w") / plain.signal_of(TISSUES[1], "T2w")
    most = acquire(person, noisy, "T2w", scan_seed=1).max()
    assert most == pytest.approx(1.05 * tissue**plain.gamma * plain.gain, rel=1e-5)


@pytest.mark.parametrize("per_slice", [False, True])
def test_eight_bits_have_so_many_levels_and_a_slice_may_have_its_own(per_slice):
    image = np.random.default_rng(1).uniform(0, 1000, (30, 30, 4)).astype(np.float32)
    image[..., 0] /= 10
    found = stored(image, 500.0, FileEffects(bits=8, per_slice=per_slice))
    step = image.max(axis=(0, 1) if per_slice else None, keepdims=True) / 255
    assert (np.abs(found - image) <= 0.501 * step).all()
    assert len(np.unique(found[..., 0])) > 200 if per_slice else len(np.unique(found)) <= 256


def test_a_vendor_takes_the_field_away_and_lifts_the_noise_where_the_coil_sees_little(person):
    fielded = replace(SITES["COI"], bias_log_sd=0.4, scan_bias=0.0, flip_spread=0, noise=0.05)
    white = person.fractions[1] > 0.98

    def scan(share, **options):
        effects = FileEffects(bias_correction=share)
        return acquire(person, replace(fielded, effects=effects), "T1w", scan_seed=2, **options)

    left = [np.log(scan(share, noise=False)[white]).std() for share in (0.0, 0.75)]
    assert left[1] == pytest.approx(0.25 * left[0], rel=0.2)
    noise = np.abs(scan(1.0) - scan(1.0, noise=False))
    field = scan(0.0, noise=False)[white] / scan(1.0, noise=False)[white]
    dark, bright = field < np.quantile(field, 0.3), field > np.quantile(field, 0.7)
    assert noise[white][dark].mean() > 1.3 * noise[white][bright].mean()
