"""Command lines that were written for other BIDS Apps."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bids_harmony.cli.other_apps import ACCEPTED, REFUSED, explained
from bids_harmony.cli.parser import build_parser, parse_settings
from bids_harmony.exceptions import UsageError
from bids_harmony.settings import Settings

BASE = ["bids", "out", "participant", "--target-site", "COI"]
PAGE = Path(__file__).resolve().parents[2] / "docs/flags.md"
OURS = set(build_parser()._option_string_actions)


def rows() -> list[tuple[str, str, str]]:
    """Heading, words and last cell of every row of the page's tables."""
    found, heading = [], ""
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if line.startswith("## "):
            heading = line[3:]
        elif match := re.match(r"\| `(-[^`]+)` \| [^|]+ \| (.*) \|$", line):
            found.append((heading, match[1], match[2]))
    return found


ROWS = rows()


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Files that the rows name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "filters.json").write_text("{}")
    (tmp_path / "derived.json").write_text('{"mask": {"desc": "brain"}}')
    (tmp_path / "settings.toml").write_text("")


@pytest.mark.parametrize(("heading", "words", "told"), ROWS, ids=[row[1] for row in ROWS])
def test_each_row_does_what_the_table_says(heading, words, told):
    flag, *values = words.split()
    for spelling in {flag, re.sub(r"(?<=--)(\w.*)", lambda long: long[1].replace("-", "_"), flag)}:
        asked = [*BASE, spelling, *values]
        if heading == "Refused":
            with pytest.raises(UsageError) as caught:
                parse_settings(asked)
            if not values:
                assert REFUSED[flag.replace("_", "-")] == told
                assert told[1:] in caught.value.hint
        elif flag == "--version":
            with pytest.raises(SystemExit):
                parse_settings(asked)
        else:
            assert isinstance(parse_settings(asked), Settings)
            sentences = explained(asked)
            if heading == "Work":
                assert not sentences
            else:
                assert sentences == [f"{flag} changes nothing: {told}"]


def test_the_table_has_every_flag_that_is_accepted_or_refused():
    named = {words.split()[0].replace("_", "-") for _, words, _ in ROWS}
    assert {*ACCEPTED, *REFUSED} <= named
    assert {heading for heading, *_ in ROWS} == {
        "Work", "Accepted, and change nothing", "Refused",
    }  # fmt: skip
    assert len(ROWS) > 200


def test_no_flag_of_ours_is_refused_and_hints_name_flags_that_exist():
    assert not OURS & set(REFUSED)
    for word in [*REFUSED.values(), *(why for _, why in ACCEPTED.values())]:
        assert set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", word)) <= OURS, word


def test_accepted_flags_change_nothing():
    asked = [*BASE, "--low-mem", "--level", "minimal", "--bids_database_dir=/db", "--write-graph"]
    assert parse_settings(asked) == parse_settings(BASE)
    assert [sentence.split()[0] for sentence in explained(asked)] == [
        "--low-mem", "--level", "--bids-database-dir", "--write-graph",
    ]  # fmt: skip


def test_values_are_no_flags():
    asked = parse_settings([*BASE, "--source-site", "low_mem", "--site_map=a_b.tsv"])
    assert (asked.source_site, asked.site_map.name) == ("low_mem", "a_b.tsv")
