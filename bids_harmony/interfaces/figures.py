"""The figure of a scan and the pictures of its report, as files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    OutputMultiPath,
    TraitedSpec,
    isdefined,
    traits,
)

from bids_harmony.interfaces.base import Adapter

__all__ = ["DrawChange", "DrawSeriesChange"]

UNITS = "fraction of the scan's scale"


class DrawChange(Adapter):
    """Draw source, harmonized, target mean and change of one scan."""

    class input_spec(BaseInterfaceInputSpec):
        comparison_file = File(exists=True, mandatory=True, desc="arrays that `Harmonize` left")
        quality_file = File(exists=True, mandatory=True)
        title = traits.Str(mandatory=True)
        target_site = traits.Str(mandatory=True)
        in_file = File(exists=True, desc="the scan, to show its mask on it")
        mask_file = File(exists=True, desc="brain mask on the scan's grid")

    class output_spec(TraitedSpec):
        out_file = File(exists=True)
        picture_files = OutputMultiPath(File(exists=True), desc="of the subject page")

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.reports.figures import subject_figure
        from bids_harmony.reports.pictures import draw_scanner_settings

        quality = json.loads(Path(self.inputs.quality_file).read_text())["quality"]
        shown = {"rmse_brain": "change (RMSE)", "wasserstein_source": "distance to target before"}
        shown["wasserstein_harmonized"] = "after"
        note = ", ".join(
            f"{t} {quality[k]:.4f}" for k, t in shown.items() if quality.get(k) is not None
        )
        with np.load(self.inputs.comparison_file) as comparison:
            arrays = {name: comparison[name] for name in comparison.files}
        source, harmonized, target = (
            arrays[n].astype(np.float32) for n in ("source", "harmonized", "target")
        )
        subject_figure(
            source,
            harmonized,
            target,
            arrays["mask"],
            harmonized - source,
            arrays["affine"],
            folder / "figure.png",
            title=self.inputs.title,
            target_quantiles=arrays["quantiles"],
            target_name=self.inputs.target_site,
            note=f"Brain on the reference grid. {note}",
            units=UNITS,
        )
        pictures = draw_scanner_settings(
            source,
            harmonized,
            target,
            arrays["mask"],
            arrays["affine"],
            folder,
            target_name=self.inputs.target_site,
            target_quantiles=arrays["quantiles"],
            units=UNITS,
        )
        pictures += self._outlines(source, arrays["affine"], folder)
        return {
            "out_file": str(folder / "figure.png"),
            "picture_files": [str(picture) for picture in pictures],
        }

    def _outlines(self, source: np.ndarray, affine: np.ndarray, folder: Path) -> list[Path]:
        """The scan with its mask, and on the reference grid with the template's outlines."""
        from bids_harmony.imaging.mask import read_brain
        from bids_harmony.imaging.reference import (
            reference_grid,
            reference_mask,
            reference_tissues,
        )
        from bids_harmony.imaging.volume import read_volume
        from bids_harmony.reports.pictures import BRAIN_COLOUR, WHITE_MATTER_COLOUR, draw_outlines

        drawn = [folder / "registration.png"]
        grid = reference_grid(float(np.abs(affine[0, 0])))
        template = {
            BRAIN_COLOUR: reference_mask(grid),
            WHITE_MATTER_COLOUR: reference_tissues(grid)[1] > 0.5,
        }
        draw_outlines(source, template, affine, drawn[0])
        if isdefined(self.inputs.in_file) and isdefined(self.inputs.mask_file):
            volume = read_volume(self.inputs.in_file)
            brain = read_brain(self.inputs.mask_file).data
            drawn.append(folder / "mask.png")
            draw_outlines(volume.data, {BRAIN_COLOUR: brain}, volume.affine, drawn[1])
        return drawn


class DrawSeriesChange(Adapter):
    """Draw mean b=0 and one shell of a diffusion series: source, harmonized and change."""

    class input_spec(BaseInterfaceInputSpec):
        comparison_file = File(
            exists=True, mandatory=True, desc="arrays that `HarmonizeSeries` left"
        )
        quality_file = File(exists=True, mandatory=True)
        title = traits.Str(mandatory=True)

    class output_spec(TraitedSpec):
        out_file = File(exists=True)

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.reports.series import series_figure

        quality = json.loads(Path(self.inputs.quality_file).read_text())["quality"]
        shown = {
            "b0_rmse_brain": "change of b=0 (RMSE)",
            "b_scale": "gradients relative to the target's",
            "noise_share": "noise",
            "target_noise_share": "target's noise",
        }
        note = ", ".join(
            f"{text} {quality[key]:.4f}"
            for key, text in shown.items()
            if quality.get(key) is not None
        )
        with np.load(self.inputs.comparison_file) as comparison:
            series_figure(
                (comparison["b0_source"], comparison["b0_harmonized"]),
                (comparison["shell_source"], comparison["shell_harmonized"]),
                comparison["mask"],
                comparison["affine"],
                folder / "figure.png",
                shell_name=f"b = {float(comparison['b']):.0f} s/mm²",
                title=self.inputs.title,
                note=f"On the series' own grid. {note}",
            )
        return {"out_file": str(folder / "figure.png")}
