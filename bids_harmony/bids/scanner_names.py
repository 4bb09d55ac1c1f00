"""What a scanner is called, from all that its scans say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

from bids_harmony.bids.scanner import Scanner
from bids_harmony.bids.scanner_groups import ScannerGroup
from bids_harmony.bids.scanner_profile import Profile

__all__ = ["ScannerWords", "scanner_words"]

Value = TypeVar("Value", str, float)


@dataclass(frozen=True)
class ScannerWords:
    """One scanner in words.

    Attributes
    ----------
    serials, stations, institutions, vendors, models, fields, software : Counter
        What its scans say, as in `Profile`, by number of scans.
    """

    serials: Counter[str]
    stations: Counter[str]
    institutions: Counter[str]
    vendors: Counter[str]
    models: Counter[str]
    fields: Counter[float]
    software: Counter[str]

    @property
    def serial(self) -> str | None:
        """Serial number of most scans."""
        return _most(self.serials)

    @property
    def station(self) -> str | None:
        """Station name of most scans."""
        return _most(self.stations)

    @property
    def institution(self) -> str | None:
        """Institution of most scans."""
        return _most(self.institutions)

    @property
    def vendor(self) -> str | None:
        """Vendor of most scans."""
        return _most(self.vendors)

    @property
    def model(self) -> str | None:
        """Model of most scans."""
        return _most(self.models)

    @property
    def field_strength(self) -> float | None:
        """Field strength of most scans, tesla."""
        return _most(self.fields)

    @property
    def kind(self) -> str | None:
        """Name at vendor level such as ``Siemens-Verio-3T``."""
        return Scanner(self.vendor, self.model, self.field_strength).name

    @property
    def mark(self) -> str:
        """What tells it from others of its kind: serial number, else station, else software."""
        software = " ".join(sorted(self.software))
        return self.serial or self.station or (f"software {software}" if software else "")

    def __str__(self) -> str:
        """All of it, such as ``Siemens Prisma Fit 3T 67060``."""
        field = f"{self.field_strength:g}T" if self.field_strength else ""
        parts = (self.vendor, self.model, field, self.mark)
        return " ".join(part for part in parts if part) or "scanner not known"

    def beside(self, name: str) -> str:
        """What has to stand beside a name that several scanners have."""
        return (self.mark if name == self.kind else str(self)) or "scanner not known"


def scanner_words(group: ScannerGroup, profiles: Sequence[Profile]) -> ScannerWords:
    """Put a scanner into words.

    Parameters
    ----------
    group : ScannerGroup
    profiles : sequence of Profile
        Of all observations.
    """
    own = [profiles[member] for member in group.members]
    return ScannerWords(
        *(
            Counter(value for p in own if (value := getattr(p, name.name)) is not None)
            for name in fields(Profile)
        )
    )


def _most(counter: Counter[Value]) -> Value | None:
    return min(counter, key=lambda value: (-counter[value], str(value)), default=None)
