"""What is odd about the sites of a dataset as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bids_harmony.bids.scanner_groups import ScannerGroup
from bids_harmony.bids.scanner_names import ScannerWords
from bids_harmony.sites.names import alphanumeric

__all__ = ["Note", "notes_on_names", "notes_on_scanners"]

_SHOWN = 8


@dataclass(frozen=True)
class Note:
    """Something that the user should know, and the files that it is about; none means all."""

    text: str
    about: frozenset[str] = frozenset()

    def matters(self, files: Iterable[str]) -> bool:
        """Whether it is about one of these files."""
        return not self.about or not self.about.isdisjoint(files)


def notes_on_scanners(
    groups: Sequence[ScannerGroup], words: Sequence[ScannerWords], files: Sequence[str],
    stated: Sequence[str | None],
) -> list[Note]:  # fmt: skip
    """Scanners that were upgraded, are called by several names, or are known by kind alone.

    Parameters
    ----------
    groups : sequence of ScannerGroup
    words : sequence of ScannerWords
        Of each group.
    files, stated : sequence of str
        Of each observation: the file, and the name that tables or its session state.
    """
    notes = []
    for group, told in zip(groups, words, strict=True):
        about = frozenset(files[member] for member in group.members)
        for said, text in (
            (told.software, "has had several software versions; an upgrade may change images"),
            (told.models, "is said to be of several models"),
            (told.institutions if told.serial else {}, "is said to be at several institutions"),
        ):
            if len(said) > 1:
                notes.append(Note(f"{told} {text}: {_counted(said)}", about))
        names = Counter(name for member in group.members if (name := stated[member]))
        if told.serial and len(names) > 1:
            notes.append(Note(f"{told} is stated as several sites: {_counted(names)}", about))
        if group.guessed:
            some = frozenset(files[member] for member in group.guessed)
            shown = ", ".join(sorted(some)[:_SHOWN]) + (", ..." if len(some) > _SHOWN else "")
            notes.append(Note(f"counted to {told}, the only scanner of that kind: {shown}", some))
    return notes


def notes_on_names(
    names: Mapping[str, Mapping[str, Sequence[str]]], site_means: str
) -> list[Note]:
    """Names that hold several scanners, and names that hardly differ.

    Parameters
    ----------
    names : mapping
        Of each name the scanners in words and the files of each.
    site_means : str
    """
    notes = []
    for name, scanners in names.items():
        if len(scanners) < 2:
            continue
        held = ", ".join(
            f"{words} ({_scans(len(files))})" for words, files in list(scanners.items())[:_SHOWN]
        ) + (", ..." if len(scanners) > _SHOWN else "")
        end = (
            "each is a site of its own (--site-means institution makes them one)"
            if site_means == "scanner"
            else "they are taken as one site (--site-means institution)"
        )
        about = frozenset(file for files in scanners.values() for file in files)
        notes.append(Note(f"{name!r} holds {len(scanners)} scanners: {held}; {end}", about))
    alike: dict[str, list[str]] = {}
    for name in names:
        alike.setdefault(alphanumeric(name).casefold(), []).append(name)
    for several in alike.values():
        if len(several) > 1:
            about = frozenset(f for n in several for files in names[n].values() for f in files)
            listed = " and ".join(map(repr, several))
            notes.append(
                Note(f"{listed} are {len(several)} sites; spell them alike if they are one", about)
            )
    return notes


def _counted(counter: Mapping[str, int]) -> str:
    listed = [f"{value} ({_scans(n)})" for value, n in sorted(counter.items())]
    return ", ".join([*listed[:_SHOWN], *(["..."] if len(listed) > _SHOWN else [])])


def _scans(number: int) -> str:
    return f"{number} scan" + ("s" if number != 1 else "")
