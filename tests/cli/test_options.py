"""Options and settings are the same: none without the other, all in the help."""

from __future__ import annotations

import argparse

import pytest

from bids_harmony.cli.options import NO_SETTINGS, TRAINING
from bids_harmony.cli.other_apps import ACCEPTED
from bids_harmony.cli.parser import build_parser
from bids_harmony.settings import Settings, TrainingSettings
from bids_harmony.settings.metadata import Group, Setting, settings_of, settings_under

ACTIONS = build_parser()._actions
SHOWN = [
    (group, item)
    for group in Group
    for record in (Settings, TrainingSettings)
    for item in settings_under(group, record)
]


def sections() -> dict[str, str]:
    """Text of help by heading, each in one line."""
    found: dict[str, str] = {}
    heading = ""
    for line in build_parser().format_help().splitlines():
        if line and not line.startswith(" ") and line.endswith(":"):
            heading = line[:-1]
        found[heading] = f"{found.get(heading, '')} {line.strip()}"
    return found


def first_flag(item: Setting) -> str:
    flags = item.option.flags or (f"--{item.name.replace('_', '-')}",)
    return flags[0]


def test_no_option_without_a_setting():
    known = {f"{TRAINING}{name}" for name in settings_of(TrainingSettings)}
    known |= {*settings_of(Settings), "help", "version"}
    others = [action for action in ACTIONS if action.dest not in known]
    assert sorted(action.option_strings[0] for action in others) == sorted(
        [*(flag for flag, _ in NO_SETTINGS.values()), *ACCEPTED]
    )


def test_every_setting_has_an_option_unless_it_says_that_it_has_none():
    dests = {action.dest for action in ACTIONS}
    assert dests >= {item.name for group, item in SHOWN if group is not Group.TRAINING}
    assert dests >= {TRAINING + item.name for group, item in SHOWN if group is Group.TRAINING}
    hidden = {
        name
        for record in (Settings, TrainingSettings)
        for name, item in settings_of(record).items()
        if item.option.group is None
    }
    assert hidden == {
        "training", "closed_form", "twin_absolute", "twin_squared", "same_site_share",
        "slices_per_pair", "validate_every",
    }  # fmt: skip


@pytest.mark.parametrize(("group", "item"), SHOWN, ids=lambda v: getattr(v, "name", ""))
def test_help_shows_every_setting_under_its_heading(group, item):
    text = sections()[group.value or "positional arguments"]
    assert "".join(item.help.split()) in text.replace(" ", "")  # lines also end behind a dash
    if group.value:
        assert f" {first_flag(item)}" in text


def test_headings_and_their_order():
    *ours, last = list(sections())[3:]
    assert ours == [group.value for group in Group if group.value]
    assert last == "Accepted from other BIDS Apps, without effect"


def test_order_of_options_that_do_not_follow_their_fields():
    places = {action.dest: place for place, action in enumerate(ACTIONS)}
    order = ("method", "output_spaces", "output_layout", "on_ood", "skull_strip", "n4", "dwi_mode")
    assert [places[name] for name in order] == sorted(places[name] for name in order)
    assert places["config_file"] == places["keep_workdir"] + 1 == places["dry_run"] - 1


def test_wrong_texts_are_told_in_the_words_of_their_reader():
    kinds = {action.dest: action.type for action in ACTIONS if action.type}
    with pytest.raises(argparse.ArgumentTypeError, match="'a_b' is not a BIDS label"):
        kinds["participant_labels"]("a_b")
    assert kinds["random_seed"] is int  # argparse has words of its own for it
