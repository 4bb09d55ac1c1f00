"""Weights from bytes into modules, and what is said when they are damaged or do not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from bids_harmony.exceptions import DataError
from bids_harmony.io.reading import MOST_TENSORS, read_bytes

__all__ = ["build", "fill", "parse_tensors", "read_described"]

Module = TypeVar("Module", bound=nn.Module)


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
        # The library checks every size of the header against the file's before it makes anything.
        return load(content)
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise DataError(
            "A weights file cannot be read",
            where=str(where),
            expected="tensors and nothing else",
            got=f"{type(error).__name__}: {error}",
            hint="The file is damaged: copy it again, or install or train again.",
        ) from error
    except BaseException as error:
        # What pyo3 raises where Python is out of memory; its class cannot be imported.
        if type(error).__name__ != "PanicException":
            raise
        raise MemoryError(f"while {where} was read") from error


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
    content = read_bytes(path, most=MOST_TENSORS, holds="weights file")
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise DataError(
            "The weights are not those that the model describes",
            where=str(path),
            expected=f"sha256 {str(sha256)[:64]}",
            got=digest,
            hint="The file is damaged or belongs to another model; copy the folder again.",
        )
    return parse_tensors(content, path)


def build(make: Callable[[], Module], state: Mapping[str, Tensor], where: Path) -> Module:
    """Make a module of the size that its weights have, and fill it.

    Parameters
    ----------
    make : callable
        Makes the module, of any size that a description asked for: it is made without memory
        first, and truly only when names and shapes of its tensors are those of `state`.
    state : mapping of str to Tensor
    where : Path
        The file it came from, for the message.

    Raises
    ------
    DataError
        Names or shapes are not those of the module.
    """
    try:
        with torch.device("meta"):
            wanted = {name: tuple(t.shape) for name, t in make().state_dict().items()}
    except (RuntimeError, ValueError, TypeError) as error:
        raise DataError(
            "The network that a model describes cannot be built",
            where=str(where.parent),
            got=f"{type(error).__name__}: {error}"[:500],
        ) from error
    got = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if wanted != got:
        names = sorted(n for n in {*wanted, *got} if wanted.get(n) != got.get(n))
        raise DataError(
            "The weights do not fit the network",
            where=str(where),
            expected="; ".join(f"{n} {wanted.get(n, 'not there')}" for n in names[:3])[:500],
            got="; ".join(f"{n} {got.get(n, 'not there')}" for n in names[:3])[:500],
        )
    module = make()
    fill(module, state, where)
    return module


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
            "The weights do not fit the network", where=str(where), got=str(error)[:2000]
        ) from error
