"""A scan's harmonization, and the preparation of scans for training, as files."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, File, TraitedSpec, traits

from bids_harmony.interfaces.base import Adapter
from bids_harmony.interfaces.model_input import ModelInput, harmonizer

__all__ = ["Harmonize", "PrepareForTraining"]

logger = logging.getLogger(__name__)


class _PreparedInput(BaseInterfaceInputSpec):
    in_file = File(mandatory=True)
    mask_file = File(exists=True, mandatory=True)
    mask_kind = traits.Str("given", usedefault=True)
    xfm_file = File(exists=True, mandatory=True, desc="scan to reference, ITK text")
    n4 = traits.Bool(False, usedefault=True)


class Harmonize(Adapter):
    """Harmonize one scan to a target site, on its own grid."""

    _tells_of = ("in_file",)

    class input_spec(_PreparedInput, ModelInput):
        voxel_mm = traits.Float(1.0, usedefault=True, nohash=True, desc="of the cache's grid")
        modality = traits.Str(mandatory=True)
        source_site = traits.Str(mandatory=True)
        target_site = traits.Str(mandatory=True)
        on_reference = traits.Bool(False, usedefault=True, desc="also on the reference grid")
        keep_header = traits.Bool(False, usedefault=True, desc="with extensions and texts")
        write_change = traits.Bool(False, usedefault=True, desc="also the change as files")
        on_ood = traits.Enum("auto", "warn", "leave", "skip", "error", usedefault=True)

    class output_spec(TraitedSpec):
        out_file = File(exists=True, desc="harmonized scan, in the form of the input's file")
        reference_file = File(exists=True, desc="harmonized scan on the reference grid")
        comparison_file = File(exists=True, desc="arrays for the figure, on the reference grid")
        quality_file = File(exists=True, desc="quality numbers and provenance, JSON")
        change_files = traits.Dict(desc="of `change_files.make_change`; empty if not asked for")

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.api.apply import apply_method
        from bids_harmony.imaging.intensity import to_half
        from bids_harmony.imaging.native import return_to_native
        from bids_harmony.imaging.volume import read_volume, to_native, write_array, write_image
        from bids_harmony.interfaces.change_files import make_change
        from bids_harmony.io.header import CODE_MNI
        from bids_harmony.quality.changes import quality_row
        from bids_harmony.sites.names import same_site

        inputs = self.inputs
        model = harmonizer(inputs, inputs.voxel_mm)
        volume = read_volume(inputs.in_file, keep_header=inputs.keep_header)
        source, mask, prepared = _prepared(inputs, model.voxel_mm)
        sites = {"source_site": inputs.source_site, "target_site": inputs.target_site}
        outcome = apply_method(
            model,
            prepared,
            modality=inputs.modality,
            **sites,
            on_ood=inputs.on_ood,
            where=inputs.in_file,
        )
        applied = outcome.applied
        evidence = model.evidence(inputs.modality, **sites)
        # The scan keeps its own scale: only the change is added to its voxels. A site's gain means
        # nothing, and another one would not fit into every scan's integers.
        native = return_to_native(
            source,
            mask,
            prepared,
            applied.data,
            skull_strip=inputs.skull_strip,
        )
        image, n_clipped = to_native(volume, native.data)
        out_file = folder / "harmonized.nii.gz"
        write_image(image, out_file, like=volume)

        quantiles = model.target_quantiles(inputs.modality, inputs.target_site)
        quality = quality_row(
            volume.data,
            native.data,
            mask.data,
            scale=prepared.scale,
            target_quantiles=quantiles,
            reference_change=applied.data - prepared.data,
            round_trip_error=applied.round_trip_error,
            contrast=outcome.contrast,
            same_site=same_site(inputs.source_site, inputs.target_site),
        )
        record = {
            "quality": quality,
            "n_clipped": int(n_clipped),
            "out_of_distribution": outcome.novelty,
            "scale": float(prepared.scale),
            "network_seconds": round(outcome.seconds, 3),
            "signal": _about_signal(volume, mask.data),
            "left_as_it_is": outcome.left or None,
            "site_evidence": evidence.for_sidecar() if evidence else None,
        }
        (folder / "quality.json").write_text(json.dumps(record, indent=2) + "\n")
        # Half precision is more than a figure shows.
        np.savez(
            folder / "comparison.npz",
            source=to_half(prepared.data),
            harmonized=to_half(applied.data),
            target=to_half(model.target_mean(inputs.modality, inputs.target_site)),
            mask=prepared.mask,
            affine=prepared.grid.affine,
            quantiles=quantiles,
        )
        outputs = {
            "out_file": str(out_file),
            "comparison_file": str(folder / "comparison.npz"),
            "quality_file": str(folder / "quality.json"),
            "change_files": {},
        }
        if inputs.write_change:
            by = model.tissue_map(prepared, inputs.modality, **sites)
            if by is None:
                logger.warning(
                    "%s: the method %s has no fields and curves, only its change is written",
                    inputs.in_file, inputs.method,
                )  # fmt: skip
            outputs["change_files"] = make_change(
                folder, volume, image, prepared, outcome, by, inputs.modality
            )
        if inputs.on_reference:
            write_array(
                applied.data * np.float32(prepared.scale),
                prepared.grid.affine,
                folder / "on_reference.nii.gz",
                code=CODE_MNI,
            )
            outputs["reference_file"] = str(folder / "on_reference.nii.gz")
        return outputs


class PrepareForTraining(Adapter):
    """Put a scan on the reference grid, scaled, brain only, as training reads it."""

    class input_spec(_PreparedInput):
        voxel_mm = traits.Float(1.0, usedefault=True)

    class output_spec(TraitedSpec):
        prepared_file = File(exists=True, desc=".npz with data (float16), mask and scale")

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.imaging.intensity import to_half

        _, _, prepared = _prepared(self.inputs, self.inputs.voxel_mm)
        np.savez(
            folder / "prepared.npz",
            data=to_half(prepared.data),
            mask=prepared.mask,
            scale=np.float64(prepared.scale),
        )
        return {"prepared_file": str(folder / "prepared.npz")}


def _about_signal(volume: Any, inside: np.ndarray) -> dict[str, Any]:
    """What the scan's values mean, for its sidecar; nothing of an ordinary one."""
    about: dict[str, Any] = {}
    if volume.nothing is not None:
        about["UnmeasuredVoxels"] = volume.nothing.record()
        value, count = about["UnmeasuredVoxels"].values()
        words = f"{count} voxels are {value}: read as nothing, and left as they are"
        logger.info("%s: %s", volume.path, words)
    if below := float((volume.data[inside] < 0).mean()):
        about["NegativeShareOfBrain"] = float(f"{below:.3g}")
    return about


def _prepared(inputs: Any, voxel_mm: float) -> tuple[Any, Any, Any]:
    """Volume (N4-corrected if asked for), mask and prepared scan of an adapter's inputs."""
    from bids_harmony.api.apply import prepare_scan
    from bids_harmony.imaging.mask import read_brain
    from bids_harmony.imaging.registration import read_transform
    from bids_harmony.imaging.volume import read_volume

    volume = read_volume(inputs.in_file)
    mask = read_brain(inputs.mask_file, inputs.mask_kind)
    world = read_transform(inputs.xfm_file)
    volume, prepared = prepare_scan(volume, mask, world, voxel_mm, n4=inputs.n4)
    return volume, mask, prepared
