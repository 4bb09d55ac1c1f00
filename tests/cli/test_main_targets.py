"""Target sites on the command line: spelling, scanners of one name, sites that are nowhere."""

from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.cli.main import main
from bids_harmony.sites.image_profile import ImageProfile
from bids_harmony.sites.profile_files import write_profiles


def test_train_for_one_target_site_uses_the_spelling_of_the_dataset(call, workflow):
    assert call("--method", "cgan", "--target-site", "coi", level="train")[0] == 0
    assert workflow.calls[0][0].target_site == "COI"
    code, _, told = call("--method", "ssimh", "--target-site", "MARS", level="train")
    assert code == 65 and "does not exist" in told and len(workflow.calls) == 1
    code, _, told = call("--method", "simix", level="train")
    assert code == 64 and "--target-site" in told


def test_target_takes_the_datasets_spelling(call, workflow):
    assert call("--target-site", "site coi")[0] == 0
    assert workflow.calls[0][0].target_site == "COI"


def test_target_whose_scans_belong_to_others(call, workflow):
    code, *_ = call("--participant-label", "01", "--target-site", "GE")
    assert code == 0
    assert [scan.label for scan in workflow.calls[0][1]] == ["sub-01_T1w"]


def test_target_that_only_the_model_knows(call, workflow, tmp_path):
    models = tmp_path / "out/models"
    models.mkdir(parents=True)
    (models / "model.json").write_text("{}")
    nothing = np.zeros((2, 2, 2), np.float32)
    profile = ImageProfile("Osaka", "T1w", *[nothing] * 7, 1.0, ("x",))
    write_profiles(models, [profile], 1.0)
    words = ("--method", "histogram", "--modalities", "T1w")
    assert call("--target-site", "osaka", *words)[0] == 0
    assert workflow.calls[0][0].target_site == "Osaka"
    code, _, err = call("--target-site", "Nowhere")
    assert code == 65 and "of the model: Osaka" in err


def test_unknown_target_lists_the_sites(call, workflow):
    code, _, err = call("--target-site", "Nowhere", "--participant-label", "01")
    assert code == 65 and not workflow.calls
    assert "COI (4 scans)" in err and "GE (1 scan)" in err


@pytest.fixture
def hospital(cohort):
    """COI has two scanners."""
    for label, serial in (("01", "111"), ("02", "222")):
        cohort.image(
            f"sub-{label}/anat/sub-{label}_T1w", InstitutionName="COI", DeviceSerialNumber=serial
        )
    return cohort


def test_a_target_of_two_scanners_lists_them(call, workflow, hospital):
    code, _, err = call("--participant-label", "01")
    assert code == 65 and not workflow.calls
    assert "COI (111), COI (222)" in err and "--site-means institution" in err


def test_one_scanner_of_two_as_a_target(call, workflow, hospital):
    code, out, _ = call("--target-site", "COI (111)", "--modalities", "T1w", "--dry-run")
    assert code == 0
    for told in ("COI (111) (its own site)", "desc-harmonizedCOI111_T1w", "'COI' holds",
                 "  COI (222)\n    222: 1 scan, according to InstitutionName"):  # fmt: skip
        assert told in out, told


def test_an_institution_as_a_target(call, workflow, hospital):
    assert call("--site-means", "institution")[0] == 0
    assert workflow.calls[0][0].target_site == "COI"
    assert {scan.site.site for scan in workflow.calls[0][1]} == {"COI", "GE"}


def test_source_site_does_not_make_a_site(call, workflow):
    assert call("--source-site", "Nowhere", "--target-site", "Nowhere")[0] == 65


@pytest.mark.parametrize("dry", [(), ("--dry-run",)])
def test_a_dataset_without_sites_names_every_way_to_tell_them(raw, tmp_path, capsys, dry):
    for label in ("01", "02"):
        raw.image(f"sub-{label}/anat/sub-{label}_T1w")
    raw.table("participants.tsv", "participant_id study age", "sub-01 X 20", "sub-02 Y 30")
    words = [str(raw.root), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "w")]
    assert main([*words, "--target-site", "X", *dry]) == 65
    told = capsys.readouterr().err
    for way in ("--site-column", "--site-map", "--source-site", "participant_id, study, age"):
        assert way in told, way
    # And by the column that is named there it goes.
    assert main([*words, "--target-site", "X", "--site-column", "study", "--dry-run"]) == 0
