"""Summaries of harmonized images, from which the level group measures site effects, as files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, File, InputMultiPath, TraitedSpec

from bids_harmony.interfaces.base import Adapter
from bids_harmony.interfaces.diffusion_quality import read_maps

__all__ = ["SummarizeScan", "SummarizeSeries"]

_FILE = "summary.npz"


class _SummaryOutput(TraitedSpec):
    summary_file = File(exists=True, desc=".npz, see quality.summary")


class SummarizeScan(Adapter):
    """Measure a structural scan before and after harmonization."""

    class input_spec(BaseInterfaceInputSpec):
        comparison_file = File(exists=True, mandatory=True, desc="arrays that `Harmonize` left")
        quality_file = File(exists=True, mandatory=True)

    output_spec = _SummaryOutput

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.quality.summarize import summarize_scan
        from bids_harmony.quality.summary import save_summary

        record = json.loads(Path(self.inputs.quality_file).read_text())
        with np.load(self.inputs.comparison_file) as comparison:
            summary = summarize_scan(
                comparison["source"],
                comparison["harmonized"],
                comparison["mask"],
                scale=record["scale"],
                target_quantiles=comparison["quantiles"],
                voxel_mm=float(np.abs(comparison["affine"][0, 0])),
            )
        save_summary(folder / _FILE, summary)
        return {"summary_file": str(folder / _FILE)}


class SummarizeSeries(Adapter):
    """Measure the maps of a diffusion series before and after harmonization."""

    class input_spec(BaseInterfaceInputSpec):
        source_tensor = InputMultiPath(File(exists=True), mandatory=True)
        harmonized_tensor = InputMultiPath(File(exists=True), mandatory=True)
        source_noddi = InputMultiPath(File(exists=True), desc="where it could be fitted")
        harmonized_noddi = InputMultiPath(File(exists=True))
        xfm_file = File(exists=True, mandatory=True, desc="series to reference, ITK text")

    output_spec = _SummaryOutput

    def _adapt(self, folder: Path) -> dict:
        import nibabel as nib

        from bids_harmony.diffusion.brain import SLAB_MM
        from bids_harmony.imaging.registration import read_transform
        from bids_harmony.quality.summarize import summarize_series
        from bids_harmony.quality.summary import save_summary

        inputs = self.inputs
        image: Any = nib.load(inputs.source_tensor[0])
        extent = np.array(image.shape) * nib.affines.voxel_sizes(image.affine)
        world = read_transform(inputs.xfm_file)
        # `PlaceSeries` only shifts a slab, and does not know where it belongs.
        unknown = extent.min() < SLAB_MM and np.array_equal(world[:3, :3], np.eye(3))
        summary = summarize_series(
            read_maps(inputs.source_tensor, inputs.source_noddi),
            read_maps(inputs.harmonized_tensor, inputs.harmonized_noddi),
            image.affine,
            None if unknown else world,
        )
        save_summary(folder / _FILE, summary)
        return {"summary_file": str(folder / _FILE)}
