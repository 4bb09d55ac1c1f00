"""The map of main directions says which way fibres run in the scanner, by the documented rule."""

from __future__ import annotations

import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.diffusion.maps import world_directions
from bids_harmony.interfaces.diffusion_fits import FitTensor
from lab.tensor_field import make_tensor_field, oblique_affine, write_tensor_series
from tests.gradient_schemes import spread_directions

PAGE = Path(__file__).resolve().parents[2] / "docs" / "diffusion.md"


def main_directions(files: dict[str, str], folder: Path) -> nib.Nifti1Image:
    return nib.load(FitTensor(**files).run(cwd=str(folder)).outputs.v1)


def same_axis(found, expected) -> np.ndarray:
    """Cosines; signs mean nothing."""
    return np.abs(np.sum(np.asarray(found) * expected, axis=-1))


@pytest.mark.parametrize(
    ("affine", "first", "stored"),
    [
        # Voxel axes right, anterior, superior: FSL has the first one reversed; then left first.
        ([[2, 0, 0], [0, 2, 0], [0, 0, 3]], -1, [-0.6, 0.64, 0.48]),
        ([[-2, 0, 0], [0, 2, 0], [0, 0, 3]], 1, [-0.6, 0.64, 0.48]),
        # Anterior, superior, right; then posterior first.
        ([[0, 0, 3], [2, 0, 0], [0, 2, 0]], -1, [-0.64, 0.48, 0.6]),
        ([[0, 0, 3], [-2, 0, 0], [0, 2, 0]], 1, [-0.64, 0.48, 0.6]),
    ],
)
def test_a_fibre_of_known_direction_is_stored_as_fsl_has_it(affine, first, stored, tmp_path):
    fibre = np.array([0.6, 0.64, 0.48])  # right, anterior, superior
    world = np.concatenate([np.zeros((1, 3)), spread_directions(20)])
    b_values = 1000.0 * world.any(axis=1)
    signal = 1000 * np.exp(-b_values * (3e-4 + 1.2e-3 * np.square(world @ fibre)))
    full = np.diag([0.0, 0, 0, 1])
    full[:3, :3] = affine
    bvecs = world @ full[:3, :3] / np.linalg.norm(affine, axis=0) * [first, 1, 1]
    names = ("dwi.nii.gz", "dwi.bval", "dwi.bvec", "mask.nii.gz")
    dwi, bval, bvec, mask = (str(tmp_path / name) for name in names)
    nib.save(nib.Nifti1Image(np.tile(signal, (2, 2, 2, 1)).astype(np.float32), full), dwi)
    nib.save(nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), full), mask)
    np.savetxt(bval, b_values[None], fmt="%g")
    np.savetxt(bvec, bvecs.T, fmt="%.9f")
    files = {"in_file": dwi, "bval_file": bval, "bvec_file": bvec, "mask_file": mask}
    v1 = main_directions(files, tmp_path)
    np.testing.assert_allclose(same_axis(v1.get_fdata(), stored), 1, atol=1e-6)
    found = world_directions(v1.get_fdata(), v1.affine)
    np.testing.assert_allclose(same_axis(found, fibre), 1, atol=1e-6)


@pytest.mark.parametrize("codes", ["RAS", "LAS", "ASR", "PSR", "LPS", "RSA"])
def test_the_rule_of_the_page_gives_the_scanners_directions(codes, tmp_path, monkeypatch):
    rng = np.random.default_rng(3)
    field, affine = make_tensor_field((4, 3, 3), rng), oblique_affine(codes)
    v1 = main_directions(write_tensor_series(tmp_path, field, affine, rng), tmp_path)
    section = PAGE.read_text(encoding="utf-8").partition("### Which way V1 points")[2]
    (rule,) = re.findall(r"```python\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    (name,) = re.findall(r'load\("(.*?)"\)', rule)
    nib.save(v1, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    exec(compile(rule, str(PAGE), "exec"), {})
    scanner = nib.load("v1_scanner.nii.gz")
    np.testing.assert_array_equal(scanner.affine, v1.affine)
    assert same_axis(scanner.get_fdata(), field.maps["v1"]).min() > 1 - 1e-6
    assert np.median(same_axis(v1.get_fdata(), field.maps["v1"])) < 0.9
