"""Folders of a machine, out of texts that leave it."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from bids_harmony.settings import Settings

__all__ = ["RedactingFormatter", "Redactor", "record_without_folders", "without_folders"]

# Two parts and more, not within a word, an address (https://...), a tag or a relative path.
_PART = r"[^\s/:'\"`,;()\[\]{}<>|]"
_PATH = re.compile(rf"(?<![\w/.:<>~-])~?/(?:{_PART}+/)+({_PART}*)")


def without_folders(text: str, folders: Mapping[str, str] | None = None) -> str:
    """Put names in the place of absolute paths.

    Parameters
    ----------
    text : str
    folders : mapping, optional
        Absolute folders that have a name of their own, and the name.

    Returns
    -------
    str
        Below these folders the path is told from there; of any other the last part is left.

    Examples
    --------
    >>> without_folders("No /data/raw/sub-01, see /home/me/log.txt", {"/data/raw": "<bids_dir>"})
    'No <bids_dir>/sub-01, see <path>/log.txt'
    """
    for folder, name in sorted((folders or {}).items(), key=lambda item: -len(item[0])):
        # The root of everything would eat every path.
        if len(folder) > 1:
            text = re.sub(rf"{re.escape(folder)}(?![\w.-])", name, text)
    return _PATH.sub(r"<path>/\1", text)


def record_without_folders(value: Any, folders: Mapping[str, str]) -> Any:
    """`without_folders` of every text in lists and tables."""
    if isinstance(value, str):
        return without_folders(value, folders)
    if isinstance(value, Mapping):
        return {
            without_folders(str(key), folders): record_without_folders(inner, folders)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [record_without_folders(inner, folders) for inner in value]
    return value


class Redactor:
    """Takes the machine's folders out of what one run writes as its provenance.

    Parameters
    ----------
    settings : Settings
        Its input, output and work folder become ``<bids_dir>``, ``<output_dir>`` and
        ``<work_dir>``; any other absolute path ``<path>/name``.
    """

    def __init__(self, settings: Settings) -> None:
        self.folders: dict[str, str] = {}
        for path in _paths(getattr(settings, item.name) for item in fields(settings)):
            # Known as a whole: a folder's name may hold blanks.
            self._name(path, f"<path>/{path.name}")
        self._name(Path.home(), "<path>")
        self._name(Path.cwd(), "<path>")
        self._name(settings.work_dir, "<work_dir>")
        self._name(settings.output_dir, "<output_dir>")
        self._name(settings.bids_dir, "<bids_dir>")

    def _name(self, path: Path, name: str) -> None:
        for form in {str(path), str(path.resolve())}:
            self.folders[form] = name

    def text(self, text: str) -> str:
        """One text."""
        return without_folders(text, self.folders)

    def record(self, value: Any) -> Any:
        """Every text in lists and tables."""
        return record_without_folders(value, self.folders)


class RedactingFormatter(logging.Formatter):
    """A formatter for the log file of a run, whose tracebacks name files as well."""

    def __init__(self, form: str, redactor: Redactor) -> None:
        super().__init__(form)
        self._redactor = redactor

    def format(self, record: logging.LogRecord) -> str:
        """The message without folders."""
        return self._redactor.text(super().format(record))


def _paths(values: Iterable[Any]) -> Iterable[Path]:
    for value in values:
        if isinstance(value, Path):
            yield value
        elif isinstance(value, Mapping):
            yield from _paths(value.values())
        elif isinstance(value, tuple):
            yield from _paths(value)
        elif hasattr(value, "encoder_file"):
            yield from _paths([value.encoder_file])
