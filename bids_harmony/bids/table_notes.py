"""Rows of tables that are about nobody and nothing, and who may be meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from bids_harmony.bids.census import Census
from bids_harmony.io.names import file_stem

__all__ = ["about_nobody", "about_other_files", "without_session"]

_SHOWN = 5


def about_nobody(
    named: Sequence[str], people: Iterable[str], name: str, *, all_matter: bool = True
) -> list[str]:
    """How many rows found their person, and who may be meant by the others.

    In ``participants.tsv`` rows of people who are not in the folder are common; only those that
    seem to mean somebody who is there matter, unless nobody is found at all.
    """
    present = set(people)
    free = _Spellings(present - set(named))
    lost = sorted((n for n in named if n not in present), key=lambda n: not free.of(n))
    if not lost or not present:
        return []
    if not (all_matter or free.of(lost[0]) or len(lost) == len(named)):
        return []
    shown = [
        f"{label!r}" + (f" (sub-{near}?)" if (near := free.nearest(label)) else "")
        for label in lost[:_SHOWN]
    ]
    return [
        f"{name}: {len(named) - len(lost)} of {len(named)} participants are in the dataset; "
        f"not found: {', '.join(shown)}" + (", ..." if len(lost) > _SHOWN else "")
    ]


def without_session(
    table: Iterable[tuple[str, str | None]], census: Census, name: str
) -> list[str]:
    """Rows about sessions of which a person has no image, where they seem to mean another."""
    told: dict[str, set[str]] = {}
    for subject, session in table:
        if session is not None and subject in census.sessions:
            told.setdefault(subject, set()).add(session)
    lost = []
    for subject, sessions in told.items():
        own = census.sessions[subject]
        free = _Spellings(s for s in own - sessions if s)
        for session in sorted(sessions - own):
            if free.of(session) or not own & sessions:
                near = free.nearest(session)
                lost.append(f"sub-{subject} ses-{session}" + (f" (ses-{near}?)" if near else ""))
    return [f"{name}: no image of {', '.join(lost[:_SHOWN])}"] if lost else []


def about_other_files(table: Iterable[str], census: Census, name: str) -> list[str]:
    """Rows whose file is called like an image, but is not where the row says."""
    rows = set(table)
    lost = [row for row in rows if row not in census.images and row.endswith((".nii", ".nii.gz"))]
    if not lost:
        return []
    free = {file_stem(file): file for file in census.images if file not in rows}
    meant = sorted((row, free[stem]) for row in lost if (stem := file_stem(row)) in free)
    shown = [f"{row} ({file}?)" for row, file in meant[:_SHOWN]]
    return [f"{name}: there is no {', '.join(shown)}"] if shown else []


class _Spellings:
    """Labels by what is left of them without leading zeros, case and signs."""

    def __init__(self, labels: Iterable[str]) -> None:
        self._labels = {self._plain(label): label for label in sorted(labels, reverse=True)}

    def of(self, label: str) -> str | None:
        """The label that another one is a spelling of, as after a spreadsheet."""
        return self._labels.get(self._plain(label))

    def nearest(self, label: str) -> str | None:
        """That, or the one that looks most alike."""
        # Short labels that differ in a letter are other people.
        alike = difflib.get_close_matches(label, self._labels.values(), 1, 0.8)
        return self.of(label) or (alike[0] if alike and len(label) > _SHOWN else None)

    @staticmethod
    def _plain(label: str) -> str:
        # "sub01" without the sign that would make it an entity.
        label = re.sub(r"^(?:sub|ses)(?=\d)", "", label.casefold())
        return re.sub(r"[^a-z0-9]|(?<![0-9])0+(?=[0-9])", "", label)
