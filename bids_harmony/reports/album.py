"""Pictures inside a page: scaled down until all of them fit into it."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import numpy as np

__all__ = ["Embedded", "embedded", "inline_pictures", "link_to"]

# Widths in pixels and JPEG qualities, tried in this order. What does not fit at the last one is
# left out: the page then names the file.
_LADDER = ((1100, 85), (800, 80), (600, 75), (420, 70), (300, 60), (200, 50))
#: Share of pixels like their neighbour: curves and words have 0.95 and more, brains 0.7 and less.
_FLAT = 0.85


class Embedded(NamedTuple):
    """A picture of a page: its ``data:`` address, empty where there is no room, and a link to the
    file."""

    address: str
    link: str


def link_to(path: Path, folder: Path) -> str:
    """Address of a file for a page in a folder."""
    return quote(Path(os.path.relpath(path, folder)).as_posix())


def embedded(
    pictures: Mapping[str, Path], addresses: Mapping[Path, str], folder: Path
) -> dict[str, Embedded]:
    """Pictures by kind, as a page in a folder shows them."""
    return {
        kind: Embedded(addresses.get(path, ""), link_to(path, folder))
        for kind, path in pictures.items()
    }


def inline_pictures(paths: Sequence[Path], limit: int) -> Mapping[Path, str]:
    """Turn pictures into ``data:`` addresses.

    All are scaled to one width, the largest at which they fit together.

    Parameters
    ----------
    paths : sequence of Path
        PNG files; those that cannot be read are left out.
    limit : int
        Bytes of all addresses together.

    Returns
    -------
    mapping of Path to str
        Without those for which there is no room even when they are small: the first ones stay.
    """
    made: dict[Path, str] = {}
    for width, quality in _LADDER:
        made, room = {}, limit
        for path in dict.fromkeys(paths):
            address = _address(path, width, quality)
            if address is None:
                continue
            room -= len(address)
            if room < 0:
                break
            made[path] = address
        if room >= 0:
            return made
    return made


def _address(path: Path, width: int, quality: int) -> str | None:
    """A picture as a JPEG, or as a PNG where that is smaller (curves and words)."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            image = picture.convert("RGB")
    except (OSError, UnidentifiedImageError):
        return None
    if image.width > width:
        height = max(1, round(image.height * width / image.width))
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    pixels = np.asarray(image.convert("L"))
    flat = float(np.mean(pixels[:, 1:] == pixels[:, :-1]))
    forms = {}
    # Packing a picture of a brain as PNG takes most of a page's time, and never made it smaller.
    for kind in ("JPEG", "PNG") if flat > _FLAT else ("JPEG",):
        buffer = io.BytesIO()
        image.save(buffer, kind, **({"quality": quality} if kind == "JPEG" else {}))
        forms[kind.lower()] = buffer.getvalue()
    kind, content = min(forms.items(), key=lambda form: len(form[1]))
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
