"""Harmonized images under the names of their sources: a raw dataset that other apps can read."""

from __future__ import annotations

import errno
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.bids.dataset import find_scans
from bids_harmony.bids.dataset_files import write_dataset_files
from bids_harmony.bids.derivative import write_json
from bids_harmony.bids.naming import harmonized_path, raw_layout_root, sidecar_path, table_paths
from bids_harmony.bids.raw_layout import check_raw_layout, write_raw_layout
from bids_harmony.bids.sidecar import harmonized_sidecar
from bids_harmony.exceptions import BidsHarmonyError, UsageError
from bids_harmony.io.reading import MOST_TEXT
from tests.e2e.program import assert_whole, snapshot, validator_errors

TRAVELLER = "sub-03/ses-GE/anat/sub-03_ses-GE_acq-mp_T1w"
SERIES = "sub-01/dwi/sub-01_dwi"


@pytest.fixture
def dataset(cohort):
    """The cohort with what makes copying hard: inheritance, tables at every level, a series."""
    root = cohort.root
    cohort.json(
        "dataset_description.json", Name="Tiny", BIDSVersion="1.9.0", DatasetType="raw",
        License="CC0", Authors=["A", "B"], DatasetDOI="doi:10.1/x",
        GeneratedBy=[{"Name": "dcm2bids", "Version": "3"}],
    )  # fmt: skip
    cohort.json("T1w.json", EchoTime=0.003, Manufacturer="nobody")
    cohort.json(
        f"{TRAVELLER}.json", Manufacturer="GE MEDICAL SYSTEMS", B0FieldSource="pepolar0",
        RepetitionTime=2,
    )  # fmt: skip
    series = cohort.image(
        SERIES, InstitutionName="COI", RepetitionTime=3, PhaseEncodingDirection="j"
    )
    stored = nib.load(series)
    four = np.stack([stored.get_fdata()] * 3, axis=-1).astype(np.int16)
    nib.save(nib.Nifti1Image(four, stored.affine, stored.header), series)
    # For all series, and with line ends that no text mode would keep.
    (root / "dwi.bval").write_bytes(b"0 1000 1000\r\n")
    (root / "dwi.bvec").write_bytes(b"0 1 0\n0 0 1\n0 0 0")
    cohort.json("participants.json", group={"Description": "Who  they are"})
    cohort.table(
        "sub-03/sub-03_sessions.tsv", "session_id site", "ses-GE GE", "ses-COI COI", "ses-X X"
    )
    cohort.table(
        "sub-03/ses-GE/sub-03_ses-GE_scans.tsv",
        "filename acq_time operator randstr age",
        "func/sub-03_ses-GE_task-rest_bold.nii.gz 2020-01-01T10:00:00 Doe 4a5b 30",
        "anat/sub-03_ses-GE_acq-mp_T1w.nii.gz 2020-01-01T09:00:00 Doe 6c7d 30",
    )
    cohort.json(
        "scans.json", operator={"Description": "Who scanned: Doe"}, age={"Description": "Its"}
    )
    return cohort


def harmonize(dataset, **options):
    """The derivative as a run leaves it, with other voxels; its settings and scans."""
    settings = dataset.settings(output_layout="raw", **options)
    write_dataset_files(settings)
    scans = find_scans(settings).scans
    for scan in scans:
        image = harmonized_path(settings.output_dir, scan, "COI")
        image.parent.mkdir(parents=True, exist_ok=True)
        source = nib.load(scan.path)
        voxels = np.asanyarray(source.dataobj) // 2
        nib.save(nib.Nifti1Image(voxels, source.affine, source.header), image)
        for given, copy in zip(scan.gradients or (), table_paths(image), strict=False):
            shutil.copy(given, copy)
        record = harmonized_sidecar(
            scan, settings.bids_dir, target="COI", method="ihf", resume_hash="h",
            skull_stripped=False, model={"Name": "local"},
        )  # fmt: skip
        write_json(sidecar_path(image), record)
    return settings, scans


def test_an_image_has_its_sources_name_and_the_derivatives_voxels(dataset):
    settings, scans = harmonize(dataset)
    root = write_raw_layout(settings, scans, "COI")
    assert root == settings.output_dir / "derivatives" / "harmonizedCOI"
    images = {p.relative_to(root) for p in root.rglob("*.nii.gz")}
    assert images == {scan.path.relative_to(dataset.root) for scan in scans} and len(images) == 6
    for scan in scans:
        copy = root / scan.path.relative_to(dataset.root)
        image = harmonized_path(settings.output_dir, scan, "COI")
        assert copy.read_bytes() == image.read_bytes() != scan.path.read_bytes()
        # No second gigabyte.
        assert copy.samefile(image)


def test_sidecar_holds_what_was_inherited_and_what_was_done(dataset):
    root = write_raw_layout(*harmonize(dataset), "COI")
    record = json.loads((root / f"{TRAVELLER}.json").read_text())
    acquired = {
        "EchoTime": 0.003, "Manufacturer": "GE MEDICAL SYSTEMS", "B0FieldSource": "pepolar0",
        "RepetitionTime": 2,
    }  # fmt: skip
    assert acquired.items() <= record.items()
    assert record["HarmonizationTarget"] == "COI" and record["HarmonizationMethod"] == "ihf"
    assert record["HarmonizationSource"]["Site"] == "GE"
    assert record["SkullStripped"] is False
    links = json.loads((root / "dataset_description.json").read_text())["DatasetLinks"]
    places = [uri.split(":", 2) for uri in record["Sources"]]
    assert [name for _, name, _ in places] == ["raw", "harmonized"]
    assert all((root / links[name] / path).is_file() for _, name, path in places)
    # Nothing is inherited twice.
    assert not (root / "T1w.json").exists()


def test_gradient_tables_lie_beside_the_series_to_the_byte(dataset):
    root = write_raw_layout(*harmonize(dataset), "COI")
    for kind in ("bval", "bvec"):
        source = dataset.root / f"dwi.{kind}"
        assert (root / f"{SERIES}.{kind}").read_bytes() == source.read_bytes()


def test_tables_speak_of_what_is_there_only(dataset):
    chosen = {"participant_labels": ("02", "03"), "session_labels": ()}
    settings, scans = harmonize(dataset, **chosen)
    scans = [scan for scan in scans if scan.session != "COI"]
    root = write_raw_layout(settings, scans, "COI")
    rows = {
        table.relative_to(root).as_posix(): table.read_text().split("\n")[1:-1]
        for table in root.rglob("*.tsv")
    }
    assert rows == {
        "participants.tsv": ["sub-02\ta", "sub-03\ttravelling"],
        "sub-03/sub-03_sessions.tsv": ["ses-GE\tGE"],
        "sub-03/ses-GE/sub-03_ses-GE_scans.tsv": ["anat/sub-03_ses-GE_acq-mp_T1w.nii.gz\t30"],
    }
    described = {
        name: json.loads((root / name).read_text()) for name in ("participants.json", "scans.json")
    }
    assert described == {
        "participants.json": {"group": {"Description": "Who  they are"}},
        "scans.json": {"age": {"Description": "Its"}},
    }
    # The next job adds its people and takes nobody away.
    write_raw_layout(*harmonize(dataset, participant_labels=("01",)), "COI")
    people = (root / "participants.tsv").read_text().split()[2::2]
    assert people == ["sub-01", "sub-02", "sub-03"]


def test_description_keeps_credit_and_says_what_it_is(dataset):
    root = write_raw_layout(*harmonize(dataset), "COI")
    record = json.loads((root / "dataset_description.json").read_text())
    assert record["DatasetType"] == "raw" and "harmonized to COI" in record["Name"]
    assert record["Authors"] == ["A", "B"] and record["License"] == "CC0"
    assert [tool["Name"] for tool in record["GeneratedBy"]] == ["dcm2bids", "bids_harmony"]
    assert record["SourceDatasets"] == [{"DOI": "doi:10.1/x"}] and "DatasetDOI" not in record
    assert "not as they were acquired" in (root / "README.md").read_text()


def test_both_datasets_are_valid(dataset):
    settings, scans = harmonize(dataset)
    root = write_raw_layout(settings, scans, "COI")
    assert validator_errors(root) == []
    assert validator_errors(settings.output_dir) == []
    (root / f"{SERIES}.bval").unlink()
    assert validator_errors(root)


def test_readers_of_the_derivative_do_not_meet_it(dataset):
    from bids.layout import BIDSLayout

    settings, scans = harmonize(dataset)
    root = write_raw_layout(settings, scans, "COI")
    layout = BIDSLayout(dataset.root, derivatives=settings.output_dir)
    found = layout.get(scope="derivatives", suffix="T1w", extension=".nii.gz")
    assert len(found) == 4 and all("desc-harmonized" in image.filename for image in found)
    alone = BIDSLayout(root)
    assert len(alone.get(suffix="T1w", extension=".nii.gz")) == 4
    assert alone.get_bval(root / f"{SERIES}.nii.gz") == str(root / f"{SERIES}.bval")
    # It is an input like any other.
    again = find_scans(replace(settings, bids_dir=root))
    assert [scan.label for scan in again.scans] == [scan.label for scan in scans]
    assert not again.problems


def no_links(*_, **__):
    raise OSError(errno.EPERM, "Operation not permitted")


@pytest.mark.parametrize("linked", [True, False], ids=["hard links", "copies"])
def test_a_second_run_writes_nothing_and_a_lost_file_comes_back(dataset, monkeypatch, linked):
    if not linked:
        monkeypatch.setattr(os, "link", no_links)
    settings, scans = harmonize(dataset)
    root = write_raw_layout(settings, scans, "COI")
    image = root / f"{TRAVELLER}.nii.gz"
    assert (image.stat().st_nlink == 2) is linked
    assert_whole(settings.output_dir)
    before = snapshot(root)
    write_raw_layout(settings, scans, "COI")
    assert snapshot(root) == before
    image.unlink()
    (root / f"{TRAVELLER}.json").unlink()
    write_raw_layout(settings, scans, "COI")
    assert {name: entry[2] for name, entry in snapshot(root).items()} == {
        name: entry[2] for name, entry in before.items()
    }


@pytest.mark.parametrize("linked", [True, False], ids=["hard links", "copies"])
def test_an_image_that_was_made_anew_is_taken_over(dataset, monkeypatch, linked):
    if not linked:
        monkeypatch.setattr(os, "link", no_links)
    settings, scans = harmonize(dataset)
    root = write_raw_layout(settings, scans, "COI")
    image = harmonized_path(settings.output_dir, scans[0], "COI")
    fresh = image.with_name("fresh")
    shutil.copy(scans[0].path, fresh)
    os.replace(fresh, image)
    write_raw_layout(settings, scans, "COI")
    copy = root / scans[0].path.relative_to(dataset.root)
    assert copy.read_bytes() == scans[0].path.read_bytes()


def test_an_uncompressed_source_is_listed_under_its_new_name(raw):
    packed = raw.image("sub-01/anat/sub-01_T1w", InstitutionName="COI")
    plain = packed.with_suffix("")
    nib.save(nib.load(packed), plain)
    packed.unlink()
    raw.table("sub-01/sub-01_scans.tsv", "filename age", "anat/sub-01_T1w.nii 30")
    settings, scans = harmonize(raw)
    root = write_raw_layout(settings, scans, "COI")
    table = (root / "sub-01/sub-01_scans.tsv").read_text()
    assert table == "filename\tage\nanat/sub-01_T1w.nii.gz\t30\n"
    assert (root / "sub-01/anat/sub-01_T1w.nii.gz").is_file()


def test_targets_do_not_share_a_dataset():
    roots = {raw_layout_root(Path("/out"), target) for target in ("COI", "site GE")}
    assert len(roots) == 2


def test_a_derivative_as_input_is_refused(raw):
    raw.json("dataset_description.json", Name="Tiny", BIDSVersion="1.9", DatasetType="derivative")
    with pytest.raises(UsageError, match="derivative"):
        check_raw_layout(raw.settings(output_layout="raw"))
    check_raw_layout(raw.settings())


def test_columns_of_people_stay_where_they_are(dataset, caplog):
    dataset.table(
        "participants.tsv", "participant_id name birth_date Age sex mrn site",
        "sub-02 Doe 1970-01-01 41 F 4711 COI", "sub-03 Roe 1971-01-01 89+ M 4712 GE",
    )  # fmt: skip
    with caplog.at_level("INFO"):
        root = write_raw_layout(*harmonize(dataset), "COI")
    assert (root / "participants.tsv").read_text() == (
        "participant_id\tAge\tsex\tsite\nsub-02\t41\tF\tCOI\nsub-03\t89+\tM\tGE\n"
    )
    assert "name, birth_date, mrn" in caplog.text
    assert not [p for p in root.rglob("*.tsv") if "Doe" in p.read_text()]
    assert not [p for p in root.rglob("*.json") if "Doe" in p.read_text()]


def test_a_source_without_a_doi_has_no_url_that_is_none(dataset):
    """A relative path is no URI: bids-validator 1.15 calls it an error."""
    description = dataset.root / "dataset_description.json"
    for doi in (None, "", 5):
        description.write_text(
            json.dumps({"Name": "x", "BIDSVersion": "1.9.0", "DatasetDOI": doi})
        )
        settings, scans = harmonize(dataset)
        root = write_raw_layout(settings, scans, "COI")
        for folder in (root, settings.output_dir):
            record = json.loads((folder / "dataset_description.json").read_text())
            assert "SourceDatasets" not in record
            assert (folder / record["DatasetLinks"]["raw"]).resolve() == dataset.root


@pytest.mark.parametrize("spoil", [os.mkfifo, lambda path: os.truncate(path, MOST_TEXT + 1)])
def test_a_text_that_has_no_end_is_refused(dataset, spoil):
    path = dataset.root / "scans.json"
    if spoil is os.mkfifo:
        path.unlink()
    settings, scans = harmonize(dataset)
    spoil(path)
    with pytest.raises(BidsHarmonyError, match=r"scans\.json"):
        write_raw_layout(settings, scans, "COI")
