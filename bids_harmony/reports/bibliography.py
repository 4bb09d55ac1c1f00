"""The articles that a methods text cites: one BibTeX file, read and printed."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

__all__ = ["Reference", "bibtex", "references"]

_FILE = Path(__file__).resolve().parents[1] / "data" / "bibliography.bib"
# The file is ours: an entry begins in the first column and ends with a brace there.
_ENTRY = re.compile(r"^@\w+\{(\w+),\n(.*?)^\}$", re.DOTALL | re.MULTILINE)
_FIELD = re.compile(r"^\s+(\w+) = \{(.*)\},?$", re.MULTILINE)


@dataclass(frozen=True)
class Reference:
    """One article: its key in the file, fields and text of the entry."""

    key: str
    fields: dict[str, str]
    entry: str

    @property
    def short(self) -> str:
        """As a sentence cites it: ``Wang et al. 2004``."""
        names = [name.split(",")[0] for name in self.fields["author"].split(" and ")]
        if len(names) == 2 and names[1] != "others":
            return f"{names[0]} and {names[1]} {self.fields['year']}"
        return f"{names[0]}{' et al.' if len(names) > 1 else ''} {self.fields['year']}"

    @property
    def full(self) -> str:
        """As a list of references has it, without the address."""
        field = self.fields
        authors = field["author"].replace(" and others", ", et al.").replace(" and ", ", ")
        number = ":".join(field[k] for k in ("volume", "pages") if k in field)
        # Braces guard capitals in a .bib file; they are no part of the title.
        title = field["title"].translate({ord("{"): None, ord("}"): None})
        return f"{authors} ({field['year']}). {title}. {field['journal']} {number}".strip() + "."

    @property
    def address(self) -> str:
        """Where it can be read; empty where the file does not say."""
        doi = self.fields.get("doi")
        return f"https://doi.org/{doi}" if doi else self.fields.get("url", "")


@lru_cache(maxsize=1)
def _all() -> dict[str, Reference]:
    text = _FILE.read_text(encoding="utf-8")
    return {
        match[1]: Reference(match[1], dict(_FIELD.findall(match[2])), match[0])
        for match in _ENTRY.finditer(text)
    }


def references(keys: Iterable[str]) -> list[Reference]:
    """Articles by their keys, each once, in the order of the keys.

    Raises
    ------
    KeyError
        For a key that the file does not have.
    """
    return [_all()[key] for key in dict.fromkeys(keys)]


def bibtex(keys: Iterable[str]) -> str:
    """The entries as the text of a ``.bib`` file."""
    return "\n".join(f"{reference.entry}" for reference in references(keys)) + "\n"
