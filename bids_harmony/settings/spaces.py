"""Spaces in which images are written, as ``--output-spaces`` spells them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from bids_harmony.exceptions import UsageError

__all__ = ["ANATOMY", "NATIVE", "REFERENCE_SPACE", "SPACES", "SPELLINGS", "TEMPLATES", "Space"]
__all__ += ["check_spaces", "read_space"]

NATIVE = "native"
ANATOMY = "T1w"
# That of imaging.reference, whose libraries are not loaded for --help; a test compares them.
REFERENCE_SPACE = "MNI152NLin2009aSym"
#: Templates whose files must be there.
TEMPLATES = ("MNI152NLin2009cAsym", "MNI152NLin6Asym")
SPACES = (NATIVE, ANATOMY, REFERENCE_SPACE, *TEMPLATES)
#: And with their resolutions.
SPELLINGS = (*SPACES, *(f"{name}:res-{number}" for name in TEMPLATES for number in (1, 2)))
#: Other words for the same: fMRIPrep's for the person's T1w.
_ALSO = {"anat": ANATOMY}


@dataclass(frozen=True)
class Space:
    """A space of ``--output-spaces``.

    Attributes
    ----------
    name : str
        Of `SPACES`.
    resolution : int or None
        TemplateFlow's ``res``, where it was asked for.
    """

    name: str
    resolution: int | None = None

    @classmethod
    def of(cls, text: str) -> Space:
        """The space that a text means.

        Raises
        ------
        ValueError
        """
        name, *more = text.split(":")
        name = _ALSO.get(name, name)
        if name not in SPACES:
            raise ValueError(f"{text!r} is none of the spaces {', '.join(SPACES)}")
        found = [re.fullmatch(r"res-0*([12])", part) for part in more]
        if not all(found) or len(found) > (name in TEMPLATES):
            raise ValueError(
                f"{text!r}: only templates have a resolution, {', '.join(TEMPLATES)}, "
                "and it is :res-1 or :res-2"
            )
        return cls(name, int(found[0][1]) if found and found[0] else None)

    @property
    def label(self) -> str:
        """What stands behind ``space-`` in a file's name."""
        return self.name + (f"_res-{self.resolution}" if self.resolution else "")

    def __str__(self) -> str:
        return self.name + (f":res-{self.resolution}" if self.resolution else "")


def read_space(text: str) -> str:
    """A space in its one spelling; raises ValueError where it is none."""
    return str(Space.of(text))


def check_spaces(name: str, values: Iterable[str]) -> None:
    """Raise UsageError unless each is a space."""
    for value in values:
        try:
            Space.of(value)
        except ValueError as error:
            raise UsageError(
                "Unknown choice",
                where="--output-spaces",
                expected=f"of {', '.join(SPACES)}",
                got=str(error),
            ) from error
