"""A diffusion series on the reference grid, and the numbers that show its scanner."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bids_harmony.diffusion.calibration import SeriesMeasures, measure_series
from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.series import Series, mean_b0, signed_mean_b0
from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.intensity import to_half
from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.nothing import Nothing, check_not_negative
from bids_harmony.imaging.prepared import Prepared, prepare
from bids_harmony.imaging.resampling import resample_to_grid
from bids_harmony.imaging.volume import Volume, from_image, native_order, ras_order

__all__ = [
    "B0_KEY",
    "DEFAULT_DWI_MODE",
    "DWI_MODES",
    "DWI_VOXEL_MM",
    "PreparedSeries",
    "prepare_series",
    "prepared_volume",
    "shell_key",
]

Array = np.ndarray

DWI_MODES = ("rish", "attenuation", "volume")
"""`rish`: b=0 as an image; shells by what a scanner does to them (`calibration`), order by order
of spherical harmonics. `attenuation`: b=0 as an image; S/S0 of each shell by landmarks. `volume`:
each volume as an image (the paper's)."""
DEFAULT_DWI_MODE = "rish"
DWI_VOXEL_MM = 2.0
"""Spacing of the reference grid for diffusion, about that of the scans themselves."""
B0_KEY = "dwi-b0"
"""What stands for the modality in profiles of the mean b=0 image."""


def shell_key(b: float) -> str:
    """What stands for the modality in profiles of single volumes of a shell; b in s/mm2."""
    return f"dwi-b{b:.0f}"


@dataclass(frozen=True, eq=False)
class PreparedSeries:
    """What profiles are made of.

    Attributes
    ----------
    mask : (Xr, Yr, Zr) bool
        Brain on the reference grid.
    scale : float
        q of the mean b=0 image, in the series' unit.
    features : dict of str to (Xr, Yr, Zr) float32
        Images in units of `scale`, 0 outside the mask: the mean b=0 (`B0_KEY`), and for the mode
        ``volume`` one volume of each shell (`shell_key`).
    measures : SeriesMeasures
    """

    mask: Array
    scale: float
    features: dict[str, Array]
    measures: SeriesMeasures

    def save(self, path: Path) -> None:
        """Write as ``.npz``, without pickle; images in half precision."""
        arrays: dict[str, Any] = {
            f"image {key}": to_half(data) for key, data in self.features.items()
        }
        measures = np.array(self.measures.to_json())
        np.savez(path, mask=self.mask, scale=np.float64(self.scale), measures=measures, **arrays)

    @classmethod
    def load(cls, path: Path) -> PreparedSeries:
        """Read what `save` wrote."""
        with np.load(path, allow_pickle=False) as file:
            images = {
                name.removeprefix("image "): file[name].astype(np.float32)
                for name in file.files
                if name.startswith("image ")
            }
            measures = SeriesMeasures.from_json(str(file["measures"]))
            return cls(file["mask"], float(file["scale"]), images, measures)


def prepare_series(
    series: Series,
    gradients: Gradients,
    mask: BrainMask,
    world: Array,
    grid: ReferenceGrid,
    mode: str = DEFAULT_DWI_MODE,
) -> PreparedSeries:
    """Bring a series onto the reference grid, as far as profiles need it.

    Parameters
    ----------
    series : Series
    gradients : Gradients
        Of its volumes.
    mask : BrainMask
        Brain on the grid of the mean b=0 image, RAS+ voxel order.
    world : (4, 4) float
        Native RAS+ mm to reference RAS+ mm.
    grid : ReferenceGrid
    mode : str
        One of `DWI_MODES`.

    Returns
    -------
    PreparedSeries

    Raises
    ------
    ImageError
        No signal in the brain, or the brain lies outside the grid.
    """
    volume = b0_volume(series, gradients)
    inside = native_order(volume, mask.data)
    check_not_negative(signed_mean_b0(series, gradients)[inside], str(series.path))
    prepared = prepare(volume, mask, world, grid)
    features = {B0_KEY: prepared.data}
    if mode == "volume":
        for shell in gradients.shells:
            # One direction of each scan: a mean over directions would be sharper and less noisy
            # than the volumes that are to measures like it.
            one = ras_order(volume, series.signal(np.s_[..., int(shell.volumes[0])]))
            features[shell_key(shell.nominal)] = prepared_volume(one, volume, prepared).data
    measures = measure_series(series, gradients, inside, prepared.scale)
    return PreparedSeries(prepared.mask, prepared.scale, features, measures)


def b0_volume(series: Series, gradients: Gradients) -> Volume:
    """The mean b=0 in RAS+ order, which knows where no b=0 volume was measured.

    Raises
    ------
    ImageError
        As `imaging.volume.from_image`.
    """
    volume = from_image(mean_b0(series, gradients), series.path)
    volumes = np.flatnonzero(gradients.b0)
    parts = [series.nothing(np.s_[..., int(v)]) for v in volumes]
    nowhere = np.all([part for part in parts if part is not None] or [np.array(False)], axis=0)
    if not nowhere.any():
        return volume
    return replace(volume, nothing=Nothing(ras_order(volume, nowhere), series.padding))


def prepared_volume(data: Array, volume: Volume, like: Prepared) -> Prepared:
    """Bring one volume of a series onto the reference grid, in the scale of its mean b=0.

    Parameters
    ----------
    data : (X, Y, Z) float32
        Volume in RAS+ order.
    volume : Volume
        The mean b=0.
    like : Prepared
        The mean b=0 on the grid.

    Returns
    -------
    Prepared
    """
    on_grid = resample_to_grid(data, volume.affine, like.world, like.grid, order=3)
    scaled = np.where(like.mask, np.maximum(on_grid, 0) / np.float32(like.scale), np.float32(0))
    return Prepared(scaled.astype(np.float32), like.mask, like.scale, like.world, like.grid)
