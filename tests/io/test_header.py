"""Headers: nothing of a person is handed on; where the image lies, for us and for ITK."""

from __future__ import annotations

import gzip
import logging

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension

from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.maps import map_image
from bids_harmony.diffusion.series import mean_b0, open_series, write_series
from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.volume import read_volume, to_native, write_array, write_image
from bids_harmony.interfaces.anatomy import save_brain
from bids_harmony.io.header import itk_affine, orientation_note

NAME = b"Doe^Jane"
TEXTS = {"descrip", "aux_file", "db_name", "intent_name"}
QFORM = np.array([[-2.0, 0, 0, 10], [0, 2, 0, 20], [0, 0, 2, 30], [0, 0, 0, 1]])
MOVED = QFORM + np.array([[0, 0, 0, 5.0], [0] * 4, [0] * 4, [0] * 4])
SHEARED = np.array([[1, 0.2, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]) @ QFORM
FLAT = np.diag([0, 0, 0, 1.0])


def _named(kind, order, shape):
    """An image whose header tells of a person wherever it can."""
    data = np.random.default_rng(0).integers(1, 900, shape).astype(np.dtype(np.int16))
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(np.int16).newbyteorder(order))
    image = kind(data.astype(data.dtype.newbyteorder(order)), np.diag([8, 8, 8, 1.0]), header)
    image.header.set_xyzt_units("mm", "sec")
    image.header.extensions.append(Nifti1Extension(6, b'{"PatientName": "%s"}' % NAME * 50))
    for name in TEXTS.intersection(image.header.keys()):
        image.header[name] = NAME
    return image


@pytest.fixture(
    params=[(k, o) for k in (nib.Nifti1Image, nib.Nifti2Image) for o in "<>"],
    ids=lambda p: f"{p[0].__name__}{p[1]}",
)
def scan(request, tmp_path):
    image = _named(*request.param, (12, 10, 8))
    nib.save(image, tmp_path / "scan.nii.gz")
    return image, tmp_path / "scan.nii.gz"


def _content(path):
    return gzip.decompress(path.read_bytes())


def test_nothing_of_a_person_in_images_made_from_a_scan(scan, tmp_path):
    image, path = scan
    volume = read_volume(path)
    save_brain(BrainMask(volume.data > 450, "deepbet"), volume, tmp_path)
    write_image(to_native(volume, volume.data + 1)[0], tmp_path / "harmonized.nii.gz")
    write_image(to_native(volume, volume.data, float_output=True)[0], tmp_path / "float.nii.gz")
    for name in ("mask", "harmonized", "float"):
        assert NAME not in _content(tmp_path / f"{name}.nii.gz")
        made = nib.load(tmp_path / f"{name}.nii.gz")
        assert not made.header.extensions
        np.testing.assert_array_equal(made.affine, image.affine)
        assert made.header.get_xyzt_units() == ("mm", "sec")
        assert made.header.endianness == image.header.endianness
    harmonized = nib.load(tmp_path / "harmonized.nii.gz")
    np.testing.assert_array_equal(harmonized.get_fdata(), image.get_fdata() + 1)
    # The extension's room is given back.
    assert harmonized.dataobj.offset == type(image)(np.zeros((1,)), None).header.single_vox_offset


def test_the_header_stays_where_it_is_asked_for(scan, tmp_path):
    image, path = scan
    volume = read_volume(path, keep_header=True)
    write_image(to_native(volume, volume.data + 1)[0], tmp_path / "harmonized.nii.gz")
    made = nib.load(tmp_path / "harmonized.nii.gz")
    assert [e.content for e in made.header.extensions] == [
        e.content for e in image.header.extensions
    ]
    assert all(
        made.header[name] == image.header[name] for name in TEXTS.intersection(image.header.keys())
    )
    np.testing.assert_array_equal(made.get_fdata(), image.get_fdata() + 1)


@pytest.mark.parametrize("kept", [False, True])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_series(kind, kept, tmp_path):
    image, path = _named(kind, "<", (6, 5, 4, 3)), tmp_path / "scan.nii.gz"
    nib.save(image, path)
    series = open_series(path, keep_header=kept)
    write_series(series, series.raw + np.int16(1), tmp_path / "harmonized.nii.gz")
    made = nib.load(tmp_path / "harmonized.nii.gz")
    np.testing.assert_array_equal(made.get_fdata(), image.get_fdata() + 1)
    assert (NAME in _content(tmp_path / "harmonized.nii.gz")) == kept
    assert len(made.header.extensions) == kept


def test_maps_of_a_series(tmp_path):
    path = tmp_path / "scan.nii.gz"
    nib.save(_named(nib.Nifti1Image, "<", (6, 5, 4, 3)), path)
    series = open_series(path)
    gradients = Gradients(np.array([0.0, 1000, 1000]), np.eye(3), 50)
    for image in (mean_b0(series, gradients), map_image(series, np.ones((6, 5, 4)))):
        assert NAME not in image.to_bytes()


def _oriented(path, sform, s_code, q_code):
    data = np.random.default_rng(0).integers(0, 900, (5, 6, 7)).astype(np.int16)
    image = nib.Nifti1Image(data, QFORM)
    image.set_qform(QFORM, 1)
    content = bytearray(image.to_bytes())
    # As some program left it: the library would make both alike.
    content[252:256] = np.array([q_code, s_code], "<i2").tobytes()
    content[280:328] = sform[:3].astype("<f4").tobytes()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("sform", [FLAT, np.diag([np.nan] * 3 + [1]), SHEARED * 100], ids=range(3))
@pytest.mark.parametrize("s_code", [1, 2])
def test_a_sound_qform_stands_in_for_an_sform_that_cannot_be(tmp_path, caplog, sform, s_code):
    path = _oriented(tmp_path / "scan.nii", sform, s_code, 1)
    with caplog.at_level(logging.WARNING):
        volume = read_volume(path)
    assert caplog.messages == [
        f"{path}: the sform cannot be right; the qform, which can be, is used"
    ]
    np.testing.assert_allclose(volume.source.affine, QFORM, atol=1e-6)
    write_image(to_native(volume, volume.data + 1)[0], tmp_path / "out.nii")
    made = nib.load(tmp_path / "out.nii")
    for affine in (made.header.get_qform(), made.header.get_sform(), made.affine):
        np.testing.assert_allclose(affine, QFORM, atol=1e-6)
    assert made.header["sform_code"] == made.header["qform_code"] == 1
    assert "qform is used" in orientation_note(nib.load(path))


def test_without_a_sound_qform_it_is_refused(tmp_path):
    path = _oriented(tmp_path / "scan.nii", FLAT, 1, 0)
    with pytest.raises(ImageError, match="orientation"):
        read_volume(path)


@pytest.mark.parametrize("sform", [MOVED, SHEARED, QFORM], ids=["moved", "sheared", "same"])
@pytest.mark.parametrize("s_code", range(5))
@pytest.mark.parametrize("q_code", range(5))
def test_where_itk_puts_an_image(tmp_path, sform, s_code, q_code):
    """As ANTs reads it, which is ITK: nobody should have to believe a table of codes."""
    import ants

    path = _oriented(tmp_path / "scan.nii", sform, s_code, q_code)
    found = itk_affine(nib.load(path).header)
    if found is None:
        note = orientation_note(nib.load(path))
        assert "ITK (ANTs, SimpleITK) refuses this header: before it applies" in note
        with pytest.raises(RuntimeError):
            ants.image_read(str(path))
        return
    image = ants.image_read(str(path))
    itk = np.eye(4)
    itk[:3, :3] = np.asarray(image.direction) @ np.diag(image.spacing)
    itk[:3, 3] = image.origin
    np.testing.assert_allclose(found, np.diag([-1, -1, 1, 1]) @ itk, atol=1e-4)
    ours = read_volume(path).source.affine
    note = orientation_note(nib.load(path))
    assert (note is None) == np.allclose(ours, found, atol=1e-4)


def test_the_note_tells_how_far_itk_puts_it(tmp_path):
    note = orientation_note(nib.load(_oriented(tmp_path / "scan.nii", MOVED, 2, 1)))
    assert note == (
        "Coordinates of the scan are those of its sform. ITK (ANTs, SimpleITK) reads this header "
        "otherwise, up to 5.0 mm away: before it applies this transform to the scan, give sform "
        "and qform of a copy the affine that nibabel reads, with code 1."
    )


@pytest.mark.parametrize("code", [1, 2, 4])
def test_codes_of_our_own_grids(tmp_path, code):
    write_array(np.ones((4, 4, 4)), np.eye(4), tmp_path / "a.nii.gz", code=code)
    header = nib.load(tmp_path / "a.nii.gz").header
    assert header["sform_code"] == header["qform_code"] == code
