"""A setting is written once: all that is told of it follows from its field."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

import pytest

from bids_harmony.exceptions import UsageError
from bids_harmony.settings import Settings, TrainingSettings
from bids_harmony.settings.metadata import (
    Group,
    check_values,
    setting,
    settings_of,
    settings_under,
)
from bids_harmony.settings.toml import toml_table, typed_fields
from bids_harmony.settings.values import check_positive

RECORDS = (Settings, TrainingSettings)


@dataclass(frozen=True)
class Tiny:
    """A record as a developer would write one."""

    size: float = setting(2.0, "how large {default}", group=Group.SITES, check=check_positive)
    kind: str = setting("a", "of {choices} {default}", group=Group.SITES, choices=("a", "b"))
    kinds: tuple[str, ...] = setting(("a",), "{default}", group=Group.SITES, choices=("a", "b"))
    late: int = setting(0, "late", group=Group.SITES, after="size")
    latest: int | None = setting(None, "latest {default}", group=Group.SITES, after="late")
    count: int = setting(0, "count", group=Group.RUNNING, switch="count")
    cores: int = setting(0, "cores", group=Group.RUNNING, machine=lambda record: 8)
    place: Path | None = setting(None, "place", group=None)


@pytest.mark.parametrize("record", RECORDS)
def test_every_field_is_told_of(record):
    told = settings_of(record)
    assert list(told) == [item.name for item in fields(record)]
    for name, item in told.items():
        assert item.help, name
        assert "{" not in item.help.replace('{"t1w": {', ""), name


@pytest.mark.parametrize("record", RECORDS)
def test_every_setting_with_a_heading_is_shown_once(record):
    shown = [item.name for group in Group for item in settings_under(group, record)]
    wanted = [name for name, item in settings_of(record).items() if item.option.group is not None]
    assert sorted(shown) == sorted(wanted)


def test_a_field_without_metadata_is_no_setting():
    @dataclass
    class Forgotten:
        size: int = field(default=3)

    with pytest.raises(KeyError, match="option"):
        settings_of(Forgotten)


def test_help_has_choices_and_default():
    told = {name: item.help for name, item in settings_of(Tiny).items()}
    assert told["size"] == "how large (default: 2.0)"
    assert told["kind"] == "of a, b (default: a)"
    assert told["kinds"] == "(default: a)"
    assert told["latest"] == "latest"


def test_order_of_help():
    shown = [item.name for item in settings_under(Group.SITES, Tiny)]
    assert shown == ["size", "late", "latest", "kind", "kinds"]
    assert [item.name for item in settings_under(Group.RUNNING, Tiny)] == ["count", "cores"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"size": 0.0}, "above zero"),
        ({"kind": "c"}, "a or b"),
        ({"kinds": ("a", "c")}, "Got: c"),
        ({"late": -1}, "below zero"),
        ({"latest": -1}, "below zero"),
    ],
)
def test_checks_follow_from_the_field(options, told):
    with pytest.raises(UsageError, match=told):
        check_values(Tiny(**options))


def test_what_is_not_set_and_what_is_counted_is_not_checked():
    check_values(Tiny(latest=None, place=None, kinds=()))
    check_values(Tiny(count=-1))


def test_a_table_and_back():
    record = Tiny(kinds=("a", "b"), place=Path("/p"), cores=8, latest=3)
    table = toml_table(record)
    assert table == {
        "size": 2.0, "kind": "a", "kinds": ["a", "b"], "late": 0, "latest": 3, "count": 0,
        "place": "/p",
    }  # fmt: skip
    assert Tiny(**typed_fields(Tiny, table, "t"), cores=8) == record
    assert toml_table(Tiny(cores=3))["cores"] == 3


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"sise": 1}, "Did you mean size"),
        ({"size": "x"}, "Expected: float"),
        ({"size": float("nan")}, "Expected: float"),
        ({"latest": True}, "Expected: int"),
        ({"place": 3}, "Expected: Path"),
        ({"kinds": [1]}, "Expected: tuple"),
    ],
)
def test_wrong_types_are_told_by_the_annotation(table, told):
    with pytest.raises(UsageError, match=told):
        typed_fields(Tiny, table, "t")
