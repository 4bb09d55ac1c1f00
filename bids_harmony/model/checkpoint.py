"""Model folders: ``model.json`` (what it is) and ``model.safetensors`` (the numbers)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bids_harmony.exceptions import DataError
from bids_harmony.io.atomic import write_with_folder
from bids_harmony.io.tensors import build, read_described
from bids_harmony.model.description import (
    FORMAT,
    METADATA_FILE,
    WEIGHTS_FILE,
    read_description,
)
from bids_harmony.model.encoder import Encoder
from bids_harmony.model.encoder_files import write_tensors
from bids_harmony.model.network import IHFNetwork

__all__ = ["load_model", "save_model"]


def save_model(
    folder: Path | str,
    network: IHFNetwork,
    encoder: Encoder | Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
    *,
    half: bool = False,
) -> dict[str, Any]:
    """Write a network into a folder, each file in one step, the weights first.

    Parameters
    ----------
    folder : path
        Made when it does not exist.
    network : IHFNetwork
    encoder : Encoder or mapping
        The encoder it was trained with; a mapping needs ``name`` and ``sha256``.
    extra : mapping, optional
        Anything for JSON that should travel with the model (version, seed, training data).
    half : bool
        Store weights in half precision, at half the size; statistics of the codes, which span
        more than it resolves, stay.

    Returns
    -------
    dict
        What was written to ``model.json``.

    Raises
    ------
    DataError
        The encoder's record is incomplete or does not fit the network.
    """
    if isinstance(encoder, Encoder):
        encoder = {
            "name": encoder.name,
            "sha256": encoder.sha256,
            "code_length": encoder.code_length,
        }
    record = {"code_length": network.code_length, **encoder}
    if not {"name", "sha256"} <= set(record) or record["code_length"] != network.code_length:
        raise DataError(
            "The encoder's record does not fit the network",
            expected=f"name, sha256 and code length {network.code_length}",
            got=str(record),
        )
    folder = Path(folder)
    state = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    if half:
        halves = {k: v.half() for k, v in state.items() if k not in ("code_mean", "code_std")}
        # What half precision cannot hold stays as it is.
        state |= {k: v for k, v in halves.items() if torch.isfinite(v).all()}
    digest = write_tensors(state, folder / WEIGHTS_FILE)
    metadata = {
        "format": FORMAT,
        "network": network.config.to_dict(),
        "encoder": record,
        "weights": {"file": WEIGHTS_FILE, "sha256": digest},
        "extra": dict(extra or {}),
    }
    content = json.dumps(metadata, indent=2, sort_keys=True) + "\n"
    write_with_folder(folder / METADATA_FILE, content.encode())
    return json.loads(content)


def load_model(
    folder: Path | str, device: torch.device | str = "cpu"
) -> tuple[IHFNetwork, dict[str, Any]]:
    """Read a model folder.

    Parameters
    ----------
    folder : path
    device : torch.device or str
        Where the network is put.

    Returns
    -------
    network : IHFNetwork
        In evaluation mode.
    metadata : dict
        The contents of ``model.json``.

    Raises
    ------
    MissingInput
        A file of the folder is missing.
    DataError
        The description is unreadable, the weights are not those described or do not fit.
    """
    found = read_description(folder)
    state = read_described(found.weights, found.sha256)
    network = build(lambda: IHFNetwork(found.config, found.code_length), state, found.weights)
    return network.to(device).eval(), found.metadata
