"""Scanner names: one spelling for each, and no vendor that its model contradicts."""

from __future__ import annotations

import pytest

from bids_harmony.bids.scanner import (
    normalize_field,
    normalize_model,
    normalize_vendor,
    read_scanner,
)


@pytest.mark.parametrize(
    ("written", "vendor"),
    [
        ("SIEMENS", "Siemens"),
        ("Siemens Healthineers", "Siemens"),
        ("GE MEDICAL SYSTEMS", "GE"),
        ("GE", "GE"),
        ("GE_MEDICAL", "GE"),
        ("General Electric", "GE"),
        ("Philips Medical Systems", "Philips"),
        ("TOSHIBA_MEC", "Canon"),
        ("Canon Medical Systems", "Canon"),
        ("UIH", "UIH"),
        ("United Imaging Healthcare", "UIH"),
        ("Hitachi, Ltd.", "Hitachi"),
        ("Genius Imaging", "Genius Imaging"),
        ("", None),
        (None, None),
    ],
)
def test_vendor(written, vendor):
    assert normalize_vendor(written) == vendor


def test_spellings_of_a_model_are_one():
    spellings = ["MAGNETOM Prisma Fit", "Prisma_fit", "Prisma fit", "Siemens Prisma_fit 3T"]
    assert {normalize_model(text) for text in spellings} == {"Prisma Fit"}
    assert normalize_model("Galan 3T") == "Galan"
    assert normalize_model("") is None


@pytest.mark.parametrize(
    ("written", "tesla"),
    [(3, 3), ("3", 3), (2.89362, 3), (1.494, 1.5), (15000, 1.5), (6.98, 7), (0.9, 0.9), (0, None),
     ("n/a", None), (None, None), (3e9, None)],
)  # fmt: skip
def test_field_strength_is_nominal(written, tesla):
    assert normalize_field(written) == tesla


def test_model_overrules_a_vendor_that_the_converter_guessed():
    scanner = read_scanner(
        {
            "Manufacturer": "Philips",
            "ManufacturersModelName": "uMR 770",
            "MagneticFieldStrength": 3,
        }
    )
    assert (scanner.vendor, scanner.name) == ("UIH", "UIH-uMR770-3T")
    (told,) = scanner.contradictions
    assert "Philips" in told and "uMR 770" in told and "UIH" in told


def test_name_at_vendor_level():
    fields = {"Manufacturer": "PHILIPS", "ManufacturersModelName": "Achieva"}
    assert read_scanner(fields | {"MagneticFieldStrength": 3}).name == "Philips-Achieva-3T"
    assert read_scanner(fields).name == "Philips-Achieva"
    assert read_scanner({"MagneticFieldStrength": 3}).name is None
    assert read_scanner({"ManufacturersModelName": "Signa HDxt"}).vendor == "GE"
    assert read_scanner({"Manufacturer": "n/a", "ManufacturersModelName": 5}).vendor is None
