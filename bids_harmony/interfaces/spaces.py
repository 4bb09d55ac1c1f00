"""A harmonized scan in other spaces than its own, as files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, File, TraitedSpec, isdefined, traits

from bids_harmony.interfaces.base import Adapter

__all__ = ["PlaceInSpaces"]


class PlaceInSpaces(Adapter):
    """Resample a harmonized scan, once from its own grid, into each space."""

    class input_spec(BaseInterfaceInputSpec):
        in_file = File(exists=True, mandatory=True, desc="harmonized scan, on its own grid")
        xfm_file = File(exists=True, mandatory=True, desc="scan to reference, ITK text")
        t1w_xfm = File(exists=True, desc="T1w of the person to reference, ITK text")
        spaces = traits.List(
            traits.Dict,
            mandatory=True,
            desc="of each: label; like, image that gives the grid; world, 4 x 4, from the "
            "reference; or warp and steps, from the T1w (the scan itself, or that of t1w_xfm); or "
            "neither: the space of the T1w",
        )

    class output_spec(TraitedSpec):
        space_files = traits.Dict(desc="file of each label")

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.imaging.templates import onto
        from bids_harmony.imaging.transforms import read_transform
        from bids_harmony.imaging.volume import read_volume, to_native, write_image
        from bids_harmony.imaging.warps import onto_warped, read_chain, read_warp

        inputs = self.inputs
        volume, to_reference = read_volume(inputs.in_file), read_transform(inputs.xfm_file)
        files = {}
        for space in inputs.spaces:
            like = read_volume(space["like"])
            if "world" in space:
                beyond = np.array(space["world"], dtype=np.float64)
                voxels = onto(volume, beyond @ to_reference, like)
            else:
                to_t1w = np.eye(4)
                if isdefined(inputs.t1w_xfm):
                    to_t1w = np.linalg.inv(read_transform(inputs.t1w_xfm)) @ to_reference
                if "warp" in space:
                    world = read_chain(space["steps"]) @ to_t1w
                    voxels = onto_warped(volume, world, read_warp(space["warp"]), like)
                else:
                    voxels = onto(volume, to_t1w, like)
            image, _ = to_native(like, voxels, float_output=True)
            path = folder / f"{space['label']}.nii.gz"
            write_image(image, path)
            files[space["label"]] = str(path)
        return {"space_files": files}
