"""Segmentation with a field; comparisons of tissues stand in tests/quality."""

import numpy as np
import pytest
from numpy.polynomial.legendre import legval

from bids_harmony.exceptions import DataError
from bids_harmony.imaging.legendre import FIELD_TERMS, log_field
from bids_harmony.imaging.reference import reference_grid, reference_mask, reference_tissues
from bids_harmony.imaging.tissues import segment_coarsely, segment_tissues


def test_a_field_on_a_coarser_grid_is_the_same_field():
    coefficients = np.random.default_rng(0).normal(0, 0.05, FIELD_TERMS)
    fine, coarse = (log_field(coefficients, shape) for shape in ((9, 13, 17), (5, 7, 9)))
    assert np.allclose(fine[::2, ::2, ::2], coarse, atol=1e-6)


@pytest.mark.parametrize(("term", "axis", "degree"), [(1, 2, 1), (2, 2, 2), (4, 1, 1), (10, 0, 1)])
def test_terms_are_legendre_polynomials(term, axis, degree):
    coefficients = np.zeros(FIELD_TERMS)
    coefficients[term] = 0.5
    field = np.moveaxis(log_field(coefficients, (5, 6, 7)), axis, 0)
    line = 0.5 * legval(np.linspace(-1, 1, field.shape[0]), np.eye(degree + 1)[degree])
    assert np.allclose(field, line[:, None, None], atol=1e-6)


def test_a_field_is_clipped():
    assert log_field(np.full(FIELD_TERMS, 9.0), (3, 3, 3)).max() == 1


@pytest.fixture(scope="module")
def noisy_brain():
    """Intensities 0.6, 0.9 and 0.2 of the template's tissues, and much noise; labels; maps."""
    grid = reference_grid(3.0)
    mask, maps = reference_mask(grid), reference_tissues(grid)
    truth = np.where(mask, maps.argmax(axis=0) + 1, 0)
    noise = np.random.default_rng(0).normal(0, 0.12, truth.shape)
    image = np.choose(truth, [0, 0.6, 0.9, 0.2]) + np.where(mask, noise, 0)
    return np.maximum(image, 0).astype(np.float32), mask, truth, maps


def test_neighbours_outvote_noise(noisy_brain):
    """Without neighbours 90.2 % of the voxels are right, with them 93.0 %."""
    image, mask, truth, maps = noisy_brain
    found = segment_tissues(image, mask, maps)
    assert (found.labels[mask] == truth[mask]).mean() > 0.92
    assert not found.labels[~mask].any()
    assert np.allclose(found.probabilities.sum(axis=0)[mask], 1, atol=1e-5)


def test_means_and_field_are_those_of_the_image(noisy_brain):
    image, mask, _, maps = noisy_brain
    wanted = np.zeros(FIELD_TERMS)
    wanted[[1, 4]] = 0.15, -0.1
    bent = image * np.exp(log_field(wanted, image.shape))
    found = segment_tissues(bent, mask, maps)
    # The ridge pulls the field towards none, and a constant belongs to the means.
    assert np.allclose(found.field[[1, 4]], wanted[[1, 4]], atol=0.04) and found.field[0] == 0
    assert np.allclose(found.means / found.means[1], [0.6 / 0.9, 1, 0.2 / 0.9], atol=0.06)


def test_units_change_the_means_alone(noisy_brain):
    image, mask, _, maps = noisy_brain
    found, larger = segment_tissues(image, mask, maps), segment_tissues(300 * image, mask, maps)
    assert np.array_equal(found.labels, larger.labels)
    assert np.allclose(larger.means, 300 * found.means, rtol=1e-4)
    assert np.allclose(larger.pure_means, 300 * found.pure_means, rtol=1e-4)
    assert found.labels.dtype == np.uint8 and found.probabilities.dtype == np.float32
    assert not found.probabilities[:, ~mask].any()
    assert np.array_equal(found.labels[mask], found.probabilities[:, mask].argmax(axis=0) + 1)


def test_pure_means_leave_out_what_is_mixed():
    """Half of the voxels of grey and white matter are one half of each: 0.6 and 0.9 mixed."""
    shape = (18, 18, 18)
    truth = np.zeros(shape, int)
    truth[6:12], truth[12:] = 1, 2
    image = np.choose(truth, [0.6, 0.9, 0.2]).astype(np.float32)
    image[4:6], image[6:8] = 0.72, 0.78
    maps = np.stack([truth == tissue for tissue in range(3)]).astype(np.float32)
    found = segment_tissues(image, np.ones(shape, bool), maps)
    gain = np.exp(log_field(found.field, shape))
    flat = image / gain
    for tissue in range(3):
        share = found.probabilities[tissue].astype(np.float64)
        sure = np.where(share > 0.9, share, 0)
        # Found to the last iteration's step of the field.
        assert found.means[tissue] == pytest.approx((share * flat).sum() / share.sum(), rel=5e-3)
        assert found.pure_means[tissue] == pytest.approx(
            (sure * flat).sum() / sure.sum(), rel=5e-3
        )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda data, mask, maps: (data[1:], mask, maps), "one grid"),
        (lambda data, mask, maps: (data, mask, maps[:2]), "one grid"),
        (lambda data, mask, maps: (data, mask, maps[:, 1:]), "one grid"),
        (lambda data, mask, maps: (data, mask & False, maps), "No positive signal"),
        (lambda data, mask, maps: (0 * data, mask, maps), "No positive signal"),
    ],
)
def test_what_cannot_be_segmented_is_refused(change, told, noisy_brain):
    image, mask, _, maps = noisy_brain
    with pytest.raises(DataError, match=told):
        segment_tissues(*change(image, mask, maps))


@pytest.mark.parametrize(("given", "step"), [({}, 2), ({"step": 3}, 3)])
def test_some_voxels_are_segmented_as_a_scan_of_their_own(given, step):
    """On 2 mm every second voxel makes the lattice of 4 mm."""
    grid = reference_grid(2.0)
    mask, maps = reference_mask(grid), reference_tissues(grid)
    image = np.where(mask, np.tensordot([0.6, 0.9, 0.2], maps, 1), 0).astype(np.float32)
    found = segment_coarsely(image, mask, 2.0, **given)
    at = (slice(None, None, step),) * 3
    assert found.at == at
    assert np.array_equal(found.template, maps[(slice(None), *at)])
    own = segment_tissues(image[at], mask[at], found.template)
    assert np.array_equal(found.tissues.labels, own.labels)
    assert np.array_equal(found.tissues.means, own.means)
