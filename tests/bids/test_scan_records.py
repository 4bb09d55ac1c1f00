"""What is read of an output folder: units, scans on more than one grid, the run that made them."""

from __future__ import annotations

import json

from bids_harmony.bids.run_records import Unit, read_runs, runs_of_units, unit_of
from bids_harmony.bids.scan_records import find_units, read_scans
from tests.output_folder import add_run


def test_units_of_labels():
    assert unit_of("sub-01_ses-A_T1w") == Unit("01", "A")
    assert unit_of("sub-01_acq-x_T1w") == Unit("01")
    assert unit_of("sub-02") == Unit("02")
    assert unit_of("participants.tsv") is None


def test_units_come_from_images_and_from_logs_and_can_be_selected(out):
    add_run(out, "run3", {"sub-02": {"state": "failed"}})
    add_run(out, "run4", {"sub-03_T1w": {"state": "done"}}, level="train")
    runs = read_runs(out)
    assert [run.run_id for run in runs] == ["run1", "run2", "run3"]
    assert find_units(out, runs) == [Unit("01", "A"), Unit("02")]
    assert find_units(out, runs, subjects=("02",)) == [Unit("02")]
    assert find_units(out, runs, sessions=("A",)) == [Unit("01", "A")]
    assert find_units(out, []) == [Unit("01", "A")]


def test_a_job_among_many_reads_the_settings_of_its_own_runs_only(out, monkeypatch):
    add_run(out, "run3", {"sub-02_T1w": {"state": "done"}})
    add_run(
        out, "run4", {"sub-02_T1w": {"state": "failed"}, "sub-01_ses-A_T2w": {"state": "done"}}
    )
    read = []
    monkeypatch.setattr(
        "bids_harmony.bids.run_records.tomllib.loads", lambda text: read.append(text) or {}
    )
    assert [run.run_id for run in read_runs(out, {Unit("02")})] == ["run3", "run4"]
    assert len(read) == 2
    assert read_runs(out, set()) == []


def test_runs_are_given_to_each_unit_that_they_tried(out):
    add_run(out, "run3", {"sub-02_T1w": {"state": "done"}, "sub-01_ses-A_T2w": {"state": "done"}})
    add_run(out, "run4", {"nobody": {}})
    ids = {
        unit: [run.run_id for run in runs] for unit, runs in runs_of_units(read_runs(out)).items()
    }
    assert ids == {Unit("01", "A"): ["run1", "run2", "run3"], Unit("02"): ["run3"]}


def test_a_copy_on_another_grid_is_no_scan_of_its_own(out):
    own = out / "sub-01/ses-A/anat/sub-01_ses-A_desc-harmonizedCOI_T1w.json"
    copy = own.with_name("sub-01_ses-A_space-MNI_desc-harmonizedCOI_T1w.json")
    copy.write_text(own.read_text())
    scans = read_scans(out, Unit("01", "A"), read_runs(out))
    assert [scan.label for scan in scans] == [f"sub-01_ses-A_{s}" for s in ("T1w", "T2w", "dwi")]
    assert [path.name.split("_desc")[0] for path in scans[0].others] == ["sub-01_ses-A_space-MNI"]
    # A copy that has lost its original is shown.
    own.unlink()
    assert len(read_scans(out, Unit("01", "A"), [])) == 3


def test_copies_of_a_preprocessed_scan_and_those_with_a_resolution_are_no_scans(out):
    own = out / "sub-01/ses-A/anat/sub-01_ses-A_desc-harmonizedCOI_T1w.json"
    record = json.loads(own.read_text())
    record["Sources"][0] = "bids:raw:sub-01/ses-A/anat/sub-01_ses-A_space-ACPC_T1w.nii.gz"
    own.unlink()
    for space in ("ACPC", "MNI152NLin6Asym_res-2", "MNI152NLin6Asym"):
        name = f"sub-01_ses-A_space-{space}_desc-harmonizedCOI_T1w.json"
        own.with_name(name).write_text(json.dumps(record))
    scans = read_scans(out, Unit("01", "A"), [])
    (one,) = [scan for scan in scans if scan.modality == "T1w"]
    assert one.image.name == "sub-01_ses-A_space-ACPC_desc-harmonizedCOI_T1w.nii.gz"
    assert len(one.others) == 2 and len(scans) == 3


def test_maps_and_files_of_others_are_no_scans(out):
    own = out / "sub-01/ses-A/anat/sub-01_ses-A_desc-harmonizedCOI_T1w.json"
    for name in ("dwi/sub-01_ses-A_param-fa_desc-harmonizedCOI_dwimap", "anat/sub-01_ses-A_T1w"):
        (out / f"sub-01/ses-A/{name}.json").write_text(own.read_text())
    (own.with_name("sub-01_ses-A_desc-harmonizedX_T1w.json")).write_text(json.dumps({"A": 1}))
    assert len(read_scans(out, Unit("01", "A"), [])) == 3


def test_the_newest_run_that_made_an_image_for_this_target(out):
    done = {"sub-01_ses-A_T1w": {"state": "done"}}
    add_run(out, "run3", done)
    add_run(out, "run4", done)
    settings = out / "logs/run4/settings.toml"
    settings.write_text(settings.read_text().replace('"COI"', '"GE"'))
    scan = read_scans(out, Unit("01", "A"), read_runs(out))[0]
    assert scan.run.run_id == "run3"


def test_a_run_that_found_the_image_made_stands_for_one_that_was_killed(out):
    add_run(out, "run3", {})
    add_run(out, "run4", {"sub-01_ses-A_T1w": {"state": "skipped"}})
    left_out = {"state": "skipped", "error": "OutOfRange"}
    add_run(out, "run5", {"sub-01_ses-A_T1w": left_out})
    runs = [run for run in read_runs(out) if run.run_id in ("run3", "run4", "run5")]
    assert read_scans(out, Unit("01", "A"), runs)[0].run.run_id == "run4"
