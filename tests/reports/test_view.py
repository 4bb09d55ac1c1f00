"""The page with images in three dimensions: what it holds, and what is said when it cannot be."""

from __future__ import annotations

import base64
import gzip
import json
import re

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.bids.run_records import Unit
from bids_harmony.cli.main import main
from bids_harmony.exceptions import MissingInput
from bids_harmony.reports import view
from bids_harmony.reports.view import read_niivue, write_view_page
from tests.output_folder import add_scan

AFFINE = np.array([[-0.5, 0, 0, 40], [0, 1, 0, -30], [0, 0, 2, -20], [0, 0, 0, 1.0]])


@pytest.fixture
def folders(tmp_path, rng):
    """A T1w of odd size and voxels, before and after, and a viewer that does nothing."""
    bids, out, niivue = (tmp_path / name for name in ("bids", "out", "niivue"))
    niivue.mkdir()
    (niivue / "niivue.umd.js").write_text("/* viewer */ 1 < 2;")
    sidecar = add_scan(out, "T1w")
    add_scan(out, "dwi", folder="dwi")
    before = rng.uniform(50, 100, (33, 20, 11)).astype(np.float32)
    source = bids / "sub-01" / "ses-A" / "anat" / "sub-01_ses-A_T1w.nii.gz"
    source.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(before, AFFINE), source)
    nib.save(nib.Nifti1Image(before * 0.5, AFFINE), sidecar.with_suffix(".nii.gz"))
    return bids, out, niivue, source


def images(text: str) -> list[dict[str, nib.Nifti1Image]]:
    block = re.search(r'id="images">(.*?)</script>', text, re.DOTALL)[1]
    return [
        {
            k: nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(v)))
            for k, v in row.items()
        }
        for row in json.loads(block)
    ]


def test_images_lie_where_the_files_do(folders):
    bids, out, niivue, source = folders
    path = write_view_page(out, bids, Unit("01", "A"), [], niivue)
    assert path == out / "sub-01_ses-A_view.html"
    text = path.read_text()
    assert "/* viewer */ 1 < 2;" in text
    (pair,) = images(text)
    data = nib.load(source).get_fdata()
    # Two voxels of 0.5 mm make one of 1 mm; the last of 33 is left out.
    expected = data[-32:].reshape(16, 2, 20, 11).mean(axis=1)[::-1]
    for name, factor in (("before", 1.0), ("after", 0.5)):
        shown = pair[name]
        assert shown.shape == (16, 20, 11)
        grey = shown.get_fdata() / 1000 * np.percentile(data, 99.8)
        np.testing.assert_allclose(grey, factor * expected, atol=0.1)
        first = (AFFINE @ [31.5, 0, 0, 1])[:3]
        np.testing.assert_allclose(shown.affine[:3, 3], first)


def test_images_become_coarser_until_they_fit(folders, monkeypatch):
    bids, out, niivue, _ = folders
    monkeypatch.setattr(view, "VIEW_BYTES", 3000)
    text = write_view_page(out, bids, Unit("01", "A"), [], niivue).read_text()
    assert images(text)[0]["before"].header.get_zooms()[0] > 1.9


def test_what_is_not_there_is_named(folders, tmp_path):
    bids, out, niivue, source = folders
    with pytest.raises(MissingInput, match="make niivue"):
        read_niivue(tmp_path)
    source.unlink()
    with pytest.raises(MissingInput, match="sub-01_ses-A_T1w"):
        write_view_page(out, bids, Unit("01", "A"), [], niivue)


def test_a_run_without_the_viewer_ends_at_once(folders, capsys):
    bids, out, *_ = folders
    (bids / "dataset_description.json").write_text('{"Name": "a", "BIDSVersion": "1.9.0"}')
    words = [str(bids), str(out), "participant", "-w", str(out.parent / "w"), "--reports-only"]
    assert main([*words, "--report-3d", str(out)]) == 66
    assert "make niivue" in capsys.readouterr().err
    assert not list(out.glob("*.html"))
    assert main([*words, "--report-3d", str(out.parent / "niivue")]) == 0
    assert {p.name for p in out.glob("*.html")} == {"sub-01_ses-A.html", "sub-01_ses-A_view.html"}
