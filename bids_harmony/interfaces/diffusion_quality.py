"""The fits of a series before and after harmonization, measured and drawn, as files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiPath,
    TraitedSpec,
    isdefined,
    traits,
)

from bids_harmony.interfaces.base import Adapter
from bids_harmony.interfaces.summaries import SUMMARY_FILE, SummaryOutput
from bids_harmony.io.names import file_stem

__all__ = ["CompareFits", "SummarizeSeries", "read_maps"]


class CompareFits(Adapter):
    """Measure what harmonization did to maps and signal, and draw it."""

    class input_spec(BaseInterfaceInputSpec):
        source_file = File(mandatory=True, desc="series before harmonization")
        harmonized_file = File(mandatory=True, desc="series after")
        bval_file = File(mandatory=True)
        bvec_file = File(mandatory=True)
        mask_file = File(mandatory=True, desc="brain mask on the grid of the series")
        b0_threshold = traits.Float(50.0, usedefault=True, desc="s/mm2")
        source_tensor = InputMultiPath(File(exists=True), mandatory=True)
        harmonized_tensor = InputMultiPath(File(exists=True), mandatory=True)
        source_noddi = InputMultiPath(File(exists=True), desc="where it could be fitted")
        harmonized_noddi = InputMultiPath(File(exists=True))
        source_force = InputMultiPath(File(exists=True), desc="where it was asked for")
        harmonized_force = InputMultiPath(File(exists=True))
        tissue_file = File(desc="1 grey matter, 2 white matter, 3 CSF; by default the tensors say")
        title = traits.Str(mandatory=True)
        note = traits.Str("", usedefault=True, desc="such as the statement of `FitNoddi`")

    class output_spec(TraitedSpec):
        quality_file = File(exists=True, desc="numbers and what they mean, JSON")
        maps_figure = File(exists=True)
        densities_figure = File(exists=True)

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.diffusion.gradient_files import read_gradients
        from bids_harmony.diffusion.series import mean_b0, open_series
        from bids_harmony.diffusion.voxels import read_labels, read_mask
        from bids_harmony.quality import diffusion as quality
        from bids_harmony.reports.diffusion import map_distributions_figure, maps_figure

        inputs = self.inputs
        series = open_series(inputs.source_file)
        changed = open_series(inputs.harmonized_file)
        gradients = read_gradients(
            inputs.bval_file, inputs.bvec_file, series.shape[3], b0_threshold=inputs.b0_threshold
        )
        source, harmonized = _both(inputs)
        brain = read_mask(inputs.mask_file, series)
        fitted = brain & (source["md"] > 0) & (harmonized["md"] > 0)
        if isdefined(inputs.tissue_file):
            tissues = read_labels(inputs.tissue_file, series) * fitted
        else:
            fa, md = ((source[n] + harmonized[n]) / 2 for n in ("fa", "md"))
            tissues = quality.diffusion_tissues(fa, md, fitted)
        b0, b0_changed = (
            np.asarray(mean_b0(s, gradients).dataobj, np.float32) for s in (series, changed)
        )
        row = quality.map_row(source, harmonized, tissues)
        row |= quality.direction_row(source["v1"], harmonized["v1"], tissues)
        row |= quality.signal_row(
            series.volumes(), changed.volumes(), b0, b0_changed, brain, gradients
        )
        record = {"quality": row, "descriptions": quality.diffusion_descriptions(row)}
        (folder / "quality.json").write_text(json.dumps(record, indent=2) + "\n")

        figures = folder / "maps.png", folder / "densities.png"
        maps_figure(
            source, harmonized, fitted, series.affine, figures[0], inputs.title, inputs.note
        )
        named = {"white matter": tissues == 2, "grey matter": tissues == 1}
        outputs = {"quality_file": str(folder / "quality.json"), "maps_figure": str(figures[0])}
        if any(where.any() for where in named.values()):
            map_distributions_figure(source, harmonized, named, figures[1], inputs.title)
            outputs["densities_figure"] = str(figures[1])
        return outputs


def _both(inputs: Any) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Maps of all models before and after harmonization."""
    source, harmonized = (
        read_maps(*(getattr(inputs, f"{state}_{model}") for model in ("tensor", "noddi", "force")))
        for state in ("source", "harmonized")
    )
    return source, harmonized


def read_maps(*lists: Sequence[str]) -> dict[str, np.ndarray]:
    """Maps by parameter, in the voxel order of the series' file; lists may be undefined."""
    import nibabel as nib

    maps = {}
    for file in (Path(f) for some in lists if isdefined(some) for f in some):
        image: Any = nib.load(file)
        maps[file_stem(file)] = image.get_fdata(dtype=np.float32)
    return maps


class SummarizeSeries(Adapter):
    """Measure the maps of a diffusion series before and after harmonization."""

    class input_spec(BaseInterfaceInputSpec):
        source_tensor = InputMultiPath(File(exists=True), mandatory=True)
        harmonized_tensor = InputMultiPath(File(exists=True), mandatory=True)
        source_noddi = InputMultiPath(File(exists=True), desc="where it could be fitted")
        harmonized_noddi = InputMultiPath(File(exists=True))
        source_force = InputMultiPath(File(exists=True), desc="where it was asked for")
        harmonized_force = InputMultiPath(File(exists=True))
        xfm_file = File(exists=True, mandatory=True, desc="series to reference, ITK text")

    output_spec = SummaryOutput

    def _adapt(self, folder: Path) -> dict:
        import nibabel as nib

        from bids_harmony.diffusion.brain import SLAB_MM
        from bids_harmony.imaging.registration import read_transform
        from bids_harmony.quality.summarize_series import summarize_series
        from bids_harmony.quality.summary import save_summary

        inputs = self.inputs
        image: Any = nib.load(inputs.source_tensor[0])
        extent = np.array(image.shape) * nib.affines.voxel_sizes(image.affine)
        world = read_transform(inputs.xfm_file)
        # `PlaceSeries` only shifts a slab, and does not know where it belongs.
        unknown = extent.min() < SLAB_MM and np.array_equal(world[:3, :3], np.eye(3))
        summary = summarize_series(*_both(inputs), image.affine, None if unknown else world)
        save_summary(folder / SUMMARY_FILE, summary)
        return {"summary_file": str(folder / SUMMARY_FILE)}
