"""The options of the command line, made from what is told of each setting."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bids_harmony.settings import SHIPPED_CONFIGS, Settings, TrainingSettings
from bids_harmony.settings.metadata import Group, Option, Setting, settings_under

__all__ = ["NO_SETTINGS", "TRAINING", "add_options"]

TRAINING = "training."  # Prefix of the training options in the parser's result.
_METAVARS = {int: "N", float: "X", Path: "FOLDER"}


# Options that are no settings, by the setting that each follows.
NO_SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "keep_workdir": (
        "--config-file",
        {
            "type": Path,
            "metavar": "TOML",
            "help": "settings, such as logs/<run>/settings.toml of an earlier run, or one of "
            f"{', '.join(SHIPPED_CONFIGS)}; the command line wins",
        },
    ),
}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add every setting to the parser, heading by heading."""
    for group in Group:
        heading = parser.add_argument_group(group.value) if group.value else parser
        training = group is Group.TRAINING
        for item in settings_under(group, TrainingSettings if training else Settings):
            if group is Group.POSITIONAL:
                _add_positional(heading, item)
                continue
            for option in (item.option, *item.option.also):
                flags = option.flags or (f"--{item.name.replace('_', '-')}",)
                words = _words(item, option)
                heading.add_argument(*flags, dest=TRAINING * training + item.name, **words)
            if item.name in NO_SETTINGS and not training:
                flag, words = NO_SETTINGS[item.name]
                heading.add_argument(flag, **words)


def _add_positional(heading: argparse._ActionsContainer, item: Setting) -> None:
    # Its choices are checked later: a level that is none has an exit code of its own.
    choices = item.option.choices
    metavar = f"{{{','.join(choices)}}}" if choices else None
    heading.add_argument(item.name, type=item.type, metavar=metavar, help=item.help)


def _words(item: Setting, option: Option) -> dict[str, Any]:
    """Arguments of `add_argument` for a flag."""
    text = item.help if option is item.option else option.help
    words: dict[str, Any] = {"help": text or argparse.SUPPRESS}
    if option.switch:
        return words | {"action": "store_true" if option.switch == "on" else option.switch}
    if item.type is bool and not option.read:
        # Can also be switched off again, against the settings file.
        return words | {"action": argparse.BooleanOptionalAction}
    if item.many:
        # Given twice, as launchers do, none of them is lost.
        words["action"] = "extend"
    return words | {
        "type": _reader(option.read or item.type),
        "metavar": option.metavar or _METAVARS.get(item.type),
        "choices": option.choices or None,
        "nargs": "?" if option.alone else ("*" if option.empty else "+") if item.many else None,
        "const": option.alone,
    }


def _reader(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """A reader whose own words about a wrong text are told; argparse has some for types."""
    if isinstance(read, type):
        return read

    def words(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return words
