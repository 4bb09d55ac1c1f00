"""Which transforms and tissue maps of other pipelines belong to a T1w."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bids_harmony.bids.scan import Scan, SiteEvidence
from bids_harmony.exceptions import UsageError
from bids_harmony.settings import Settings
from bids_harmony.workflows.given import copied_files, find_given, shown_file
from bids_harmony.workflows.precomputed import anatomy_hash, find_precomputed, given_mask

ASYM = "MNI152NLin2009cAsym"


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "bids/sub-1/ses-a/anat/sub-1_ses-a_run-2_T1w.nii.gz"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"voxels")
    entities = {"subject": "1", "session": "a"}
    return Scan(path, entities, "T1w", {}, SiteEvidence("A", "test"))


@pytest.fixture
def settings(tmp_path):
    folders = {name: tmp_path / name for name in ("qsiprep", "fmriprep")}
    return Settings(tmp_path / "bids", tmp_path / "out", "participant", derivatives=folders)


def touch(settings, name, folder="fmriprep") -> Path:
    path = settings.derivatives[folder] / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(name.encode())
    return path


def test_fmriprep(scan, settings):
    """Of several sessions: transforms to templates stand above, those of runs in the session."""
    assert find_given(scan, settings) is None
    h5 = touch(settings, f"sub-1/anat/sub-1_from-T1w_to-{ASYM}_mode-image_xfm.h5")
    other = touch(settings, "sub-1/anat/sub-1_from-T1w_to-MNI152NLin6Asym_mode-image_xfm.h5")
    touch(settings, f"sub-1/anat/sub-1_from-{ASYM}_to-T1w_mode-image_xfm.h5")
    touch(settings, "sub-1/anat/sub-1_from-T1w_to-fsnative_mode-image_xfm.txt")
    touch(settings, "sub-1/ses-a/anat/sub-1_ses-a_run-1_from-orig_to-T1w_mode-image_xfm.txt")
    own = touch(settings, "sub-1/ses-a/anat/sub-1_ses-a_run-2_from-orig_to-T1w_mode-image_xfm.txt")
    for tissue in ("GM", "WM"):
        touch(settings, f"sub-1/anat/sub-1_label-{tissue}_probseg.nii.gz")
        touch(settings, f"sub-1/anat/sub-1_space-{ASYM}_label-{tissue}_probseg.nii.gz")
    given = find_given(scan, settings)
    assert (given.name, given.reference, given.to_anatomy) == ("fmriprep", h5, (own,))
    assert given.transforms == {ASYM: h5, "MNI152NLin6Asym": other} and given.tissues == {}
    csf = touch(settings, "sub-1/anat/sub-1_label-CSF_probseg.nii.gz")
    assert find_given(scan, settings).tissues["CSF"] == csf
    assert shown_file(given, h5) == f"fmriprep: sub-1/anat/{h5.name}"
    assert find_given(replace(scan, modality="T2w"), settings) is None


def test_mni6_alone_is_no_way_to_the_reference(scan, settings):
    touch(settings, "sub-1/anat/sub-1_from-T1w_to-MNI152NLin6Asym_mode-image_xfm.h5")
    assert find_given(scan, settings).reference is None


def test_qsiprep(scan, settings):
    """Its space is another than the scanner's: without the way there, nothing can be used."""
    h5 = touch(settings, f"sub-1/anat/sub-1_from-ACPC_to-{ASYM}_mode-image_xfm.h5", "qsiprep")
    mask = touch(settings, "sub-1/anat/sub-1_space-ACPC_desc-brain_mask.nii.gz", "qsiprep")
    assert find_given(scan, settings) is None and given_mask(scan, settings) is None
    anat = touch(settings, "sub-1/anat/sub-1_from-anat_to-ACPC_mode-image_xfm.mat", "qsiprep")
    assert find_given(scan, settings).to_anatomy == (anat,)
    assert find_given(scan, settings).reference == h5
    orig = touch(
        settings, "sub-1/ses-a/anat/sub-1_ses-a_from-orig_to-anat_mode-image_xfm.txt", "qsiprep"
    )
    assert find_given(scan, settings).to_anatomy == (orig, anat)
    assert given_mask(scan, settings) == mask
    found = find_precomputed(scan, settings, "x")
    assert found.mask_to_anatomy == (orig, anat)
    assert found.mask_from == f"qsiprep: sub-1/anat/{mask.name}"


def test_a_preprocessed_scan_lies_in_its_pipelines_space(scan, settings, tmp_path):
    """Steps from the scanner are behind it, and other pipelines do not know where it lies."""
    folder = tmp_path / "bids"
    path = folder / "sub-1/anat/sub-1_space-ACPC_desc-preproc_T1w.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"voxels")
    moved = replace(scan, path=path, entities={"subject": "1", "space": "ACPC"})
    touch(settings, f"sub-1/anat/sub-1_from-T1w_to-{ASYM}_mode-image_xfm.h5")
    touch(settings, "sub-1/anat/sub-1_from-orig_to-T1w_mode-image_xfm.txt")
    assert find_given(moved, settings) is None
    own = replace(settings, derivatives={"qsiprep": folder})
    touch(own, "sub-1/anat/sub-1_from-anat_to-ACPC_mode-image_xfm.mat", "qsiprep")
    h5 = touch(own, f"sub-1/anat/sub-1_from-ACPC_to-{ASYM}_mode-image_xfm.h5", "qsiprep")
    given = find_given(moved, own)
    assert (given.reference, given.to_anatomy) == (h5, ())


def test_the_hash_follows_what_is_used(scan, settings):
    plain = anatomy_hash(scan, settings)
    six = touch(settings, "sub-1/anat/sub-1_from-T1w_to-MNI152NLin6Asym_mode-image_xfm.h5")
    assert anatomy_hash(scan, settings) == plain
    six.unlink()
    h5 = touch(settings, f"sub-1/anat/sub-1_from-T1w_to-{ASYM}_mode-image_xfm.h5")
    with_transform = anatomy_hash(scan, settings)
    assert with_transform != plain
    h5.write_bytes(b"another")
    assert anatomy_hash(scan, settings) not in (plain, with_transform)


def test_what_was_reused_is_told(scan, settings, caplog):
    caplog.set_level("INFO", logger="bids_harmony")
    touch(settings, f"sub-1/anat/sub-1_from-T1w_to-{ASYM}_mode-image_xfm.h5")
    touch(settings, "sub-1/ses-a/anat/sub-1_ses-a_desc-brain_mask.nii.gz")
    find_precomputed(scan, settings, "x")
    assert (
        "sub-1_ses-a_run-2_T1w: reused: mask from fmriprep: sub-1/ses-a/anat/"
        "sub-1_ses-a_desc-brain_mask.nii.gz; transform from fmriprep: sub-1/anat/"
    ) in caplog.text


def test_filters_leave_files_out(scan, settings):
    h5 = touch(settings, f"sub-1/anat/sub-1_from-T1w_to-{ASYM}_mode-image_xfm.h5")
    mask = touch(settings, "sub-1/anat/sub-1_run-2_desc-brain_mask.nii.gz")

    def both(**filters):
        asked = replace(settings, derivative_filters=filters)
        return given_mask(scan, asked), find_given(scan, asked)

    assert both()[0] == mask and both()[1].reference == h5
    assert both(mask={"run": 2})[0] == mask
    assert both(mask={"run": None})[0] is None
    assert both(mask={"session": "*"})[0] is None
    assert both(transform={"to": "elsewhere"})[1] is None
    with pytest.raises(UsageError, match="mask or transform or tissues"):
        both(surface={})


def test_files_that_are_copied_keep_their_names(scan, settings):
    h5 = touch(settings, f"sub-1/anat/sub-1_from-T1w_to-{ASYM}_mode-image_xfm.h5")
    sidecar = touch(settings, f"sub-1/anat/sub-1_from-T1w_to-{ASYM}_mode-image_xfm.json")
    given = find_given(scan, settings)
    assert copied_files(given, settings) == []
    out = settings.output_dir / "sub-1/anat"
    assert copied_files(given, replace(settings, copy_derivatives=True)) == [
        (str(h5), str(out / h5.name)), (str(sidecar), str(out / sidecar.name)),
    ]  # fmt: skip
