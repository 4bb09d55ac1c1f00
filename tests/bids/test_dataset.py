"""Finding scans: what is selected and inherited, and that one bad subject stops nobody else."""

from __future__ import annotations

import gzip
import json
import os
import pickle
from dataclasses import replace

import pytest

from bids_harmony.bids.dataset import find_everyone, find_scans, sites_of
from bids_harmony.bids.filters import read_filter_file
from bids_harmony.exceptions import (
    DataError,
    InputOutputError,
    MissingInput,
    NotBidsError,
    NothingSelected,
    SiteError,
    UsageError,
)


def labels(selection):
    return [scan.label for scan in selection.scans]


def test_everything_by_default(cohort):
    found = find_scans(cohort.settings())
    assert labels(found) == [
        "sub-01_T1w",
        "sub-02_T1w",
        "sub-02_T2w",
        "sub-03_ses-COI_acq-mp_T1w",
        "sub-03_ses-GE_acq-mp_T1w",
    ]
    assert found.problems == ()
    assert sites_of(found.scans) == {"COI": 4, "GE": 1}
    last = found.scans[-1]
    assert (last.subject, last.session, last.modality) == ("03", "GE", "T1w")
    assert last.entities["acquisition"] == "mp" and last.entities["datatype"] == "anat"
    assert last.path.is_absolute()
    assert pickle.loads(pickle.dumps(last)) == last


def test_labels_and_modalities(cohort):
    assert labels(find_scans(cohort.settings(participant_labels=("02",)))) == [
        "sub-02_T1w",
        "sub-02_T2w",
    ]
    assert labels(find_scans(cohort.settings(modalities=("T2w",)))) == ["sub-02_T2w"]
    assert labels(find_scans(cohort.settings(session_labels=("GE",)))) == [
        "sub-03_ses-GE_acq-mp_T1w"
    ]


def test_a_label_is_not_a_prefix(raw):
    for subject in ("1", "10"):
        raw.image(f"sub-{subject}/anat/sub-{subject}_T1w", InstitutionName="X")
    assert labels(find_scans(raw.settings(participant_labels=("1",)))) == ["sub-1_T1w"]


def test_sites_do_not_depend_on_who_is_selected(cohort):
    """Others are looked at: one institution has two scanners only if somebody else says so."""
    cohort.image("sub-01/anat/sub-01_T1w", InstitutionName="COI", DeviceSerialNumber="1")
    cohort.image("sub-04/anat/sub-04_T1w", InstitutionName="COI", DeviceSerialNumber="2")
    alone = find_scans(cohort.settings(participant_labels=("01",), modalities=("T1w",)))
    everyone = {scan.label: scan.site for scan in find_scans(cohort.settings()).scans}
    assert {scan.label: scan.site for scan in alone.scans} == {
        "sub-01_T1w": everyone["sub-01_T1w"]
    }
    assert everyone["sub-01_T1w"].site == "COI (1)"
    assert any("'COI' holds" in note for note in alone.warnings)
    other = find_scans(cohort.settings(session_labels=("GE",)))
    assert not other.warnings


def test_a_session_that_nobody_has_is_told(cohort):
    found = find_scans(cohort.settings(session_labels=("GE", "9")))
    assert labels(found) == ["sub-03_ses-GE_acq-mp_T1w"]
    assert found.warnings == ("--session-label 9: no selected image is of it",)


def test_whole_dataset_passes_over_labels(cohort):
    settings = cohort.settings(participant_labels=("01",), source_site="Claimed")
    assert sites_of(find_scans(settings).scans) == {"Claimed": 1}
    assert sites_of(find_scans(settings, whole_dataset=True).scans) == {"COI": 4, "GE": 1}


def test_metadata_is_inherited(cohort):
    cohort.json("T1w.json", RepetitionTime=2.3, MagneticFieldStrength=1.5)
    cohort.json("sub-01/sub-01_T1w.json", EchoTime=0.003)
    (scan,) = find_scans(cohort.settings(participant_labels=("01",))).scans
    assert scan.metadata == {
        "RepetitionTime": 2.3,
        "EchoTime": 0.003,
        "InstitutionName": "COI",
        "MagneticFieldStrength": 3,
    }


def test_other_kinds_of_files_are_passed_over(cohort):
    cohort.image("derivatives/other/sub-01/anat/sub-01_T1w", InstitutionName="X")
    cohort.image("sourcedata/sub-09/anat/sub-09_T1w", InstitutionName="X")
    cohort.image("sub-01/dwi/sub-01_sbref", InstitutionName="X")
    cohort.image("sub-01/anat/sub-01_part-phase_T2w", InstitutionName="X")
    cohort.image("sub-01/anat/sub-01_note-odd_T1w", InstitutionName="X")
    settings = cohort.settings(participant_labels=("01",))
    assert labels(find_scans(settings)) == ["sub-01_T1w"]
    loose = cohort.settings(participant_labels=("01",), skip_bids_validation=True)
    assert labels(find_scans(loose)) == ["sub-01_T1w", "sub-01_note-odd_T1w"]


def test_tables_name_sites(cohort):
    cohort.table("participants.tsv", "participant_id Site", "sub-01 siteOsaka", "sub-03 Home")
    cohort.table("sub-03/sub-03_sessions.tsv", "session_id site_id", "ses-GE Nagoya")
    cohort.table(
        "sub-03/ses-COI/sub-03_ses-COI_scans.tsv",
        "filename scanner",
        "anat/sub-03_ses-COI_acq-mp_T1w.nii.gz Kobe",
    )
    found = {scan.label: scan.site for scan in find_scans(cohort.settings()).scans}
    assert found["sub-01_T1w"].site == "Osaka"
    assert found["sub-03_ses-GE_acq-mp_T1w"].source == "sessions.tsv: site_id"
    assert found["sub-03_ses-COI_acq-mp_T1w"].site == "Kobe"
    assert found["sub-03_ses-COI_acq-mp_T1w"].contradictions


@pytest.mark.parametrize("target", ["COI", "GE", None])
def test_site_does_not_depend_on_the_target(cohort, target):
    """That ses-COI is a site is known from the sidecars of others."""
    found = find_scans(cohort.settings(target_site=target))
    assert sites_of(found.scans) == {"COI": 4, "GE": 1}


def test_site_map_option(cohort, tmp_path):
    table = tmp_path / "sites.tsv"
    table.write_text("participant_id\tsite\nsub-01\tNagoya\n")
    (scan,) = find_scans(cohort.settings(participant_labels=("01",), site_map=table)).scans
    assert (scan.site.site, scan.site.source) == ("Nagoya", "--site-map")


def test_byte_order_marks(cohort):
    """Windows editors put one before JSON; every reader must pass over it, not only ours."""
    for name in ("dataset_description.json", "sub-02/anat/sub-02_T2w.json"):
        path = cohort.root / name
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    (cohort.root / "T1w.json").write_bytes(b'\xef\xbb\xbf{"EchoTime": 0.003}')
    found = find_scans(cohort.settings())
    assert len(found.scans) == 5 and not found.problems
    assert [s.metadata.get("EchoTime") for s in found.scans] == [0.003, 0.003, None, 0.003, 0.003]


def test_hidden_files_are_no_scans(cohort):
    """macOS leaves ``._NAME`` beside each NAME on network drives."""
    names = [p for p in cohort.root.rglob("*") if p.is_file()]
    for path in names:
        path.with_name("._" + path.name).write_bytes(bytes.fromhex("0005160700020000b0ff") * 8)
    found = find_scans(cohort.settings(skip_bids_validation=True))
    assert len(found.scans) == 5 and not found.problems


@pytest.mark.parametrize(
    "space",
    [
        "MNI152NLin2009cAsym",
        "OASIS30ANTs",
        "NKI",
        "UNCInfant",
        "PNC",
        "fsaverage",
        "MNIPediatricAsym_cohort-2",
        "fsLR",
        "Ours",
    ],
)
def test_templates_are_no_people(raw, space):
    raw.json("dataset_description.json", Name="x", BIDSVersion="1.9.0", DatasetType="derivative")
    raw.image(f"sub-01/anat/sub-01_space-{space}_desc-preproc_T1w", InstitutionName="A")
    raw.image("sub-01/anat/sub-01_desc-preproc_T1w", InstitutionName="A")
    assert labels(find_scans(raw.settings())) == ["sub-01_desc-preproc_T1w"]


@pytest.mark.parametrize("space", ["T1w", "ACPC", "orig", "individual"])
def test_spaces_of_the_person(raw, space):
    raw.json("dataset_description.json", Name="x", BIDSVersion="1.9.0", DatasetType="derivative")
    raw.image(f"sub-01/anat/sub-01_space-{space}_desc-preproc_T1w", InstitutionName="A")
    assert labels(find_scans(raw.settings())) == [f"sub-01_space-{space}_desc-preproc_T1w"]


def test_two_files_of_one_scan(cohort):
    packed = cohort.root / "sub-02/anat/sub-02_T1w.nii.gz"
    with gzip.open(packed) as stream:
        packed.with_suffix("").write_bytes(stream.read())
    for whole in (False, True):
        found = find_scans(cohort.settings(), whole_dataset=whole)
        (scan,) = (s for s in found.scans if s.label == "sub-02_T1w")
        assert scan.path == packed and not found.problems
        (note,) = found.notes
        assert "sub-02_T1w.nii is passed over" in note and "sub-02_T1w.nii.gz" in note
    # Where the packed one cannot be had, the other one serves.
    packed.unlink()
    packed.symlink_to("../.git/annex/objects/gone")
    (scan,) = (s for s in find_scans(cohort.settings()).scans if s.label == "sub-02_T1w")
    assert scan.path.name == "sub-02_T1w.nii"


def filters(cohort, **record):
    path = cohort.root.parent / "filter.json"
    path.write_text(json.dumps(record))
    return cohort.settings(bids_filters=read_filter_file(path))


def test_filter_null_is_absent_and_star_is_any(cohort):
    assert labels(find_scans(filters(cohort, t1w={"session": None}, t2w={"run": 7}))) == [
        "sub-01_T1w",
        "sub-02_T1w",
    ]
    assert labels(
        find_scans(filters(cohort, T1w={"acquisition": "*"}, bold={}, t2w={"session": "X"}))
    ) == [
        "sub-03_ses-COI_acq-mp_T1w",
        "sub-03_ses-GE_acq-mp_T1w",
    ]


@pytest.mark.parametrize("entity", ["chunk", "run", "echo", "inv", "flip"])
@pytest.mark.parametrize("value", [1, "1", "01", 1.0, [1], [1, 7]], ids=repr)
def test_numbers_in_filters_are_numbers(raw, entity, value):
    for label in ("1", "01", "02", "10"):
        raw.image(f"sub-{label}x/anat/sub-{label}x_{entity}-{label}_T1w", InstitutionName="A")
    settings = filters(raw, t1w={entity: value})
    found = labels(find_scans(replace(settings, skip_bids_validation=True)))
    assert found == [f"sub-01x_{entity}-01_T1w", f"sub-1x_{entity}-1_T1w"]


def test_text_in_filters_is_text(raw):
    for label in ("1", "01"):
        raw.image(f"sub-a/ses-{label}/anat/sub-a_ses-{label}_acq-{label}_T1w", InstitutionName="A")
    for words in ({"session": "01"}, {"session": "ses-01"}, {"acquisition": "01"}):
        assert labels(find_scans(filters(raw, t1w=words))) == ["sub-a_ses-01_acq-01_T1w"]
    # A number can only be meant as one.
    assert len(find_scans(filters(raw, t1w={"session": 1})).scans) == 2


def test_filters_may_name_fields_of_sidecars(cohort):
    found = find_scans(filters(cohort, t1w={"MagneticFieldStrength": 3}, t2w={"run": 9}))
    assert labels(found) == ["sub-01_T1w"]
    found = find_scans(
        filters(cohort, t1w={"MagneticFieldStrength": None}, t2w={"run": [9, None]})
    )
    assert "sub-01_T1w" not in labels(found) and "sub-02_T2w" in labels(found)


def test_filters_do_not_choose_who_shows_a_look(raw):
    """As --session-label: they say what is harmonized; of others only the kind of image counts."""
    for name in ("sub-a/ses-2/anat/sub-a_ses-2", "sub-t/ses-1/anat/sub-t_ses-1"):
        for acquisition in ("mprage", "spgr"):
            raw.image(f"{name}_acq-{acquisition}_T1w", InstitutionName=name[4].upper())
    raw.image("sub-u/anat/sub-u_T1w", InstitutionName="U")
    words = {"session": "2", "acquisition": "mprage", "subject": "a"}
    settings = filters(raw, t1w=words)
    assert labels(find_scans(settings)) == ["sub-a_ses-2_acq-mprage_T1w"]
    assert labels(find_scans(settings, whole_dataset=True)) == [
        "sub-a_ses-2_acq-mprage_T1w", "sub-t_ses-1_acq-mprage_T1w", "sub-u_T1w",
    ]  # fmt: skip


def test_a_claimed_site_is_shown_by_the_scans_it_is_claimed_of(cohort):
    cohort.image("sub-09/anat/sub-09_T1w", EchoTime=0.003)
    settings = cohort.settings(
        participant_labels=("01", "09"), source_site="NEW", target_site="GE"
    )
    assert sites_of(find_everyone(settings).scans) == {"COI": 3, "GE": 1, "NEW": 2}
    settings = replace(settings, target_site="NEW")
    assert sites_of(find_everyone(settings).scans) == {"COI": 4, "GE": 1}


def test_filter_and_flag_name_sessions(cohort):
    settings = filters(cohort, t1w={"session": ["GE", "COI"]})
    both = cohort.settings(bids_filters=settings.bids_filters, session_labels=("GE", "X"))
    assert labels(find_scans(both)) == ["sub-03_ses-GE_acq-mp_T1w"]
    none = cohort.settings(bids_filters=settings.bids_filters, session_labels=("X",))
    with pytest.raises(NothingSelected) as caught:
        find_scans(none)
    assert caught.value.exit_code == 18 and "GE, COI" in str(caught.value)


def test_filter_mistakes(cohort, tmp_path):
    with pytest.raises(UsageError, match="nonsense"):
        find_scans(filters(cohort, t1w={"nonsense": 1}))
    with pytest.raises(UsageError, match="suffix"):
        filters(cohort, t1w={"suffix": "T2w"})
    path = tmp_path / "broken.json"
    path.write_text('{"t1w": {\n"session": }}')
    with pytest.raises(DataError, match="line 2"):
        read_filter_file(path)
    with pytest.raises(MissingInput):
        read_filter_file(tmp_path / "none.json")


@pytest.mark.parametrize("key", ["t1", "T1-w", "dti", "flairs"])
def test_a_modality_that_is_misspelt_is_not_passed_over(cohort, key):
    with pytest.raises(UsageError, match=key):
        filters(cohort, **{key: {"run": 1}})
    assert filters(cohort, t2star={"run": 1}, fmap={}, pet={}, asl={}).bids_filters == {}


def test_no_such_subject(cohort):
    with pytest.raises(NothingSelected, match="sub-99"):
        find_scans(cohort.settings(participant_labels=("99",)))
    found = find_scans(cohort.settings(participant_labels=("99", "01")))
    assert labels(found) == ["sub-01_T1w"]
    assert [p.error.exit_code for p in found.problems] == [18]


def test_nothing_of_that_kind(cohort):
    with pytest.raises(NothingSelected, match="FLAIR"):
        find_scans(cohort.settings(modalities=("FLAIR",)))


def test_broken_sidecar_costs_its_own_scans_only(cohort):
    bad = cohort.root / "sub-02/anat/sub-02_T2w.json"
    bad.write_text('{\n"InstitutionName": "COI",\n}')
    found = find_scans(cohort.settings())
    assert "sub-02_T1w" in labels(found) and "sub-01_T1w" in labels(found)
    (problem,) = found.problems
    assert problem.label == "sub-02_T2w" and isinstance(problem.error, DataError)
    assert str(bad) in str(problem.error) and "line 3" in str(problem.error)


def test_broken_sidecar_of_a_subject_costs_that_subject(cohort):
    (cohort.root / "sub-02/sub-02_T1w.json").write_text("[1, 2]")
    found = find_scans(cohort.settings())
    assert [p.label for p in found.problems] == ["sub-02_T1w"]
    assert len(found.scans) == 4


def test_broken_sidecar_of_all_is_fatal(cohort):
    (cohort.root / "T1w.json").write_text("{")
    with pytest.raises(DataError, match=r"T1w.json, line 1"):
        find_scans(cohort.settings())
    # A file that no selected scan inherits from does not matter.
    (cohort.root / "T1w.json").rename(cohort.root / "task-rest_bold.json")
    assert len(find_scans(cohort.settings()).scans) == 5


def test_annexed_content_that_was_not_fetched(cohort):
    image = cohort.root / "sub-02/anat/sub-02_T1w.nii.gz"
    image.unlink()
    image.symlink_to("../../.git/annex/objects/xx/MD5E-s1--0.nii.gz")
    (cohort.root / "sub-01/anat/sub-01_T1w.json").unlink()
    (cohort.root / "sub-01/anat/sub-01_T1w.json").symlink_to("nowhere.json")
    found = find_scans(cohort.settings())
    assert {p.label for p in found.problems} == {"sub-01_T1w", "sub-02_T1w"}
    for problem in found.problems:
        assert isinstance(problem.error, MissingInput) and "datalad get" in str(problem.error)
    assert len(found.scans) == 3


def test_missing_sidecar(cohort):
    (cohort.root / "sub-01/anat/sub-01_T1w.json").unlink()
    (problem,) = find_scans(cohort.settings()).problems
    # The reason is told once for all scans that have it: it names the scan apart.
    assert problem.error.exit_code == 66 and problem.error.where == "sub-01/anat/sub-01_T1w.nii.gz"
    assert "no sidecar beside it" in problem.error.got
    assert "participants.tsv" in str(problem.error)
    # The same scan is fine where something else tells its site.
    assert not find_scans(cohort.settings(source_site="COI")).problems


def test_sidecar_without_a_site(cohort):
    cohort.json("sub-01/anat/sub-01_T1w.json", EchoTime=0.003)
    (problem,) = find_scans(cohort.settings()).problems
    assert isinstance(problem.error, SiteError) and problem.error.exit_code == 65


def test_folder_that_cannot_be_read(cohort, monkeypatch):
    scandir = os.scandir

    def refuse(path="."):
        if str(path).endswith("sub-02/anat"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = find_scans(cohort.settings())
    (problem,) = found.problems
    assert isinstance(problem.error, InputOutputError) and problem.error.exit_code == 74
    assert "sub-02/anat" in str(problem.error)
    assert "sub-01_T1w" in labels(found) and "sub-02_T1w" not in labels(found)


def test_subject_that_pybids_cannot_index(cohort, monkeypatch):
    from bids.layout import BIDSLayout

    def stumble(layout, *, subject, get=BIDSLayout.get, **words):
        if "02" in subject:
            raise OSError("no such row")
        return get(layout, subject=subject, **words)

    monkeypatch.setattr(BIDSLayout, "get", stumble)
    found = find_scans(cohort.settings())
    assert [p.label for p in found.problems] == ["sub-02"]
    assert "no such row" in str(found.problems[0].error)
    assert len(found.scans) == 3


def test_a_sidecar_has_no_say_in_entities(cohort):
    cohort.json("sub-02/anat/sub-02_T2w.json", InstitutionName="COI", subject="77")
    found = find_scans(cohort.settings())
    assert [s.subject for s in found.scans] == ["01", "02", "02", "03", "03"]
    assert not found.problems


def test_bad_table_of_one_subject(cohort):
    cohort.table("sub-03/sub-03_sessions.tsv", "session_id site", "ses-GE Nagoya extra")
    found = find_scans(cohort.settings())
    assert {p.label.split("_")[0] for p in found.problems} == {"sub-03"}
    assert len(found.scans) == 3


def test_not_bids(cohort, tmp_path):
    (cohort.root / "dataset_description.json").unlink()
    with pytest.raises(NotBidsError, match=r"dataset_description\.json"):
        find_scans(cohort.settings())
    cohort.json("dataset_description.json", Name="no version")
    with pytest.raises(NotBidsError, match="BIDSVersion"):
        find_scans(cohort.settings())
    assert find_scans(cohort.settings(skip_bids_validation=True)).scans
    (cohort.root / "dataset_description.json").write_text("{,}")
    with pytest.raises(DataError, match="line 1"):
        find_scans(cohort.settings())


def test_input_is_left_as_it_was(cohort):
    before = {p: p.stat().st_mtime_ns for p in cohort.root.rglob("*")}
    find_scans(cohort.settings())
    assert {p: p.stat().st_mtime_ns for p in cohort.root.rglob("*")} == before
