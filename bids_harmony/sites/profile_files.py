"""Site banks as safetensors files, several or one in each, read back as records."""

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
from bids_harmony.sites.image_profile import SiteBank
from bids_harmony.sites.scan_measures import ScanLooks

__all__ = [
    "BANKS_FILE",
    "as_stored",
    "bank_digest",
    "read_bank",
    "read_banks",
    "read_made_of",
    "read_site",
    "write_bank",
    "write_banks",
]

BANKS_FILE = "banks.safetensors"
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


def write_banks(folder: Path, banks: Iterable[SiteBank], voxel_mm: float) -> None:
    """Write the banks of a model in one step.

    Parameters
    ----------
    folder : Path
    banks : iterable of SiteBank
    voxel_mm : float
        Spacing of the reference grid that the mean images live on.
    """
    _write(Path(folder) / BANKS_FILE, sorted(banks, key=lambda b: b.key), {"voxel_mm": voxel_mm})


def write_bank(path: Path, bank: SiteBank, voxel_mm: float, made_of: Mapping[str, Any]) -> None:
    """Write one bank in one step.

    Parameters
    ----------
    path : Path
    bank : SiteBank
    voxel_mm : float
    made_of : mapping
        For JSON: all that the bank depends on.
    """
    _write(path, [bank], {"voxel_mm": voxel_mm, "made_of": dict(made_of)})


def read_banks(folder: Path) -> tuple[dict[tuple[str, str], SiteBank], float]:
    """Read all banks of a model folder.

    Returns
    -------
    banks : dict of (site, modality) to SiteBank
    voxel_mm : float

    Raises
    ------
    MissingInput
        The folder has no banks.
    DataError
        The file cannot be read.
    """
    path = Path(folder) / BANKS_FILE
    if not path.is_file():
        raise MissingInput(
            "A model folder has no site banks",
            where=str(path),
            expected="a folder that the level train wrote",
            hint="Run `bids_harmony BIDS OUT train` first, or name a folder with --model.",
        )
    banks, index = _read(path)
    return {(bank.site, bank.modality): bank for bank in banks}, float(index["voxel_mm"])


def read_bank(path: Path) -> tuple[SiteBank, dict[str, Any], float]:
    """Read what `write_bank` wrote: the bank, what it was made of, the spacing in mm.

    Raises
    ------
    DataError
        The file cannot be read.
    """
    banks, index = _read(path)
    if not banks:
        raise _damaged(path, LookupError("no bank in it"))
    return banks[0], dict(index.get("made_of", {})), float(index["voxel_mm"])


def read_site(path: Path) -> str:
    """Name of the site whose bank `write_bank` wrote; no image is read for it.

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
    """What the bank that `write_bank` wrote was made of; no image is read for it.

    Raises
    ------
    DataError
        The file cannot be read.
    """
    try:
        return dict(_read_index(path).get("made_of", {}))
    except _UNREADABLE as error:
        raise _damaged(path, error) from error


def as_stored(bank: SiteBank) -> SiteBank:
    """The bank as a file gives it back: rounded, so that what is made of it is the same."""
    return _unpack(_pack([bank], {}))[0][0]


def bank_digest(bank: SiteBank) -> str:
    """sha256 of a bank as a file holds it, so that it is the same before and after writing."""
    total = hashlib.sha256(json.dumps([bank.site, bank.modality, list(bank.scans)]).encode())
    for name, kind in _STORED.items():
        total.update(np.ascontiguousarray(getattr(bank, name), dtype=kind).tobytes())
    if bank.single is not None:
        for name, array in _looks_tensors(bank.single).items():
            total.update(name.encode() + array.tobytes())
        total.update(json.dumps(bank.single.people).encode())
    return total.hexdigest()


def _looks_tensors(looks: ScanLooks) -> dict[str, np.ndarray]:
    arrays = {name: getattr(looks, name) for name in _OF_SCANS}
    arrays |= {f"covariate.{name}": values for name, values in sorted(looks.covariates.items())}
    return {name: np.ascontiguousarray(array, np.float64) for name, array in arrays.items()}


def _write(path: Path, banks: Sequence[SiteBank], about: Mapping[str, Any]) -> None:
    write_with_folder(path, _pack(banks, about))


def _pack(banks: Sequence[SiteBank], about: Mapping[str, Any]) -> bytes:
    tensors: dict[str, np.ndarray] = {}
    index = []
    for number, bank in enumerate(banks):
        for name, kind in _STORED.items():
            array = getattr(bank, name)
            if kind is np.float16:
                array = to_half(array)
            tensors[f"{number}.{name}"] = np.ascontiguousarray(array, dtype=kind)
        about_bank = {
            "site": bank.site,
            "modality": bank.modality,
            "scale": bank.scale,
            "scans": list(bank.scans),
        }
        if bank.single is not None:
            single = _looks_tensors(bank.single)
            names = sorted(bank.single.covariates)
            about_bank |= {"people": list(bank.single.people), "covariates": names}
            # Names of covariates may hold any character: their columns are numbered.
            order = [*_OF_SCANS, *(f"covariate.{name}" for name in names)]
            for column, name in enumerate(order):
                tensors[f"{number}.single.{column}"] = single[name]
        index.append(about_bank)
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
        "The site banks cannot be read",
        where=str(path),
        got=f"{type(error).__name__}: {error}",
        hint="The file is damaged: train again, or copy the folder again.",
    )


def _single(
    tensors: Mapping[str, np.ndarray], number: int, entry: Mapping[str, Any]
) -> ScanLooks | None:
    """What single scans show; banks of earlier versions have averages only."""
    if "people" not in entry:
        return None
    names = list(entry["covariates"])
    columns = [tensors[f"{number}.single.{i}"] for i in range(len(_OF_SCANS) + len(names))]
    means, fields, detail, *covariates = columns
    return ScanLooks(
        people=tuple(entry["people"]),
        means=means,
        fields=fields,
        detail=detail,
        covariates=dict(zip(names, covariates, strict=True)),
    )


def _unpack(content: bytes) -> tuple[list[SiteBank], dict[str, Any]]:
    tensors = load_tensors(content)
    index = _index_of(tensors[_INDEX])
    banks = []
    for number, entry in enumerate(index["banks"]):
        arrays = {name: tensors[f"{number}.{name}"] for name in _STORED}
        arrays["mean_image"] = arrays["mean_image"].astype(np.float32)
        banks.append(
            SiteBank(
                site=entry["site"],
                modality=entry["modality"],
                scale=float(entry["scale"]),
                scans=tuple(entry["scans"]),
                single=_single(tensors, number, entry),
                **arrays,
            )
        )
    return banks, index


def _read(path: Path) -> tuple[list[SiteBank], dict[str, Any]]:
    try:
        banks, index = _unpack(read_bytes(path, most=MOST_TENSORS, holds="bank file"))
        float(index["voxel_mm"])
        dict(index.get("made_of", {}))
        return banks, index
    except BidsHarmonyError as error:
        if error.where:
            raise
        raise _damaged(path, error) from error
    except _UNREADABLE as error:
        raise _damaged(path, error) from error
