"""The committed Boutiques descriptor is what the parser gives, and leads back to the parser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bids_harmony.cli.boutiques import descriptor
from bids_harmony.cli.parser import build_parser, parse_settings

COMMITTED = Path(__file__).resolve().parents[2] / "boutiques.json"


def test_the_committed_descriptor_is_that_of_the_parser():
    told = "make it anew: python -m bids_harmony.cli.boutiques > boutiques.json"
    assert json.loads(COMMITTED.read_text(encoding="utf-8")) == descriptor(), told


def test_every_option_is_an_input():
    flags = {entry.get("command-line-flag") for entry in descriptor()["inputs"]}
    for action in build_parser()._actions:
        if action.option_strings and action.dest not in ("help", "version"):
            if action.help != "==SUPPRESS==":
                assert flags & set(action.option_strings), action.option_strings


def test_identifiers_are_unique_and_have_their_place_on_the_command_line():
    record = descriptor()
    for name in ("id", "value-key"):
        values = [entry[name] for entry in record["inputs"]]
        assert len(set(values)) == len(values)
        if name == "value-key":
            assert record["command-line"].split()[1:] == values
    known = {entry["id"] for entry in record["inputs"]}
    assert all(set(group["members"]) <= known for group in record["groups"])


VALUES = {"Number": "1", "String": "x1", "File": "/a/b"}


@pytest.mark.parametrize(
    "entry",
    [e for e in descriptor()["inputs"] if "command-line-flag" in e],
    ids=lambda entry: entry["id"],
)
def test_the_parser_takes_what_the_descriptor_says(entry, monkeypatch):
    words = [entry["command-line-flag"]]
    if entry["type"] != "Flag":
        value = entry.get("value-choices", [VALUES[entry["type"]]])[0]
        value = {"mem": "4G", "mem_gb": "4", "device": "cpu"}.get(entry["id"], value)
        words += [value] * (2 if entry.get("list") and "value-choices" not in entry else 1)
    if entry["id"] == "config_file":
        words[1] = "demo"
    parsed = build_parser().parse_args(["/bids", "/out", "participant", *words])
    assert len(vars(parsed)) >= 3
    if entry["id"] in ("target_site", "participant_label", "skull_strip"):
        target = () if entry["id"] == "target_site" else ("--target-site", "A")
        parse_settings(["/bids", "/out", "participant", *target, *words])


def test_the_schema_takes_it():
    validate = pytest.importorskip("boutiques.validator").validate_descriptor
    validate(str(COMMITTED))
