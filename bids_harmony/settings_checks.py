"""Checks of values that records of settings share."""

from __future__ import annotations

from typing import Any

from bids_harmony.exceptions import UsageError

__all__ = ["check_choice", "check_not_negative", "check_positive", "check_share"]


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Raise UsageError unless the value is one of the choices."""
    if value not in choices:
        raise UsageError("Unknown choice", where=name, expected=" or ".join(choices), got=value)


def check_positive(record: Any, names: tuple[str, ...]) -> None:
    """Raise UsageError unless all named fields are above zero."""
    for name in names:
        if not getattr(record, name) > 0:
            raise UsageError(
                "Value must be above zero", where=name, got=str(getattr(record, name))
            )


def check_not_negative(record: Any, names: tuple[str, ...]) -> None:
    """Raise UsageError if a named field is below zero."""
    for name in names:
        if getattr(record, name) < 0:
            raise UsageError("Value below zero", where=name, got=str(getattr(record, name)))


def check_share(name: str, value: float, *, zero: bool = False) -> None:
    """Raise UsageError unless the value is in (0, 1], or in [0, 1] with `zero`."""
    if not (0 < value <= 1 or (zero and value == 0)):
        raise UsageError(
            "Share out of range",
            where=name,
            expected=f"0 {'<=' if zero else '<'} {name} <= 1",
            got=str(value),
        )
