"""Diffusion series: read with every check, scaled part by part, written whole.

A series of a hundred volumes is held once, as it is stored; as numbers there is never more of it
than what is asked for.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.nothing import is_padding
from bids_harmony.imaging.volume import GZIP_LEVEL
from bids_harmony.io.atomic import open_atomically
from bids_harmony.io.checks import check_finite, check_orientation, check_series_shape
from bids_harmony.io.nifti_file import parse_nifti, read_content

__all__ = ["Series", "mean_b0", "open_series", "signed_mean_b0", "write_series"]

VOLUMES_LOOKED_AT = 8
"""Enough to know how bright a series is."""
LOST_BESIDE = 0.1
"""Of the 99th percentile of the mean b=0: where the other b=0 volumes are brighter, a zero was not
measured."""


@dataclass(frozen=True, eq=False)
class Series:
    """A 4-D image in the voxel order of its file.

    Attributes
    ----------
    raw : ndarray (X, Y, Z, N)
        Voxels as they are stored.
    slope, intercept : float
        ``raw * slope + intercept`` is the signal.
    image : nibabel.Nifti1Image or nibabel.Nifti2Image
        Header, affine and type of the file.
    path : Path
        Where it was read.
    padding : float or None
        Stored value that fills where nothing was measured (`imaging.nothing`).
    """

    raw: np.ndarray
    slope: float
    intercept: float
    image: nib.Nifti1Image
    path: Path
    padding: float | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """X, Y, Z and number of volumes."""
        x, y, z, n = self.raw.shape
        return x, y, z, n

    @property
    def affine(self) -> np.ndarray:
        """Voxels of the file to scanner RAS+ mm."""
        return np.asarray(self.image.affine)

    def signal(self, index: Any) -> np.ndarray:
        """Signal of a part of the series, float32; `index` as for an array.

        0 where nothing was measured.
        """
        part = self.raw[index].astype(np.float32)
        if (self.slope, self.intercept) != (1.0, 0.0):
            part = part * np.float32(self.slope) + np.float32(self.intercept)
        nothing = self.nothing(index)
        if nothing is not None:
            part[nothing] = 0
        return part

    def nothing(self, index: Any) -> np.ndarray | None:
        """Where a part of the series is NaN or padding; None where it cannot be either."""
        part = self.raw[index]
        if self.padding is not None:
            return (part == self.padding) | np.isnan(part)
        return np.isnan(part) if part.dtype.kind == "f" else None

    def volumes(self) -> Iterator[np.ndarray]:
        """Signal of each volume, (X, Y, Z) float32."""
        for volume in range(self.shape[3]):
            yield self.signal(np.s_[..., volume])


def open_series(path: str | os.PathLike[str], *, keep_header: bool = False) -> Series:
    """Read a diffusion series and check that it can be used.

    Parameters
    ----------
    path : path-like
        `.nii` or `.nii.gz`; NIfTI-1 or NIfTI-2, either byte order.
    keep_header : bool
        Keep extensions and texts of the header, which may tell of a person.

    Returns
    -------
    Series
        Its raw voxels are held in memory (twice the file's size unpacked, at most), its signal is
        made part by part.

    Raises
    ------
    MissingInput, InputOutputError
        As `imaging.volume.read_volume`.
    ImageError
        Not a NIfTI image, not four-dimensional, an orientation that cannot be, infinite values,
        or no contrast at all.
    """
    path = Path(path)
    image = parse_nifti(read_content(path), path, keep_header=keep_header)
    where = str(path)
    check_series_shape(image, where)
    check_orientation(image, where)
    proxy: Any = image.dataobj
    # Further dimensions of length one say nothing.
    raw = np.asarray(proxy.get_unscaled()).reshape(image.shape[:4])
    series = Series(raw, float(proxy.slope), float(proxy.inter), image, path)
    _check_signal(series)
    return replace(series, padding=_padding(series))


def _check_signal(series: Series) -> None:
    bad, varies = 0, False
    first = series.raw.flat[0]
    for volume in range(series.shape[3]):
        values = series.raw[..., volume]
        varies = varies or bool(((values != first) & ~np.isnan(values)).any())
        if values.dtype.kind == "f":
            bad += int(np.count_nonzero(np.isinf(values)))
    if bad:
        raise ImageError(
            "infinite values",
            where=str(series.path),
            expected="numbers, or NaN where nothing was measured",
            got=f"{bad} of {series.raw.size} voxels infinite",
            hint="They come from a division by zero: set them to 0 or to NaN.",
        )
    if not varies:
        raise ImageError(
            "no contrast",
            where=str(series.path),
            expected="an image",
            got=f"{first:g} in every voxel",
        )


def _padding(series: Series) -> float | None:
    """The stored value that is no signal, if there is one."""
    volumes = range(series.shape[3])
    extreme = np.fmin if series.slope > 0 else np.fmax
    lowest = extreme.reduce([extreme.reduce(series.raw[..., v], axis=None) for v in volumes])
    if not lowest * series.slope + series.intercept < 0:
        return None
    count = sum(int(np.count_nonzero(series.raw[..., v] == lowest)) for v in volumes)
    some = series.raw[..., :: max(1, len(volumes) // VOLUMES_LOOKED_AT)]
    some = some[(some != lowest) & ~np.isnan(some)].astype(np.float32)
    signal = some * np.float32(series.slope) + np.float32(series.intercept)
    value = float(lowest * series.slope + series.intercept)
    return float(lowest) if is_padding(value, count, series.raw.size, signal) else None


def mean_b0(series: Series, gradients: Gradients) -> nib.Nifti1Image:
    """Mean over the volumes without diffusion weighting.

    A volume in which nothing was measured, NaN, padding or 0 in a bright voxel, does not count
    there.

    Parameters
    ----------
    series : Series
    gradients : Gradients
        Of the series' volumes.

    Returns
    -------
    nibabel.Nifti1Image or nibabel.Nifti2Image
        (X, Y, Z) float32 in the series' unit, grid, orientation and header; not below 0.
    """
    mean = np.maximum(signed_mean_b0(series, gradients), 0)
    header = series.image.header.copy()
    header.set_data_shape(mean.shape)
    header.set_data_dtype(np.float32)
    header.set_slope_inter(1, 0)
    return type(series.image)(mean, series.image.affine, header)


def signed_mean_b0(series: Series, gradients: Gradients) -> np.ndarray:
    """`mean_b0` as an array (X, Y, Z) float32, below 0 where the series is."""
    volumes = np.flatnonzero(gradients.b0)
    total = np.zeros(series.shape[:3], np.float64)
    shown = np.zeros(series.shape[:3], np.intp)
    for volume in volumes:
        signal = series.signal(np.s_[..., int(volume)])
        total += signal
        shown += signal != 0
    mean = total / len(volumes)
    there = mean[shown == len(volumes)]
    if there.size:
        # Zeros in the dark are what noise and rounding leave; they stay.
        lost = (shown > 0) & (shown < len(volumes))
        bright = lost & (total > LOST_BESIDE * np.percentile(there, 99) * np.maximum(shown, 1))
        mean[bright] = total[bright] / shown[bright]
    return mean.astype(np.float32)


def write_series(series: Series, raw: np.ndarray, path: str | os.PathLike[str]) -> None:
    """Write new voxels with a series' header, whole or not at all, the same bytes each time.

    Parameters
    ----------
    series : Series
        Gives header, extensions, slope and data type.
    raw : ndarray (X, Y, Z, N)
        As stored, in the data type of ``series.raw``.
    path : path-like
        `.nii` or `.nii.gz`; the folder must exist.

    Raises
    ------
    ImageError
        Voxels that are not finite, where those of the series are.
    CannotCreateOutput, TryAgain, InputOutputError
        See `io.atomic.open_atomically`.
    """
    if raw.shape != series.raw.shape or raw.dtype != series.raw.dtype:
        raise ValueError(
            f"voxels must be {series.raw.shape} {series.raw.dtype}; got {raw.shape} {raw.dtype}"
        )
    for volume in range(raw.shape[3]):
        voxels, before = raw[..., volume], series.raw[..., volume]
        check_finite(voxels[~np.isnan(before)], f"volume {volume} of {path}")
    with open_atomically(path) as file:
        if str(path).endswith(".gz"):
            # No file name and no time in the gzip header: reruns give the same bytes.
            with gzip.GzipFile(
                "", "wb", compresslevel=GZIP_LEVEL, fileobj=file, mtime=0
            ) as packed:
                _write_voxels(series, raw, packed)
        else:
            _write_voxels(series, raw, file)


def _write_voxels(series: Series, raw: np.ndarray, handle: Any) -> None:
    """Header and extensions as they are, then volume by volume."""
    header = series.image.header.copy()
    header.set_slope_inter(series.slope, series.intercept)
    # The first place behind extensions, if there are any; the library finds it.
    header["vox_offset"] = 0
    start = BytesIO()
    header.write_to(start)
    handle.write(start.getvalue())
    for volume in range(raw.shape[3]):
        handle.write(raw[..., volume].tobytes(order="F"))
