"""Fits of a diffusion series, and their maps in the derivative, as files.

The series before and after harmonization are fitted by the same adapter with the same inputs; both
files are in one unit, because harmonization keeps the scale of the series it was given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiPath,
    OutputMultiPath,
    TraitedSpec,
    isdefined,
    traits,
)

from bids_harmony.interfaces.base import Adapter

if TYPE_CHECKING:
    from bids_harmony.diffusion.gradients import Gradients
    from bids_harmony.diffusion.series import Series

__all__ = ["FitForce", "FitNoddi", "FitTensor", "WriteMaps"]

UNIT_WITHIN = 0.002
"""Lengths of directions closer to 1 are what few digits leave; they change MD by below 0.4 %."""


class _FitInput(BaseInterfaceInputSpec):
    # Not File(exists=True): the readers tell what is wrong, with an exit code.
    in_file = File(mandatory=True, desc="series, before or after harmonization")
    bval_file = File(mandatory=True)
    bvec_file = File(mandatory=True)
    mask_file = File(mandatory=True, desc="brain mask on the grid of the series")
    b0_threshold = traits.Float(50.0, usedefault=True, desc="s/mm2")


class _FitOutput(TraitedSpec):
    map_files = OutputMultiPath(
        File(exists=True),
        desc="all maps, named <parameter>.nii.gz; undefined where there are none",
    )
    record_file = File(exists=True, desc="model and volumes used, for the sidecars; JSON")


class FitTensor(Adapter):
    """Fit a diffusion tensor; maps lie on the series' own grid."""

    class input_spec(_FitInput):
        method = traits.Enum("WLS", "RESTORE", usedefault=True)

    class output_spec(_FitOutput):
        fa = File(exists=True)
        md = File(exists=True, desc="mm2/s, as ad and rd")
        ad = File(exists=True)
        rd = File(exists=True)
        v1 = File(exists=True, desc="three volumes, in the frame of the bvec file")

    def _adapt(self, folder: Path) -> dict:
        import dipy

        from bids_harmony.diffusion.tensor import HIGHEST_B, fit_tensor

        series, gradients, mask = _series_of(self.inputs)
        method = self.inputs.method
        fit = fit_tensor(series.signal(...), mask, gradients, method)
        record = {
            "FitMethod": method,
            "Software": f"DIPY {dipy.__version__}",
            "HighestBValue": HIGHEST_B,
            **_about_fit(series, gradients, fit.fitted, fit.volumes),
            **_unmeasured(
                VoxelsFittedWithoutSomeVolumes=fit.incomplete,
                VoxelsWithTooFewVolumes=fit.unfitted,
            ),
        }
        return _saved("tensor", series, fit, record, folder)


class FitNoddi(Adapter):
    """Fit NODDI, if the scheme has the shells for it and AMICO is installed.

    Where it is not possible there are no maps, and `statement` says why.
    """

    class input_spec(_FitInput):
        pass

    class output_spec(_FitOutput):
        ndi = File(exists=True)
        odi = File(exists=True)
        fwf = File(exists=True)
        statement = traits.Str(desc="what was fitted, or why nothing was; for reports")

    def _adapt(self, folder: Path) -> dict:
        from importlib.metadata import version

        from bids_harmony.diffusion.noddi import (
            NODDI_PARAMETERS,
            fit_noddi,
            noddi_installed,
            noddi_possible,
        )

        series, gradients, mask = _series_of(self.inputs)
        possible, statement = noddi_possible(gradients)
        if not possible:
            return _not_fitted("noddi", statement, folder)
        if not noddi_installed():
            missing = (
                "AMICO is not installed. Run `pip install bids_harmony[noddi]`; its licence "
                "allows research only."
            )
            return _not_fitted("noddi", f"NODDI was not fitted: {missing}", folder)
        fit = fit_noddi(series.signal(...), mask, gradients, folder)
        record = {
            "FitMethod": "AMICO",
            "Software": f"dmri-amico {version('dmri-amico')}",
            "Parameters": NODDI_PARAMETERS,
            "Statement": statement,
            **_about_fit(series, gradients, fit.fitted, np.arange(series.shape[3])),
            **_unmeasured(VoxelsCompletedInSomeVolumes=fit.incomplete),
        }
        return _saved("noddi", series, fit, record, folder) | {"statement": statement}


class FitForce(Adapter):
    """Fit FORCE, if the scheme has the shells for it and DIPY is new enough.

    Where it is not possible there are no maps, and `statement` says why.
    """

    class input_spec(_FitInput):
        simulations = traits.Int(desc="fewer are faster and coarser")
        seed = traits.Int(0, usedefault=True)

    class output_spec(_FitOutput):
        nd = File(exists=True)
        dispersion = File(exists=True)
        csffraction = File(exists=True)
        ndiqr = File(exists=True)
        dispersioniqr = File(exists=True)
        csffractioniqr = File(exists=True)
        statement = traits.Str(desc="what was fitted, or why nothing was; for reports")

    def _adapt(self, folder: Path) -> dict:
        import dipy

        from bids_harmony.diffusion.force import (
            FORCE_PARAMETERS,
            SIMULATIONS,
            fit_force,
            force_installed,
        )
        from bids_harmony.diffusion.noddi import noddi_possible

        series, gradients, mask = _series_of(self.inputs)
        possible, statement = noddi_possible(gradients, "FORCE")
        if not possible:
            return _not_fitted("force", statement, folder)
        if not force_installed():
            missing = f"DIPY {dipy.__version__} has none. Run `pip install 'dipy>=1.12'`."
            return _not_fitted("force", f"FORCE was not fitted: {missing}", folder)
        drawn = {"simulations": SIMULATIONS, "seed": self.inputs.seed}
        if isdefined(self.inputs.simulations):
            drawn["simulations"] = self.inputs.simulations
        fit = fit_force(series.signal(...), mask, gradients, folder, **drawn)
        record = {
            "FitMethod": "FORCE",
            "Software": f"DIPY {dipy.__version__}",
            "Parameters": FORCE_PARAMETERS | {n.capitalize(): v for n, v in drawn.items()},
            "Statement": statement,
            **_about_fit(series, gradients, fit.fitted, np.arange(series.shape[3])),
            **_unmeasured(VoxelsCompletedInSomeVolumes=fit.incomplete),
        }
        return _saved("force", series, fit, record, folder) | {"statement": statement}


class WriteMaps(Adapter):
    """Write the maps of one fit into the derivative, each with its sidecar."""

    # The output folder may have been emptied since the node last ran.
    _always_run = True

    class input_spec(BaseInterfaceInputSpec):
        # The hash stands for both.
        scan = traits.Any(mandatory=True, nohash=True, desc="the source series")
        settings = traits.Any(mandatory=True, nohash=True)
        input_hash = traits.Str(mandatory=True, desc="sha256 of all that the output depends on")
        map_files = InputMultiPath(File(exists=True), desc="may be none")
        record_file = File(exists=True, mandatory=True)
        target_site = traits.Str(desc="of a harmonized series; not given for the source")
        # A series that is refused leaves no maps behind.
        after = traits.Any(nohash=True, desc="what must be made before")

    class output_spec(TraitedSpec):
        out_files = OutputMultiPath(File(exists=True))

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.bids.derivative import write_json
        from bids_harmony.bids.map_sidecar import map_sidecar
        from bids_harmony.bids.naming import map_path, sidecar_path
        from bids_harmony.interfaces.derivatives import copy_output, measured
        from bids_harmony.io.names import file_stem

        scan, settings = self.inputs.scan, self.inputs.settings
        target = self.inputs.target_site if isdefined(self.inputs.target_site) else None
        record = measured(self.inputs.record_file, scan)
        written = []
        for file in self.inputs.map_files if isdefined(self.inputs.map_files) else []:
            parameter = file_stem(file)
            path = map_path(settings.output_dir, scan, parameter, target=target)
            copy_output(file, path)
            sidecar = map_sidecar(
                scan,
                settings.bids_dir,
                settings.output_dir,
                parameter,
                record,
                target=target,
                resume_hash=self.inputs.input_hash,
            )
            # Last: it tells later runs that the map is finished.
            write_json(sidecar_path(path), sidecar)
            written.append(str(path))
        return {"out_files": written}


def _series_of(inputs: Any) -> tuple[Series, Gradients, np.ndarray]:
    """Series, gradients and mask of an adapter's inputs, in the voxel order of the files."""
    from bids_harmony.diffusion.gradient_files import read_gradients
    from bids_harmony.diffusion.series import open_series
    from bids_harmony.diffusion.voxels import read_mask

    series = open_series(inputs.in_file)
    gradients = read_gradients(
        inputs.bval_file, inputs.bvec_file, series.shape[3], b0_threshold=inputs.b0_threshold
    )
    return series, gradients, read_mask(inputs.mask_file, series)


def _about_fit(
    series: Series, gradients: Gradients, fitted: np.ndarray, volumes: np.ndarray
) -> dict[str, Any]:
    used = gradients.select(volumes)
    b0 = series.signal(np.s_[..., np.flatnonzero(gradients.b0)])[fitted].mean(axis=-1)
    return {
        "B0Threshold": gradients.b0_threshold,
        "VolumesUsed": [int(v) for v in volumes],
        "ShellsUsed": {f"{s.nominal:g}": len(s.volumes) for s in used.shells},
        "FittedVoxels": int(np.count_nonzero(fitted)),
        # Fits of two series can be compared only in one unit; orders of magnitude would tell.
        "MedianB0Signal": float(f"{np.median(b0):.6g}"),
        **_rescaled(used),
    }


def _rescaled(gradients: Gradients) -> dict[str, Any]:
    """What other programs make of directions that were not of unit length."""
    lengths = [round(length, 4) for length in gradients.lengths]
    if max(abs(length - 1) for length in gradients.lengths) < UNIT_WITHIN:
        return {}
    return {
        "DirectionLengths": lengths,
        "DirectionsRescaled": "Made unit, b-values as they are (as FSL does). MRtrix3 and, up to "
        "1 % off, DIPY multiply b-values by the square of the length: their diffusivities are "
        f"these divided by {_range([length**2 for length in gradients.lengths])}.",
    }


def _range(ends: list[float]) -> str:
    low, high = (f"{end:.3f}" for end in ends)
    return low if low == high else f"{low} to {high}"


def _unmeasured(**counts: int) -> dict[str, int]:
    """Numbers of voxels whose signal is missing in some volumes; nothing where there are none."""
    return {name: count for name, count in counts.items() if count}


def _saved(
    model: str, series: Series, fit: Any, record: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """Write the maps of a fit and its record; outputs of the adapter."""
    from bids_harmony.diffusion.maps import map_image, maps_of
    from bids_harmony.imaging.volume import write_image

    files = {name: str(folder / f"{name}.nii.gz") for name in maps_of(model)}
    for name, file in files.items():
        write_image(map_image(series, getattr(fit, name)), file)
    record_file = _write_record(model, record, folder)
    return {**files, "map_files": list(files.values()), "record_file": record_file}


def _not_fitted(model: str, statement: str, folder: Path) -> dict[str, Any]:
    """Outputs of an adapter that fitted nothing, and says why."""
    record_file = _write_record(model, {"Statement": statement}, folder)
    return {"record_file": record_file, "statement": statement}


def _write_record(model: str, record: Mapping[str, Any], folder: Path) -> str:
    path = folder / "record.json"
    path.write_text(json.dumps({"Model": model, **record}, indent=2) + "\n")
    return str(path)
