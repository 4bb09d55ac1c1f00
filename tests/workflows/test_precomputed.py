"""Which masks belong to a scan, and what changes its hash."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace

import pytest

from bids_harmony.bids.scan import Scan, SiteEvidence
from bids_harmony.exceptions import MissingInput
from bids_harmony.settings import Settings
from bids_harmony.workflows.cohort import companion_of
from bids_harmony.workflows.precomputed import (
    anatomy_hash,
    file_sha256,
    given_mask,
    harmonization_hash,
)


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "bids/sub-1/ses-a/anat/sub-1_ses-a_acq-x_run-2_T1w.nii.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"voxels")
    return Scan(
        path, {"subject": "1", "session": "a"}, "T1w", {"EchoTime": 0.1}, SiteEvidence("A", "test")
    )


@pytest.fixture
def settings(tmp_path):
    folder = {"fmriprep": tmp_path / "fmriprep"}
    return Settings(tmp_path / "bids", tmp_path / "out", "participant", derivatives=folder)


def _touch(settings, name):
    path = settings.derivatives["fmriprep"] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"mask")
    return path


def test_the_closest_mask_wins(scan, settings):
    assert given_mask(scan, settings) is None
    _touch(settings, "sub-1/anat/sub-1_space-MNI152NLin6Asym_desc-brain_mask.nii.gz")
    _touch(settings, "sub-1/anat/sub-1_run-1_desc-brain_mask.nii.gz")
    _touch(settings, "sub-1/ses-b/anat/sub-1_ses-b_desc-brain_mask.nii.gz")
    assert given_mask(scan, settings) is None
    average = _touch(settings, "sub-1/anat/sub-1_desc-brain_mask.nii.gz")
    assert given_mask(scan, settings) == average
    session = _touch(settings, "sub-1/ses-a/anat/sub-1_ses-a_acq-x_desc-brain_mask.nii.gz")
    assert given_mask(scan, settings) == session
    exact = _touch(settings, "sub-1/ses-a/anat/sub-1_ses-a_acq-x_run-2_desc-brain_mask.nii.gz")
    assert given_mask(scan, settings) == exact


def test_the_hash_follows_input_and_settings_but_not_the_machine(scan, settings):
    def both(scan=scan, settings=settings, model="m"):
        fit = anatomy_hash(scan, settings)
        return fit, harmonization_hash(scan, settings, target_site="B", model_sha256=model)

    fit, whole = both()
    same = replace(
        settings, nprocs=1, omp_nthreads=1, batch_size=1, work_dir=settings.output_dir / "w"
    )
    assert both(settings=same) == (fit, whole)
    assert both(model="n")[0] == fit
    assert both(model="n")[1] != whole
    assert both(scan=replace(scan, metadata={"EchoTime": 0.2}))[1] != whole
    assert both(settings=replace(settings, skull_strip=True))[1] != whole
    seeded = both(settings=replace(settings, random_seed=1))
    assert seeded[0] != fit
    assert seeded[1] != whole
    scan.path.write_bytes(b"other voxels")
    assert both()[0] != fit


def test_a_companion_is_a_t1w_of_the_same_session_else_of_the_same_person(scan):
    def other(subject, session, modality):
        path = scan.path.with_name(f"sub-{subject}_ses-{session}_{modality}.nii.gz")
        entities = {"subject": subject, "session": session}
        return Scan(path, entities, modality, {}, SiteEvidence("A", "test"))

    t2w, own = other("1", "a", "T2w"), other("1", "a", "T1w")
    earlier, foreign = other("1", "0", "T1w"), other("0", "a", "T1w")
    assert companion_of(t2w, [foreign, earlier, own, t2w]) is own
    assert companion_of(t2w, [foreign, earlier, t2w]) is earlier
    assert companion_of(t2w, [foreign, t2w]) is None
    assert companion_of(own, [earlier, own]) is None


def test_a_file_is_read_once_until_it_changes(tmp_path, monkeypatch):
    reads = []
    digest = hashlib.file_digest

    def counted(stream, kind):
        reads.append(stream.name)
        return digest(stream, kind)

    monkeypatch.setattr(hashlib, "file_digest", counted)
    path = tmp_path / "image.nii"
    path.write_bytes(b"voxels")
    first = file_sha256(path)
    assert first == file_sha256(path) == hashlib.sha256(b"voxels").hexdigest()
    assert len(reads) == 1
    path.write_bytes(b"longer voxels")
    assert file_sha256(path) == hashlib.sha256(b"longer voxels").hexdigest()
    # As many bytes, at another time.
    path.write_bytes(b"LONGER VOXELS")
    os.utime(path, ns=(1, 1))
    assert file_sha256(path) == hashlib.sha256(b"LONGER VOXELS").hexdigest()
    path.unlink()
    with pytest.raises(MissingInput, match="no such file"):
        file_sha256(path)


@pytest.fixture
def series(tmp_path):
    """A preprocessed series in a derivative, with its tables."""
    folder = tmp_path / "bids/sub-1/dwi"
    folder.mkdir(parents=True)
    stem = "sub-1_space-ACPC_desc-preproc_dwi"
    paths = [folder / f"{stem}{kind}" for kind in (".nii.gz", ".bval", ".bvec")]
    for path in paths:
        path.write_bytes(b"content")
    entities = {"subject": "1", "datatype": "dwi", "space": "ACPC"}
    return Scan(paths[0], entities, "dwi", {}, SiteEvidence("A", "test"), tuple(paths[1:]))


def test_a_mask_beside_a_preprocessed_series_is_its_own(series, settings):
    for name in (
        "sub-1_desc-brain_mask",
        "sub-1_space-T1w_desc-brain_mask",
        "sub-1_space-ACPC_mask",
    ):
        (series.path.parent / f"{name}.nii.gz").write_bytes(b"mask")
    plain = series.path.with_name("sub-1_desc-brain_mask.nii.gz")
    assert given_mask(series, settings) == plain
    own = series.path.with_name("sub-1_space-ACPC_desc-brain_mask.nii.gz")
    own.write_bytes(b"mask")
    assert given_mask(series, settings) == own
    # Of another pipeline's series, not of its T1w scan.
    own.unlink()
    plain.unlink()
    _touch(settings, "sub-1/anat/sub-1_desc-brain_mask.nii.gz")
    assert given_mask(series, settings) is None
    other = _touch(settings, "sub-1/dwi/sub-1_space-ACPC_desc-brain_mask.nii.gz")
    assert given_mask(series, settings) == other


def test_tables_threshold_and_mode_are_part_of_a_series_hash(series, scan, settings):
    def both(settings=settings, scan=series):
        fit = anatomy_hash(scan, settings)
        return fit, harmonization_hash(scan, settings, target_site="B", model_sha256="m")

    fit, whole = both()
    other_mode = replace(settings, dwi_mode="volume")
    assert both(other_mode)[0] == fit and both(other_mode)[1] != whole
    other_threshold = replace(settings, b0_threshold=10.0)
    assert both(other_threshold)[0] != fit
    for table in series.gradients:
        table.write_bytes(b"something else")
        changed = both()
        assert changed[0] != fit and changed[1] != whole
        table.write_bytes(b"content")
    # Nothing of it touches other scans.
    assert both(replace(other_mode, b0_threshold=10.0), scan) == both(scan=scan)


def test_how_brains_are_found_stands_in_the_hash_of_scans_without_a_t1w_alone(scan, settings):
    template = replace(settings, mask_without_t1w="template")
    t2w = replace(scan, modality="T2w")
    assert anatomy_hash(t2w, template) != anatomy_hash(t2w, settings)
    assert anatomy_hash(t2w, template, t1w=scan) == anatomy_hash(t2w, settings, t1w=scan)
    assert anatomy_hash(scan, template) == anatomy_hash(scan, settings)
