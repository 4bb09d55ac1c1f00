"""What a sidecar tells of the machine that made a scan."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bids_harmony.bids.scanner import Scanner, read_scanner
from bids_harmony.sites.names import name_key, said

__all__ = ["PROFILE_FIELDS", "Profile", "read_profile", "software_major"]

#: Sidecar fields that a `Profile` is read from.
PROFILE_FIELDS = (
    "DeviceSerialNumber", "StationName", "InstitutionName", "Manufacturer",
    "ManufacturersModelName", "MagneticFieldStrength", "SoftwareVersions",
)  # fmt: skip


@dataclass(frozen=True)
class Profile:
    """One scanner as far as a sidecar knows it; None where it is silent.

    Attributes
    ----------
    serial, station, institution : str or None
        As written, cleaned; of a serial number in capitals.
    vendor, model : str or None
        In one spelling.
    field_strength : float or None
        Nominal, tesla.
    software : str or None
        Major version, such as ``E11``.
    """

    serial: str | None = None
    station: str | None = None
    institution: str | None = None
    vendor: str | None = None
    model: str | None = None
    field_strength: float | None = None
    software: str | None = None

    @property
    def is_silent(self) -> bool:
        """Whether nothing in it could tell a scanner from others."""
        return not (self.serial or self.station or self.institution or self.vendor)


def read_profile(metadata: Mapping[str, Any]) -> tuple[Profile, Scanner]:
    """Read the scanner's description from sidecar fields after BIDS inheritance.

    Returns
    -------
    profile : Profile
    scanner : Scanner
        With what in it contradicts itself.
    """
    scanner = read_scanner(metadata)
    serial = said(metadata.get("DeviceSerialNumber"))
    return Profile(
        # A spreadsheet drops leading zeros, some converters write a number.
        name_key(serial).upper() if serial else None,
        said(metadata.get("StationName")),
        said(metadata.get("InstitutionName")),
        scanner.vendor,
        scanner.model,
        scanner.field_strength,
        software_major(metadata.get("SoftwareVersions")),
    ), scanner


def software_major(value: Any) -> str | None:
    r"""The major version of a scanner's software.

    Examples
    --------
    >>> software_major("syngo MR E11C"), software_major("syngo MR XA30")
    ('E11', 'XA30')
    >>> software_major(r"27\LX\MR Software release:RX27.0_R04"), software_major(r"5.3.1\5.3.1.0")
    ('27', '5')
    """
    words = value if isinstance(value, list | tuple) else [value]
    text = " ".join(told for word in words if (told := said(word)))
    if siemens := re.search(r"\bV?([A-E]\d{2}|XA\d{2})", text.replace("_", " ")):
        return siemens[1]
    number = re.search(r"release:\D*(\d+)", text) or re.search(r"\d+", text)
    return number[number.lastindex or 0] if number else text or None
