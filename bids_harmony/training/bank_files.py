"""Site banks in a model folder: one safetensors file for all, read back as records."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from bids_harmony.exceptions import DataError, MissingInput
from bids_harmony.model.encoder_files import write_bytes
from bids_harmony.training.site_bank import SiteBank

__all__ = ["BANKS_FILE", "read_banks", "write_banks"]

BANKS_FILE = "banks.safetensors"
_INDEX = "index"
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


def write_banks(folder: Path, banks: Iterable[SiteBank], voxel_mm: float) -> None:
    """Write banks in one step.

    Parameters
    ----------
    folder : Path
    banks : iterable of SiteBank
    voxel_mm : float
        Spacing of the reference grid that the mean images live on.
    """
    tensors: dict[str, np.ndarray] = {}
    index = []
    for number, bank in enumerate(sorted(banks, key=lambda b: b.key)):
        for name, kind in _STORED.items():
            tensors[f"{number}.{name}"] = np.ascontiguousarray(getattr(bank, name), dtype=kind)
        index.append(
            {
                "site": bank.site,
                "modality": bank.modality,
                "scale": bank.scale,
                "scans": list(bank.scans),
            }
        )
    # Site names may hold any character: they travel as JSON, not as tensor names.
    text = json.dumps({"voxel_mm": voxel_mm, "banks": index}, sort_keys=True)
    tensors[_INDEX] = np.frombuffer(text.encode(), dtype=np.uint8)
    write_bytes(save_tensors(tensors), Path(folder) / BANKS_FILE)


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
    try:
        tensors = load_tensors(path.read_bytes())
        index = json.loads(tensors[_INDEX].tobytes().decode())
        banks = {}
        for number, entry in enumerate(index["banks"]):
            arrays = {name: tensors[f"{number}.{name}"] for name in _STORED}
            arrays["mean_image"] = arrays["mean_image"].astype(np.float32)
            bank = SiteBank(
                site=entry["site"],
                modality=entry["modality"],
                scale=float(entry["scale"]),
                scans=tuple(entry["scans"]),
                **arrays,
            )
            banks[bank.site, bank.modality] = bank
        return banks, float(index["voxel_mm"])
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise DataError(
            "The site banks cannot be read",
            where=str(path),
            got=f"{type(error).__name__}: {error}",
            hint="The file is damaged: train again, or copy the folder again.",
        ) from error
