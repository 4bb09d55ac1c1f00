from __future__ import annotations

import logging
from types import SimpleNamespace

import numpy as np
import pytest

from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.agreement import check_brain, template_agreement
from bids_harmony.imaging.reference import reference_grid, reference_mask, reference_tissues


@pytest.fixture(scope="module")
def grid():
    return reference_grid(3.0)


def prepared(grid, data):
    mask = reference_mask(grid)
    return SimpleNamespace(data=np.where(mask, data, 0).astype(np.float32), mask=mask, grid=grid)


@pytest.mark.parametrize("means", [(0.6, 0.9, 0.2), (0.5, 0.4, 0.95), (0.8, 0.7, 0.2)])
@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_any_contrast_of_a_brain_agrees(grid, rng, means, noise):
    tissues = reference_tissues(grid)
    data = sum(m * t for m, t in zip(means, tissues, strict=True))
    x = np.linspace(-1, 1, data.shape[0])[:, None, None]
    data = data * (1 + 0.3 * x) + rng.normal(0, noise, data.shape)
    assert template_agreement(prepared(grid, data)) > 0.6
    assert check_brain(prepared(grid, data), "a") > 0.6


@pytest.mark.parametrize("noise", [0.0, 0.05])
def test_a_bottle_is_refused(grid, rng, noise):
    x = np.linspace(-1, 1, grid.shape[0])[:, None, None]
    data = 0.8 * (1 + 0.3 * x + 0.2 * x**2) + rng.normal(0, noise, grid.shape)
    with pytest.raises(ImageError, match=r"does not look like a brain \[bottle"):
        check_brain(prepared(grid, data), "bottle.nii.gz")


def test_a_doubtful_image_is_flagged(grid, rng, caplog):
    tissues = reference_tissues(grid)
    noise = rng.normal(0, 1, grid.shape)
    low, high = 0.0, 4.0
    for _ in range(12):
        level = (low + high) / 2
        found = template_agreement(prepared(grid, tissues[1] + level * noise))
        low, high = (level, high) if found > 0.12 else (low, level)
    assert 0.08 < found < 0.17
    with caplog.at_level(logging.WARNING):
        check_brain(prepared(grid, tissues[1] + level * noise), "doubtful.nii.gz")
    assert "does not look like a brain" in caplog.text


def test_an_empty_mask_agrees_with_nothing(grid):
    nothing = prepared(grid, np.zeros(grid.shape))
    nothing.mask = np.zeros_like(nothing.mask)
    assert template_agreement(nothing) == 0


def test_what_the_tissues_make_up_is_explained_wholly_on_blocks_of_fine_voxels():
    """2 mm voxels are looked at in blocks of 4 mm."""
    grid = reference_grid(2.0)
    data = np.tensordot([0.6, 0.9, 0.2], reference_tissues(grid), 1)
    assert template_agreement(prepared(grid, data)) > 0.97
    # The tissues of the mirror image stand elsewhere, front to back.
    assert template_agreement(prepared(grid, data[:, ::-1])) < 0.2


def test_a_constant_has_no_contrast_to_explain(grid):
    flat = prepared(grid, np.ones(grid.shape))
    assert template_agreement(flat) < 0.5


def test_a_gain_does_not_count(grid, rng):
    data = np.tensordot([0.6, 0.9, 0.2], reference_tissues(grid), 1)
    data = data + rng.normal(0, 0.3, data.shape)
    plain = prepared(grid, data)
    louder = SimpleNamespace(data=50 * plain.data, mask=plain.mask, grid=grid)
    assert 0.4 < template_agreement(plain) < 0.7
    assert template_agreement(louder) == pytest.approx(template_agreement(plain), abs=1e-4)
