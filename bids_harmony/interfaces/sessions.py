"""The space and brain mask that sessions of a person share, as files."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, File, TraitedSpec, traits

from bids_harmony import exceptions
from bids_harmony.exceptions import BidsHarmonyError
from bids_harmony.interfaces.anatomy import MaskOutput, reused_brain, save_brain
from bids_harmony.interfaces.base import Adapter

if TYPE_CHECKING:
    from bids_harmony.imaging.mask import BrainMask
    from bids_harmony.imaging.volume import Volume

    _Scan = tuple[Volume, BrainMask | None]

__all__ = ["ShareSpace", "TakeShared"]

logger = logging.getLogger(__name__)


class ShareSpace(Adapter):
    """Bring all scans of a person, of one contrast, into one space, and find one brain mask.

    A scan that cannot be used is left out; why is kept for the scan's own graph, which fails with
    it. One that is left alone, or is unlike the others, has its own mask and
    registration, as a person of one session.
    """

    class input_spec(BaseInterfaceInputSpec):
        in_files = traits.List(File, mandatory=True, desc="scans as the dataset holds them")
        given_masks = traits.List(traits.Str, mandatory=True, desc="of each scan; empty: none")
        steps = traits.List(traits.List(File), mandatory=True, desc="of each scan to its mask")
        modality = traits.Str(mandatory=True)
        extract = traits.Bool(True, usedefault=True, desc="mask heads by themselves")
        seed = traits.Int(0, usedefault=True)
        sloppy = traits.Bool(False, usedefault=True)
        device = traits.Str("cpu", usedefault=True, nohash=True)

    class output_spec(TraitedSpec):
        shared_file = File(exists=True, desc="JSON: of each scan its files, or its error")

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.imaging.alike import share_alike

        usable, found = self._read_all()
        shared, together = share_alike(usable, **self._words)
        brain = ""
        if shared is not None and shared.mask is not None:
            brain = str(folder / "brain.nii.gz")
            _save_on_reference(shared.mask, Path(brain))
        for name, (volume, mask) in usable.items():
            try:
                if shared is not None and name in together:
                    world, similarity = shared.worlds[together.index(name)], shared.similarity
                else:
                    world, similarity = self._alone(volume, mask)
            except BidsHarmonyError as error:
                found[name] = {"error": _told(error)}
                continue
            with_it = [other for other in together if other != name] if name in together else []
            number = self._names.index(name)
            found[name] = {"similarity": similarity, "with": with_it} | _written(
                volume, mask, world, brain if with_it else "", folder, number
            )
        record = folder / "shared.json"
        record.write_text(json.dumps(found, indent=2) + "\n")
        return {"shared_file": str(record)}

    @property
    def _names(self) -> list[str]:
        return [str(name) for name in self.inputs.in_files]

    @property
    def _words(self) -> dict[str, Any]:
        inputs = self.inputs
        return {"modality": inputs.modality, "seed": inputs.seed, "sloppy": inputs.sloppy}

    def _read_all(self) -> tuple[dict[str, _Scan], dict[str, dict[str, Any]]]:
        """Scans by name, and why others cannot be used."""
        usable: dict[str, _Scan] = {}
        failed: dict[str, dict[str, Any]] = {}
        for i, name in enumerate(self._names):
            try:
                usable[name] = self._read(i)
            except BidsHarmonyError as error:
                logger.warning("%s shares no space with the person's others: %s", name, error)
                failed[name] = {"error": _told(error)}
        return usable, failed

    def _alone(self, volume: Volume, mask: BrainMask | None) -> tuple[np.ndarray, float]:
        """Transform of a scan that shares no space, and its similarity to the template."""
        from bids_harmony.imaging.registration import register_to_reference

        found = register_to_reference(volume, mask, **self._words)
        return found.world, found.similarity

    def _read(self, i: int) -> _Scan:
        from bids_harmony.imaging.intensity import robust_scale
        from bids_harmony.imaging.mask import brain_mask, is_skull_stripped
        from bids_harmony.imaging.volume import read_volume

        inputs = self.inputs
        volume, mask = read_volume(inputs.in_files[i]), None
        if inputs.given_masks[i]:
            mask = reused_brain(volume, inputs.given_masks[i], inputs.steps[i])
        elif inputs.extract or is_skull_stripped(volume):
            mask = brain_mask(volume, device=inputs.device)
        if mask is not None:
            # Refuses an empty mask, and a brain without signal.
            robust_scale(volume.data, mask.data)
        return volume, mask


class TakeShared(Adapter):
    """Of what the sessions of a person share, that which is one scan's."""

    class input_spec(BaseInterfaceInputSpec):
        in_file = File(mandatory=True)
        shared_file = File(exists=True, mandatory=True)

    class output_spec(MaskOutput):
        xfm_file = File(exists=True, desc="scan to reference, ITK text")
        similarity = traits.Float(desc="of the person's mean to the template")
        person_mask = File(exists=True, desc="mask of all sessions on the reference grid")
        shares_with = traits.List(traits.Str, desc="scans that lie in the same space")

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.imaging.mask import person_mask, template_mask
        from bids_harmony.imaging.registration import read_transform
        from bids_harmony.imaging.volume import read_volume

        own = json.loads(Path(self.inputs.shared_file).read_text())[str(self.inputs.in_file)]
        if "error" in own:
            raise _rebuilt(own["error"])
        outputs = {"xfm_file": own["xfm"], "similarity": own["similarity"]}
        outputs["shares_with"] = own["with"]
        if own["mask"]:
            outputs["person_mask"] = own["mask"]
        if "mask_file" in own:
            return outputs | {"mask_file": own["mask_file"], "kind": own["kind"]}
        volume, world = read_volume(self.inputs.in_file), read_transform(own["xfm"])
        if own["mask"]:
            mask = person_mask(read_volume(own["mask"]).data > 0.5, volume, world)
        else:
            mask = template_mask(volume, world)
        return outputs | save_brain(mask, volume, folder)


def _written(
    volume: Volume,
    mask: BrainMask | None,
    world: np.ndarray,
    brain: str,
    folder: Path,
    number: int,
) -> dict[str, Any]:
    """Write transform and own mask of a scan; of its record what names files."""
    from bids_harmony.imaging.registration import write_transform

    xfm = folder / f"to_reference{number}.txt"
    write_transform(world, xfm)
    own: dict[str, Any] = {"xfm": str(xfm), "mask": brain}
    if mask is not None and (not brain or mask.kind == "skull-stripped"):
        # What has no skull has a mask already, beyond which there is nothing.
        (folder / str(number)).mkdir(exist_ok=True)
        own |= save_brain(mask, volume, folder / str(number))
    return own


def _told(error: BidsHarmonyError) -> dict[str, str]:
    return {
        "class": type(error).__name__,
        "what": error.what,
        "where": error.where,
        "expected": error.expected,
        "got": error.got,
        "hint": error.hint,
    }


def _rebuilt(told: dict[str, str]) -> BidsHarmonyError:
    words = dict(told)
    kind = getattr(exceptions, words.pop("class"), BidsHarmonyError)
    return kind(words.pop("what"), **words)


def _save_on_reference(mask: np.ndarray, path: Path) -> None:
    from bids_harmony.imaging.reference import reference_grid
    from bids_harmony.imaging.volume import write_image
    from bids_harmony.imaging.within_person import MASK_MM
    from bids_harmony.io.header import CODE_MNI

    affine = reference_grid(MASK_MM).affine
    image = nib.Nifti1Image(mask.astype(np.uint8), affine)
    image.set_sform(affine, CODE_MNI)
    image.set_qform(affine, CODE_MNI)
    write_image(image, path)
