"""The page with images in three dimensions, drawn by a real browser and the real viewer."""

from __future__ import annotations

import io
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from bids_harmony.bids.run_records import Unit
from bids_harmony.reports.view import write_view_page
from tests.e2e.browser import open_alone, sync_api
from tests.output_folder import add_scan

NIIVUE = Path(__file__).resolve().parents[2] / "build" / "niivue"
#: Milliseconds: a processor that draws for a graphics card takes its time.
LONG = 150_000

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sync_api is None, reason="needs playwright: pip install playwright"),
    pytest.mark.skipif(not NIIVUE.is_dir(), reason="needs the viewer: make niivue"),
]


def test_before_and_after_are_drawn(browser, tmp_path):
    out, bids = tmp_path / "out", tmp_path / "bids"
    image = add_scan(out, "T1w").with_suffix(".nii.gz")
    source = bids / "sub-01" / "ses-A" / "anat" / "sub-01_ses-A_T1w.nii.gz"
    source.parent.mkdir(parents=True)
    ball = np.linalg.norm(np.indices((24, 24, 24)) - 11.5, axis=0) < 9
    for path, level in ((source, 100), (image, 50)):
        nib.save(nib.Nifti1Image((level * ball).astype(np.float32), np.diag([4, 4, 4, 1])), path)
    page = write_view_page(out, bids, Unit("01", "A"), [], NIIVUE)
    with open_alone(browser, page, refused=("error", "warning"), wait_until="commit") as opened:
        told = opened.locator("#told")
        opened.locator("#told", has_text="Loading").wait_for(state="detached", timeout=LONG)
        assert told.text_content() == ""
        opened.locator("#planes").select_option("axial")
        means = {}
        for side in ("before", "after"):
            shot = opened.locator(f"#{side}").screenshot(timeout=LONG)
            grey = np.asarray(Image.open(io.BytesIO(shot)).convert("L")).astype(float)
            means[side] = grey.mean()
        # Half as bright in one window, on black.
        assert means["before"] > 20
        assert means["after"] == pytest.approx(means["before"] / 2, rel=0.25)
