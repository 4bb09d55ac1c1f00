"""A reader of files that come from outside, and what came of a file.

A reader gives a value, or raises an error of ours that names the file; anything else is a fault.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_harmony.exceptions import BidsHarmonyError

__all__ = ["JSON_WORDS", "TENSOR_WORDS", "Parser", "as_json", "outcome"]


#: What mutations put into JSON, and into the header of a safetensors file.
JSON_WORDS = ("NaN", "Infinity", "1e999", "null", "true", "[]", "{}", '"\\ud800"', "9" * 30)
TENSOR_WORDS = ('"F32"', '"F8_E4M3"', '"BF16"', '"shape":[', '"data_offsets":[', "4294967296")


@dataclass(frozen=True)
class Parser:
    """A reader and what it reads.

    Attributes
    ----------
    file : str
        Name of the file under test.
    read : callable
        Takes the file's path.
    seeds : callable
        Contents of sound files.
    words : tuple of str
        What a mutation may put in: keys and numbers of the format.
    pack : callable
        From mutated bytes to the file's: lets mutations get behind a checksum.
    beside : callable
        Makes the files beside the one under test, from the folder and the file's bytes.
    optional : bool
        What cannot be read counts as not there.
    """

    file: str
    read: Callable[[Path], object]
    seeds: Callable[[], list[bytes]]
    words: tuple[str, ...] = ()
    pack: Callable[[bytes], bytes] = bytes
    beside: Callable[[Path, bytes], object] = lambda folder, content: None
    optional: bool = False


def outcome(parser: Parser, folder: Path, content: bytes) -> str:
    """Read one file; "value" or the name of our error.

    Raises
    ------
    AssertionError
        An error of ours does not name the file.
    Exception
        Whatever else the reader lets through: a fault.
    """
    path = folder / parser.file
    packed = parser.pack(content)
    path.write_bytes(packed)
    parser.beside(folder, packed)
    try:
        parser.read(path)
    except BidsHarmonyError as error:
        # A model's two files answer for each other.
        assert str(folder) in str(error), f"no file is named: {error}"
        assert len(str(error)) < 20_000, "an error fills the screen"
        return type(error).__name__
    return "value"


def as_json(record: Any) -> list[bytes]:
    """A JSON file of it, as seeds are given."""
    return [json.dumps(record, indent=1).encode()]
