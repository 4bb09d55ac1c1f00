"""The site of a scan: the order of the rules, what is kept, what is told."""

from __future__ import annotations

import pytest

from bids_harmony.bids.census import Image
from bids_harmony.bids.site import resolve_sites
from bids_harmony.bids.site_tables import SiteTables
from bids_harmony.exceptions import SiteError

SIDECAR = {
    "InstitutionName": "Kyoto",
    "StationName": "MR2",
    "DeviceSerialNumber": "4711",
    "Manufacturer": "SIEMENS",
    "ManufacturersModelName": "Verio",
    "MagneticFieldStrength": 2.89,
}
FILE = "sub-01/ses-COI/anat/sub-01_ses-COI_T1w.nii.gz"


def resolve(*, subject="01", session="COI", metadata=SIDECAR, source_site=None, **options):
    """The site of one scan that has no others beside it."""
    tables = options.pop("tables", SiteTables())
    images = {FILE: Image(subject, session, metadata)}
    return resolve_sites(images, tables, **options).of(FILE, source_site)


def cohort(*sidecars, stated=None, **options):
    """Sites of a dataset: scan n of subject n, and the notes on it."""
    images = {f"sub-{n}_T1w.nii.gz": Image(str(n), None, s) for n, s in enumerate(sidecars)}
    tables = SiteTables(
        participants={(str(n), None): ("site", site) for n, site in (stated or {}).items()}
    )
    found = resolve_sites(images, tables, **options)
    return [e.site for e in found.scans.values()], "\n".join(n.text for n in found.notes), found


ALL_TABLES = SiteTables(
    site_map={("01", "COI"): "Map", ("01", None): "MapSubject"},
    participants={("01", None): ("site", "Participants")},
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
    assert first.scanner == "Siemens Verio 3T 4711"
    assert len(first.candidates) == 10
    assert first.candidates[0] == ("--source-site", "Given")


def test_site_map_row_of_the_subject_serves_its_sessions():
    tables = SiteTables(site_map={("01", None): "Osaka"})
    assert resolve(tables=tables).site == "Osaka"


@pytest.mark.parametrize("session", ["COI", "siteCOI", "coi"])
def test_session_label_names_a_known_site(session):
    found = resolve(session=session, target_site="site COI", metadata={})
    assert (found.source, found.site) == ("session label", "COI")


@pytest.mark.parametrize("session", ["baseline", "1", "01"])
def test_session_label_that_is_no_site_says_nothing(session):
    """A number is a visit, also where sites bear numbers."""
    tables = SiteTables(participants={("02", None): ("site", "1")})
    assert resolve(session=session, target_site="COI", tables=tables).source == "InstitutionName"


def test_session_label_that_may_be_two_sites_says_nothing():
    tables = SiteTables(site_map={("a", None): "UCL 1-1", ("b", None): "UCL 11"})
    assert resolve(session="UCL11", tables=tables).source == "InstitutionName"


def test_a_vendor_is_a_site_that_a_session_may_name():
    assert resolve(session="GE", metadata={}).site == "GE"


def test_the_models_spelling_wins():
    assert resolve(session="coi", metadata={}, known_sites=["COI"]).site == "COI"


def test_disagreement_is_told_but_the_first_rule_stands():
    tables = SiteTables(participants={("01", None): ("site", "Osaka")}, sessions={})
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
    tables = SiteTables(participants={("COI01", None): ("site", "Osaka")})
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
    for place in ("--source-site", "--site-map", "participants.tsv", "session label 'COI'",
                  "InstitutionName", "Manufacturer", FILE):  # fmt: skip
        assert place in str(caught.value)


HOSPITAL = [
    {"InstitutionName": "Hospital A", "Manufacturer": vendor, "ManufacturersModelName": model,
     "MagneticFieldStrength": field, "DeviceSerialNumber": serial}
    for vendor, model, field, serial in (
        ("Siemens", "Prisma_fit", 3, "67060"), ("GE", "DISCOVERY MR750", 3, "858355GEM"),
        ("GE", "Signa HDxt", 1.5, "12345"),
    )
]  # fmt: skip
PRISMA, DISCOVERY, SIGNA = (
    "Hospital A (Siemens Prisma Fit 3T 67060)",
    "Hospital A (GE DISCOVERY MR750 3T 858355GEM)",
    "Hospital A (GE Signa HDxt 1.5T 12345)",
)


def test_each_scanner_of_an_institution_is_a_site():
    sites, notes, found = cohort(*HOSPITAL)
    assert sites == [PRISMA, DISCOVERY, SIGNA]
    assert "'Hospital A' holds 3 scanners" in notes and "67060 (1 scan)" in notes
    assert "--site-means institution" in notes
    assert found.meant("Hospital A") == sorted(sites)
    assert found.meant(PRISMA) == [PRISMA] and found.meant("Hospital B") == []
    # More people change no name.
    assert cohort(*HOSPITAL, HOSPITAL[0], {"InstitutionName": "B"})[0][:3] == sites


def test_an_institution_of_one_scanner_bears_its_own_name():
    assert cohort(HOSPITAL[0], HOSPITAL[0])[:2] == (["Hospital A"] * 2, "")


def test_institutions_as_sites_where_that_is_wanted():
    sites, notes, found = cohort(*HOSPITAL, site_means="institution")
    assert set(sites) == {"Hospital A"} == set(found.meant("hospital a"))
    assert "holds 3 scanners" in notes


def test_a_stated_site_of_several_scanners_is_contradicted():
    sites, notes, _ = cohort(*HOSPITAL[:2], stated={0: "A", 1: "A"})
    assert sites == ["A (Siemens Prisma Fit 3T 67060)", "A (GE DISCOVERY MR750 3T 858355GEM)"]
    assert "'A' holds 2 scanners" in notes
    whole = cohort(*HOSPITAL[:2], stated={0: "A", 1: "A"}, site_means="institution")
    assert whole[0] == ["A", "A"]


def test_two_stated_sites_of_one_scanner_are_told():
    sites, notes, _ = cohort(HOSPITAL[0], HOSPITAL[0], stated={0: "A", 1: "B"})
    assert sites == ["A", "B"]
    assert "67060 is stated as several sites: A (1 scan), B (1 scan)" in notes


def test_a_scan_that_no_table_names_is_of_the_site_of_its_scanner():
    sites, _, found = cohort(HOSPITAL[0], HOSPITAL[0], HOSPITAL[1], stated={0: "A"})
    assert sites == ["A", "A", "Hospital A"]
    assert found.scans["sub-1_T1w.nii.gz"].source == "other scans of this scanner"


def test_what_others_say_of_the_scanner_names_a_scan():
    bare = {"DeviceSerialNumber": "67060"}
    sites, notes, found = cohort(HOSPITAL[0], bare)
    assert sites == ["Hospital A"] * 2 and not notes
    evidence = found.scans["sub-1_T1w.nii.gz"]
    assert evidence.source == "InstitutionName of other scans"
    assert (evidence.vendor, evidence.model) == ("Siemens", "Prisma Fit")


def test_an_upgrade_is_told():
    old, new = (HOSPITAL[0] | {"SoftwareVersions": f"syngo MR {v}"} for v in ("E11", "XA30"))
    sites, notes, _ = cohort(old, new, old)
    assert sites == ["Hospital A"] * 3
    assert "several software versions" in notes and "E11 (2 scans), XA30 (1 scan)" in notes


def test_scanners_known_by_kind_alone_are_told_apart_by_software():
    kind = {"Manufacturer": "Siemens", "ManufacturersModelName": "Prisma"}
    old, new = (kind | {"SoftwareVersions": f"syngo MR {v}"} for v in ("E11C", "XA30"))
    assert cohort(old, new, old)[0] == [
        "Siemens-Prisma (software E11)", "Siemens-Prisma (software XA30)",
        "Siemens-Prisma (software E11)",
    ]  # fmt: skip


def test_counting_by_kind_alone_is_told():
    bare = {"Manufacturer": "SIEMENS", "ManufacturersModelName": "Prisma Fit"}
    sites, notes, _ = cohort(HOSPITAL[0], bare)
    assert sites == ["Hospital A"] * 2
    assert "the only scanner of that kind: sub-1_T1w.nii.gz" in notes


def test_names_that_hardly_differ_are_two_sites_and_told():
    sites, notes, found = cohort({}, {}, {}, stated={0: "UCL 1-1", 1: "UCL 11", 2: "1.0"})
    assert sites == ["UCL 1-1", "UCL 11", "1.0"]
    assert "'UCL 1-1' and 'UCL 11' are 2 sites" in notes
    assert found.meant("UCL 11") == ["UCL 11"] and found.meant("ucl-11") == ["UCL 1-1", "UCL 11"]
    assert found.meant("1") == ["1.0"] and found.meant("10") == []


def test_both_forms_of_a_letter_are_one_site():
    sites, _, found = cohort({}, {}, stated={0: "Zu\u0308rich", 1: "Z\u00fcrich"})
    assert sites == ["Z\u00fcrich"] * 2 == found.meant("Zu\u0308rich") * 2


def test_the_code_zero_is_a_site():
    assert cohort({}, {}, stated={0: "0", 1: "1"})[0] == ["0", "1"]
    # In a sidecar it is what an anonymizer left.
    assert cohort(HOSPITAL[0] | {"InstitutionName": "0"})[0] == ["67060"]


@pytest.mark.parametrize(
    "word",
    ["REDACTED", "ANON", "Deidentified", "-", "Unspecified", "unknown", "De-Identified", "?",
     "[removed]", "Anonymous Institution", "not specified", "xxxx", "0000", "N/A", "<masked>",
     "removed by anonymizer", "Pseudonymised", "de-identification removed", "Redaction"],
)  # fmt: skip
def test_what_an_anonymizer_leaves_is_no_site(word):
    left = {"InstitutionName": word, "StationName": word, "DeviceSerialNumber": word}
    sites, notes, _ = cohort(
        left | {"Manufacturer": "Siemens", "ManufacturersModelName": "Prisma"},
        left | {"Manufacturer": "GE", "ManufacturersModelName": "SIGNA Premier"},
    )
    assert sites == ["Siemens-Prisma", "GE-SIGNAPremier"] and not notes
    with pytest.raises(SiteError):
        resolve(session=None, metadata=left)
