"""Composite transforms as ANTs writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

__all__ = ["write_composite"]


def write_composite(file: Path | IO[bytes], parts: Sequence[tuple[str, Any, Any]]) -> None:
    """Write transforms in the order of `parts`: type, parameters, fixed parameters."""
    import h5py

    kind = h5py.string_dtype("ascii")
    with h5py.File(file, "w") as made:
        group = made.create_group("TransformGroup")
        first = group.create_group("0")
        first.create_dataset("TransformType", data=[b"CompositeTransform_float_3_3"], dtype=kind)
        for number, (name, numbers, fixed) in enumerate(parts, start=1):
            part = group.create_group(str(number))
            part.create_dataset("TransformType", data=[name.encode()], dtype=kind)
            part.create_dataset("TransformParameters", data=np.asarray(numbers, np.float32))
            part.create_dataset("TransformFixedParameters", data=np.asarray(fixed, np.float64))
