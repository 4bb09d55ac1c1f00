"""What the level group needs of one harmonized image, in one small file.

Site effects are found by comparing all images of a dataset. Their summaries take some 70 kB each,
so that a hundred of them are read in a second and no image has to be opened.
"""

from __future__ import annotations

import io
import math
import struct
import tokenize
import zipfile
import zlib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bids_harmony.exceptions import DataError, NotFetched
from bids_harmony.imaging.intensity import to_half
from bids_harmony.io.atomic import write_atomically
from bids_harmony.io.reading import read_bytes

__all__ = [
    "FEATURE_ROWS",
    "N_QUANTILES",
    "N_REGIONS",
    "REGION_TISSUES",
    "STAGES",
    "SUMMARY_VERSION",
    "TISSUES",
    "ScanSummary",
    "SeriesSummary",
    "load_summary",
    "save_summary",
]

#: Of the file; a reader refuses any other.
SUMMARY_VERSION = 1
STAGES = ("source", "harmonized")
TISSUES = ("brain", "gm", "wm", "csf")
FEATURE_ROWS = ("raw", "preprocessed", "harmonized", "blurred")
REGION_TISSUES = ("gm", "wm")
N_QUANTILES = 101
N_REGIONS = 64

_UNKNOWN_VOLUMES = np.full((len(STAGES), len(TISSUES) - 1), np.nan, np.float32)

#: Of a file, packed and unpacked; one of a scan has some 70 kB.
MOST_BYTES = 64 * 2**20
MOST_ARRAYS = 32
_UNREADABLE = (
    OSError, ValueError, TypeError, LookupError, EOFError, ArithmeticError, SyntaxError,
    RuntimeError, zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError,
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class ScanSummary:
    """A structural scan before and after harmonization, on the reference grid.

    Intensities are fractions of the source's robust scale where nothing else is said.

    Attributes
    ----------
    quantiles : (2, 4, 101) float32
        By `STAGES` and `TISSUES`, at probabilities evenly from 0 to 1. Both stages are measured in
        the same voxels. NaN for a tissue without voxels.
    target_quantiles : (K,) float32
        Of the target site's brains, at probabilities evenly from 0 to 1.
    features : (4, F) float32
        `site_probe.scan_features` by `FEATURE_ROWS`: the source in its own unit, the source, the
        harmonized scan, and the source blurred as the control ``blur`` does it. As precise as
        float16.
    head : (H,) float16
        `site_probe.mask_features`.
    detail : (2,) float32
        By `STAGES`: mean log10 of the energy of the finest detail in the brain.
    change : (x, y, z) float16
        Harmonized minus source, means over the brain in blocks of 4 mm; 0 where less than half of
        a block is brain. Kept in 255 steps.
    voxel_mm : float
        Spacing of the reference grid.
    volumes : (2, 3) float32
        By `STAGES`: ml of grey matter, white matter and CSF in the person's own head. Meant for
        comparing images of one head. NaN in files of earlier releases.
    """

    quantiles: NDArray[np.float32]
    target_quantiles: NDArray[np.float32]
    features: NDArray[np.float32]
    head: NDArray[np.float16]
    detail: NDArray[np.float32]
    change: NDArray[np.float16]
    voxel_mm: float
    volumes: NDArray[np.float32] = field(default_factory=_UNKNOWN_VOLUMES.copy)


@dataclass(frozen=True, eq=False)
class SeriesSummary:
    """Maps of a diffusion series before and after harmonization.

    Attributes
    ----------
    parameters : tuple of str
        Keys of `diffusion.maps.MAPS`, such as ``fa`` and ``md``, P of them.
    regions : (2, P, 64) float32
        By `STAGES`, parameter and block of the template's white matter: medians in the unit of the
        map; NaN where less than half of a block is known.
    tissues : (2, P, 2) float32
        By `STAGES`, parameter and `REGION_TISSUES`: medians in the whole brain; NaN for a tissue
        without voxels.
    """

    parameters: tuple[str, ...]
    regions: NDArray[np.float32]
    tissues: NDArray[np.float32]


_KINDS: dict[str, type] = {"scan": ScanSummary, "series": SeriesSummary}
_STORED = {
    "quantiles": np.float32,
    "target_quantiles": np.float32,
    "features": np.float16,
    "head": np.float16,
    "detail": np.float32,
    "change": np.int8,
    "volumes": np.float32,
    "voxel_mm": np.float64,
    "parameters": np.str_,
    "regions": np.float32,
    "tissues": np.float32,
}


def save_summary(path: Path, summary: ScanSummary | SeriesSummary) -> None:
    """Write a summary as compressed ``.npz``, whole or not at all; equal content, equal bytes.

    Parameters
    ----------
    path : Path
        Its folder must exist.
    summary : ScanSummary or SeriesSummary

    Raises
    ------
    DataError
        An array has not the shape that it is to have.
    CannotCreateOutput, TryAgain, InputOutputError
        As `io.atomic.write_atomically`.
    """
    kind = next(name for name, record in _KINDS.items() if isinstance(summary, record))
    arrays = {f.name: np.asarray(getattr(summary, f.name)) for f in fields(summary)}
    _check_shapes(path, kind, arrays)
    if kind == "scan":
        _pack(arrays)
    payload = io.BytesIO()
    stored = {name: np.asarray(array, _STORED.get(name)) for name, array in arrays.items()}
    np.savez_compressed(payload, kind=kind, version=SUMMARY_VERSION, **stored)  # type: ignore[arg-type]
    write_atomically(path, payload.getvalue())


def load_summary(path: Path) -> ScanSummary | SeriesSummary:
    """Read what `save_summary` wrote.

    Raises
    ------
    NotFetched
        The file is there, but not its content.
    DataError
        The file cannot be read, is of another version, or holds arrays of wrong shapes.
    """
    try:
        arrays = _arrays(read_bytes(path, most=MOST_BYTES, holds="summary"))
    except NotFetched:
        raise
    except _UNREADABLE as error:
        raise _unusable(path, "a file that the level participant wrote", str(error)) from error
    kind, version = (str(arrays.pop(name, "none")) for name in ("kind", "version"))
    if version != str(SUMMARY_VERSION):
        raise _unusable(path, f"version {SUMMARY_VERSION} of the file", f"version {version}")
    if kind not in _KINDS:
        raise _unusable(path, " or ".join(_KINDS), f"kind {kind}")
    if kind == "scan":
        arrays.setdefault("volumes", _UNKNOWN_VOLUMES.copy())
    _check_shapes(path, kind, arrays, stored=True)
    if kind == "series":
        names = tuple(str(name) for name in arrays.pop("parameters"))
        return SeriesSummary(names, **arrays)
    features = arrays.pop("features").astype(np.float32) * arrays.pop("feature_unit")[:, None]
    change = arrays.pop("change") * arrays.pop("change_unit")
    return ScanSummary(
        features=features,
        change=to_half(change),
        voxel_mm=float(arrays.pop("voxel_mm")),
        **arrays,
    )


def _arrays(content: bytes) -> dict[str, NDArray[Any]]:
    """Arrays of an ``.npz``; sizes are those that the archive states, checked before unpacking."""
    arrays = {}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        total = sum(member.file_size for member in members)
        if total > MOST_BYTES or len(members) > MOST_ARRAYS:
            raise ValueError(f"{len(members)} arrays of {total} bytes")
        for member in members:
            # A zip reader stops at the size that is stated, whatever is packed.
            unpacked = io.BytesIO(archive.read(member))
            version = np.lib.format.read_magic(unpacked)
            if version != (1, 0):
                raise ValueError(f"version {version} of an array")
            shape, _, dtype = np.lib.format.read_array_header_1_0(unpacked)
            needed = math.prod(shape) * dtype.itemsize
            if dtype.hasobject or needed != len(unpacked.getbuffer()) - unpacked.tell():
                raise ValueError(f"an array {shape} of {dtype} in {member.file_size} bytes")
            unpacked.seek(0)
            name = member.filename.removesuffix(".npy")
            arrays[name] = np.lib.format.read_array(unpacked, allow_pickle=False)
    return arrays


def _pack(arrays: dict[str, NDArray[Any]]) -> None:
    """Bring features, head and change into the range of the types that they are stored as."""
    # Rows of features are divided by a power of two, mostly 1: stored units may be anything, and
    # float16 ends at 65504.
    largest = np.maximum(np.abs(arrays["features"]).max(axis=1), 1)
    unit = np.exp2(np.maximum(np.ceil(np.log2(largest / np.finfo(np.float16).max)), 0))
    arrays["feature_unit"] = unit.astype(np.float32)
    arrays["features"] = arrays["features"] / unit[:, None]
    arrays["head"] = to_half(arrays["head"])
    # Half of the file is change, the last digits of which are noise.
    step = np.abs(arrays["change"]).max().astype(np.float64) / np.iinfo(np.int8).max or 1.0
    arrays["change_unit"] = np.array(step)
    arrays["change"] = np.rint(arrays["change"] / step)


def _check_shapes(
    path: Path, kind: str, arrays: dict[str, NDArray[Any]], *, stored: bool = False
) -> None:
    """Refuse arrays that are missing, too many, of another type or of other shapes."""
    expected: dict[str, tuple[int | None, ...]]
    if kind == "scan":
        expected = {
            "quantiles": (len(STAGES), len(TISSUES), N_QUANTILES),
            "target_quantiles": (None,),
            "features": (len(FEATURE_ROWS), None),
            "head": (None,),
            "detail": (len(STAGES),),
            "change": (None, None, None),
            "voxel_mm": (),
            "volumes": (len(STAGES), len(TISSUES) - 1),
        }
        if stored:
            expected |= {"feature_unit": (len(FEATURE_ROWS),), "change_unit": ()}
    else:
        n = arrays["parameters"].size if "parameters" in arrays else 0
        expected = {
            "parameters": (n,),
            "regions": (len(STAGES), n, N_REGIONS),
            "tissues": (len(STAGES), n, len(REGION_TISSUES)),
        }
    if set(arrays) != set(expected):
        raise _unusable(path, ", ".join(sorted(expected)), ", ".join(sorted(arrays)) or "nothing")
    for name, shape in expected.items():
        array = arrays[name]
        fits = array.ndim == len(shape) and all(
            have == want or (want is None and have > 0)
            for have, want in zip(array.shape, shape, strict=True)
        )
        if not fits or array.dtype.kind not in ("U" if name == "parameters" else "fiu"):
            wanted = "x".join("n" if want is None else str(want) for want in shape) or "a number"
            raise _unusable(path, f"{name} of {wanted}", f"{array.dtype} {array.shape}")


def _unusable(path: Path, expected: str, got: str) -> DataError:
    return DataError(
        "The summary of an image cannot be used",
        where=str(path),
        expected=expected,
        got=got,
        hint="Delete the image's JSON file and run the level participant again.",
    )
