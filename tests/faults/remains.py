"""What a struck run left behind: whole or not, and the same as that of an undisturbed one."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["comparable", "differences", "not_whole", "temporaries"]

_RUN_ID = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}")
_TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\+00:00)?|\b\d+(?:\.\d+)? s\b")


def temporaries(out: Path) -> list[str]:
    """Names of temporary files."""
    return sorted(str(p.relative_to(out)) for p in out.rglob(".*.tmp"))


def not_whole(out: Path) -> list[str]:
    """Files under a final name that cannot be read to their end."""
    wrong = []
    for path in out.rglob("*"):
        if path.is_file() and not path.name.endswith(".tmp"):
            read = _READERS.get(path.suffix, Path.read_bytes)
            try:
                read(path)
            except Exception as error:
                wrong.append(f"{path.relative_to(out)} is not whole: {error}")
    return wrong


def _read_nifti(path: Path) -> None:
    import nibabel as nib
    import numpy as np

    np.asanyarray(nib.load(path).dataobj)


def _read_arrays(path: Path) -> None:
    import numpy as np

    with np.load(path) as file:
        for name in file.files:
            file[name]


def _read_tensors(path: Path) -> None:
    from safetensors.numpy import load_file

    load_file(path)


def _read_picture(path: Path) -> None:
    from matplotlib.image import imread

    imread(path)


def _read_page(path: Path) -> None:
    if not path.read_text().rstrip().endswith("</html>"):
        raise ValueError("no end")


def _read_lines(path: Path) -> None:
    if not path.read_text().endswith("\n"):
        raise ValueError("no end of line")


_READERS: dict[str, Callable[[Path], Any]] = {
    ".gz": _read_nifti,
    ".html": _read_page,
    ".json": lambda path: json.loads(path.read_text()),
    ".md": _read_lines,
    ".npz": _read_arrays,
    ".png": _read_picture,
    ".safetensors": _read_tensors,
    ".toml": _read_lines,
    ".tsv": _read_lines,
}


def comparable(out: Path) -> dict[str, str]:
    """sha256 of what a run wrote, but for its logs; times of day and durations are masked."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out)
        if not path.is_file() or _RUN_ID.search(str(name)) or name.suffix == ".tmp":
            continue
        content = path.read_bytes()
        if path.suffix in (".html", ".md"):
            content = _TIMES.sub("", _RUN_ID.sub("", content.decode())).encode()
        elif path.name.endswith("_checkpoint.safetensors"):
            content = _without_seconds(content)
        found[str(name)] = hashlib.sha256(content).hexdigest()
    return found


def _without_seconds(checkpoint: bytes) -> bytes:
    """A training's checkpoint without the time that it took."""
    import numpy as np
    from safetensors.numpy import load, save

    tensors = load(checkpoint)
    about = json.loads(tensors["about"].tobytes())
    del about["progress"]["seconds"]
    tensors["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    return save(tensors)


def differences(reference: dict[str, str], other: dict[str, str]) -> list[str]:
    """Files that are missing, too many or of other bytes."""
    told = [f"{name} is missing" for name in sorted(reference.keys() - other)]
    told += [f"{name} is too many" for name in sorted(other.keys() - reference)]
    both = sorted(reference.keys() & other.keys())
    return told + [f"{name} differs" for name in both if reference[name] != other[name]]
