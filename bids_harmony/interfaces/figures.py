"""The figure of a scan and the pictures of its report, as files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    OutputMultiPath,
    TraitedSpec,
    traits,
)

from bids_harmony.interfaces.base import Adapter

__all__ = ["DrawChange", "DrawSeriesChange"]


class DrawChange(Adapter):
    """Draw source, harmonized, target mean and change of one scan."""

    class input_spec(BaseInterfaceInputSpec):
        comparison_file = File(exists=True, mandatory=True, desc="arrays that `Harmonize` left")
        quality_file = File(exists=True, mandatory=True)
        title = traits.Str(mandatory=True)
        target_site = traits.Str(mandatory=True)
        in_file = File(exists=True, mandatory=True, desc="the scan, to show its mask on it")
        mask_file = File(exists=True, mandatory=True, desc="brain mask on the scan's grid")

    class output_spec(TraitedSpec):
        out_file = File(exists=True)
        picture_files = OutputMultiPath(File(exists=True), desc="of the subject page")

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.reports.change import Comparison, page_pictures, subject_figure

        note = _note(
            self.inputs.quality_file,
            {
                "rmse_brain": "change (RMSE)",
                "wasserstein_source": "distance to target before",
                "wasserstein_harmonized": "after",
            },
        )
        with np.load(self.inputs.comparison_file) as arrays:
            source, affine = arrays["source"], arrays["affine"]
            shown = Comparison(
                source, arrays["harmonized"], arrays["target"], arrays["mask"], affine,
                arrays["quantiles"], self.inputs.target_site,
            )  # fmt: skip
        subject_figure(
            shown, folder / "figure.png", self.inputs.title, f"Brain on the reference grid. {note}"
        )
        pictures = page_pictures(shown, folder) + self._outlines(source, affine, folder)
        return {
            "out_file": str(folder / "figure.png"),
            "picture_files": [str(picture) for picture in pictures],
        }

    def _outlines(self, source: np.ndarray, affine: np.ndarray, folder: Path) -> list[Path]:
        """The scan on the reference grid with the template's outlines, and with its mask."""
        from bids_harmony.imaging.mask import read_brain
        from bids_harmony.imaging.reference import (
            reference_grid,
            reference_mask,
            reference_tissues,
        )
        from bids_harmony.imaging.volume import read_volume
        from bids_harmony.reports.change import draw_outlines
        from bids_harmony.reports.paper import ON_GREY, ORANGE

        grid = reference_grid(float(np.abs(affine[0, 0])))
        template = {
            ON_GREY: reference_mask(grid),
            ORANGE: reference_tissues(grid)[1] > 0.5,
        }
        drawn = [folder / "registration.png", folder / "mask.png"]
        draw_outlines(source, template, affine, drawn[0])
        volume = read_volume(self.inputs.in_file)
        brain = read_brain(self.inputs.mask_file).data
        draw_outlines(volume.data, {ON_GREY: brain}, volume.affine, drawn[1])
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
        from bids_harmony.reports.diffusion import series_figure

        note = _note(
            self.inputs.quality_file,
            {
                "b0_rmse_brain": "change of b=0 (RMSE)",
                "b_scale": "gradients relative to the target's",
                "noise_share": "noise",
                "target_noise_share": "target's noise",
            },
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


def _note(quality_file: str, shown: Mapping[str, str]) -> str:
    """Quality numbers in words, those that are there."""
    quality = json.loads(Path(quality_file).read_text())["quality"]
    return ", ".join(
        f"{words} {quality[key]:.4f}"
        for key, words in shown.items()
        if quality.get(key) is not None
    )
