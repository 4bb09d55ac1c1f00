from __future__ import annotations

import numpy as np
import pytest
from nilearn.datasets import load_mni152_gm_template, load_mni152_template

from bids_harmony.imaging.reference import (
    REFERENCE,
    reference_grid,
    reference_mask,
    reference_t1w,
    reference_tissues,
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


def test_tissues_are_shares_and_stand_at_their_places():
    grid = reference_grid(3.0)
    tissues = reference_tissues(grid)
    total = tissues.sum(axis=0)
    assert tissues.shape == (3, *grid.shape) and tissues.dtype == np.float32
    assert tissues.min() >= 0 and not tissues.flags.writeable
    assert np.allclose(total[total > 0], 1, atol=1e-5)
    assert (total > 0).sum() * 27 == pytest.approx(1.88e6, rel=0.03)

    def at(*millimetres):
        voxel = np.linalg.solve(grid.affine, [*millimetres, 1])[:3].round().astype(int)
        return tissues[(slice(None), *voxel)]

    # Cerebellum, white matter beside the ventricle, the ventricle.
    assert at(0, -60, -45)[0] > 0.9 and at(10, -30, 24)[1] > 0.9 and at(6, 0, 18)[2] > 0.9
    assert tissues.sum(axis=(1, 2, 3)) * 0.027 == pytest.approx([982, 669, 232], rel=0.02)


def test_a_map_of_another_extent_is_cut_and_filled_on_the_grid_of_1_mm():
    grid = reference_grid(1.0)
    image = load_mni152_gm_template(resolution=1)
    shown = resample_to_grid(
        image.get_fdata(dtype=np.float32), image.affine, np.eye(4), grid, order=1
    )
    grey = reference_tissues(grid)[0]
    sure = reference_tissues(grid)[1] == 0
    brain = reference_tissues(grid).sum(axis=0) > 0
    assert np.allclose(grey[sure & brain], np.minimum(shown, 1)[sure & brain], atol=1e-6)
