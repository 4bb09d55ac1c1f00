"""Transforms of other pipelines in the place of registrations, as files."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
from nipype.interfaces.base import BaseInterfaceInputSpec, File, TraitedSpec, isdefined, traits

from bids_harmony.interfaces.base import Adapter

__all__ = ["LEAST_OVERLAP", "ReuseTransform"]

logger = logging.getLogger(__name__)

LEAST_OVERLAP = 0.85
"""Dice overlap with the template's brain below which a given transform is not believed; those that
are right have 0.9 and more."""


class ReuseTransform(Adapter):
    """The affine nearest to a given transform to MNI space; where it cannot be right, a
    registration."""

    class input_spec(BaseInterfaceInputSpec):
        in_file = File(mandatory=True, desc="T1w as the dataset holds it")
        mask_file = File(exists=True, mandatory=True)
        given_xfm = File(mandatory=True, desc="from the anatomical space to a template")
        to_anatomy = traits.List(File, desc="scan to anatomical space, one after the other")
        given_name = traits.Str(mandatory=True, desc="as sidecars call it")
        modality = traits.Str(mandatory=True)
        seed = traits.Int(0, usedefault=True)
        sloppy = traits.Bool(False, usedefault=True)

    class output_spec(TraitedSpec):
        xfm_file = File(exists=True, desc="scan to reference, ITK text")
        similarity = traits.Float(desc="Dice overlap with the template's brain")
        xfm_from = traits.Str(desc="what the transform was taken from; empty: it was made")

    def _adapt(self, folder: Path) -> dict:
        from bids_harmony.imaging.mask import read_brain
        from bids_harmony.imaging.reference import reference_points
        from bids_harmony.imaging.registration import reference_overlap, register_to_reference
        from bids_harmony.imaging.transforms import write_transform
        from bids_harmony.imaging.volume import read_volume
        from bids_harmony.imaging.warps import affine_of, read_chain, read_warp

        inputs = self.inputs
        volume, mask = read_volume(inputs.in_file), read_brain(inputs.mask_file)
        world, left = affine_of(read_warp(inputs.given_xfm), reference_points())
        if isdefined(inputs.to_anatomy):
            world = world @ read_chain(inputs.to_anatomy)
        similarity, source = reference_overlap(volume, mask, world), inputs.given_name
        if similarity < LEAST_OVERLAP or not np.isfinite(world).all():
            logger.warning(
                "%s: the transform of %s does not put the brain on the template (Dice %.2f): it "
                "is registered anew",
                inputs.in_file, inputs.given_name, similarity,
            )  # fmt: skip
            made = register_to_reference(
                volume, mask, modality=inputs.modality, seed=inputs.seed, sloppy=inputs.sloppy
            )
            world, similarity, source = made.world, made.similarity, ""
        else:
            logger.info(
                "%s: transform taken from %s; an affine leaves %.1f mm of it (Dice %.2f)",
                Path(inputs.in_file).name, inputs.given_name, left, similarity,
            )  # fmt: skip
        write_transform(world, folder / "to_reference.txt")
        return {
            "xfm_file": str(folder / "to_reference.txt"),
            "similarity": float(similarity),
            "xfm_from": source,
        }
