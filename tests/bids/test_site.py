"""The site of a scan: the order of the rules, what is kept, what is told."""

from __future__ import annotations

import pytest

from bids_harmony.bids.site import (
    SiteTables,
    canonical_site,
    read_site_map,
    resolve_site,
    same_site,
)
from bids_harmony.exceptions import DataError, MissingInput, SiteError

SIDECAR = {
    "InstitutionName": "Kyoto",
    "StationName": "MR2",
    "DeviceSerialNumber": "4711",
    "Manufacturer": "SIEMENS",
    "ManufacturersModelName": "Verio",
    "MagneticFieldStrength": 2.89,
}
FILE = "sub-01/ses-COI/anat/sub-01_ses-COI_T1w.nii.gz"


def resolve(**options):
    defaults = {"subject": "01", "session": "COI", "filename": FILE, "metadata": SIDECAR}
    return resolve_site(**{**defaults, "tables": SiteTables(), **options})


ALL_TABLES = SiteTables(
    site_map={("01", "COI"): "Map", ("01", None): "MapSubject"},
    participants={"01": ("site", "Participants")},
    sessions={("01", "COI"): ("site_id", "Sessions")},
    scans={FILE: ("scanner", "Scans")},
)


def test_rules_in_their_order():
    """Take one source away after the other: the next rule answers."""
    answers = [resolve(tables=ALL_TABLES, source_site="Given", target_site="COI")]
    tables = ALL_TABLES
    for drop in (None, "site_map", "scans", "sessions", "participants"):
        if drop:
            tables = SiteTables(
                **{
                    name: {} if name == drop else getattr(tables, name)
                    for name in ("site_map", "participants", "sessions", "scans")
                }
            )
        answers.append(resolve(tables=tables, target_site="COI"))
    metadata = dict(SIDECAR)
    for drop in (None, "InstitutionName", "StationName", "DeviceSerialNumber"):
        metadata.pop(drop, None)
        answers.append(resolve(metadata=metadata))
    assert [(a.site, a.source) for a in answers] == [
        ("Given", "--source-site"),
        ("Map", "--site-map"),
        ("Scans", "scans.tsv: scanner"),
        ("Sessions", "sessions.tsv: site_id"),
        ("Participants", "participants.tsv: site"),
        ("COI", "session label"),
        ("Kyoto", "InstitutionName"),
        ("MR2", "StationName"),
        ("4711", "DeviceSerialNumber"),
        ("Siemens-Verio-3T", "vendor, model and field strength"),
    ]
    first = answers[0]
    assert (first.vendor, first.model, first.field_strength) == ("Siemens", "Verio", 3)
    assert len(first.candidates) == 10
    assert first.candidates[0] == ("--source-site", "Given")


def test_site_map_row_of_the_subject_serves_its_sessions():
    tables = SiteTables(site_map={("01", None): "Osaka"})
    assert resolve(tables=tables).site == "Osaka"


@pytest.mark.parametrize("session", ["COI", "siteCOI", "coi"])
def test_session_label_names_a_known_site(session):
    found = resolve(session=session, target_site="site COI", metadata={})
    assert found.source == "session label" and same_site(found.site, "COI")


def test_session_label_that_is_no_site_says_nothing():
    assert resolve(session="baseline", target_site="COI").source == "InstitutionName"


def test_a_vendor_is_a_site_that_a_session_may_name():
    assert resolve(session="GE", metadata={}).site == "GE"


def test_the_models_spelling_wins():
    found = resolve(session="coi", metadata={}, known_sites=["COI"])
    assert found.site == "COI"


def test_disagreement_is_told_but_the_first_rule_stands():
    tables = SiteTables(participants={"01": ("site", "Osaka")}, sessions={})
    found = resolve(tables=tables, target_site="COI")
    assert found.site == "Osaka"
    assert found.contradictions == (
        "participants.tsv: site says 'Osaka' but session label says 'COI'",
    )
    # An institution is no site label: it may well be called otherwise.
    assert not resolve(tables=tables, session=None).contradictions


def test_source_site_overrules_without_a_word():
    assert not resolve(tables=ALL_TABLES, source_site="Given").contradictions


def test_subject_label_only_corroborates():
    with pytest.raises(SiteError):
        resolve(subject="COI01", session=None, metadata={}, target_site="COI")
    found = resolve(subject="COI01", session=None, target_site="COI", source_site=None)
    assert found.source == "InstitutionName"
    assert ("subject label", "COI") in found.candidates
    tables = SiteTables(participants={"COI01": ("site", "Osaka")})
    (told,) = resolve(
        subject="COI01", session=None, tables=tables, target_site="COI"
    ).contradictions
    assert "subject label" in told


def test_site_named_after_another_vendor_than_the_scanners():
    (told,) = resolve(session="Philips").contradictions
    assert "Philips" in told and "Siemens" in told


def test_unresolved_says_what_was_looked_at():
    with pytest.raises(SiteError) as caught:
        resolve(session="1", metadata={"InstitutionName": "n/a", "StationName": "0000"})
    assert caught.value.exit_code == 65
    for place in ("--source-site", "--site-map", "participants.tsv", "session label '1'",
                  "InstitutionName", "Manufacturer", FILE):  # fmt: skip
        assert place in str(caught.value)


def test_canonical_site():
    assert [canonical_site(s) for s in ("site COI", "Site-COI", "siteCOI", "COI ")] == ["COI"] * 4
    assert canonical_site("site01") == "site01"
    assert canonical_site("Siteborough") == "Siteborough"
    assert [canonical_site(s) for s in ("", None, "n/a", "Unknown", "0000")] == [None] * 5
    assert same_site("site COI", "coi") and not same_site("COI", "COI2")


def test_read_site_map(raw):
    path = raw.table("map.tsv", "participant_id session_id site", "sub-01 ses-A X", "02 n/a Y")
    assert read_site_map(path) == {("01", "A"): "X", ("02", None): "Y"}


def test_bad_site_map(raw):
    with pytest.raises(DataError, match="lacks a column"):
        read_site_map(raw.table("map.tsv", "participant_id colour", "01 red"))
    with pytest.raises(DataError, match="line 2"):
        read_site_map(raw.table("map.tsv", "participant_id site", "01 X Y"))
    with pytest.raises(MissingInput):
        read_site_map(raw.root / "none.tsv")
