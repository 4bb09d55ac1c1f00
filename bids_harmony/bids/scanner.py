"""Scanner names as they stand in sidecars, brought to one spelling.

Vendors write themselves in many ways ("SIEMENS", "Siemens Healthineers", "GE MEDICAL SYSTEMS",
"TOSHIBA"), and some converters write "Philips" for vendors they do not know. The model name is
therefore checked against the vendor.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from bids_harmony.sites.names import said

__all__ = [
    "VENDORS",
    "Scanner",
    "normalize_field",
    "normalize_model",
    "normalize_vendor",
    "read_scanner",
]

VENDORS = ("Siemens", "GE", "Philips", "Canon", "UIH", "Hitachi")

_VENDOR_WORDS = {
    "Siemens": r"siemens",
    "GE": r"\bge\b|\bgems\b|general electric|^ge[ _-]",
    "Philips": r"philips|phillips",
    "Canon": r"canon|toshiba",
    "UIH": r"\buih\b|united[ _-]*imaging|lianying",
    "Hitachi": r"hitachi|fuji",
}

# Product names that only one vendor has ever used for a scanner.
_MODEL_WORDS = {
    "Siemens": (
        r"magnetom|prisma|skyra|verio|\bvida|avanto|\baera\b|allegra|sonata|symphony|espree|\bterra\b|"
        r"\btrio|tim ?trio|biograph|lumina|\bsola\b|connectom|altea|"
        r"free\.? ?max|amira|essenza|spectra|\bcima"
    ),
    "GE": r"signa|discovery|\bmr ?750|optima|hdxt|excite|genesis|brivo",
    "Philips": r"achieva|ingenia|intera|gyroscan|elition|ambition|panorama|prodiva|multiva",
    "Canon": r"galan|vantage|\btitan\b|\borian\b|centurian|\belan\b",
    "UIH": r"\bumr|\bupmr",
    "Hitachi": r"echelon|\boasis\b|\bairis",
}

# Words that belong to the vendor or to a product line, not to the model.
_NOT_MODEL = re.compile(
    r"\b(siemens|healthineers|magnetom|ge|medical systems|healthcare|philips|canon|toshiba|uih|"
    r"united imaging|hitachi|\d(?:\.\d)? ?t(?:esla)?)\b",
    re.IGNORECASE,
)

# Nominal field strengths (tesla) that whole-body and head scanners are sold with.
_NOMINAL_FIELDS = (
    0.055,
    0.064,
    0.2,
    0.3,
    0.35,
    0.4,
    0.5,
    0.55,
    0.6,
    0.7,
    1.0,
    1.2,
    1.5,
    3.0,
    4.0,
    4.7,
    7.0,
    9.4,
    10.5,
    11.7,
)
_FIELD_TOLERANCE = 0.06  # Relative: Siemens "3 T" magnets are 2.89 T.
_GAUSS_PER_TESLA = 1e4


@dataclass(frozen=True)
class Scanner:
    """Vendor, model and field strength (tesla), normalized; None where the sidecar is silent."""

    vendor: str | None
    model: str | None
    field_strength: float | None
    contradictions: tuple[str, ...] = ()

    @cached_property
    def name(self) -> str | None:
        """A site name at vendor level such as ``Philips-Achieva-3T``; None without a vendor."""
        if self.vendor is None:
            return None
        parts = [self.vendor]
        if self.model:
            parts.append("".join(re.findall(r"[0-9A-Za-z.]+", self.model)))
        if self.field_strength:
            parts.append(f"{self.field_strength:g}T")
        return "-".join(parts)


# Thousands of scans say the same words.
@lru_cache(1024)
def normalize_vendor(text: str | None) -> str | None:
    """One spelling per vendor; an unknown one is returned as written, an empty one as None.

    Examples
    --------
    >>> normalize_vendor("GE MEDICAL SYSTEMS"), normalize_vendor("TOSHIBA_MEC")
    ('GE', 'Canon')
    """
    text = (text or "").replace("_", " ").strip()
    for vendor, words in _VENDOR_WORDS.items():
        if re.search(words, text, re.IGNORECASE):
            return vendor
    return text or None


def normalize_model(text: str | None) -> str | None:
    """The model without vendor, product line and field strength, in one spelling.

    Examples
    --------
    >>> normalize_model("MAGNETOM Prisma_fit"), normalize_model("Galan 3T")
    ('Prisma Fit', 'Galan')
    """
    words = _NOT_MODEL.sub(" ", (text or "").replace("_", " ")).split()
    return " ".join(word.capitalize() if word.islower() else word for word in words) or None


def normalize_field(value: Any) -> float | None:
    """Nominal field strength in tesla: 2.89 becomes 3; 15000 (gauss) 1.5; None if unusable."""
    try:
        tesla = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if tesla >= 1000:
        tesla /= _GAUSS_PER_TESLA
    if not 0 < tesla < 30:
        return None
    nominal = min(_NOMINAL_FIELDS, key=lambda known: abs(known - tesla))
    return nominal if abs(nominal - tesla) <= _FIELD_TOLERANCE * nominal else round(tesla, 2)


def read_scanner(metadata: Mapping[str, Any]) -> Scanner:
    """Vendor, model and field strength from a sidecar, the vendor checked against the model.

    Parameters
    ----------
    metadata : mapping
        Sidecar fields after BIDS inheritance.

    Returns
    -------
    Scanner
        Where ``Manufacturer`` and ``ManufacturersModelName`` contradict each other, the model name
        wins (it is the more specific statement) and the contradiction is kept.
    """
    written = said(metadata.get("Manufacturer"))
    raw_model = said(metadata.get("ManufacturersModelName"))
    vendor = normalize_vendor(written)
    contradictions = []
    for owner, words in _MODEL_WORDS.items():
        if raw_model and re.search(words, raw_model.replace("_", " "), re.IGNORECASE):
            if vendor is not None and vendor != owner:
                contradictions.append(
                    f"Manufacturer {written!r} but ManufacturersModelName {raw_model!r} "
                    f"is a model of {owner}"
                )
            vendor = owner
            break
    return Scanner(
        vendor,
        normalize_model(raw_model),
        normalize_field(metadata.get("MagneticFieldStrength")),
        tuple(contradictions),
    )
