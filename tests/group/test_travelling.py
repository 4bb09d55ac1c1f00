"""Travelling subjects against their own scan at the target, computed once more from the files."""

from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.group.outputs import find_outputs
from bids_harmony.group.travelling import travelling_rows
from tests.group.conftest import add_output, write_traveller


@pytest.fixture
def traveller(folders):
    return folders, *write_traveller(folders)


def test_errors_are_those_of_the_files(traveller):
    folders, person, scans, target = traveller
    rows = travelling_rows(find_outputs(folders.out, folders.bids)[0])
    found = {(row.site, row.state): row for row in rows}
    assert set(found) == {("GE", "source"), ("GE", "harmonized"), ("COI", "rescan")}

    def error(image: np.ndarray) -> float:
        inside = [image[person.mask], target[person.mask]]
        first, second = (values / np.percentile(values, 99.5) for values in inside)
        return float(np.sqrt(np.mean((first - second) ** 2)))

    assert found["GE", "source"].rmse == pytest.approx(error(scans["GE", ""]), rel=0.01)
    assert found["COI", "rescan"].rmse == pytest.approx(error(scans["COI", "2"]), rel=0.01)
    assert found["GE", "harmonized"].rmse < 0.5 * found["GE", "source"].rmse
    assert found["GE", "harmonized"].psnr_db > found["GE", "source"].psnr_db + 5


def test_nobody_travelled(folders):
    add_output(folders, "01", "", "GE")
    assert travelling_rows(find_outputs(folders.out, folders.bids)[0]) == []


def test_unreadable_scan_leaves_the_others(traveller, caplog):
    folders, *_ = traveller
    next(folders.bids.glob("sub-t1/ses-GE/anat/*_T1w.nii.gz")).write_bytes(b"")
    assert travelling_rows(find_outputs(folders.out, folders.bids)[0]) == []
    assert "sub-t1 is left out" in caplog.text
