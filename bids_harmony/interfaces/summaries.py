"""Summaries of harmonized images, from which the level group measures site effects, as files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, File, TraitedSpec

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

    output_spec = SummaryOutput

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.quality.summarize_scan import summarize_scan
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
        save_summary(folder / SUMMARY_FILE, summary)
        return {"summary_file": str(folder / SUMMARY_FILE)}
