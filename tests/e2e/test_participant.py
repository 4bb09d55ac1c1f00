"""The participant level on a simulated cohort: what is there afterwards, and what it says."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.e2e.program import (
    TARGET,
    TRAVELLER,
    assert_whole,
    copy_fits,
    run,
    snapshot,
    validator_errors,
)

pytestmark = pytest.mark.e2e

NIFTI1_HEADER = 352  # bytes, with the four that tell of extensions
#: Label of each harmonized scan and the folder of its images.
SCANS = {
    f"sub-{person}{session}_{modality}": f"sub-{person}{session.replace('_', '/')}/anat"
    for person, session in (("COI01", ""), ("SIEMENS01", ""), (TRAVELLER, "_ses-SIEMENS"))
    for modality in ("T1w", "T2w")
}


def source_of(bids: Path, label: str) -> Path:
    return bids / SCANS[label] / f"{label}.nii.gz"


def output_of(out: Path, label: str) -> Path:
    entities, modality = label.rsplit("_", 1)
    return out / SCANS[label] / f"{entities}_desc-harmonized{TARGET}_{modality}.nii.gz"


def test_training_leaves_a_model_and_says_what_became_of_each_scan(training):
    assert set(training.states.values()) == {"done"} and len(training.states) == 12
    models = training.out / "models"
    record = json.loads((models / "model.json").read_text())
    assert len(record["weights"]["sha256"]) == 64
    assert (models / "model.safetensors").is_file() and (models / "banks.safetensors").is_file()
    assert training.status["state"] == "finished" and training.status["exit_code"] == 0


def test_every_scan_is_done(harmonized):
    assert harmonized.code == 0, harmonized.told
    assert harmonized.states == dict.fromkeys(SCANS, "done")
    assert harmonized.told.strip().splitlines()[-1].endswith("exit code 0: done)")
    assert harmonized.status["state"] == "finished"
    logs = {p.name for p in (harmonized.out / "logs").glob("*/*")}
    assert logs == {"settings.toml", "status.json", "bids_harmony.log"}


@pytest.mark.parametrize("label", SCANS)
def test_image_has_the_form_of_its_source(harmonized, bids, label):
    source = gzip.decompress(source_of(bids, label).read_bytes())
    result = gzip.decompress(output_of(harmonized.out, label).read_bytes())
    # Grid, affine, sform and qform codes, data type, slope, units, description: all of it.
    assert result[:NIFTI1_HEADER] == source[:NIFTI1_HEADER]
    assert len(result) == len(source)


@pytest.mark.parametrize("label", SCANS)
def test_everything_beside_the_image_is_there(harmonized, label):
    image = output_of(harmonized.out, label)
    entities, modality = label.rsplit("_", 1)
    mask = "brain" if modality == "T1w" else f"brain{modality}"
    stems = {
        f"{entities}_desc-{mask}_mask": ".nii.gz",
        f"{entities}_from-{modality}_to-MNI152NLin2009aSym_mode-image_xfm": ".txt",
    }
    for stem, extension in stems.items():
        assert (image.parent / f"{stem}{extension}").is_file()
        assert json.loads((image.parent / f"{stem}.json").read_text())["Sources"]
    grid = nib.load(image)
    drawn = nib.load(image.parent / f"{entities}_desc-{mask}_mask.nii.gz")
    assert drawn.shape == grid.shape and np.array_equal(drawn.affine, grid.affine)
    assert set(np.unique(drawn.dataobj)) == {0, 1}
    figure = next(harmonized.out.glob(f"sub-*/figures/{image.name.split('.')[0]}.png"))
    assert figure.read_bytes().startswith(b"\x89PNG")
    summary = figure.parents[1] / "summaries" / f"{figure.stem}.npz"
    assert 1_000 < summary.stat().st_size < 100_000


@pytest.mark.parametrize("label", SCANS)
def test_sidecar_tells_where_the_image_comes_from(harmonized, bids, trained, label):
    image = output_of(harmonized.out, label)
    sidecar = json.loads(Path(str(image).replace(".nii.gz", ".json")).read_text())
    acquired = json.loads(
        Path(str(source_of(bids, label)).replace(".nii.gz", ".json")).read_text()
    )
    assert acquired.items() <= sidecar.items()
    site = acquired["InstitutionName"]
    raw, *own = sidecar["Sources"]
    assert raw == f"bids:raw:{SCANS[label]}/{label}.nii.gz"
    assert len(own) == 2
    assert all((harmonized.out / uri.removeprefix("bids::")).is_file() for uri in own)
    source = sidecar["HarmonizationSource"]
    # A session named after a site says it before the scanner does.
    # Travelling subjects name a scanner by their session, which counts for more.
    known = {"InstitutionName", "other scans of this scanner"}
    assert source["Evidence"] in ({"session label"} if "ses-" in label else known)
    assert (source["Site"], source["MagneticFieldStrength"]) == (
        site,
        acquired["MagneticFieldStrength"],
    )
    assert sidecar["HarmonizationTarget"] == TARGET and sidecar["HarmonizationMethod"] == "ihf"
    assert sidecar["Seed"] == 0 and sidecar["SkullStripped"] is True
    assert len(sidecar["ModelSHA256"]) == len(sidecar["HarmonizationHash"]) == 64
    quality = sidecar["HarmonizationQuality"]
    assert quality["same_site"] is (site == TARGET)
    assert 0 <= quality["round_trip_error"] < 1e-5
    if site != TARGET:
        assert 0 < quality["rmse_brain"] < 0.5 and 0 < quality["ssim_brain"] < 1
        assert quality["wasserstein_harmonized"] < quality["wasserstein_source"]


def test_one_model_made_every_image(harmonized):
    records = [json.loads(p.read_text()) for p in harmonized.out.rglob("*_desc-harm*_T?w.json")]
    assert len(records) == len(SCANS)
    assert len({record["ModelSHA256"] for record in records}) == 1
    assert len({record["HarmonizationHash"] for record in records}) == len(SCANS)


def test_tables_have_a_row_per_image(harmonized):
    rows = {}
    for table in harmonized.out.rglob("*_scans.tsv"):
        with open(table, newline="") as stream:
            for row in csv.DictReader(stream, delimiter="\t"):
                rows[table.parent / row["filename"]] = row
        described = json.loads(table.with_suffix(".json").read_text())
        assert set(described) == set(row)
    assert set(rows) == {output_of(harmonized.out, label) for label in SCANS}
    for path, row in rows.items():
        assert row["target_site"] == TARGET
        assert row["source_site"] == (TARGET if "COI01" in path.name else "SIEMENS")
        assert float(row["round_trip_error"]) < 1e-5


def test_raw_dataset_and_derivatives_are_valid_bids(harmonized, training, bids):
    assert validator_errors(bids) == []
    assert validator_errors(harmonized.out) == []
    assert validator_errors(training.out) == []
    for out in (harmonized.out, training.out):
        assert_whole(out)


@pytest.mark.parametrize("label", [label for label in SCANS if "COI01" in label])
def test_scan_of_the_target_site_comes_back_bit_for_bit(harmonized, bids, label):
    source = gzip.decompress(source_of(bids, label).read_bytes())
    assert gzip.decompress(output_of(harmonized.out, label).read_bytes()) == source


@pytest.mark.parametrize("label", [label for label in SCANS if TRAVELLER in label])
def test_traveller_comes_nearer_to_what_the_target_would_have_seen(harmonized, cohort, label):
    from bids_harmony.quality.travelling import score_against_twin

    entities, modality = label.rsplit("_", 1)
    source = nib.load(source_of(cohort / "bids", label)).get_fdata()
    twin = cohort / "twins" / SCANS[label] / f"{entities}_desc-twin_{modality}.nii.gz"
    brain = source > 0
    before, after = (
        score_against_twin(image, nib.load(twin).get_fdata(), brain)["rmse"]
        for image in (source, nib.load(output_of(harmonized.out, label)).get_fdata())
    )
    assert after < 0.8 * before


def test_input_and_model_are_left_as_they_were(bids, trained, model, tmp_path):
    copy_fits(trained, tmp_path / "out", "SIEMENS02")
    before, models = snapshot(bids), snapshot(trained / "models")
    label = ("--participant-label", "SIEMENS02")
    assert run(bids, tmp_path / "out", *label, *model, work=tmp_path / "work").code == 0
    assert snapshot(bids) == before
    assert snapshot(trained / "models") == models
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "work"]


def test_dry_run_writes_nothing_and_shows_sites_and_why(bids, model, tmp_path):
    label = ("--participant-label", TRAVELLER, "COI01")
    finished = run(bids, tmp_path / "out", *label, *model, "--dry-run", work=tmp_path / "work")
    assert finished.code == 0
    assert not list(tmp_path.iterdir())
    plan = {
        line.split()[0]: line for line in finished.shown.splitlines() if line.startswith("sub")
    }
    assert set(plan) == {label for label in SCANS if "SIEMENS01" not in label}
    own, other = plan["sub-COI01_T1w"], plan[f"sub-{TRAVELLER}_ses-SIEMENS_T2w"]
    assert "InstitutionName" in own and f"{TARGET} (its own site)" in own
    assert "session label" in other and f"ses-SIEMENS_desc-harmonized{TARGET}_T2w.nii.gz" in other
