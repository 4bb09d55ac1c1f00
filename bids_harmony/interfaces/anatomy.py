"""Brain masks and registrations of structural scans, as files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, File, TraitedSpec, isdefined, traits

from bids_harmony.interfaces.base import Adapter

if TYPE_CHECKING:
    from bids_harmony.imaging.mask import BrainMask
    from bids_harmony.imaging.volume import Volume

__all__ = ["BrainFromAnatomy", "BrainFromImage", "BrainFromTemplate", "ReuseBrain"]
__all__ += ["RegisterToAnatomy", "RegisterToReference", "MaskOutput", "reused_brain"]
__all__ += ["save_brain"]


# Not File(exists=True): a broken link or an unreadable file is told by the reader, with its exit
# code.
class _ScanInput(BaseInterfaceInputSpec):
    in_file = File(mandatory=True, desc="scan as the dataset holds it")


class MaskOutput(TraitedSpec):
    """What every adapter gives that masks a brain."""

    mask_file = File(exists=True, desc="brain mask on the scan's own grid")
    kind = traits.Str(desc="how the mask was made")


class _TransformInput(_ScanInput):
    modality = traits.Str(mandatory=True)
    seed = traits.Int(0, usedefault=True)
    sloppy = traits.Bool(False, usedefault=True)


class _TransformOutput(TraitedSpec):
    xfm_file = File(exists=True, desc="scan to reference, ITK text")
    similarity = traits.Float(desc="Dice overlap or mutual information of the registration")


class BrainFromImage(Adapter):
    """Mask the brain of a scan from the scan itself."""

    class input_spec(_ScanInput):
        device = traits.Str("cpu", usedefault=True, nohash=True)

    output_spec = MaskOutput

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.imaging.mask import brain_mask
        from bids_harmony.imaging.volume import read_volume

        volume = read_volume(self.inputs.in_file)
        return save_brain(brain_mask(volume, device=self.inputs.device), volume, folder)


class ReuseBrain(Adapter):
    """Take a mask that was made before, through world coordinates if its grid is another."""

    class input_spec(_ScanInput):
        given_mask = File(mandatory=True, desc="mask in the world coordinates of the scan")
        to_anatomy = traits.List(File, desc="scan to the space of the mask, one after the other")

    output_spec = MaskOutput

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.imaging.volume import read_volume

        volume = read_volume(self.inputs.in_file)
        steps = self.inputs.to_anatomy if isdefined(self.inputs.to_anatomy) else ()
        mask = reused_brain(volume, self.inputs.given_mask, steps)
        return save_brain(mask, volume, folder)


class BrainFromAnatomy(Adapter):
    """Transfer the mask of a person's T1w to another scan of that person."""

    class input_spec(_ScanInput):
        t1w_mask = File(exists=True, mandatory=True)
        to_t1w = File(exists=True, mandatory=True, desc="scan to T1w, ITK text")
        t1w_xfm = File(exists=True, mandatory=True, desc="T1w to reference, ITK text")

    output_spec = MaskOutput

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.imaging.mask import (
            BrainMask,
            brain_mask,
            is_skull_stripped,
            transfer_mask,
        )
        from bids_harmony.imaging.registration import read_transform
        from bids_harmony.imaging.volume import read_volume

        volume = read_volume(self.inputs.in_file)
        if is_skull_stripped(volume):
            mask = brain_mask(volume)
        else:
            t1w = read_volume(self.inputs.t1w_mask)
            mask = transfer_mask(
                BrainMask(t1w.data > 0.5, "given"),
                t1w.affine,
                volume,
                read_transform(self.inputs.to_t1w),
                to_reference=read_transform(self.inputs.t1w_xfm),
            )
        return save_brain(mask, volume, folder)


class BrainFromTemplate(Adapter):
    """Put the template's brain mask on a scan that has no T1w beside it."""

    class input_spec(_ScanInput):
        xfm_file = File(exists=True, mandatory=True, desc="scan to reference, ITK text")

    output_spec = MaskOutput

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.imaging.mask import brain_mask, is_skull_stripped, template_mask
        from bids_harmony.imaging.registration import read_transform
        from bids_harmony.imaging.volume import read_volume

        volume = read_volume(self.inputs.in_file)
        if is_skull_stripped(volume):
            mask = brain_mask(volume)
        else:
            mask = template_mask(volume, read_transform(self.inputs.xfm_file))
        return save_brain(mask, volume, folder)


class RegisterToReference(Adapter):
    """Register a scan to the reference template, with its brain mask if it has one."""

    class input_spec(_TransformInput):
        mask_file = File(exists=True, desc="brain mask; a skull-stripped scan is its own")

    output_spec = _TransformOutput

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.imaging.mask import brain_mask, is_skull_stripped, read_brain
        from bids_harmony.imaging.registration import register_to_reference, write_transform
        from bids_harmony.imaging.volume import read_volume

        volume = read_volume(self.inputs.in_file)
        mask = None
        if isdefined(self.inputs.mask_file):
            mask = read_brain(self.inputs.mask_file)
        elif is_skull_stripped(volume):
            mask = brain_mask(volume)
        found = register_to_reference(
            volume,
            mask,
            modality=self.inputs.modality,
            seed=self.inputs.seed,
            sloppy=self.inputs.sloppy,
        )
        write_transform(found.world, folder / "to_reference.txt")
        return {
            "xfm_file": str(folder / "to_reference.txt"),
            "similarity": float(found.similarity),
        }


class RegisterToAnatomy(Adapter):
    """Register a scan rigidly to a T1w of the same person, and through it to the reference."""

    class input_spec(_TransformInput):
        t1w_file = File(mandatory=True)
        t1w_mask = File(exists=True, mandatory=True)
        t1w_xfm = File(exists=True, mandatory=True, desc="T1w to reference, ITK text")

    class output_spec(_TransformOutput):
        to_t1w = File(exists=True, desc="scan to T1w, ITK text")

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.imaging.mask import read_brain
        from bids_harmony.imaging.registration import (
            read_transform,
            register_rigid,
            write_transform,
        )
        from bids_harmony.imaging.volume import read_volume

        found = register_rigid(
            read_volume(self.inputs.in_file),
            None,
            read_volume(self.inputs.t1w_file),
            read_brain(self.inputs.t1w_mask),
            seed=self.inputs.seed,
            sloppy=self.inputs.sloppy,
        )
        write_transform(found.world, folder / "to_t1w.txt")
        write_transform(
            read_transform(self.inputs.t1w_xfm) @ found.world, folder / "to_reference.txt"
        )
        return {
            "to_t1w": str(folder / "to_t1w.txt"),
            "xfm_file": str(folder / "to_reference.txt"),
            "similarity": float(found.similarity),
        }


def reused_brain(volume: Volume, given_mask: str, steps: Sequence[str]) -> BrainMask:
    """A mask that was made before, on a scan's own grid.

    Parameters
    ----------
    volume : Volume
    given_mask : str
        File of the mask.
    steps : sequence of str
        Files of the linear transforms from the scan to the space of the mask.
    """
    from bids_harmony.imaging.mask import BrainMask, transfer_mask
    from bids_harmony.imaging.volume import read_volume
    from bids_harmony.imaging.warps import read_chain

    given = read_volume(given_mask)
    mask = BrainMask(given.data > 0.5, "given")
    world = read_chain(steps) if steps else np.eye(4)
    if (
        not np.allclose(world, np.eye(4), atol=1e-4)
        or given.data.shape != volume.data.shape
        or not np.allclose(given.affine, volume.affine, atol=1e-3)
    ):
        moved = transfer_mask(mask, given.affine, volume, world)
        mask = BrainMask(moved.data, "given")
    return mask


def save_brain(mask: BrainMask, volume: Volume, folder: Path) -> dict:
    """Write a mask in the voxel order, shape and orientation of the scan's file."""
    from bids_harmony.imaging.volume import to_native, write_image

    native, _ = to_native(volume, mask.data.astype(np.float32), float_output=True)
    header = native.header.copy()
    header.set_data_dtype(np.uint8)
    header.set_slope_inter(1, 0)
    header["cal_min"], header["cal_max"] = 0, 0
    voxels = np.asarray(native.dataobj).round().astype(np.uint8)
    write_image(type(native)(voxels, native.affine, header), folder / "mask.nii.gz")
    return {"mask_file": str(folder / "mask.nii.gz"), "kind": mask.kind}
