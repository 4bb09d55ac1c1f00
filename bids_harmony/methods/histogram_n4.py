"""N4 and landmarks: what histogram matching can do once smooth fields are gone."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.intensity import correct_bias
from bids_harmony.imaging.landmarks import landmark_map, landmarks
from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.volume import Volume
from bids_harmony.methods.base import Applied, finish
from bids_harmony.methods.trained import TrainedMethod

__all__ = ["HistogramN4", "without_bias"]

Array = np.ndarray

#: Spacing on which N4 estimates its field, mm, however coarse the reference grid is.
_FIELD_GRID_MM = 4.0


class HistogramN4(TrainedMethod):
    """N4 first, then landmarks, on the scans of the target site as on the scan itself.

    The model folder was made for this method: it has the landmarks of corrected scans.
    """

    name = "histogram-n4"

    def load(self) -> None:
        """Read the landmarks of the sites."""
        super().load()
        places = self.metadata["extra"]["landmarks"]
        self.landmarks = {
            (about["site"], about["modality"]): self.tensors[str(number)].numpy()
            for number, about in enumerate(places)
        }

    def modalities(self) -> set[str]:
        """Modalities with landmarks."""
        return {modality for _, modality in self.landmarks}

    def apply(
        self, prepared: Prepared, *, modality: str, source_site: str, target_site: str
    ) -> Applied:
        """Correct and match one prepared scan; a scan of the target site is not exempt."""
        self.check_target(modality, target_site)
        mask = prepared.mask
        data = without_bias(prepared.data, mask, prepared.grid)
        wanted = self.landmarks[target_site, modality]
        return finish(landmark_map(data, landmarks(data, mask), wanted), mask)


def without_bias(data: Array, mask: Array, grid: ReferenceGrid) -> Array:
    """Correct the smooth bias of a prepared scan (N4; see `intensity.correct_bias`).

    Parameters
    ----------
    data : (X, Y, Z) float32
        Scaled, on the reference grid.
    mask : (X, Y, Z) bool
    grid : ReferenceGrid

    Returns
    -------
    (X, Y, Z) float32
        The mean of the brain is kept.
    """
    volume = Volume(data, grid.affine, nib.Nifti1Image(data, grid.affine), None)
    shrink = int(np.clip(round(_FIELD_GRID_MM / grid.voxel_mm), 1, 4))
    return correct_bias(volume, BrainMask(mask, "given"), shrink_factor=shrink).data
