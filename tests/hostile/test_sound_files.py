"""Sound files are read: the table of parsers tests what it says."""

from __future__ import annotations

import pytest

from tests.hostile.parsers import PARSERS, outcome


@pytest.mark.parametrize("name", PARSERS)
def test_sound_files_are_read_and_empty_ones_name_themselves(name, tmp_path):
    parser = PARSERS[name]
    for number, seed in enumerate(parser.seeds()):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert outcome(parser, folder, seed) == "value"
    outcome(parser, folder, b"")
