"""What all pages share: the templates, filled with every word escaped."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["filled"]


def filled(template: str, **values: Any) -> str:
    """A page as text; what a dataset or a sidecar says is escaped."""
    return _environment().get_template(template).render(values)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader

    # A field that a sidecar lacks is empty; every other name is passed by the page.
    folder = FileSystemLoader(Path(__file__).with_name("templates"))
    return Environment(loader=folder, autoescape=True, trim_blocks=True, lstrip_blocks=True)
