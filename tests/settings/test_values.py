"""What values are read as: memory, labels, named paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_harmony.settings.values import named_path, parse_label, parse_memory_mb


@pytest.mark.parametrize(
    ("text", "size"),
    [("500000K", 489), ("1K", 1), ("8000", 8000), ("8000M", 8000), ("8G", 8192), ("8GB", 8192),
     ("8gib", 8192), ("1.5G", 1536), ("1T", 2**20), (" 2 g ", 2048)],
)  # fmt: skip
def test_memory(text, size):
    assert parse_memory_mb(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1G", "0", "8X", "8 apples"])
def test_memory_that_is_none(text):
    with pytest.raises(ValueError):
        parse_memory_mb(text)


def test_labels():
    assert parse_label("sub-01", "sub") == parse_label("01", "sub") == "01"
    for bad in ("sub-", "a b", "ses-01"):
        with pytest.raises(ValueError):
            parse_label(bad, "sub")


def test_named_paths():
    assert named_path("fp=/a/b") == ("fp", Path("/a/b"))
    assert named_path("/a/fmriprep") == ("fmriprep", Path("/a/fmriprep"))
