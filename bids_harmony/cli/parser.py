"""The command line of a BIDS App.

Nothing heavy is imported here or above: ``--help`` and ``--version`` answer at once.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from bids_harmony import __version__
from bids_harmony.cli.options import TRAINING, add_options
from bids_harmony.cli.other_apps import add_accepted, check_flags, spelt
from bids_harmony.exceptions import UnknownLevel, UsageError
from bids_harmony.settings import LEVELS, Settings, read_settings_file
from bids_harmony.settings.metadata import Group, settings_under

__all__ = ["build_parser", "parse_settings", "parse_words"]


#: Name under which `_Words` keeps what was given twice.
_TWICE = "(twice)"


class _Parser(argparse.ArgumentParser):
    """A parser whose errors carry the exit code for wrong usage (64), not argparse's 2."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message[:1].upper() + message[1:], hint=f"See {self.prog} --help.")


class _Words(argparse.Namespace):
    """Values of options, and those that another flag, or the same again, gave otherwise."""

    def __init__(self) -> None:
        super().__init__()
        vars(self)[_TWICE] = set()

    def __setattr__(self, name: str, value: Any) -> None:
        if vars(self).get(name, value) != value:
            vars(self)[_TWICE].add(name)
        super().__setattr__(name, value)


class _Help(argparse.RawDescriptionHelpFormatter):
    """Room for long flags, and one line per flag instead of one per alias and value."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=100)


def parse_settings(argv: Sequence[str]) -> Settings:
    """Turn the words after the program's name into settings.

    The command line wins over ``--config-file``.

    Parameters
    ----------
    argv : sequence of str

    Returns
    -------
    Settings
        Paths are absolute.

    Raises
    ------
    UsageError, UnknownLevel, MissingInput
    SystemExit
        With code 0, for ``--help`` and ``--version``.
    """
    asked = Settings.from_dict(parse_words(argv), where="command line")
    named = asked.target_site or asked.target_images
    harmonizes = not (asked.reports_only or asked.boilerplate_only)
    participants = asked.analysis_level == "participant" or asked.write_slurm
    if participants and harmonizes and not named:
        raise UsageError(
            "The participant level needs a target site",
            where="--target-site",
            hint="Name the site to harmonize to (--dry-run with any name lists "
            "those that there are), or images that show it by --target-image.",
        )
    return asked


def parse_words(argv: Sequence[str]) -> dict[str, Any]:
    """Fields of the settings that the command line and ``--config-file`` name, and no other.

    Parameters
    ----------
    argv : sequence of str

    Returns
    -------
    dict
        For `Settings.from_dict`; paths are absolute.

    Raises
    ------
    UsageError, UnknownLevel, MissingInput
    SystemExit
        With code 0, for ``--help`` and ``--version``.
    """
    check_flags(argv)
    parser = build_parser()
    spelled = spelt(argv, list(parser._option_string_actions))
    words = vars(parser.parse_args(spelled, _Words()))
    _check_contradictions(words.pop(_TWICE), words, parser, spelled)
    _check_zeros(words)
    if words["analysis_level"] not in LEVELS:
        raise UnknownLevel(
            "Unknown analysis level",
            where="third positional argument",
            expected=" or ".join(LEVELS),
            got=words["analysis_level"],
        )
    config_file = words.pop("config_file", None)
    filter_files = {name: words.pop(name, None) for name in ("bids_filters", "derivative_filters")}
    record: dict[str, Any] = read_settings_file(config_file) if config_file else {}
    training = dict(record.get("training", {}))
    training |= {k.removeprefix(TRAINING): v for k, v in words.items() if k.startswith(TRAINING)}
    record |= {k: v for k, v in words.items() if not k.startswith(TRAINING)}
    if training:
        record["training"] = training
    for name, file in filter_files.items():
        if file:
            from bids_harmony.bids.filters import read_derivative_filters, read_filter_file

            read = read_filter_file if name == "bids_filters" else read_derivative_filters
            record[name] = read(file)
    if "derivatives" in words:
        record["derivatives"] = _by_name(words["derivatives"])
    for table in (record, record.get("training", {})):
        for name, value in table.items():
            if isinstance(value, Path):
                table[name] = _absolute(value)
            elif isinstance(value, (list, tuple)) and value and isinstance(value[0], Path):
                table[name] = [_absolute(path) for path in value]
    record["derivatives"] = {k: _absolute(v) for k, v in record.get("derivatives", {}).items()}
    return record


def _check_contradictions(
    twice: set[str], words: Mapping[str, Any], parser: argparse.ArgumentParser, argv: Sequence[str]
) -> None:
    """Refuse what was given twice and differently, instead of taking the last in silence.

    Raises
    ------
    UsageError
    """
    actions = parser._option_string_actions
    for name in sorted(twice):
        # Values of several are joined, -v is counted.
        if isinstance(words[name], list) or name == "verbosity":
            continue
        given = [
            " ".join([word, *itertools.takewhile(lambda value: value not in actions, more[:1])])
            for word, *more in (argv[i : i + 2] for i in range(len(argv)))
            if (action := actions.get(word.partition("=")[0])) and action.dest == name
        ]
        raise UsageError(
            "The command line says two things of one setting",
            where="command line",
            got=" and ".join(given),
            hint="Leave one of them out.",
        )


def _check_zeros(words: Mapping[str, Any]) -> None:
    """Refuse nothing at all of processors, threads and slices, which in settings stands for what
    the program chooses.

    Raises
    ------
    UsageError
    """
    for item in settings_under(Group.RESOURCES, Settings):
        if item.type is int and words.get(item.name) == 0:
            raise UsageError(
                "There must be one at least",
                where=f"--{item.name.replace('_', '-')}",
                got="0",
                hint="Leave the option out for what the program chooses by itself.",
            )


def build_parser() -> argparse.ArgumentParser:
    """The parser; options that were not given leave no trace in its result."""
    parser = _Parser(
        prog="bids_harmony",
        usage=f"bids_harmony [options] bids_dir output_dir {{{','.join(LEVELS)}}}",
        description="Make brain MR images of a multi-site BIDS dataset look as if one site had "
        "made them.\n"
        "Research software, not for diagnosis.",
        epilog="Exit codes: 0 done, 16 input is not BIDS, 17 unknown level, 18 nothing selected,\n"
        "64 wrong usage, 65 bad data, 66 missing input, 73 cannot create output,\n"
        "74 input/output error, 75 try again, 127 missing program, 130 Ctrl-C,\n"
        "143 SIGTERM, 1 several of these in one run, or anything else.",
        formatter_class=_Help,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"bids_harmony {__version__}")
    add_options(parser)
    add_accepted(parser)
    return parser


def _by_name(derivatives: Sequence[tuple[str, Path]]) -> dict[str, Path]:
    """Folders of derivatives by their names.

    Raises
    ------
    UsageError
        Two have one name.
    """
    named: dict[str, Path] = {}
    for name, path in derivatives:
        if named.setdefault(name, path) != path:
            raise UsageError(
                "Two folders of derivatives have one name",
                where="--derivatives",
                got=f"{named[name]} and {path}, both called {name}",
                hint="Name them: --derivatives ONE=PATH OTHER=PATH.",
            )
    return named


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path.expanduser()))
