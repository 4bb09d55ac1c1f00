"""What sessions share, as files: scans without a skull, and errors that travel to their scan."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.registration import read_transform
from bids_harmony.imaging.volume import read_volume
from bids_harmony.interfaces.sessions import ShareSpace, TakeShared
from tests.small_volumes import rigid

MOVES = (np.eye(4), rigid((5, -3, 4), (4, -5, 6)))


@pytest.fixture(scope="module")
def node(brain_at_2mm, tmp_path_factory):
    """Two scans without a skull, and one without any contrast."""
    folder = tmp_path_factory.mktemp("sessions")
    volume, _ = brain_at_2mm
    files = []
    for i, move in enumerate(MOVES):
        image = nib.Nifti1Image(volume.data.astype(np.int16), np.linalg.inv(move) @ volume.affine)
        files.append(str(folder / f"{i}.nii.gz"))
        nib.save(image, files[-1])
    files.append(str(folder / "flat.nii.gz"))
    nib.save(nib.Nifti1Image(np.full((20, 20, 20), 7, np.int16), np.eye(4)), files[-1])
    share = ShareSpace(
        in_files=files, given_masks=[""] * 3, steps=[[]] * 3, modality="T1w", sloppy=True
    )
    return folder, files, share.run(cwd=str(folder)).outputs.shared_file


def take(node, i):
    folder, files, shared = node
    own = folder / f"take{i}"
    own.mkdir()
    return TakeShared(in_file=files[i], shared_file=shared).run(cwd=str(own)).outputs


def test_scans_without_a_skull_share_the_space_and_keep_their_foreground(node):
    _, files, _ = node
    found = [take(node, i) for i in range(2)]
    first, second = (read_transform(one.xfm_file) for one in found)
    np.testing.assert_allclose(np.linalg.inv(first) @ second, MOVES[1], atol=0.7)
    for one, file in zip(found, files, strict=False):
        assert one.kind == "skull-stripped"
        own, scan = read_volume(one.mask_file).data > 0, read_volume(file).data > 0
        assert (own & scan).sum() == scan.sum()
        assert one.person_mask == found[0].person_mask


def test_a_scan_that_is_unlike_the_others_is_registered_by_itself(node, tmp_path, caplog):
    _, files, _ = node
    turned = nib.load(files[0])
    # As if left and right, front and back were exchanged in its header.
    quarter = rigid((0, 0, 90), (0, 0, 0))
    other = str(tmp_path / "turned.nii.gz")
    nib.save(nib.Nifti1Image(np.asarray(turned.dataobj), quarter @ turned.affine), other)
    share = ShareSpace(
        in_files=[files[0], other, files[1]], given_masks=[""] * 3, steps=[[]] * 3,
        modality="T1w", sloppy=True,
    )  # fmt: skip
    record = json.loads(open(share.run(cwd=str(tmp_path)).outputs.shared_file).read())
    assert "turned.nii.gz is unlike the person's other sessions" in caplog.text
    assert record[files[0]]["mask"] == record[files[1]]["mask"] != ""
    # Alone it goes its own way, or fails as it would without the others.
    assert record[other].get("mask", "") == ""
    first, second = (read_transform(record[f]["xfm"]) for f in files[:2])
    np.testing.assert_allclose(np.linalg.inv(first) @ second, MOVES[1], atol=0.7)


def test_an_error_is_told_where_its_scan_is_worked_on(node):
    record = json.loads(open(node[2]).read())
    assert record[node[1][2]]["error"]["class"] == "ImageError"
    with pytest.raises(ImageError, match=r"flat\.nii\.gz") as caught:
        take(node, 2)
    assert caught.value.exit_code == 65


@pytest.mark.parametrize("extract", [True, False])
def test_heads_of_other_contrasts_are_masked_as_without_the_flag(
    brain_at_2mm, tmp_path, monkeypatch, extract
):
    from bids_harmony.imaging import mask as room

    volume, inside = brain_at_2mm
    files = []
    for i, move in enumerate(MOVES):
        affine = np.linalg.inv(move) @ volume.affine
        files.append(str(tmp_path / f"{i}_FLAIR.nii.gz"))
        nib.save(nib.Nifti1Image(volume.data.astype(np.int16), affine), files[-1])
    monkeypatch.setattr(room, "is_skull_stripped", lambda _: False)
    found = room.BrainMask(inside, "deepbet")
    monkeypatch.setattr(room, "brain_mask", lambda *_, **__: found)
    node = ShareSpace(
        in_files=files, given_masks=[""] * 2, steps=[[]] * 2, modality="FLAIR", sloppy=True,
        extract=extract,
    )  # fmt: skip
    record = json.loads(open(node.run(cwd=str(tmp_path)).outputs.shared_file).read())
    assert all(bool(record[file]["mask"]) == extract for file in files)
    own = tmp_path / "take"
    own.mkdir()
    took = TakeShared(in_file=files[0], shared_file=str(tmp_path / "shared.json"))
    assert took.run(cwd=str(own)).outputs.kind == ("person" if extract else "template")
