"""Files of encoder weights: reading, writing and telling the VGG layouts apart."""

from __future__ import annotations

import hashlib
import pickle
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from bids_harmony.exceptions import DataError, MissingInput
from bids_harmony.io.atomic import write_with_folder
from bids_harmony.io.pointers import check_content, is_named
from bids_harmony.io.reading import MOST_TENSORS

__all__ = [
    "VGGWeights",
    "read_tensors",
    "read_vgg",
    "sha256_of_file",
    "write_tensors",
]

# Positions of the convolutions up to conv4_1 in the published Sequential modules.
_FEATURES_16 = (0, 2, 5, 7, 10, 12, 14, 17)
_FEATURES_19 = (0, 2, 5, 7, 10, 12, 14, 16, 19)
_ADAIN_19 = (2, 5, 9, 12, 16, 19, 22, 25, 29)
_FIRST_OF_BLOCK = {"vgg16": (0, 2, 4, 7), "vgg19": (0, 2, 4, 8)}

# What safetensors and torch.load raise on damaged files and on pickles with code in them.
_UNREADABLE = (
    SafetensorError,
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    AttributeError,
    TypeError,
    OverflowError,
    RecursionError,
    AssertionError,
    NotImplementedError,
    OSError,
    MemoryError,
    struct.error,
)

_OXFORD_MEAN = torch.tensor([123.68, 116.779, 103.939])
_IMAGENET_MEAN = torch.tensor([0.485, 0.456, 0.406])
_IMAGENET_STD = torch.tensor([0.229, 0.224, 0.225])

# First value of conv1_1. Oxford's and torchvision's VGG-16 share keys and shapes but not the input
# range (0..255 minus a mean, against standardised [0, 1]): only the values tell them apart.
_FIRST_VALUES = {
    ("vgg16", 0.47998): "oxford",
    ("vgg16", -0.55373): "torchvision",
    ("vgg19", -0.053474): "torchvision",
}


@dataclass(frozen=True)
class VGGWeights:
    """VGG convolutions under plain indices, with their input scaling.

    Attributes
    ----------
    name : str
        For example ``"vgg16-oxford"``.
    layout : {"vgg16", "vgg19"}
    widths : tuple of int
        Channels of the four blocks.
    convolutions : mapping
        ``"0.weight"``, ``"0.bias"``, ... in order up to conv4_1.
    colour : Tensor, (3, 3)
    offset : Tensor, (3,)
        The first convolution expects ``colour @ x + offset`` for x in [0, 1].
    """

    name: str
    layout: Literal["vgg16", "vgg19"]
    widths: tuple[int, ...]
    convolutions: Mapping[str, Tensor]
    colour: Tensor
    offset: Tensor


def sha256_of_file(path: Path) -> str:
    """Hexadecimal sha256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read named tensors from ``.safetensors`` or, without running code, from a PyTorch file.

    Raises
    ------
    MissingInput
        The file does not exist.
    DataError
        It cannot be read as a flat table of tensors.
    MemoryError
        There is no room for a sound ``.safetensors``.
    """
    if not is_named(path):
        raise MissingInput(
            "A weights file is missing", where=str(path), hint="Name a file that exists."
        )
    check_content(path)
    if not path.is_file():
        # A pipe would be waited for for ever.
        raise MissingInput(
            "A weights file is no regular file", where=str(path), hint="Name a file."
        )
    try:
        if path.stat().st_size > MOST_TENSORS:
            raise ValueError(f"{path.stat().st_size} bytes; {MOST_TENSORS} are allowed")
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except _UNREADABLE as error:
        if isinstance(error, MemoryError) and path.suffix == ".safetensors":
            # Its header is checked against the file's size first: memory is really short.
            raise
        raise DataError(
            "A weights file cannot be read",
            where=str(path),
            expected="tensors and nothing else",
            got=f"{type(error).__name__}: {error}"[:1000],
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise DataError("Not a table of tensors", where=str(path), got=type(state).__name__)
    return dict(state)


def write_tensors(state: Mapping[str, Tensor], path: Path) -> str:
    """Write tensors as safetensors in one step and return the file's sha256."""
    content = save({name: tensor.contiguous() for name, tensor in state.items()})
    write_with_folder(path, content)
    return hashlib.sha256(content).hexdigest()


def read_vgg(path: Path) -> VGGWeights:
    """Read a VGG file of a known layout up to conv4_1.

    Parameters
    ----------
    path : Path

    Raises
    ------
    MissingInput, DataError
    """
    state = read_tensors(path)
    # Some exports wrap the module ("module.features.0.weight"); the last two parts decide.
    pattern = re.compile(r"(?:^|.*\.)(features\.)?(\d+)\.(weight|bias)$")
    # A classifier head carries numbers too and must not shadow the convolutions.
    found = {
        (int(match[2]), match[3]): tensor.float()
        for name, tensor in state.items()
        if "classifier" not in name and (match := pattern.match(name))
    }
    shapes = {index: tuple(t.shape) for (index, kind), t in found.items() if kind == "weight"}
    indices: tuple[int, ...]
    if shapes.get(0) == (3, 3, 1, 1) and set(_ADAIN_19) <= set(shapes):
        layout, indices = "vgg19", _ADAIN_19
    elif shapes.get(0, ())[1:] == (3, 3, 3) and set(_FEATURES_19) <= set(shapes):
        layout, indices = "vgg19", _FEATURES_19
    elif shapes.get(0, ())[1:] == (3, 3, 3) and set(_FEATURES_16) <= set(shapes):
        layout, indices = "vgg16", _FEATURES_16
    else:
        raise DataError(
            "The layout of a VGG file is not known",
            where=str(path),
            expected="keys of torchvision (features.0.weight) or of AdaIN (0.weight, 2.weight)",
            got=", ".join(sorted(state)[:6]),
        )
    if any((index, "bias") not in found for index in indices):
        raise DataError("A VGG file lacks biases", where=str(path))
    convolutions = {
        f"{place}.{kind}": found[index, kind]
        for place, index in enumerate(indices)
        for kind in ("weight", "bias")
    }
    if indices == _ADAIN_19:
        scaling = "adain"
    else:
        scaling = _recognise_scaling(layout, float(convolutions["0.weight"].flatten()[0]), path)
    if scaling == "adain":
        colour, offset = found[0, "weight"][:, :, 0, 0], found[0, "bias"]
    elif scaling == "oxford":
        colour, offset = 255.0 * torch.eye(3), -_OXFORD_MEAN
    else:
        colour, offset = torch.diag(1.0 / _IMAGENET_STD), -_IMAGENET_MEAN / _IMAGENET_STD
    firsts = _FIRST_OF_BLOCK[layout]
    return VGGWeights(
        name=f"{layout}-{scaling}",
        layout=layout,  # type: ignore[arg-type]
        widths=tuple(convolutions[f"{first}.weight"].shape[0] for first in firsts),
        convolutions=convolutions,
        colour=colour,
        offset=offset,
    )


def _recognise_scaling(layout: str, value: float, path: Path) -> str:
    for (known_layout, known), scaling in _FIRST_VALUES.items():
        # Half precision keeps three digits.
        if layout == known_layout and abs(value - known) < 1e-3 * abs(known):
            return scaling
    raise DataError(
        "The input scaling of a VGG file is not known from its values",
        where=str(path),
        expected="a published file",
        got=f"{layout} whose first weight is {value:.6f}",
    )
