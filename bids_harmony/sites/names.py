"""Names of sites: how they are cleaned and compared, and what says nothing.

Names compare exactly, after Unicode's composed form (NFC) and without white space around them;
numbers compare as numbers, because a spreadsheet writes 1 as 1.0. Whoever asks for a site on the
command line may be less exact where only one site can be meant.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal
from functools import lru_cache
from typing import Any

__all__ = [
    "MEAN_SITE",
    "alphanumeric",
    "canonical_site",
    "clean_name",
    "find_name",
    "name_key",
    "said",
    "same_site",
]

#: Name of the mean of all sites, on the command line and in names of files.
MEAN_SITE = "mean"
# What anonymizers, converters and spreadsheets leave where nothing is said.
_EMPTY = {
    "", "n/a", "na", "nan", "nil", "none", "null", "tbd", "unk", "n.a", "#n/a", "nd", "<na>",
}  # fmt: skip
_SILENT = {
    "anon", "anonymous", "anonymize", "anonymized", "anonymise", "anonymised", "anonymization",
    "blanked", "cleared", "confidential", "deidentified", "deidentify", "deleted", "empty",
    "hidden", "identification", "identified", "masked", "missing", "not", "redacted", "removed",
    "scrubbed", "stripped", "undefined", "unknown", "unnamed", "unspecified", "withheld",
}  # fmt: skip
# Words that say nothing beside one of those: "Unknown Institution", "not specified".
_BESIDE = {
    "applicable", "available", "by", "center", "centre", "clinic", "data", "de", "department",
    "device", "dicom", "field", "for", "given", "hospital", "info", "information", "institute",
    "institution", "known", "manufacturer", "model", "name", "no", "number", "of", "privacy",
    "provided", "recorded", "scanner", "serial", "set", "site", "specified", "station", "string",
    "tag", "text", "the", "value",
}  # fmt: skip
_ANONYMIZER = re.compile(r"anonym|pseudonym|deident|redact")
# Each name is compared many times.
_REMEMBERED = 4096
_NUMBER = re.compile(r"[+-]?\d{1,30}(?:\.\d{1,30})?")


@lru_cache(_REMEMBERED)
def clean_name(text: str | None) -> str:
    """A name in composed Unicode, with single blanks and without a leading "site".

    Examples
    --------
    >>> clean_name("site COI"), clean_name(" siteCOI "), clean_name("site01")
    ('COI', 'COI', 'site01')
    """
    # Nothing that would move the cursor of a terminal or that XML forbids.
    text = re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", str(text or ""))
    name = " ".join(unicodedata.normalize("NFC", text).split())
    return re.sub(r"^(?:[sS]ite|SITE)(?:[ _-]+(?=\S)|(?=[A-Z]))", "", name)


def canonical_site(text: str | None) -> str | None:
    """The site that a table or an option states, cleaned; None if it says nothing.

    The code 0 is a site.

    Examples
    --------
    >>> canonical_site(" n/a ") is None, canonical_site("[REDACTED]") is None, canonical_site("0")
    (True, True, '0')
    """
    name = clean_name(text)
    if name.casefold() in _EMPTY or re.fullmatch(r"[\W_]*|[xX]{3,}", name):
        return None
    words = {
        "anonymized" if _ANONYMIZER.match(word) else word
        for word in re.findall(r"[^\W_]+", name.casefold())
    }
    return None if words & _SILENT and words <= _SILENT | _BESIDE else name


def said(value: Any) -> str | None:
    """What a field of a sidecar says in words; None for what an anonymizer left, and for zeros."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    # 67060.0 is a serial number that went through a spreadsheet.
    text = f"{value:.0f}" if isinstance(value, float) and value.is_integer() else str(value)
    name = canonical_site(text)
    return name if name and name.strip("0.,:-_ ") else None


@lru_cache(_REMEMBERED)
def name_key(name: str) -> str:
    """What is equal for two spellings of one site only.

    Examples
    --------
    >>> name_key("1.0") == name_key("01"), name_key("1.0") == name_key("10")
    (True, False)
    """
    name = clean_name(name)
    return str(Decimal(name).normalize() + 0) if _NUMBER.fullmatch(name) else name


def same_site(one: str, other: str) -> bool:
    """Whether two spellings name one site."""
    return name_key(one) == name_key(other)


@lru_cache(_REMEMBERED)
def alphanumeric(name: str) -> str:
    """Letters and digits alone: all that a label of BIDS can hold of a name.

    Examples
    --------
    >>> alphanumeric("UCL 1-1"), alphanumeric("Philips-Achieva-1.5T"), alphanumeric("1.0")
    ('UCL11', 'PhilipsAchieva1p5T', '1')
    """
    # "1.5T" and "15T" must stay apart.
    return re.sub(r"[\W_]+", "", re.sub(r"(?<=\d)\.(?=\d)", "p", name_key(name)))


def find_name(asked: str, names: Iterable[str]) -> list[str]:
    """Names that somebody who writes `asked` may mean: the equal one, else all that are alike.

    Alike are names that differ in case alone; where there is none, in blanks and punctuation, too.
    """
    names = sorted(set(names))
    for key in (name_key, lambda n: name_key(n).casefold(), lambda n: alphanumeric(n).casefold()):
        if key(asked) and (found := [name for name in names if key(name) == key(asked)]):
            return found
    return []
