"""Site profiles as safetensors files, several or one in each, read back as records."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from bids_harmony.exceptions import BidsHarmonyError, DataError, MissingInput
from bids_harmony.imaging.intensity import to_half
from bids_harmony.io.atomic import write_with_folder
from bids_harmony.io.reading import MOST_TENSORS, read_bytes
from bids_harmony.sites.image_profile import ImageProfile
from bids_harmony.sites.scan_measures import ScanMeasures

__all__ = [
    "PROFILES_FILE",
    "as_stored",
    "profile_digest",
    "read_profile",
    "read_profiles",
    "read_made_of",
    "read_site",
    "write_profile",
    "write_profiles",
]

PROFILES_FILE = "banks.safetensors"
_INDEX = "index"
_UNREADABLE = (
    SafetensorError, LookupError, ValueError, TypeError, AttributeError, OverflowError,
    RecursionError, OSError,
)  # fmt: skip
# Half precision of a mean image is 5e-4 of the range: far below its sampling error.
_STORED = {
    "mean_image": np.float16,
    "landmarks": np.float64,
    "quantiles": np.float64,
    "codes": np.float32,
    "texture": np.float32,
    "tissue_means": np.float64,
    "field": np.float64,
}
_OF_SCANS = ("means", "fields", "detail")
#: Profiles of earlier versions have none of these.
_MORE_OF_SCANS = ("curves", "blur")


def write_profiles(folder: Path, profiles: Iterable[ImageProfile], voxel_mm: float) -> None:
    """Write the profiles of a model in one step.

    Parameters
    ----------
    folder : Path
    profiles : iterable of ImageProfile
    voxel_mm : float
        Spacing of the reference grid that the mean images live on.
    """
    _write(
        Path(folder) / PROFILES_FILE, sorted(profiles, key=lambda b: b.key), {"voxel_mm": voxel_mm}
    )


def write_profile(
    path: Path, profile: ImageProfile, voxel_mm: float, made_of: Mapping[str, Any]
) -> None:
    """Write one profile in one step.

    Parameters
    ----------
    path : Path
    profile : ImageProfile
    voxel_mm : float
    made_of : mapping
        For JSON: all that the profile depends on.
    """
    _write(path, [profile], {"voxel_mm": voxel_mm, "made_of": dict(made_of)})


def read_profiles(folder: Path) -> tuple[dict[tuple[str, str], ImageProfile], float]:
    """Read all profiles of a model folder.

    Returns
    -------
    profiles : dict of (site, modality) to ImageProfile
    voxel_mm : float

    Raises
    ------
    MissingInput
        The folder has no profiles.
    DataError
        The file cannot be read.
    """
    path = Path(folder) / PROFILES_FILE
    if not path.is_file():
        raise MissingInput(
            "A model folder has no site profiles",
            where=str(path),
            expected="a folder that the level train wrote",
            hint="Run `bids_harmony BIDS OUT train` first, or name a folder with --model.",
        )
    profiles, index = _read(path)
    return {(profile.site, profile.modality): profile for profile in profiles}, float(
        index["voxel_mm"]
    )


def read_profile(path: Path) -> tuple[ImageProfile, dict[str, Any], float]:
    """Read what `write_profile` wrote: the profile, what it was made of, the spacing in mm.

    Raises
    ------
    DataError
        The file cannot be read.
    """
    profiles, index = _read(path)
    if not profiles:
        raise _damaged(path, LookupError("no profile in it"))
    return profiles[0], dict(index.get("made_of", {})), float(index["voxel_mm"])


def read_site(path: Path) -> str:
    """Name of the site whose profile `write_profile` wrote; no image is read for it.

    Raises
    ------
    DataError
        The file cannot be read.
    """
    try:
        return str(_read_index(path)["banks"][0]["site"])
    except _UNREADABLE as error:
        raise _damaged(path, error) from error


def read_made_of(path: Path) -> dict[str, Any]:
    """What the profile that `write_profile` wrote was made of; no image is read for it.

    Raises
    ------
    DataError
        The file cannot be read.
    """
    try:
        return dict(_read_index(path).get("made_of", {}))
    except _UNREADABLE as error:
        raise _damaged(path, error) from error


def as_stored(profile: ImageProfile) -> ImageProfile:
    """The profile as a file gives it back: rounded, so that what is made of it is the same."""
    return _unpack(_pack([profile], {}))[0][0]


def profile_digest(profile: ImageProfile) -> str:
    """sha256 of a profile as a file holds it, so that it is the same before and after writing."""
    total = hashlib.sha256(
        json.dumps([profile.site, profile.modality, list(profile.scans)]).encode()
    )
    for name, kind in _STORED.items():
        total.update(np.ascontiguousarray(getattr(profile, name), dtype=kind).tobytes())
    if profile.single is not None:
        for name, array in _measures_tensors(profile.single).items():
            total.update(name.encode() + array.tobytes())
        total.update(json.dumps(profile.single.people).encode())
        if profile.single.groups is not None:
            total.update(json.dumps(profile.single.groups).encode())
    return total.hexdigest()


def _measures_tensors(measures: ScanMeasures) -> dict[str, np.ndarray]:
    arrays = {name: getattr(measures, name) for name in _OF_SCANS}
    more = {name: getattr(measures, name) for name in _MORE_OF_SCANS}
    arrays |= {name: array for name, array in more.items() if array is not None}
    arrays |= {f"covariate.{name}": values for name, values in sorted(measures.covariates.items())}
    return {name: np.ascontiguousarray(array, np.float64) for name, array in arrays.items()}


def _write(path: Path, profiles: Sequence[ImageProfile], about: Mapping[str, Any]) -> None:
    write_with_folder(path, _pack(profiles, about))


def _pack(profiles: Sequence[ImageProfile], about: Mapping[str, Any]) -> bytes:
    tensors: dict[str, np.ndarray] = {}
    index = []
    for number, profile in enumerate(profiles):
        for name, kind in _STORED.items():
            array = getattr(profile, name)
            if kind is np.float16:
                array = to_half(array)
            tensors[f"{number}.{name}"] = np.ascontiguousarray(array, dtype=kind)
        about_profile = {
            "site": profile.site,
            "modality": profile.modality,
            "scale": profile.scale,
            "scans": list(profile.scans),
        }
        if profile.single is not None:
            single = _measures_tensors(profile.single)
            names = sorted(profile.single.covariates)
            about_profile |= {"people": list(profile.single.people), "covariates": names}
            if profile.single.groups is not None:
                about_profile["groups"] = list(profile.single.groups)
            # Names of covariates may hold any character: their columns are numbered.
            order = [*_OF_SCANS, *(f"covariate.{name}" for name in names)]
            for column, name in enumerate(order):
                tensors[f"{number}.single.{column}"] = single[name]
            for name in _MORE_OF_SCANS:
                if name in single:
                    tensors[f"{number}.single.{name}"] = single[name]
        index.append(about_profile)
    # Site names may hold any character: they travel as JSON, not as tensor names.
    text = json.dumps({**about, "banks": index}, sort_keys=True)
    tensors[_INDEX] = np.frombuffer(text.encode(), dtype=np.uint8)
    return bytes(save_tensors(tensors))


def _read_index(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="numpy") as file:
        return _index_of(file.get_tensor(_INDEX))


def _index_of(packed: np.ndarray) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(packed.tobytes().decode())
    return found


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(
        "The site profiles cannot be read",
        where=str(path),
        got=f"{type(error).__name__}: {error}",
        hint="The file is damaged or no profile: make it again, or copy it again.",
    )


def _single(
    tensors: Mapping[str, np.ndarray], number: int, entry: Mapping[str, Any]
) -> ScanMeasures | None:
    """What single scans show; profiles of earlier versions have averages only."""
    if "people" not in entry:
        return None
    names = list(entry["covariates"])
    columns = [tensors[f"{number}.single.{i}"] for i in range(len(_OF_SCANS) + len(names))]
    means, fields, detail, *covariates = columns
    return ScanMeasures(
        people=tuple(entry["people"]),
        means=means,
        fields=fields,
        detail=detail,
        covariates=dict(zip(names, covariates, strict=True)),
        curves=tensors.get(f"{number}.single.curves"),
        blur=tensors.get(f"{number}.single.blur"),
        groups=tuple(entry["groups"]) if "groups" in entry else None,
    )


def _unpack(content: bytes) -> tuple[list[ImageProfile], dict[str, Any]]:
    tensors = load_tensors(content)
    index = _index_of(tensors[_INDEX])
    profiles = []
    for number, entry in enumerate(index["banks"]):
        arrays = {name: tensors[f"{number}.{name}"] for name in _STORED}
        arrays["mean_image"] = arrays["mean_image"].astype(np.float32)
        profiles.append(
            ImageProfile(
                site=entry["site"],
                modality=entry["modality"],
                scale=float(entry["scale"]),
                scans=tuple(entry["scans"]),
                single=_single(tensors, number, entry),
                **arrays,
            )
        )
    return profiles, index


def _read(path: Path) -> tuple[list[ImageProfile], dict[str, Any]]:
    try:
        profiles, index = _unpack(read_bytes(path, most=MOST_TENSORS, holds="profile file"))
        float(index["voxel_mm"])
        dict(index.get("made_of", {}))
        return profiles, index
    except BidsHarmonyError as error:
        if error.where:
            raise
        raise _damaged(path, error) from error
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
