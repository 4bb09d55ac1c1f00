"""Weights from bytes into modules, and what is said when they are damaged or do not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from bids_harmony.exceptions import DataError

__all__ = ["fill", "parse_tensors", "read_described"]


def parse_tensors(content: bytes, where: Path) -> dict[str, Tensor]:
    """Parse the bytes of a safetensors file.

    Parameters
    ----------
    content : bytes
    where : Path
        The file, for the message.

    Raises
    ------
    DataError
        The bytes are no safetensors file.
    """
    try:
        return load(content)
    except (SafetensorError, ValueError, KeyError) as error:
        raise DataError(
            "A weights file cannot be read",
            where=str(where),
            expected="tensors and nothing else",
            got=f"{type(error).__name__}: {error}",
            hint="The file is damaged: copy it again, or install or train again.",
        ) from error


def read_described(path: Path, sha256: str) -> dict[str, Tensor]:
    """Read the safetensors file that a model description names by its sha256.

    Parameters
    ----------
    path : Path
    sha256 : str
        Hexadecimal, from the description.

    Raises
    ------
    DataError
        The file is another one, or no safetensors file.
    """
    # Hash and parse the same bytes, so that a concurrent writer cannot slip in between.
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise DataError(
            "The weights are not those that the model describes",
            where=str(path),
            expected=f"sha256 {sha256}",
            got=digest,
            hint="The file is damaged or belongs to another model; copy the folder again.",
        )
    return parse_tensors(content, path)


def fill(module: nn.Module, state: Mapping[str, Tensor], where: Path) -> None:
    """Load a state into a module, every tensor of it.

    Parameters
    ----------
    module : nn.Module
        Changed in place.
    state : mapping of str to Tensor
    where : Path
        The file it came from, for the message.

    Raises
    ------
    DataError
        Names or shapes are not those of the module.
    """
    try:
        module.load_state_dict(dict(state))
    except RuntimeError as error:
        raise DataError(
            "The weights do not fit the network", where=str(where), got=str(error)
        ) from error
