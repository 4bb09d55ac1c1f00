"""Where a series lies in the template."""

import nibabel as nib
import numpy as np

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.registration import read_transform
from bids_harmony.interfaces.diffusion import PlaceSeries


def test_a_slab_is_put_in_the_middle_of_the_template(tmp_path, caplog):
    data = np.random.default_rng(1).random((60, 60, 3)).astype(np.float32)
    affine = np.diag([-3.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = [70, -20, 50]
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "b0.nii.gz")
    found = PlaceSeries(in_file=str(tmp_path / "b0.nii.gz"), modality="dwi").run(cwd=tmp_path)
    world = read_transform(found.outputs.xfm_file)
    assert np.array_equal(world[:3, :3], np.eye(3))
    grid = reference_grid(2.0)
    middle = world @ affine @ [29.5, 29.5, 1, 1]
    assert np.allclose(middle, grid.affine @ [*((np.array(grid.shape) - 1) / 2), 1], atol=1e-3)
    assert found.outputs.similarity == 0 and "cannot be registered" in caplog.text
