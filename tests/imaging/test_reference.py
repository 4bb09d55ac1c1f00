from __future__ import annotations

import numpy as np
import pytest
from nilearn.datasets import load_mni152_template

from bids_harmony.imaging.reference import (
    REFERENCE,
    reference_grid,
    reference_mask,
    reference_t1w,
)
from bids_harmony.imaging.resampling import resample_to_grid


@pytest.mark.parametrize("voxel_mm", [1.0, 2.0, 3.0])
def test_grid_holds_the_brain_with_a_margin(voxel_mm):
    grid = reference_grid(voxel_mm)
    mask = reference_mask(grid)
    assert grid.name == REFERENCE == "MNI152NLin2009aSym"
    assert mask.shape == grid.shape == reference_t1w(grid).shape
    assert mask.sum() * voxel_mm**3 == pytest.approx(1.887e6, rel=0.02)
    inside = np.argwhere(mask)
    margin = np.minimum(inside.min(axis=0), np.array(grid.shape) - 1 - inside.max(axis=0))
    assert (margin * voxel_mm >= 8 - voxel_mm).all()
    # The template's coordinates: the brain is centred left to right on x = 0.
    centre = grid.affine[:3, :3] @ inside.mean(axis=0) + grid.affine[:3, 3]
    np.testing.assert_allclose(centre, [0, -22, 10], atol=3)


def test_template_is_zero_outside_its_mask():
    grid = reference_grid(2.0)
    template, mask = reference_t1w(grid), reference_mask(grid)
    assert template.dtype == np.float32 and mask.dtype == bool
    assert not template[~mask].any() and 0.5 < template.max() <= 1


def test_grid_is_made_once_and_cannot_be_changed():
    assert reference_grid(2.0) is reference_grid(2.0)
    with pytest.raises(ValueError, match="read-only"):
        reference_grid(2.0).affine[0, 0] = 9


def test_the_grid_of_the_templates_own_voxels_needs_no_interpolation():
    data = np.asarray(load_mni152_template(resolution=1).dataobj, dtype=np.float32)
    grid = reference_grid(1.0)
    shown = resample_to_grid(data, load_mni152_template(1).affine, np.eye(4), grid, order=1)
    template = reference_t1w(grid)
    assert np.array_equal(template, np.where(reference_mask(grid), shown, 0))
