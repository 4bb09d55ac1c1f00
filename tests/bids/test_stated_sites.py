"""Sites that several columns name together: sites nested in studies."""

from __future__ import annotations

import pytest

from bids_harmony.bids.dataset import find_scans
from bids_harmony.bids.naming import harmonized_path
from bids_harmony.cli.participant import find_target
from bids_harmony.exceptions import DataError, ExitCode, UsageError

KIND = {"Manufacturer": "Siemens", "ManufacturersModelName": "Prisma"}
BOTH = ("study", "site")


@pytest.fixture
def studies(raw):
    """Site 1 of two studies, of which nothing but the tables tells."""
    for label in ("01", "02", "03"):
        raw.image(f"sub-{label}/anat/sub-{label}_T1w", **KIND)
    raw.table(
        "participants.tsv", "participant_id study site", "sub-01 ABC 1", "sub-02 XYZ 1",
        "sub-03 ABC 01",
    )  # fmt: skip
    return raw


def scans(raw, *columns, **options):
    return find_scans(raw.settings(site_columns=columns, **options))


def sites(raw, *columns, **options):
    return [scan.site.site for scan in scans(raw, *columns, **options).scans]


def test_sites_of_two_studies_are_two_sites(studies):
    assert sites(studies) == ["1", "1", "1"]
    assert sites(studies, *BOTH) == ["ABC-1", "XYZ-1", "ABC-1"]
    assert sites(studies, "site", "study")[1] == "1-XYZ"
    assert sites(studies, "study") == ["ABC", "XYZ", "ABC"]
    found = scans(studies, *BOTH)
    assert found.scans[0].site.source == "participants.tsv: study + participants.tsv: site"
    # The name of a file holds letters and digits alone, and the option takes any spelling.
    settings = studies.settings(site_columns=BOTH, target_site="abc 1")
    target = find_target(settings, found)
    assert target == "ABC-1"
    name = harmonized_path(settings.output_dir, found.scans[1], target).name
    assert name == "sub-02_desc-harmonizedABC1_T1w.nii.gz"


def test_columns_of_different_tables_and_the_more_specific_one(studies):
    studies.table("participants.tsv", "participant_id study site", "sub-01 ABC 1", "sub-02 XYZ 1",
                  "sub-03 ABC 2")  # fmt: skip
    for session in "AB":
        stem = f"sub-04/ses-{session}/anat/sub-04_ses-{session}"
        studies.image(f"{stem}_T1w", **KIND)
    table = studies.root / "participants.tsv"
    table.write_text(table.read_text() + "sub-04\tABC\tn/a\n")
    studies.table("sub-04/sub-04_sessions.tsv", "session_id site", "ses-A 7", "ses-B 8")
    found = scans(studies, *BOTH).scans
    assert [scan.site.site for scan in found[3:]] == ["ABC-7", "ABC-8"]
    assert found[3].site.source == "participants.tsv: study + sessions.tsv: site"


def test_one_column_of_any_name(studies):
    studies.table("participants.tsv", "participant_id Scan_Place", "sub-01 Q", "sub-02 R",
                  "sub-03 Q")  # fmt: skip
    assert sites(studies, "scan place") == ["Q", "R", "Q"]
    assert sites(studies, "Scan_Place") == ["Q", "R", "Q"]


def test_who_is_not_told_in_all_columns_is_counted(studies):
    studies.table("participants.tsv", "participant_id study site", "sub-01 ABC 1", "sub-02 n/a 1",
                  "sub-03 ABC 1")  # fmt: skip
    found = scans(studies, *BOTH)
    assert found.scans[1].site.site == "Siemens-Prisma"
    assert any("1 of 3 images are not told in all of these columns" in w for w in found.warnings)


def test_the_map_comes_before_columns(studies):
    table = studies.table("map.tsv", "participant_id site", "sub-02 Mine")
    assert sites(studies, *BOTH, site_map=table) == ["ABC-1", "Mine", "ABC-1"]


@pytest.mark.parametrize("columns", [("study", "place"), ("place",)])
def test_a_column_that_is_nowhere_is_told_with_those_that_are_there(studies, columns):
    with pytest.raises(UsageError) as caught:
        scans(studies, *columns)
    assert "Got: place." in str(caught.value) and "site, study" in str(caught.value)
    assert caught.value.exit_code == ExitCode.USAGE


def test_two_sites_never_get_one_name(studies):
    studies.table("participants.tsv", "participant_id study site", "sub-01 A-B C", "sub-02 A B-C",
                  "sub-03 A-B C")  # fmt: skip
    with pytest.raises(DataError, match="A-B and C as of A and B-C"):
        scans(studies, *BOTH)


def test_two_sites_for_one_person_are_that_person_s_problem(studies):
    studies.table("participants.tsv", "participant_id study site", "sub-01 ABC 1", "sub-01 ABC 2",
                  "sub-02 XYZ 1", "sub-03 ABC 1")  # fmt: skip
    found = scans(studies, *BOTH)
    assert [scan.site.site for scan in found.scans] == ["XYZ-1", "ABC-1"]
    assert [problem.label for problem in found.problems] == ["sub-01_T1w"]
