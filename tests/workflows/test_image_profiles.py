"""Sites that no model knows: profiles made on the fly, kept, and made anew when images change."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.bids.dataset import find_scans
from bids_harmony.bids.dataset_files import write_dataset_files
from bids_harmony.bids.scan import Scan, SiteEvidence
from bids_harmony.exceptions import (
    ExitCode,
    InputOutputError,
    MissingInput,
    TryAgain,
    UsageError,
)
from bids_harmony.imaging.reference import reference_grid, reference_t1w
from bids_harmony.workflows.base import run_participant
from bids_harmony.workflows.image_profiles import ImageProfiles
from bids_harmony.workflows.models import load_model
from bids_harmony.workflows.profiles import profile_cache
from bids_harmony.workflows.site_scans import (
    ProfileKey,
    image_digests,
    reference_images,
    target_modalities,
)
from bids_harmony.workflows.status import ScanStatus

T1W = ProfileKey("B", "T1w")


@pytest.fixture
def zero_shot(settings):
    """Settings without a model of their own: the shipped one."""
    return replace(settings, model_dir=None, modalities=("T1w",), keep_workdir="never")


def run(settings):
    write_dataset_files(settings)
    log_dir = settings.output_dir / "logs" / "run"
    code = run_participant(settings, find_scans(settings).scans, log_dir=log_dir)
    return code, json.loads((log_dir / "status.json").read_text())["scans"]


def sidecar(settings, site="B"):
    path = settings.output_dir / f"sub-01/anat/sub-01_desc-harmonized{site}_T1w.json"
    return json.loads(path.read_text())


def cache(settings):
    return sorted((settings.output_dir / "models" / "banks").glob("*.safetensors"))


def with_another_contrast(settings, subject):
    """Let a person's scan look as another scanner would show it."""
    path = settings.bids_dir / f"sub-{subject}/anat/sub-{subject}_T1w.nii.gz"
    image = nib.load(path)
    data = np.asarray(image.dataobj, np.float32)
    bent = np.power(data / data.max(), 2.5) * data.max()
    nib.save(nib.Nifti1Image(bent.astype(image.get_data_dtype()), None, image.header), path)


def test_an_unknown_site_is_known_from_its_scans(zero_shot, caplog):
    with_another_contrast(zero_shot, "02")
    caplog.set_level("INFO", logger="bids_harmony")
    code, states = run(zero_shot)
    assert code == ExitCode.DONE
    # Nobody has run before: the masks were made for the profiles a moment ago.
    assert "found precomputed" not in caplog.text
    assert caplog.text.count("made for the profile of its site") == 2
    assert {label: s["state"] for label, s in states.items()} == {
        "sub-01_T1w": "done",
        "sub-02_T1w": "done",
    }
    record = sidecar(zero_shot)
    assert record["TargetSiteScans"] == ["sub-02_T1w"]
    assert record["SourceSiteScans"] == ["sub-01_T1w"]
    images = {
        subject: np.asarray(
            nib.load(
                zero_shot.output_dir
                / f"sub-{subject}/anat/sub-{subject}_desc-harmonizedB_T1w.nii.gz"
            ).dataobj
        )
        for subject in ("01", "02")
    }
    sources = {
        subject: np.asarray(
            nib.load(zero_shot.bids_dir / f"sub-{subject}/anat/sub-{subject}_T1w.nii.gz").dataobj
        )
        for subject in ("01", "02")
    }
    assert not np.array_equal(images["01"], sources["01"])
    # The target's own scan needs nothing.
    assert np.array_equal(images["02"], sources["02"])
    evidence = record["SiteEvidence"]
    assert (evidence["SourcePeople"], evidence["TargetPeople"]) == (1, 1)
    assert evidence["ProbabilitySitesDiffer"] > 0.9
    assert evidence["Contrasts"]["GreyToWhite"]["AppliedLogDifference"] < -0.05
    assert 0.3 < record["HarmonizationQuality"]["contrast_kept_gray_white"] < 3.5


def test_a_scan_that_was_excluded_no_longer_shows_its_site(zero_shot):
    run(zero_shot)
    target = [s for s in find_scans(zero_shot).scans if s.site.site == "B"]
    assert missing(zero_shot, target) == []
    table = zero_shot.output_dir / "sub-02_decisions.tsv"
    for decision, wanted in (("keep", []), ("exclude", [T1W])):
        table.write_text(f"scan\tdecision\nsub-02_T1w\t{decision}\n")
        assert missing(zero_shot, target) == wanted
    ImageProfiles(zero_shot, load_model(zero_shot)[1]).make([T1W], zero_shot.output_dir / "logs")
    assert profile_cache(zero_shot).made_of("B", "T1w") is None


def test_a_scan_that_is_taken_back_shows_its_site_again(zero_shot):
    # Of the target's two scans one is excluded when the profile is made.
    target = [s for s in find_scans(zero_shot).scans if s.site.site == "B"]
    second = zero_shot.bids_dir / "sub-03/anat/sub-03_T1w.nii.gz"
    second.parent.mkdir(parents=True)
    for path in target[0].path.parent.glob("*_T1w.*"):
        shutil.copy(path, second.parent / path.name.replace("sub-02", "sub-03"))
    zero_shot.output_dir.mkdir(exist_ok=True)
    table = zero_shot.output_dir / "all_decisions.tsv"
    table.write_text("scan\tdecision\nsub-03_T1w\texclude\n")
    run(zero_shot)
    assert sidecar(zero_shot)["TargetSiteScans"] == ["sub-02_T1w"]
    assert missing(zero_shot, target) == []
    table.write_text("scan\tdecision\nsub-03_T1w\tkeep\n")
    assert missing(zero_shot, target) == [T1W]
    _, states = run(zero_shot)
    assert states["sub-01_T1w"]["state"] == "done"
    assert sidecar(zero_shot)["TargetSiteScans"] == ["sub-02_T1w", "sub-03_T1w"]


def test_two_names_of_one_scanner_leave_its_scans_alone(zero_shot):
    run(zero_shot)
    image, source = (
        np.asarray(nib.load(path).dataobj, np.float32)
        for path in (
            zero_shot.output_dir / "sub-01/anat/sub-01_desc-harmonizedB_T1w.nii.gz",
            zero_shot.bids_dir / "sub-01/anat/sub-01_T1w.nii.gz",
        )
    )
    assert sidecar(zero_shot)["SiteEvidence"]["ProbabilitySitesDiffer"] < 0.1
    assert np.abs(image - source).max() < 0.02 * source.max()


def test_the_second_job_asks_the_dataset_nothing(zero_shot, monkeypatch):
    run(zero_shot)
    before = {path: (os.stat(path).st_mtime_ns, path.read_bytes()) for path in cache(zero_shot)}
    assert len(before) == 2

    def never(*args, **kwargs):
        raise AssertionError("profiles were made again")

    monkeypatch.setattr(ImageProfiles, "make", never)
    code, states = run(zero_shot)
    assert code == ExitCode.DONE
    assert {s["state"] for s in states.values()} == {"skipped"}
    assert before == {p: (os.stat(p).st_mtime_ns, p.read_bytes()) for p in cache(zero_shot)}
    # Another method's profiles are the same; other preparation makes others.
    scans = find_scans(zero_shot).scans
    assert missing(replace(zero_shot, method="histogram"), scans) == []
    for change in ({"n4": not zero_shot.n4}, {"bank_scans": 2}, {"random_seed": 1}):
        assert set(missing(replace(zero_shot, **change), scans)) == {ProfileKey("A", "T1w"), T1W}


def missing(settings, scans):
    return ImageProfiles(settings, load_model(settings)[1]).missing(scans)


def test_a_changed_image_of_the_target_makes_its_profile_anew(zero_shot):
    run(zero_shot)
    first = sidecar(zero_shot)["SiteBanksSHA256"]
    path = zero_shot.bids_dir / "sub-02/anat/sub-02_T1w.nii.gz"
    image = nib.load(path)
    data = np.asarray(image.dataobj)
    nib.save(nib.Nifti1Image((data * 0.5 + (data > 0) * 60).astype(np.int16), image.affine), path)
    _, states = run(replace(zero_shot, participant_labels=("01",)))
    assert states["sub-01_T1w"]["state"] == "done"
    assert sidecar(zero_shot)["SiteBanksSHA256"] != first


def test_a_target_image_takes_the_place_of_a_site(zero_shot, tmp_path):
    image = nib.load(zero_shot.bids_dir / "sub-02/anat/sub-02_T1w.nii.gz")
    data = np.asarray(image.dataobj)
    given = tmp_path / "my look_T1w.nii.gz"
    nib.save(nib.Nifti1Image((data // 2).astype(np.int16), image.affine), given)
    asked = replace(zero_shot, target_site="mine", target_images=(given,))
    code, states = run(asked)
    assert code == ExitCode.DONE, states
    assert sidecar(asked, "mine")["TargetSiteScans"] == ["my look_T1w"]
    # Nothing of an image from outside the dataset is left in the derivative but its look.
    names = {p.name for p in asked.output_dir.rglob("*") if p.is_file()}
    assert not any("my" in name and not name.startswith("mine-") for name in names)


def test_no_scan_of_the_target_in_a_modality_is_said(zero_shot):
    code, states = run(replace(zero_shot, modalities=("T1w", "T2w")))
    assert code == ExitCode.BAD_DATA
    assert states["sub-01_T1w"]["state"] == "done"
    assert "--target-image" in states["sub-01_T2w"]["message"]


def scan(subject, session, site="B", modality="T1w"):
    from pathlib import Path

    path = Path(f"/data/sub-{subject}/ses-{session}/anat/sub-{subject}_ses-{session}_T1w.nii.gz")
    entities = {"subject": subject, "session": session}
    return Scan(path, entities, modality, {}, SiteEvidence(site, "test"))


def test_different_people_stand_for_a_site_before_second_sessions(zero_shot):
    everyone = [
        scan("1", "a"),
        scan("1", "b"),
        scan("2", "a"),
        scan("3", "a", "C"),
        scan("4", "a"),
    ]
    everyone.append(scan("5", "a", modality="T2w"))
    chosen = reference_images(T1W, replace(zero_shot, bank_scans=3), everyone)
    assert [(s.subject, s.session) for s in chosen] == [("1", "a"), ("2", "a"), ("4", "a")]
    all_of_them = reference_images(T1W, zero_shot, everyone[::-1])
    assert [(s.subject, s.session) for s in all_of_them][3:] == [("1", "b")]


def test_target_images_must_tell_their_modality_and_exist(zero_shot, tmp_path):
    with pytest.raises(UsageError, match="modality"):
        target_modalities(replace(zero_shot, target_images=(tmp_path / "look.nii.gz",)))
    with pytest.raises(MissingInput, match="does not exist"):
        target_modalities(replace(zero_shot, target_images=(tmp_path / "look_T1w.nii.gz",)))


@pytest.fixture
def known(tmp_path, zero_shot):
    """A model that knows site B, and an image that a user gives in B's place."""
    from bids_harmony.model.encoder import load_encoder
    from bids_harmony.sites.image_profile import build_profile
    from bids_harmony.sites.profile_files import write_profiles

    def profile(gain):
        data = (gain * reference_t1w(reference_grid(8.0))).astype(np.float32)
        scans = [("a scan", data, data > 0, 1.0)]
        encoder = load_encoder("random", widths=(2, 2, 2, 2))
        return build_profile("B", "T1w", scans, encoder, cells=8, voxel_mm=8.0)

    folder = tmp_path / "trained"
    folder.mkdir()
    (folder / "model.json").write_text("{}")
    write_profiles(folder, [profile(1.0)], 8.0)
    # Inside the dataset: its place is told from there.
    image = zero_shot.bids_dir / "sourcedata" / "look_T1w.nii.gz"
    image.parent.mkdir()
    image.write_bytes(b"an image")
    plain = replace(zero_shot, method="histogram", model_dir=folder)
    given = replace(plain, target_images=(image,))
    made_of = {
        "recipe": ImageProfiles(given, load_model(plain)[1]).recipes()[0],
        "given": True,
        "images": image_digests([image], given),
    }
    return plain, given, profile(0.5), made_of


def landmarks_of(settings):
    return load_model(settings)[1].profile("T1w", "B").landmarks


def test_images_given_for_a_site_that_the_model_knows_make_a_profile(known):
    plain, given, look, made_of = known
    target = [s for s in find_scans(plain).scans if s.site.site == "B"]
    assert missing(plain, target) == [] and missing(given, target) == [T1W]
    profile_cache(given).write(look, made_of)
    assert missing(given, target) == []
    assert np.array_equal(landmarks_of(given), look.landmarks)
    given.target_images[0].write_bytes(b"another")
    assert missing(given, target) == [T1W]


def test_the_models_own_profile_counts_again_without_the_images(known, tmp_path, monkeypatch):
    plain, given, look, made_of = known
    own = landmarks_of(plain)
    profile_cache(given).write(look, made_of)
    target = [s for s in find_scans(plain).scans if s.site.site == "B"]
    assert missing(plain, target) == [T1W]

    def never(*args, **kwargs):
        raise AssertionError("scans were prepared for a site that the model knows")

    monkeypatch.setattr(ImageProfiles, "prepare", never)
    ImageProfiles(plain, load_model(plain)[1]).make([T1W], tmp_path)
    assert missing(plain, target) == []
    assert np.array_equal(landmarks_of(plain), own)
    assert not np.array_equal(own, look.landmarks)


def test_a_site_is_not_shown_by_other_images_than_those_given(known, tmp_path, monkeypatch):
    _, given, look, made_of = known
    # A site's own scans made it; the image that is given now turns out to be of no use.
    profile_cache(given).write(look, made_of | {"given": False, "images": {}})

    def nothing(self, work, *_):
        labels = {scan.label for scan in work}
        return {}, {label: ScanStatus(label, "failed") for label in labels}

    monkeypatch.setattr(ImageProfiles, "prepare", nothing)
    ImageProfiles(given, load_model(given)[1]).make([T1W], tmp_path)
    assert profile_cache(given).made_of("B", "T1w") is None


@pytest.mark.parametrize(
    ("code", "stops"), [(ExitCode.TRY_AGAIN, True), (ExitCode.BAD_DATA, False)]
)
def test_a_profile_is_not_made_of_fewer_scans_because_memory_ran_out(
    zero_shot, monkeypatch, code, stops
):
    def prepare(settings, scans, everyone, **_):
        return [], {s.label: ScanStatus(s.label, "failed", "X", "no luck", code) for s in scans}

    monkeypatch.setattr("bids_harmony.workflows.running.prepare_scans", prepare)
    harmonizer = load_model(zero_shot)[1]
    logs = zero_shot.output_dir / "logs"
    if stops:
        with pytest.raises(TryAgain, match="no luck"):
            ImageProfiles(zero_shot, harmonizer).make([T1W], logs)
    else:
        ImageProfiles(zero_shot, harmonizer).make([T1W], logs)
    assert cache(zero_shot) == []


@pytest.mark.parametrize(
    ("broken", "method", "codes"),
    [
        ("sub-02_T1w", "ihf", {"sub-01_T1w": 74, "sub-02_T1w": 74}),  # the target's only scan
        ("sub-01_T1w", "ihf", {"sub-01_T1w": 74, "sub-02_T1w": None}),
        # It goes by the target alone.
        ("sub-01_T1w", "histogram", {"sub-01_T1w": None, "sub-02_T1w": None}),
    ],
)
def test_who_needs_a_profile_that_no_scan_shows_fails_as_the_scan_did(
    zero_shot, monkeypatch, broken, method, codes
):
    from bids_harmony.workflows import running, scan_models

    real = running.prepare_scans

    def prepare(settings, scans, everyone, **more):
        ready, statuses = real(settings, scans, everyone, **more)
        failed = ScanStatus(broken, "failed", "InputOutputError", "Reading failed.", 74)
        return [scan for scan in ready if scan.label != broken], statuses | {broken: failed}

    monkeypatch.setattr(running, "prepare_scans", prepare)
    settings = replace(zero_shot, method=method)
    scans = find_scans(settings).scans
    model_of = scan_models.models_of(settings, scans, settings.output_dir / "logs")
    for scan in scans:
        if codes[scan.label] is None:
            model_of(scan)
            continue
        with pytest.raises(InputOutputError, match=rf"{broken}.* Reading failed\. ") as caught:
            model_of(scan)
        assert caught.value.exit_code == codes[scan.label]
