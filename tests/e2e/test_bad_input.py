"""Bad input: its own exit code, words that help, nothing half-written, the others finish."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.e2e.program import (
    TARGET,
    TRAINING,
    assert_whole,
    copy_fits,
    run,
    snapshot,
    validator_errors,
    written_for,
)

pytestmark = pytest.mark.e2e

BAD, GOOD = "SIEMENS01", "SIEMENS02"
SCAN = f"sub-{BAD}/anat/sub-{BAD}_T1w"


def truncate(image: Path) -> None:
    image.write_bytes(image.read_bytes()[:5000])


def replace_voxels(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def spoil(image: Path) -> None:
        source = nib.load(image)
        data = change(np.asarray(source.dataobj, np.float32))
        image.unlink()
        nib.save(nib.Nifti1Image(data, source.affine), image)

    return spoil


def one_infinity(data: np.ndarray) -> np.ndarray:
    data[5, 5, 5] = np.inf
    return data


def annex(image: Path) -> None:
    image.unlink()
    image.symlink_to("../../.git/annex/objects/aa/bb/MD5E-s1--0.nii.gz/MD5E-s1--0.nii.gz")


def no_sidecar(image: Path) -> None:
    sidecar(image).unlink()


def broken_sidecar(image: Path) -> None:
    sidecar(image).write_text('{"InstitutionName": "SIEMENS",\n "EchoTime": 0.003,}\n')


def sidecar_without_site(image: Path) -> None:
    sidecar(image).write_text('{"EchoTime": 0.003}')


def site_that_the_model_never_saw(image: Path) -> None:
    sidecar(image).write_text('{"InstitutionName": "Osaka"}')


def sidecar(image: Path) -> Path:
    return Path(str(image).replace(".nii.gz", ".json"))


@pytest.fixture
def spoilt(bids, tmp_path) -> Path:
    """A copy of the dataset that the test may spoil."""
    shutil.copytree(bids, tmp_path / "bids", symlinks=True)
    return tmp_path / "bids"


@pytest.fixture
def attempt(spoilt, trained, model, tmp_path):
    """Run a bad and a good subject; the good one's mask and transform are there already."""
    copy_fits(trained, tmp_path / "out", GOOD)

    def run_both(*words: str, **options):
        words = words or ("--participant-label", BAD, GOOD, "--modalities", "T1w")
        return run(spoilt, tmp_path / "out", *words, *model, work=tmp_path / "work", **options)

    return run_both


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


@pytest.mark.parametrize(
    ("spoil", "code", "told"),
    [
        (truncate, 74, ["truncated or damaged", f"{SCAN}.nii.gz"]),
        (replace_voxels(one_infinity), 65, ["not finite", f"{SCAN}.nii.gz"]),
        (replace_voxels(np.zeros_like), 65, ["no contrast", "0 in every voxel", f"{SCAN}.nii.gz"]),
        (
            replace_voxels(lambda data: data[:, :, 10]),
            65,
            ["not a single three-dimensional volume", f"{SCAN}.nii.gz"],
        ),
        (
            replace_voxels(lambda data: np.stack([data] * 4, axis=-1)),
            65,
            ["not a single three-dimensional volume", "x4", f"{SCAN}.nii.gz"],
        ),
        (lambda image: image.write_bytes(b""), 74, ["empty", f"{SCAN}.nii.gz"]),
        (lambda image: image.write_text("no image"), 65, ["not a NIfTI", f"{SCAN}.nii.gz"]),
        (annex, 66, ["datalad get", f"{SCAN}.nii.gz"]),
        (no_sidecar, 66, ["no sidecar", f"{SCAN}.nii.gz", "--site-map"]),
        (broken_sidecar, 65, ["syntax error", f"{SCAN}.json, line 2"]),
        (sidecar_without_site, 65, ["site", "--site-map", SCAN]),
    ],
    ids=[
        "truncated", "infinity", "zeros", "2-D", "4-D", "empty", "text", "annexed",
        "no-sidecar", "sidecar-syntax", "no-site",
    ],
)  # fmt: skip
def test_a_bad_scan_has_its_code_and_stops_no_other(attempt, spoilt, spoil, code, told):
    spoil(spoilt / f"{SCAN}.nii.gz")
    before = snapshot(spoilt)
    finished = attempt()
    assert finished.code == code, finished.told
    for words in told:
        assert words in finished.told
    assert f"sub-{BAD}_T1w" in finished.told
    assert f"Exit code {code}: " in last_line(finished.told)
    assert "Traceback" not in finished.told
    # The bad scan: no image; the good one: all of it.
    assert not [name for name in written_for(finished.out, BAD) if "harmonized" in name]
    assert finished.states[f"sub-{GOOD}_T1w"] == "done"
    harmonized = f"anat/sub-{GOOD}_desc-harmonized{TARGET}_T1w"
    assert {f"{harmonized}.nii.gz", f"{harmonized}.json"} <= set(written_for(finished.out, GOOD))
    if spoil is not site_that_the_model_never_saw:  # that one has a good mask and transform
        assert written_for(finished.out, BAD) == []
    assert finished.status["state"] == "failed" and finished.status["exit_code"] == code
    failed = finished.scans[f"sub-{BAD}_T1w"]
    assert (failed["state"], failed["exit_code"]) == ("failed", code)
    assert failed["error"] and failed["message"]
    assert_whole(finished.out)
    assert snapshot(spoilt) == before


@pytest.mark.e2e
def test_a_site_that_the_model_never_saw_is_known_from_its_scan(attempt, spoilt):
    site_that_the_model_never_saw(spoilt / f"{SCAN}.nii.gz")
    finished = attempt()
    assert finished.code == 0, finished.told
    assert finished.states[f"sub-{BAD}_T1w"] == "done"
    (sidecar,) = finished.out.glob(f"sub-{BAD}/anat/*_desc-harmonized{TARGET}_T1w.json")
    record = json.loads(sidecar.read_text())
    assert record["HarmonizationSource"]["Site"] == "Osaka"
    assert record["SourceSiteScans"] == [f"sub-{BAD}_T1w"]


def test_several_bad_scans_in_two_processes(attempt, spoilt):
    """Whichever way they are bad, the rest of a parallel run comes to its end; valid BIDS."""
    truncate(spoilt / f"{SCAN}.nii.gz")
    replace_voxels(np.zeros_like)(spoilt / "sub-SIEMENS03/anat/sub-SIEMENS03_T1w.nii.gz")
    annex(spoilt / "sub-COI02/anat/sub-COI02_T1w.nii.gz")
    people = (BAD, GOOD, "SIEMENS03", "COI02")
    finished = attempt("--participant-label", *people, "--modalities", "T1w", nprocs=2)
    # What was not fetched is the code of the run: once it is there, the rest can be judged.
    assert finished.code == 66 and "Exit code 66" in last_line(finished.told)
    codes = {label: scan["exit_code"] for label, scan in finished.scans.items()}
    assert codes == {
        f"sub-{BAD}_T1w": 74, f"sub-{GOOD}_T1w": 0, "sub-SIEMENS03_T1w": 65, "sub-COI02_T1w": 66,
    }  # fmt: skip
    assert_whole(finished.out)
    assert validator_errors(finished.out) == []


def test_a_mended_scan_is_all_that_the_next_run_does(attempt, spoilt, bids):
    truncate(spoilt / f"{SCAN}.nii.gz")
    assert attempt().code == 74
    shutil.copy(bids / f"{SCAN}.nii.gz", spoilt / f"{SCAN}.nii.gz")
    finished = attempt()
    assert finished.code == 0
    assert finished.states == {f"sub-{BAD}_T1w": "done", f"sub-{GOOD}_T1w": "skipped"}


def test_a_t2w_does_not_suffer_for_its_t1w(attempt, spoilt):
    """It goes to the reference by itself, as where a person has no T1w."""
    truncate(spoilt / f"{SCAN}.nii.gz")
    finished = attempt("--participant-label", BAD)
    assert finished.scans[f"sub-{BAD}_T1w"]["exit_code"] == 74
    assert "T1w" not in finished.scans[f"sub-{BAD}_T2w"].get("message", "")
    assert not [name for name in written_for(finished.out, BAD) if name.endswith("_T1w.nii.gz")]


def test_a_target_that_is_not_there_lists_the_sites(attempt, spoilt):
    finished = attempt("--participant-label", GOOD, "--target-site", "Nowhere")
    assert finished.code == 65
    for words in ("Nowhere", "COI (6 scans)", "SIEMENS (8 scans)", "of the model: COI, SIEMENS"):
        assert words in finished.told
    assert not [name for name in written_for(finished.out, GOOD) if "harmonized" in name]
    assert finished.scans == {}
    assert_whole(finished.out)


def test_a_contrast_of_the_target_that_nothing_shows(attempt, spoilt):
    # One T1w makes the site's T1w look known; of its T2w look there is nothing.
    site_that_the_model_never_saw(spoilt / f"{SCAN}.nii.gz")
    finished = attempt("--participant-label", GOOD, "--target-site", "Osaka")
    assert finished.code == 65
    assert "Osaka" in finished.told and "COI, SIEMENS" in finished.told
    assert "--target-image" in finished.told and "--modalities" in finished.told
    assert finished.states == {f"sub-{GOOD}_T1w": "done", f"sub-{GOOD}_T2w": "failed"}
    written = [name for name in written_for(finished.out, GOOD) if "harmonized" in name]
    assert written and not [name for name in written if "T2w" in name]


def test_no_model(spoilt, tmp_path):
    words = ("--participant-label", GOOD, "--model", str(tmp_path / "nothing"))
    finished = run(spoilt, tmp_path / "out", *words, work=tmp_path / "work")
    assert finished.code == 66
    assert "no model" in finished.told and "train" in finished.told
    assert written_for(finished.out, GOOD) == []


def test_a_damaged_model(attempt, trained, spoilt, tmp_path):
    models = tmp_path / "models"
    shutil.copytree(trained / "models", models, ignore=shutil.ignore_patterns("*checkpoint*"))
    weights = models / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:100_000])
    words = ("--participant-label", GOOD, "--model", str(models))
    finished = run(spoilt, tmp_path / "out", *words, work=tmp_path / "work")
    assert finished.code == 65
    assert "model.safetensors" in finished.told and "Traceback" not in finished.told


def test_a_folder_that_may_not_be_read(attempt, spoilt, tmp_path):
    before = []
    if os.geteuid() == 0:
        # Root reads everything: give the right away.
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("needs setpriv (or a user who is not root): root may read any folder")
        before = [
            setpriv, "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-all",
        ]  # fmt: skip
    folder = spoilt / f"sub-{BAD}" / "anat"
    folder.chmod(0)
    try:
        finished = attempt(before=before)
    finally:
        folder.chmod(0o755)
    assert finished.code == 74, finished.told
    assert "cannot be read" in finished.told and f"sub-{BAD}/anat" in finished.told
    assert written_for(finished.out, BAD) == []
    assert finished.states[f"sub-{GOOD}_T1w"] == "done"
    assert_whole(finished.out)


@pytest.mark.parametrize("place", ["inside", "root"])
def test_output_in_the_input(spoilt, model, tmp_path, place):
    before = snapshot(spoilt)
    out = spoilt / "out" if place == "inside" else spoilt
    finished = run(spoilt, out, *model, work=tmp_path / "work")
    assert finished.code == 73 and "never written" in finished.told
    assert snapshot(spoilt) == before


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MiB; `leave` fills it up to so many KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small tmpfs cannot be mounted here: {getattr(error, 'stderr', error)}")

    def leave(kib: int) -> Path:
        state = os.statvfs(disk)
        filler = state.f_bavail * state.f_frsize - kib * 1024
        (disk / "filler").write_bytes(bytes(filler))
        return disk

    yield leave
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


# The run's own files take the first 20 KiB, those of the dataset 20 more, then come the scan's.
@pytest.mark.parametrize("kib", [0, 8, 24, 48, 64, 80])
def test_no_space_left_in_the_output(small_disk, bids, model, trained, tmp_path, kib):
    disk = small_disk(kib)
    out = disk / "out"
    words = ("--participant-label", BAD, "--modalities", "T1w")
    if kib:
        # Free the run of its registration: copies in the input of masks count as given.
        words += ("--derivatives", f"fits={trained}")
    finished = run(bids, out, *words, *model, work=tmp_path / "work")
    assert finished.code == 75, finished.told
    assert "space" in finished.told.lower() or "full" in finished.told.lower()
    assert "Exit code 75: temporary failure, try again" in last_line(finished.told)
    assert_whole(out)
    harmonized = [name for name in written_for(out, BAD) if "harmonized" in name]
    assert len(harmonized) < 3

    (disk / "filler").unlink()
    finished = run(bids, out, *words, *model, work=tmp_path / "work")
    assert finished.code == 0, finished.told
    assert_whole(out)
    assert json.loads(next(out.rglob("*_desc-harmonized*.json")).read_text())


def test_no_space_left_in_the_work_folder(small_disk, attempt, spoilt, model, tmp_path):
    work = small_disk(40) / "work"
    words = ("--participant-label", GOOD, "--modalities", "T1w")
    finished = run(spoilt, tmp_path / "out", *words, *model, work=work)
    assert finished.code == 75, finished.told
    assert not [name for name in written_for(finished.out, GOOD) if "harmonized" in name]
    assert_whole(finished.out)


def test_nothing_of_the_training_people_is_lost(trained):
    """The fixtures are shared: no test may have written into the trained output."""
    assert {p.name for p in trained.glob("sub-*")} == {f"sub-{label}" for label in TRAINING}
    assert not list(trained.rglob("*harmonized*"))
