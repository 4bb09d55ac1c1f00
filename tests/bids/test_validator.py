"""A derivative as the writer leaves it, judged by the real BIDS validator."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bids_harmony.bids.dataset import find_scans
from bids_harmony.bids.dataset_files import write_dataset_files
from bids_harmony.bids.derivative import resume_hash, write_json, write_scans_rows, write_text
from bids_harmony.bids.naming import harmonized_path, mask_path, sidecar_path, transform_path
from bids_harmony.bids.run_log import finish_run, start_run
from bids_harmony.bids.scan import SiteEvidence
from bids_harmony.bids.sidecar import derived_sidecar, harmonized_sidecar, site_record
from bids_harmony.imaging.reference import REFERENCE


def validator() -> str:
    name = "bids-validator-deno"
    found = shutil.which(name) or shutil.which(name, path=Path(sys.executable).parent)
    if found is None:
        pytest.skip("bids-validator-deno is not installed")
    return found


def errors(dataset: Path) -> list[dict]:
    run = subprocess.run(
        [validator(), "--format", "json", str(dataset)], capture_output=True, text=True
    )
    issues = json.loads(run.stdout)["issues"]["issues"]
    return [issue for issue in issues if issue["severity"] == "error"]


@pytest.fixture
def derivative(cohort) -> Path:
    """Everything that a run writes, with copies of the sources for images."""
    cohort.json("T1w.json", EchoTime=0.003)
    settings = cohort.settings()
    run_log = start_run(settings, command="test")
    write_dataset_files(settings)
    for scan in find_scans(settings).scans:
        out = settings.output_dir
        image = harmonized_path(out, scan, "COI")
        on_template = harmonized_path(out, scan, "COI", space=REFERENCE)
        mask = mask_path(out, scan)
        image.parent.mkdir(parents=True, exist_ok=True)
        for path in (image, on_template, mask):
            shutil.copy(scan.path, path)
        wanted = resume_hash({"scan": scan.label})
        record = harmonized_sidecar(
            scan, settings.bids_dir, target="COI", method="ihf", resume_hash=wanted,
            skull_stripped=False, model={"Name": "local", "Version": "1", "SHA256": "0" * 64},
            device="cpu", precision="float32", seed=0, quality={"psnr_db": 20.0, "ms_ssim": None},
        )  # fmt: skip
        write_json(sidecar_path(image), record)
        write_json(sidecar_path(on_template), record | {"SpatialReference": REFERENCE})
        brain = {"Type": "Brain"}
        write_json(
            sidecar_path(mask),
            derived_sidecar(scan, settings.bids_dir, resume_hash=wanted, extra=brain),
        )
        write_text(transform_path(out, scan, to=REFERENCE), "#Insight Transform File V1.0\n")
        described = {"psnr_db": {"Description": "Peak signal-to-noise ratio", "Units": "dB"}}
        write_scans_rows(out, scan.subject, scan.session, {image: {"psnr_db": 20.0}}, described)
    (settings.output_dir / "figures").mkdir()
    write_text(settings.output_dir / "figures/sub-01_desc-change_T1w.svg", "<svg/>")
    write_text(settings.output_dir / "sub-01.html", "<html/>")
    write_text(settings.output_dir / "models/model.json", "{}")
    write_text(run_log.folder / "bids_harmony.log", "")
    finish_run(run_log, 0)
    return settings.output_dir


def test_no_errors(derivative):
    assert errors(derivative) == []


def test_the_validator_would_tell(derivative):
    """The derivative is really looked at: damage is found."""
    (derivative / ".bidsignore").unlink()
    next(derivative.rglob("*_desc-harmonizedCOI_T1w.json")).write_text("{}")
    codes = {issue["code"] for issue in errors(derivative)}
    assert {"NOT_INCLUDED", "SIDECAR_KEY_REQUIRED"} <= codes


def test_dataset_files_are_left_alone_by_the_next_job(cohort):
    settings = cohort.settings()
    write_dataset_files(settings)
    before = {p: p.stat().st_mtime_ns for p in settings.output_dir.rglob("*")}
    write_dataset_files(settings)
    assert {p: p.stat().st_mtime_ns for p in settings.output_dir.rglob("*")} == before
    record = json.loads((settings.output_dir / "dataset_description.json").read_text())
    assert record["DatasetLinks"] == {"raw": "../bids"}
    assert record["GeneratedBy"][0]["Name"] == "bids_harmony"
    # Another target in the same folder adds its label.
    write_dataset_files(cohort.settings(target_site="GE"))
    text = (settings.output_dir / "descriptions.tsv").read_text()
    assert "desc-harmonizedCOI" in text and "desc-harmonizedGE" in text


def test_sidecar_carries_what_was_acquired(cohort):
    cohort.json(
        "sub-01/anat/sub-01_T1w.json", Manufacturer="GE", EchoTime=0.003, InstitutionName="X",
        IntendedFor="bids::x", SkullStripped=False, _note="private",
    )  # fmt: skip
    settings = cohort.settings(participant_labels=("01",))
    (scan,) = find_scans(settings).scans
    record = harmonized_sidecar(
        scan, settings.bids_dir, target="COI", method="ihf", resume_hash="h", skull_stripped=True,
        sources=["bids::sub-01/anat/sub-01_desc-brain_mask.nii.gz"],
    )  # fmt: skip
    assert record["Manufacturer"] == "GE" and record["EchoTime"] == 0.003
    assert "IntendedFor" not in record and "_note" not in record
    assert record["SkullStripped"] is True
    assert record["Sources"] == [
        "bids:raw:sub-01/anat/sub-01_T1w.nii.gz",
        "bids::sub-01/anat/sub-01_desc-brain_mask.nii.gz",
    ]
    assert record["HarmonizationSource"]["Site"] == "X"
    assert record["HarmonizationHash"] == "h"
    assert "ModelName" not in record


def test_site_record_leaves_out_what_is_not_known():
    assert site_record(SiteEvidence("X", "--source-site")) == {
        "Site": "X",
        "Evidence": "--source-site",
    }
