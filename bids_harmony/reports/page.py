"""What all pages share: the templates, filled with every word escaped."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["environment"]

_TEMPLATES = Path(__file__).with_name("templates")


@lru_cache(maxsize=1)
def environment() -> Environment:
    """Templates of the pages; what a dataset or a sidecar says is escaped."""
    from jinja2 import Environment, FileSystemLoader

    # A field that a sidecar lacks is empty; every other name is passed by the page.
    return Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
