"""Model folders: ``model.json`` (what it is) and ``model.safetensors`` (the numbers)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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

__all__ = ["load_members", "load_model", "save_model"]

#: Tensors that span more than half precision resolves.
_STATISTICS = ("code_mean", "code_std")


def save_model(
    folder: Path | str,
    network: IHFNetwork,
    encoder: Encoder | Mapping[str, Any],
    extra: Mapping[str, Any] | None = None,
    *,
    half: bool = False,
    others: Sequence[IHFNetwork] = (),
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
    others : sequence of IHFNetwork
        Further members, of the same configuration and encoder: the mean of all is applied.

    Returns
    -------
    dict
        What was written to ``model.json``.

    Raises
    ------
    DataError
        The encoder's record is incomplete or does not fit the network, or members differ.
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
    state: dict[str, torch.Tensor] = {}
    for number, member in enumerate((network, *others)):
        if (member.config, member.code_length) != (network.config, network.code_length):
            raise DataError(
                "The members of a model differ in more than their weights",
                expected=f"{network.config}, codes of {network.code_length}",
                got=f"{member.config}, codes of {member.code_length}",
            )
        own = member.state_dict()
        state |= {_prefix(number) + name: own[name].detach().cpu() for name in own}
    if half:
        halves = {k: v.half() for k, v in state.items() if not k.endswith(_STATISTICS)}
        # What half precision cannot hold stays as it is.
        state |= {k: v for k, v in halves.items() if torch.isfinite(v).all()}
    digest = write_tensors(state, folder / WEIGHTS_FILE)
    metadata = {
        "format": FORMAT,
        "network": network.config.to_dict(),
        "encoder": record,
        "weights": {"file": WEIGHTS_FILE, "sha256": digest},
        "members": 1 + len(others),
        "extra": dict(extra or {}),
    }
    content = json.dumps(metadata, indent=2, sort_keys=True) + "\n"
    write_with_folder(folder / METADATA_FILE, content.encode())
    return json.loads(content)


def load_model(
    folder: Path | str, device: torch.device | str = "cpu"
) -> tuple[IHFNetwork, dict[str, Any]]:
    """Read the first network of a model folder.

    Parameters and errors are those of `load_members`.

    Returns
    -------
    network : IHFNetwork
        In evaluation mode.
    metadata : dict
        The contents of ``model.json``.
    """
    members, metadata = load_members(folder, device)
    return members[0], metadata


def load_members(
    folder: Path | str, device: torch.device | str = "cpu"
) -> tuple[tuple[IHFNetwork, ...], dict[str, Any]]:
    """Read all networks of a model folder.

    Parameters
    ----------
    folder : path
    device : torch.device or str
        Where the networks are put.

    Returns
    -------
    members : tuple of IHFNetwork
        In evaluation mode; of models that know of none, the one network.
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
    members = []
    for own in _parted(state, found.members):
        network = build(lambda: IHFNetwork(found.config, found.code_length), own, found.weights)
        members.append(network.to(device).eval())
    return tuple(members), found.metadata


def _prefix(number: int) -> str:
    """Of the names of a member's tensors in the file; none for the first."""
    return f"{number + 1}." if number else ""


def _parted(state: dict[str, torch.Tensor], count: int) -> list[dict[str, torch.Tensor]]:
    """Tensors of each member under their own names; what belongs to no other is the first's."""
    parts: list[dict[str, torch.Tensor]] = [{} for _ in range(count)]
    for name, tensor in state.items():
        number = next((n for n in range(1, count) if name.startswith(_prefix(n))), 0)
        parts[number][name.removeprefix(_prefix(number))] = tensor
    return parts
