"""Tables that name sites: read as people write them, or told."""

from __future__ import annotations

import pytest

from bids_harmony.bids.dataset import find_scans
from bids_harmony.bids.site_tables import read_site_map
from bids_harmony.exceptions import DataError, MissingInput

KIND = {"Manufacturer": "Siemens", "ManufacturersModelName": "Prisma"}


@pytest.fixture
def people(raw):
    """Two people of whom nothing but a table could tell the site."""
    for label in ("01", "02"):
        raw.image(f"sub-{label}/anat/sub-{label}_T1w", **KIND)
    return raw


def sites(raw, **options):
    return [scan.site.site for scan in find_scans(raw.settings(**options)).scans]


def notes(raw, **options):
    return "\n".join(find_scans(raw.settings(**options)).warnings)


def write(raw, text, name="participants.tsv"):
    path = raw.root / name
    path.write_text(text)
    return path


def test_read_site_map(raw):
    path = raw.table("map.tsv", "participant_id session_id site", "sub-01 ses-A X", "02 n/a Y")
    assert read_site_map(path) == {("01", "A"): "X", ("02", None): "Y"}


def test_bad_site_map(raw):
    with pytest.raises(DataError, match="lacks a column"):
        read_site_map(raw.table("map.tsv", "participant_id colour", "01 red"))
    with pytest.raises(DataError, match="line 2"):
        read_site_map(raw.table("map.tsv", "participant_id site", "01 X Y"))
    with pytest.raises(DataError, match="X and Y"):
        read_site_map(raw.table("map.tsv", "participant_id site", "01 X", "sub-01 Y"))
    with pytest.raises(DataError, match="commas"):
        read_site_map(write(raw, "participant_id,site\n01,X\n", "map.csv"))
    with pytest.raises(MissingInput):
        read_site_map(raw.root / "none.tsv")


@pytest.mark.parametrize(
    "text",
    ['"participant_id"\t"site"\n"sub-01"\t"S1"\n"sub-02"\t"S2"\n',
     "\ufeffparticipant_id\tsite\r\nsub-01\tS1\r\nsub-02\tS2\r\n",
     "Participant_ID\tSite ID\nsub-01\tS1\n02\t S2 \n",
     "participant_id\tsite\tsite\nsub-01\tS1\tS1\nsub-02\tS2\tS2\n",
     "site\tparticipant_id\tsession_id\nS1\tsub-01\tn/a\nS2\tsub-02\t\n",
     "participant_id\tsite\n\nsub-01\tS1\n\nsub-02\tS2\n\n",
     "\n\t\nparticipant_id\tsite\nSUB-01\tS1\nSub-02\tS2\n"],
    ids=["quotes", "bom", "case", "twice", "order", "gaps", "capitals"],
)  # fmt: skip
def test_read_as_people_write_them(people, text):
    write(people, text)
    assert sites(people) == ["S1", "S2"] and not notes(people)


@pytest.mark.parametrize(
    ("text", "told"),
    [("participant_id,site\nsub-01,S1\n", "commas"),
     ("participant_id;site\nsub-01;S1\n", "semicolons"),
     ("id\tsite\nsub-01\tS1\n", "no column participant_id"),
     ("id\tsite\n", "no column participant_id"),
     ("participant_id\tparticipant_id\tsite\nsub-01\tCQ2\tS1\n", "Two columns"),
     ("participant_id\tsite\nsub-01\tS1\textra\n", "line 2")],
)  # fmt: skip
def test_a_table_that_cannot_be_read_as_one(people, text, told):
    write(people, text)
    with pytest.raises(DataError, match=told) as caught:
        find_scans(people.settings())
    assert "participants.tsv" in str(caught.value)


@pytest.mark.parametrize("coding", ["utf-16", "latin-1"])
def test_text_of_another_coding_is_told_with_what_to_do(people, coding):
    text = "participant_id\tsite\nsub-01\tZürich\n"
    (people.root / "participants.tsv").write_bytes(text.encode(coding))
    with pytest.raises(DataError, match="Save it as UTF-8") as caught:
        find_scans(people.settings())
    assert ("UTF-16" in str(caught.value)) == (coding == "utf-16")


def test_a_link_to_nowhere_is_a_table(people):
    (people.root / "participants.tsv").symlink_to(".git/annex/objects/x.tsv")
    with pytest.raises(MissingInput, match="datalad get"):
        find_scans(people.settings())


def test_a_row_per_session(raw):
    for session in "12":
        raw.image(f"sub-01/ses-{session}/anat/sub-01_ses-{session}_T1w", **KIND)
    head = "participant_id session_id site"
    raw.table("participants.tsv", head, "sub-01 ses-1 S1", "sub-01 ses-2 S2")
    assert sites(raw) == ["S1", "S2"]


def test_two_sites_of_one_person_cost_that_person_only(people):
    people.table("participants.tsv", "participant_id site", "sub-01 S1", "sub-01 S2", "sub-02 S2")
    found = find_scans(people.settings())
    assert [scan.site.site for scan in found.scans] == ["S2"]
    (problem,) = found.problems
    assert problem.error.exit_code == 65 and "S1 and S2" in str(problem.error)


def test_ids_that_lost_their_zeros_are_told(people):
    people.table("participants.tsv", "participant_id site", "1 S1", "2 S2")
    (told,) = find_scans(people.settings()).warnings
    assert "0 of 2 participants" in told and "'1' (sub-01?)" in told and "participants.tsv" in told
    # Also of one among many.
    people.table("participants.tsv", "participant_id site", "sub-01 S1", "2 S2", "sub-77 S1")
    assert "'2' (sub-02?)" in notes(people)


def test_rows_of_people_who_are_not_here_are_common(people):
    people.table("participants.tsv", "participant_id site", "sub-01 S1", "sub-02 S2", "sub-77 S1")
    assert not notes(people)


def test_a_map_that_names_nobody_is_told(people, tmp_path):
    path = tmp_path / "map.tsv"
    path.write_text("participant_id\tsite\nsub-01\tS1\nsub-07\tS2\n")
    told = notes(people, site_map=path)
    assert "--site-map map.tsv: 1 of 2 participants are in the dataset" in told and "'07'" in told


def test_sessions_that_nobody_has_are_told(raw, tmp_path):
    raw.image("sub-01/ses-01/anat/sub-01_ses-01_T1w", **KIND)
    raw.table("sub-01/sub-01_sessions.tsv", "session_id site", "ses-1 S1")
    assert "no image of sub-01 ses-1 (ses-01?)" in notes(raw)
    # Sessions of other kinds of images are common.
    raw.table("sub-01/sub-01_sessions.tsv", "session_id site", "ses-01 S1", "ses-func S2")
    assert not notes(raw) and sites(raw) == ["S1"]


@pytest.mark.parametrize(
    "row", ["sub-01/anat/sub-01_T1w.nii.gz", "anat/sub-01_T1w.nii", "sub-01_T1w.nii.gz"]
)
def test_a_row_about_a_file_that_is_elsewhere_is_told(people, row):
    path = people.root / "sub-01/sub-01_scans.tsv"
    path.write_text(f"filename\tsite\n{row}\tS9\nfunc/sub-01_bold.nii.gz\tS9\n")
    note = notes(people)
    assert f"sub-01_scans.tsv: there is no sub-01/{row} (sub-01/anat/sub-01_T1w.nii.gz?)" in note
    path.write_text("filename\tsite\nanat/sub-01_T1w.nii.gz\tS9\nanat/sub-01_T2w.nii.gz\tS9\n")
    assert "there is no" not in notes(people) and sites(people)[0] == "S9"


def test_a_column_that_is_not_read_is_told(people):
    people.table("participants.tsv", "participant_id scan_site", "sub-01 S1", "sub-02 S2")
    assert "'scan_site' is not read as the site" in notes(people)
    people.table("participants.tsv", "participant_id scan_site", "sub-01 n/a", "sub-02 n/a")
    assert not notes(people)


def test_the_first_column_that_says_anything(people):
    people.table("participants.tsv", "participant_id scanner site", "sub-01 A n/a", "sub-02 B n/a")
    assert sites(people) == ["A", "B"]
    people.table("participants.tsv", "participant_id scanner site", "sub-01 A n/a", "sub-02 B S2")
    assert sites(people) == ["Siemens-Prisma", "S2"]


def test_prefixes_as_people_write_them(people):
    people.table("participants.tsv", "participant_id site", "SUB-01 S1", "sub_02 S2")
    assert sites(people) == ["S1", "S2"] and not notes(people)
    people.table("participants.tsv", "participant_id site", "sub01 S1", "sub2 S2")
    assert "'sub01' (sub-01?), 'sub2' (sub-02?)" in notes(people)


def test_a_row_of_scans_tsv_about_another_ending_is_told(people):
    people.table("sub-01/sub-01_scans.tsv", "filename site", "anat/sub-01_T1w.nii S1")
    assert "sub-01/anat/sub-01_T1w.nii (sub-01/anat/sub-01_T1w.nii.gz?)" in notes(people)
    people.table("sub-01/sub-01_scans.tsv", "filename site", "func/sub-01_bold.nii S1")
    assert not notes(people)


def test_an_empty_table_is_told(people):
    write(people, "")
    assert notes(people) == "participants.tsv has no rows"


def test_files_of_macos_are_no_tables(people):
    people.table("sub-01/sub-01_scans.tsv", "filename site", "anat/sub-01_T1w.nii.gz S1")
    (people.root / "sub-01/._sub-01_scans.tsv").write_bytes(b"\x00\x05\x16\x07\xb0\xff")
    (people.root / "sub-01/anat/._sub-01_T1w.json").write_bytes(b"\x00\x05\x16\x07\xb0\xff")
    found = find_scans(people.settings())
    assert [scan.site.site for scan in found.scans] == ["S1", "Siemens-Prisma"]
    assert not found.problems
