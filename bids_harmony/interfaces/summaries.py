"""Summaries of harmonized images, from which the level group measures site effects, as files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, File, TraitedSpec, isdefined, traits

from bids_harmony.interfaces.base import Adapter

__all__ = ["SUMMARY_FILE", "SummarizeScan", "SummaryOutput"]

SUMMARY_FILE = "summary.npz"


class SummaryOutput(TraitedSpec):
    summary_file = File(exists=True, desc=".npz, see quality.summary")


class SummarizeScan(Adapter):
    """Measure a structural scan before and after harmonization."""

    class input_spec(BaseInterfaceInputSpec):
        comparison_file = File(exists=True, mandatory=True, desc="arrays that `Harmonize` left")
        quality_file = File(exists=True, mandatory=True)
        tissue_files = traits.List(File, desc="probabilities of grey matter, white matter, CSF")
        steps = traits.List(File, desc="from the scan to the space of the tissues")
        xfm_file = File(exists=True, mandatory=True, desc="scan to reference")

    output_spec = SummaryOutput

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.imaging.transforms import read_transform
        from bids_harmony.quality.summarize_scan import summarize_scan
        from bids_harmony.quality.summary import save_summary

        record = json.loads(Path(self.inputs.quality_file).read_text())
        scaling = float(np.linalg.det(read_transform(self.inputs.xfm_file)[:3, :3]))
        with np.load(self.inputs.comparison_file) as comparison:
            spacing = float(np.abs(comparison["affine"][0, 0]))
            summary = summarize_scan(
                comparison["source"],
                comparison["harmonized"],
                comparison["mask"],
                scale=record["scale"],
                target_quantiles=comparison["quantiles"],
                voxel_mm=spacing,
                tissues=self._tissues(spacing),
                scaling=scaling,
            )
        save_summary(folder / SUMMARY_FILE, summary)
        return {"summary_file": str(folder / SUMMARY_FILE)}

    def _tissues(self, voxel_mm: float) -> np.ndarray | None:
        """Maps of another program on the reference grid."""
        from bids_harmony.imaging.reference import reference_grid
        from bids_harmony.imaging.resampling import resample_to_grid
        from bids_harmony.imaging.transforms import read_transform
        from bids_harmony.imaging.volume import read_volume
        from bids_harmony.imaging.warps import read_chain

        inputs = self.inputs
        if not isdefined(inputs.tissue_files):
            return None
        steps = inputs.steps if isdefined(inputs.steps) else []
        world = read_transform(inputs.xfm_file) @ np.linalg.inv(read_chain(steps))
        grid = reference_grid(voxel_mm)
        maps = [read_volume(file) for file in inputs.tissue_files]
        return np.stack([resample_to_grid(m.data, m.affine, world, grid, order=1) for m in maps])
