"""Diffusion series as files: mean b=0, brain, preparation for profiles, harmonization, output."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiPath,
    TraitedSpec,
    isdefined,
    traits,
)

from bids_harmony.interfaces.anatomy import MaskOutput, RegisterToReference, save_brain
from bids_harmony.interfaces.base import Adapter
from bids_harmony.interfaces.derivatives import (
    WriteHarmonized,
    copy_output,
    figure_path,
    measured,
)
from bids_harmony.interfaces.model_input import ModelInput, harmonizer

if TYPE_CHECKING:
    from bids_harmony.diffusion.gradients import Gradients
    from bids_harmony.diffusion.series import Series
    from bids_harmony.sites.series_profile import SeriesProfile

logger = logging.getLogger(__name__)

__all__ = [
    "BrainFromB0",
    "HarmonizeSeries",
    "MeanB0",
    "PlaceSeries",
    "PrepareSeries",
    "WriteSeries",
]


class _SeriesInput(BaseInterfaceInputSpec):
    # Not File(exists=True): the readers tell what is wrong, with an exit code.
    in_file = File(mandatory=True, desc="series as the dataset holds it")
    bval_file = File(mandatory=True)
    bvec_file = File(mandatory=True)
    b0_threshold = traits.Float(50.0, usedefault=True, desc="s/mm2")


class _PlacedInput(_SeriesInput):
    mask_file = File(exists=True, mandatory=True, desc="on the grid of the series")
    mask_kind = traits.Str("given", usedefault=True)
    xfm_file = File(exists=True, mandatory=True, desc="series to reference, ITK text")
    mode = traits.Str(mandatory=True, desc="one of diffusion.features.DWI_MODES")


class MeanB0(Adapter):
    """Average the volumes without diffusion weighting, after every check of series and tables."""

    input_spec = _SeriesInput

    class output_spec(TraitedSpec):
        out_file = File(exists=True, desc="float32, on the grid of the series")

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.diffusion.series import mean_b0
        from bids_harmony.imaging.volume import write_image

        series, gradients = _read(self.inputs)
        write_image(mean_b0(series, gradients), folder / "mean_b0.nii.gz")
        return {"out_file": str(folder / "mean_b0.nii.gz")}


class BrainFromB0(Adapter):
    """Mask the brain of a series in its mean b=0 image."""

    class input_spec(BaseInterfaceInputSpec):
        in_file = File(exists=True, mandatory=True, desc="mean b=0")

    output_spec = MaskOutput

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.diffusion.brain import brain_of_b0
        from bids_harmony.imaging.volume import read_volume

        volume = read_volume(self.inputs.in_file)
        return save_brain(brain_of_b0(volume), volume, folder)


class PlaceSeries(RegisterToReference):
    """Register the mean b=0 to the template; a slab is put in its middle, and nothing more."""

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.diffusion.brain import SLAB_MM, is_slab
        from bids_harmony.diffusion.features import DWI_VOXEL_MM
        from bids_harmony.imaging.reference import reference_grid
        from bids_harmony.imaging.registration import write_transform
        from bids_harmony.imaging.volume import read_volume

        volume = read_volume(self.inputs.in_file)
        if not is_slab(volume):
            return super()._adapt(folder)
        logger.warning(
            "%s: thinner than %g mm, cannot be registered; shells are harmonized, the mean b=0 is "
            "left as it is",
            self.inputs.in_file,
            SLAB_MM,
        )
        grid = reference_grid(DWI_VOXEL_MM)
        middles = [
            (affine @ [*((np.array(shape) - 1) / 2), 1])[:3]
            for affine, shape in ((volume.affine, volume.data.shape), (grid.affine, grid.shape))
        ]
        world = np.eye(4)
        world[:3, 3] = middles[1] - middles[0]
        write_transform(world, folder / "to_reference.txt")
        return {"xfm_file": str(folder / "to_reference.txt"), "similarity": 0.0}


class PrepareSeries(Adapter):
    """Take from a series what shows its scanner, for the profile of its site."""

    input_spec = _PlacedInput

    class output_spec(TraitedSpec):
        prepared_file = File(exists=True, desc=".npz, diffusion.features.PreparedSeries")

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.diffusion.features import DWI_VOXEL_MM, prepare_series
        from bids_harmony.imaging.mask import read_brain
        from bids_harmony.imaging.reference import reference_grid
        from bids_harmony.imaging.registration import read_transform

        series, gradients = _read(self.inputs)
        prepared = prepare_series(
            series,
            gradients,
            read_brain(self.inputs.mask_file, self.inputs.mask_kind),
            read_transform(self.inputs.xfm_file),
            reference_grid(DWI_VOXEL_MM),
            self.inputs.mode,
        )
        prepared.save(folder / "prepared.npz")
        return {"prepared_file": str(folder / "prepared.npz")}


class HarmonizeSeries(Adapter):
    """Harmonize one series to a target site, on its own grid; its directions stay as they are."""

    # Of the tables the plan has told.
    _tells_of = ("in_file",)

    class input_spec(_PlacedInput, ModelInput):
        # By their identity, which these files are part of.
        source_profile = File(mandatory=True, nohash=True)
        target_profile = File(mandatory=True, nohash=True)
        keep_header = traits.Bool(False, usedefault=True, desc="with extensions and texts")
        write_change = traits.Bool(False, usedefault=True, desc="also the change as files")

    class output_spec(TraitedSpec):
        out_file = File(exists=True, desc="harmonized series, in the form of the input's file")
        comparison_file = File(
            exists=True, desc="arrays for the figure, on the grid of the series"
        )
        quality_file = File(exists=True, desc="quality numbers and provenance, JSON")
        change_files = traits.Dict(desc="of `make_series_change`; empty if not asked for")

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.diffusion.features import DWI_VOXEL_MM
        from bids_harmony.diffusion.series import write_series
        from bids_harmony.imaging.intensity import robust_scale
        from bids_harmony.imaging.mask import read_brain
        from bids_harmony.imaging.registration import read_transform
        from bids_harmony.imaging.volume import native_order, read_volume
        from bids_harmony.interfaces.series_change_files import make_series_change
        from bids_harmony.methods.series import harmonize_series
        from bids_harmony.quality.series import series_row
        from bids_harmony.sites.series_profile import SeriesProfile

        inputs = self.inputs
        model = harmonizer(inputs, DWI_VOXEL_MM, own_profiles=False)
        series, gradients = _read(inputs, keep_header=inputs.keep_header)
        brain = read_brain(inputs.mask_file, inputs.mask_kind)
        target = SeriesProfile.read(Path(inputs.target_profile))
        result = harmonize_series(
            series,
            gradients,
            brain,
            read_transform(inputs.xfm_file),
            model,
            source=SeriesProfile.read(Path(inputs.source_profile)),
            target=target,
            mode=inputs.mode,
        )
        inside = native_order(read_volume(inputs.mask_file), brain.data)
        raw = without_head(series, result.raw, inside) if inputs.skull_strip else result.raw
        write_series(series, raw, folder / "harmonized.nii.gz")

        scale = robust_scale(result.before, inside)
        record = {
            "quality": result.quality | series_row(result.before, result.after, inside, scale),
            "n_clipped": int(result.n_clipped),
            "out_of_distribution": None,
            "site_evidence": _about_mean(target) if target.groups else None,
            "scale": float(scale),
            "shells": [shell.nominal for shell in gradients.shells],
            "signal": _about_signal(series)
            | ({"ShellsWithoutEqual": result.other_shells} if result.other_shells else {}),
        }
        (folder / "quality.json").write_text(json.dumps(record, indent=2) + "\n")
        _save_comparison(folder / "comparison.npz", series, raw, gradients, inside, scale)
        return {
            "out_file": str(folder / "harmonized.nii.gz"),
            "comparison_file": str(folder / "comparison.npz"),
            "quality_file": str(folder / "quality.json"),
            "change_files": make_series_change(folder, series, result, gradients, inside)
            if inputs.write_change
            else {},
        }


class WriteSeries(WriteHarmonized):
    """Write a harmonized series, copies of its tables, its figure and its sidecar."""

    _always_run = True

    class input_spec(WriteHarmonized.input_spec):
        # Written by others; this node comes after them, for its sidecar says that all is there.
        map_files = InputMultiPath(File(exists=True))
        fits_file = File(exists=True, desc="what `CompareFits` measured")
        fit_figures = InputMultiPath(File(exists=True))

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.bids.naming import harmonized_path, table_paths
        from bids_harmony.interfaces.change_files import remove_change
        from bids_harmony.interfaces.series_change_files import write_series_change

        scan, settings, target = self.inputs.scan, self.inputs.settings, self.inputs.target_site
        record = measured(self.inputs.quality_file, scan)
        fits: dict[str, Any] = {}
        if isdefined(self.inputs.fits_file):
            fits = measured(self.inputs.fits_file, scan)["quality"]
        stripped = settings.skull_strip or self.inputs.mask_kind == "skull-stripped"
        figure = figure_path(settings.output_dir, scan, target)
        copy_output(self.inputs.figure_file, figure)
        figures = self.inputs.fit_figures if isdefined(self.inputs.fit_figures) else []
        for fitted in figures:
            own = f"{figure.stem}_{Path(fitted).stem}{figure.suffix}"
            copy_output(fitted, figure.with_name(own))
        image = harmonized_path(settings.output_dir, scan, target)
        self._write_summary(image)
        if self.inputs.change_files:
            write_series_change(
                self.inputs.change_files, image, scan, settings,
                resume_hash=self.inputs.input_hash,
            )  # fmt: skip
        else:
            remove_change(image)
        copy_output(self.inputs.in_file, image)
        for source, copy in zip(scan.gradients, table_paths(image), strict=True):
            copy_output(str(source), copy)
        # The sidecar comes last: it tells later runs that the scan is finished.
        self._describe(
            image,
            record,
            stripped=stripped,
            extra={
                "DiffusionMode": settings.dwi_mode,
                "B0Threshold": settings.b0_threshold,
                "Shells": record["shells"],
                **({"DiffusionQuality": fits} if fits else {}),
            },
        )
        return {"out_file": str(image)}


def _read(inputs: Any, *, keep_header: bool = False) -> tuple[Series, Gradients]:
    from bids_harmony.diffusion.gradient_files import read_gradients
    from bids_harmony.diffusion.series import open_series

    series = open_series(inputs.in_file, keep_header=keep_header)
    gradients = read_gradients(
        inputs.bval_file, inputs.bvec_file, series.shape[3], b0_threshold=inputs.b0_threshold
    )
    return series, gradients


def _about_mean(target: SeriesProfile) -> dict[str, Any]:
    """What the sidecar says of a target that is the mean of sites."""
    left = {"ShellsLeftOut": target.left_out} if target.left_out else {}
    return {"TargetIsMeanOf": target.members, "TargetShells": target.shells, **left}


def _about_signal(series: Series) -> dict[str, Any]:
    """Where nothing was measured, for the sidecar; nothing of an ordinary series."""
    parts = (series.nothing(np.s_[..., v]) for v in range(series.shape[3]))
    count = sum(int(np.count_nonzero(part)) for part in parts if part is not None)
    if not count:
        return {}
    padding = series.padding
    value = "NaN" if padding is None else padding * series.slope + series.intercept
    return {"UnmeasuredVoxels": {"Value": value, "Voxels": count}}


def without_head(series: Series, raw: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Stored voxels whose signal is 0, or the nearest that can be stored, outside the brain."""
    nothing = (0.0 - series.intercept) / series.slope
    if raw.dtype.kind in "iu":
        limits = np.iinfo(raw.dtype)
        nothing = float(np.clip(np.rint(nothing), limits.min, limits.max))
    return np.where(inside[..., None], raw, raw.dtype.type(nothing))


def _save_comparison(
    path: Path,
    series: Series,
    raw: np.ndarray,
    gradients: Gradients,
    inside: np.ndarray,
    scale: float,
) -> None:
    """Mean b=0 and mean S/S0 of the lowest shell, before and after, in the series' voxel order."""
    from bids_harmony.diffusion.series import mean_b0
    from bids_harmony.quality.series import mean_attenuation

    shell = gradients.shells[0]
    arrays = {}
    for name, one in (("source", series), ("harmonized", replace(series, raw=raw))):
        mean = np.asarray(mean_b0(one, gradients).dataobj, np.float32)
        arrays[f"b0_{name}"] = mean / np.float32(scale)
        arrays[f"shell_{name}"] = mean_attenuation(one, shell, mean)
    np.savez(path, **arrays, mask=inside, affine=series.affine, b=shell.nominal)  # type: ignore[arg-type]
