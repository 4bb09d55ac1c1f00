"""A blur that was put into a series is found again; one that is added is what was asked for."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_harmony.diffusion.calibration import measure_series
from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.resolution import Sharpener, blurred_series, spectral_blur
from bids_harmony.diffusion.series import Series
from tests.diffusion.simple_series import make_gradients

SHAPE = (56, 48, 40)
MM = np.array([1.8, 2.0, 2.4])
GRADIENTS = Gradients(np.zeros(4), np.zeros((4, 3)))


def brain():
    away = [(np.arange(n) - n / 2) / (n / 2 - 2) for n in SHAPE]
    x, y, z = np.meshgrid(*away, indexing="ij")
    return x**2 + y**2 + z**2 < 1


def head(person, variance=(0, 0, 0), *, noise=0.0, gain=1000.0, volumes=4):
    """Folds of a person in every direction, seen with a point spread, mm^2."""
    rng = np.random.default_rng(person)
    folds = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 2.0 / MM, mode="wrap")
    spectrum = ndimage.fourier_gaussian(np.fft.fftn(1 + 4 * folds), np.sqrt(variance) / MM)
    seen = np.fft.ifftn(spectrum).real
    stack = seen[..., None] + noise * rng.standard_normal((*SHAPE, volumes))
    raw = np.rint(gain * np.maximum(stack, 0.01) * brain()[..., None]).astype(np.int16)
    return Series(raw, 1.0, 0.0, nib.Nifti1Image(raw, np.diag([*MM, 1.0])), Path("dwi.nii.gz"))


def turned(series, orientation):
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(series.affine), nib.orientations.axcodes2ornt(orientation)
    )
    image = series.image.as_reoriented(turn)
    return replace(series, raw=np.asarray(image.dataobj), image=image)


def difference(first, second):
    mask = brain()
    return spectral_blur(second, GRADIENTS, mask) - spectral_blur(first, GRADIENTS, mask)


def test_the_blur_between_two_scanners_is_found_in_other_people():
    first, second = (
        np.mean([spectral_blur(head(n, own), GRADIENTS, brain()) for n in people], axis=0)
        for people, own in (((1, 2, 3), (0, 0, 0)), ((4, 5, 6), (1.5, 1.5, 1.5)))
    )
    assert second - first == pytest.approx(1.5, abs=0.3)


def test_it_is_told_by_axes_of_the_head_however_the_file_lies():
    sharp, smooth = head(1), head(1, (2.0, 0, 0))
    along = difference(sharp, smooth)
    # Frequencies within 45 degrees of another axis are a little along this one.
    assert along[0] == pytest.approx(1.3, abs=0.2) and (np.abs(along[1:]) < 0.45).all()
    other = turned(smooth, "PIR")
    mask = np.asarray(other.raw[..., 0] > 0)
    found = spectral_blur(other, GRADIENTS, mask)
    assert found == pytest.approx(spectral_blur(smooth, GRADIENTS, smooth.raw[..., 0] > 0), 1e-3)


def test_noise_gain_and_contrast_are_no_blur():
    sharp = head(1)
    assert difference(sharp, head(1, noise=0.3, gain=300)) == pytest.approx(0, abs=0.1)
    # Without taking its power away, noise would look like sharpness.
    one = head(1, noise=0.3, volumes=1)
    gradients = Gradients(np.zeros(1), np.zeros((1, 3)))
    alone = spectral_blur(one, gradients, brain())
    assert (alone - spectral_blur(sharp, GRADIENTS, brain()) < -0.2).all()


def test_what_is_too_coarse_or_too_thin_says_nothing():
    series, mask = head(1), brain()
    coarse = replace(series, image=nib.Nifti1Image(series.raw, np.diag([1.8, 2.0, 2.8, 1.0])))
    assert np.isfinite(spectral_blur(coarse, GRADIENTS, mask)).tolist() == [True, True, False]
    slab = mask.copy()
    slab[:, :, 3:] = False
    assert np.isnan(spectral_blur(series, GRADIENTS, slab)).all()
    assert np.isnan(spectral_blur(series, GRADIENTS, np.zeros_like(mask))).all()


@pytest.mark.parametrize("orientation", ["RAS", "PIR"])
def test_a_point_gets_the_variance_that_was_asked_for(orientation):
    raw = np.zeros((*SHAPE, 2), np.float32)
    raw += 1e-9
    raw[28, 24, 20] = 1000.0
    image = nib.Nifti1Image(raw, np.diag([*MM, 1.0]))
    series = turned(Series(raw, 1.0, 0.0, image, Path("dwi.nii.gz")), orientation)
    mask = np.ones(series.shape[:3], bool)
    wanted = np.array([0.3, 1.5, 0.0])
    result = blurred_series(series, mask, wanted)
    seen = nib.as_closest_canonical(nib.Nifti1Image(result.raw, series.affine)).get_fdata()[..., 1]
    assert seen.sum() == pytest.approx(1000, rel=2e-3)
    for axis, variance in enumerate(wanted):
        profile = seen.sum(axis=tuple(a for a in range(3) if a != axis))
        place = MM[axis] * np.arange(SHAPE[axis])
        mean = np.average(place, weights=profile)
        spread = np.average(np.square(place - mean), weights=profile)
        assert spread == pytest.approx(variance, abs=0.02)


def test_only_what_was_measured_in_the_brain_is_mixed():
    mask = brain()
    raw = np.full((*SHAPE, 3), 700, np.int16)
    raw[~mask] = 5000
    raw[20:24, 20:24, 20:24, 1] = 0
    raw[30, 24, 20, 2] = 1
    series = Series(raw, 1.0, 0.0, nib.Nifti1Image(raw, np.diag([*MM, 1.0])), Path("dwi.nii.gz"))
    result = blurred_series(series, mask, np.full(3, 1.5))
    assert np.array_equal(result.raw[~mask], raw[~mask])
    assert np.array_equal(result.raw[..., 1][mask], raw[..., 1][mask])
    assert np.array_equal(result.raw[..., 0], raw[..., 0])
    assert 300 < result.raw[30, 24, 20, 2] < 700 and result.raw.dtype == np.int16
    assert raw[30, 24, 20, 2] == 1


def test_padding_stays_and_weak_signals_do_not_become_nothing():
    mask = brain()
    raw = np.full((*SHAPE, 2), np.nan, np.float32)
    raw[mask] = 100.0
    raw[25, 25, 20, 0] = np.nan
    image = nib.Nifti1Image(raw, np.diag([*MM, 1.0]))
    result = blurred_series(Series(raw, 1.0, 0.0, image, Path("a")), mask, np.full(3, 1.0)).raw
    assert np.array_equal(np.isnan(result), np.isnan(raw))
    np.testing.assert_allclose(result[np.isfinite(raw)], 100.0, rtol=1e-5)
    weak = np.zeros((*SHAPE, 2), np.int16)
    weak[mask] = -3
    weak[25, 25, 20] = 1
    image = nib.Nifti1Image(weak, np.diag([*MM, 1.0]))
    result = blurred_series(Series(weak, 1.0, 0.0, image, Path("a")), mask, np.full(3, 1.0)).raw
    assert (result[25, 25, 20] == 1).all()


def test_volumes_with_weighting_do_not_count():
    gradients = make_gradients(6, b0=4)
    series = head(1, volumes=len(gradients.bvals))
    other = series.raw.copy()
    other[..., ~gradients.b0] = 0
    found = [
        spectral_blur(replace(series, raw=raw), gradients, brain()) for raw in (series.raw, other)
    ]
    assert np.isfinite(found[0]).all() and np.array_equal(*found)
    assert measure_series(series, gradients, brain(), 1000.0).blur == tuple(found[0])


def test_a_wave_is_sharpened_by_what_a_blur_more_would_take():
    mask = np.ones(SHAPE, bool)
    series = Series(np.zeros((*SHAPE, 1)), 1.0, 0.0,
                    nib.Nifti1Image(np.zeros((*SHAPE, 1)), np.diag([*MM, 1.0])), None)  # fmt: skip
    place = np.arange(SHAPE[1])
    for voxels in (4, 12):
        wave = np.broadcast_to(np.cos(2 * np.pi * place / voxels)[None, :, None], SHAPE)
        sharpen = Sharpener.of(series, np.array([0.0, 2.0, 0.0]))
        new = sharpen(wave[mask].astype(np.float32), mask).reshape(SHAPE)
        # Of the discrete Gaussian (Lindeberg 1990), whose variance is half a squared voxel.
        kept = np.exp(0.5 * (np.cos(2 * np.pi / voxels) - 1))
        # Away from the ends of the image.
        assert new[:, 12:-12] == pytest.approx((2 - kept) * wave[:, 12:-12], abs=0.01)


def test_the_outside_of_the_brain_does_not_sharpen_its_edge():
    mask = brain()
    level = np.full(np.count_nonzero(mask), 3.0, np.float32)
    assert Sharpener(np.ones(3))(level, mask) == pytest.approx(3.0, rel=1e-5)
