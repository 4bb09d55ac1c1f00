"""Summaries as nodes make them: from looks of scans, and from maps of series."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.imaging.reference import reference_grid, reference_t1w
from bids_harmony.imaging.registration import write_transform
from bids_harmony.interfaces.diffusion_quality import SummarizeSeries
from bids_harmony.interfaces.summaries import SummarizeScan
from bids_harmony.quality.summary import ScanSummary, SeriesSummary, load_summary


def test_summary_of_a_scan(tmp_path):
    grid = reference_grid(5.0)
    source = reference_t1w(grid)
    comparison = tmp_path / "comparison.npz"
    np.savez(
        comparison, source=source.astype(np.float16), harmonized=(0.5 * source).astype(np.float16),
        target=source, mask=source > 0, affine=grid.affine, quantiles=np.linspace(0, 1, 101),
    )  # fmt: skip
    (tmp_path / "quality.json").write_text(json.dumps({"quality": {}, "scale": 300.0}))
    quality = tmp_path / "quality.json"
    # To the template by twice the volume: the own head is half as large.
    write_transform(np.diag([2.0, 1.0, 1.0, 1.0]), tmp_path / "xfm.txt")
    node = SummarizeScan(
        comparison_file=str(comparison),
        quality_file=str(quality),
        xfm_file=str(tmp_path / "xfm.txt"),
    )
    summary = load_summary(node.run(cwd=str(tmp_path)).outputs.summary_file)
    assert isinstance(summary, ScanSummary) and summary.voxel_mm == 5.0
    np.testing.assert_allclose(summary.quantiles[1, 0], 0.5 * summary.quantiles[0, 0], rtol=1e-3)
    brain_ml = (source > 0).sum() * 0.125 / 2
    np.testing.assert_allclose(summary.volumes.sum(axis=1), brain_ml, rtol=0.02)
    assert (summary.volumes > 0.05 * brain_ml).all()
    raw, scaled = summary.features[:2, 20]
    # Of the brightest: 0.99 against 0.995 of the voxels.
    assert 0.9 * 300 * source.max() < raw <= 300 * source.max() and 0.9 < scaled <= 1


def maps_of(folder, shape, shift):
    """Maps on a grid with a reversed axis: FA of 0.6 above the template's origin, 0.4 below."""
    folder.mkdir()
    affine = np.diag([-4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = [95, -130, -80]
    at = affine[2, 3] + 4 * np.arange(shape[2])
    fa = np.broadcast_to(np.where(at > 0, 0.6, 0.4) + shift, shape).astype(np.float32)
    files = []
    for name, data in (
        ("fa", fa),
        ("md", np.full(shape, 8e-4, np.float32)),
        ("v1", np.ones((*shape, 3), np.float32)),
    ):
        files.append(str(folder / f"{name}.nii.gz"))
        nib.save(nib.Nifti1Image(data, affine), files[-1])
    return files


@pytest.mark.parametrize(
    ("slices", "world", "known"),
    [(45, np.eye(4), True), (8, np.eye(4), False), (8, np.diag([1.01, 1.0, 1.0, 1.0]), True)],
    ids=["whole", "slab", "registered-slab"],
)
def test_summary_of_a_series(tmp_path, slices, world, known):
    if slices < 45:
        world = world.copy()
        world[2, 3] = 80.0
    shape = (48, 58, slices)
    write_transform(world, tmp_path / "xfm.txt")
    node = SummarizeSeries(
        source_tensor=maps_of(tmp_path / "source", shape, 0.0),
        harmonized_tensor=maps_of(tmp_path / "harmonized", shape, 0.05),
        xfm_file=str(tmp_path / "xfm.txt"),
    )
    summary = load_summary(node.run(cwd=str(tmp_path)).outputs.summary_file)
    assert isinstance(summary, SeriesSummary) and summary.parameters == ("fa", "md")
    seen = np.isfinite(summary.regions[0, 0])
    assert seen.any() == known and seen.all() == (slices == 45)
    if slices == 45:
        assert np.unique(np.round(summary.regions[0, 0], 2)).tolist() == pytest.approx([0.4, 0.6])
        np.testing.assert_allclose(summary.regions[1, 0] - summary.regions[0, 0], 0.05, atol=1e-6)
    assert summary.tissues[1, 0, 1] == pytest.approx(summary.tissues[0, 0, 1] + 0.05)
