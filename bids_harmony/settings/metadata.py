"""How a setting is written: one field, whose metadata hold all that is told of it.

A new setting is a field of `run.Settings` or `training.TrainingSettings`, made by `setting`, and
nothing else: command line, checks, settings file and Boutiques descriptor follow from the field's
name, type, default and `Option`. Nothing here knows argparse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from functools import cache
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from bids_harmony.settings.values import check_choice, check_choices, check_not_negative

__all__ = [
    "Group",
    "Option",
    "Setting",
    "check_values",
    "setting",
    "settings_of",
    "settings_under",
]


class Group(StrEnum):
    """Headings of ``--help``, in its order; arguments that go by their place have none."""

    POSITIONAL = ""
    SCANS = "Which scans"
    SITES = "Sites"
    OUTPUT = "Harmonization and output"
    RESOURCES = "Resources"
    RUNNING = "Running"
    REPORTS = "Reports"
    TRAINING = "Training (level train)"


@dataclass(frozen=True, kw_only=True)
class Option:
    """What is told of a setting besides its name, type and default.

    Attributes
    ----------
    help : str
        ``{choices}`` and ``{default}`` in it are filled in. Empty: the flag is not shown.
    group : Group, optional
        None: only settings files have it.
    usage : str
        Flags and what stands behind them, as ``-w --work-dir FOLDER``. Without flags: the name
        with dashes. With nothing behind: the choices, or what suits the type.
    choices : tuple of str
        The only values that there are.
    read : callable, optional
        Text to value; raises ValueError. None: as the type reads it.
    check : callable, optional
        Takes name and value, raises UsageError. None: one of the choices; numbers not below zero.
    empty : bool
        Several values may be none.
    alone : str, optional
        Value of a flag with nothing behind it.
    switch : {"on", "count"}, optional
        A flag that is only set, or counted; None: yes or no has a flag for each.
    after : str, optional
        The setting that it follows in help; None: in the order of the fields.
    machine : callable, optional
        Record to what this machine would choose. It stands for 0, and files of settings leave it
        out, so that they can be used on another machine.
    made : bool
        A path that the program makes.
    also : tuple of Option
        Further flags for the same setting.
    """

    help: str = ""
    group: Group | None = Group.POSITIONAL
    usage: str = ""
    choices: tuple[str, ...] = ()
    read: Callable[[str], Any] | None = None
    check: Callable[[str, Any], None] | None = None
    empty: bool = False
    alone: str | None = None
    switch: Literal["on", "count"] | None = None
    after: str | None = None
    machine: Callable[[Any], Any] | None = None
    made: bool = False
    also: tuple[Option, ...] = ()

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of `usage`."""
        return tuple(word for word in self.usage.split() if word.startswith("-"))

    @property
    def metavar(self) -> str | None:
        """What `usage` has behind the flags."""
        return next((word for word in self.usage.split() if not word.startswith("-")), None)


def setting(default: Any = MISSING, help: str = "", factory: Any = MISSING, **told: Any) -> Any:
    """A dataclass field for a setting; `told` is for `Option`."""
    metadata = {"option": Option(help=help, **told)}
    if factory is not MISSING:
        return field(default_factory=factory, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Setting:
    """A setting with all that is known of it: its name, annotation, default and option."""

    name: str
    hint: Any
    default: Any
    option: Option

    @property
    def many(self) -> bool:
        """Whether it has several values on the command line; tables in a table come as a file."""
        return get_origin(self.hint) in (tuple, Mapping) and get_origin(self.type) is None

    @property
    def optional(self) -> bool:
        """Whether it can be None, which is what is not set."""
        return NoneType in get_args(self.hint)

    @property
    def type(self) -> Any:
        """Type of its value, or of each of several."""
        inner = [kind for kind in get_args(self.hint) if kind not in (NoneType, Ellipsis)]
        return inner[-1] if inner else self.hint

    @property
    def help(self) -> str:
        """Its help with choices and default filled in."""
        value = self.default
        shown = " ".join(value) if isinstance(value, tuple) else value
        default = "" if value is MISSING or value is None else f"(default: {shown})"
        text = self.option.help.replace("{choices}", ", ".join(self.option.choices))
        return text.replace("{default}", default).strip()


@cache
def settings_of(record: type) -> Mapping[str, Setting]:
    """The settings of a record by name, in the order of its fields."""
    hints = get_type_hints(record)
    return {
        item.name: Setting(item.name, hints[item.name], item.default, item.metadata["option"])
        for item in fields(record)
    }


def settings_under(group: Group, record: type) -> Iterator[Setting]:
    """The settings that help shows under a heading, in its order."""
    own = [item for item in settings_of(record).values() if item.option.group == group]

    def following(name: str | None) -> Iterator[Setting]:
        for item in own:
            if item.option.after == name:
                yield item
                yield from following(item.name)

    return following(None)


def check_values(record: Any) -> None:
    """Check every value of a record by itself.

    Raises
    ------
    UsageError
    """
    for name, item in settings_of(record.__class__).items():
        value, option = getattr(record, name), item.option
        if value is None and item.optional:
            continue
        if option.check:
            option.check(name, value)
        elif option.choices:
            check = check_choices if get_origin(item.hint) is tuple else check_choice
            check(name, value, option.choices)
        elif item.type in (int, float) and not option.switch:
            check_not_negative(name, value)
