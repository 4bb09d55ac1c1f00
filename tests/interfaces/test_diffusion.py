"""Diffusion adapters: what they refuse, the form of what they write, and what they leave alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.diffusion.series import open_series
from bids_harmony.exceptions import DataError, ExitCode, ImageError
from bids_harmony.interfaces.base import read_failure
from bids_harmony.interfaces.diffusion import BrainFromB0, MeanB0, without_head

AFFINE = np.array([[0, -4.0, 0, 60], [4.0, 0, 0, -60], [0, 0, 4.0, -40], [0, 0, 0, 1]])


@pytest.fixture
def series(tmp_path, rng):
    """A skull-stripped ellipsoid, two b=0 and six weighted volumes, int16."""
    at = np.indices((36, 32, 28)) - np.reshape([18, 16, 14], (3, 1, 1, 1))
    inside = np.square(at * 4 / np.reshape([60, 50, 45], (3, 1, 1, 1))).sum(axis=0) < 1
    raw = (inside[..., None] * rng.integers(200, 400, (*inside.shape, 8))).astype(np.int16)
    path = tmp_path / "x_dwi.nii.gz"
    nib.save(nib.Nifti1Image(raw, AFFINE), path)
    directions = np.zeros((8, 3))
    directions[2:] = np.vstack([np.eye(3), np.sqrt(0.5) * (1 - np.eye(3))])
    np.savetxt(tmp_path / "x_dwi.bval", np.repeat([0, 1000], [2, 6])[None], fmt="%d")
    np.savetxt(tmp_path / "x_dwi.bvec", directions.T)
    return path, inside


def mean_b0(path: Path, folder: Path) -> Path:
    stem = str(path).removesuffix(".nii.gz")
    words = {"in_file": str(path), "bval_file": f"{stem}.bval", "bvec_file": f"{stem}.bvec"}
    return Path(MeanB0(**words).run(cwd=str(folder)).outputs.out_file)


def test_mean_b0_and_brain_lie_as_the_series_does(series, tmp_path):
    path, inside = series
    mean = nib.load(mean_b0(path, tmp_path))
    expected = nib.load(path).get_fdata()[..., :2].mean(-1)
    np.testing.assert_allclose(mean.get_fdata(), expected, rtol=1e-6)
    np.testing.assert_allclose(mean.affine, AFFINE, atol=1e-5)
    brain = BrainFromB0(in_file=mean.get_filename()).run(cwd=str(tmp_path)).outputs
    assert brain.kind == "skull-stripped"
    mask = nib.load(brain.mask_file)
    assert np.array_equal(mask.dataobj, inside) and np.allclose(mask.affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize(("volumes", "error"), [(7, DataError), (None, ImageError)])
def test_a_series_that_is_none_is_refused(series, tmp_path, volumes, error):
    path, _ = series
    image = nib.load(path)
    data = image.get_fdata()[..., :volumes] if volumes else image.get_fdata()[..., 0]
    nib.save(nib.Nifti1Image(data.astype(np.float32), AFFINE), path)
    with pytest.raises(error):
        mean_b0(path, tmp_path)
    assert read_failure(tmp_path).exit_code == ExitCode.BAD_DATA
    assert not (tmp_path / "mean_b0.nii.gz").exists()


@pytest.mark.parametrize(
    ("slope", "intercept", "nothing"), [(1.0, 0.0, 0), (0.5, -100.0, 200), (1.0, 1e6, -32768)]
)
def test_outside_the_brain_the_signal_is_zero_or_the_nearest(series, slope, intercept, nothing):
    path, inside = series
    found = replace(open_series(path), slope=slope, intercept=intercept)
    half = inside & (np.indices(inside.shape)[0] < 18)
    raw = without_head(found, found.raw, half)
    assert raw.dtype == found.raw.dtype
    assert np.array_equal(raw[half], found.raw[half]) and (raw[~half] == nothing).all()
