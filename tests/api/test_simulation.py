"""The door to the phantom."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bids_harmony import simulate
from bids_harmony.exceptions import UsageError


def test_a_person_and_a_scan_are_the_same_each_time():
    first, again = (simulate(3, "SIEMENS", "FLAIR", voxel_scale=6) for _ in range(2))
    assert first.to_bytes() == again.to_bytes()
    assert simulate(3, "SIEMENS", "FLAIR", scan=1, voxel_scale=6).to_bytes() != first.to_bytes()
    assert nib.aff2axcodes(first.affine) == tuple("PSR")
    assert np.allclose(nib.affines.voxel_sizes(first.affine), (6.6, 6.0, 6.6)[::-1], atol=0.7)
    assert first.get_data_dtype() == np.int16 and np.asarray(first.dataobj).min() == 0


def test_scanners_show_a_person_each_in_its_way():
    """White matter has the scanner's gain."""
    for site, gain in (("COI", 420), ("GE", 2600)):
        data = np.asarray(simulate(2, site, voxel_scale=6).dataobj)
        assert 0.6 * gain < np.percentile(data[data > 0], 75) < 1.4 * gain
    assert 0.1 < (data > 0).mean() < 0.5


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"scanner": "MARS"}, r"Unknown simulated scanner.*COI, GE, PHILIPS.*'MARS'"),
        ({"modality": "dwi"}, r"Unknown modality.*T1w, T2w, FLAIR.*'dwi'"),
        ({"voxel_scale": 0.1}, r"voxel_scale.*0.8 to 8.*0.1"),
        ({"person": -1}, "person=-1"),
        ({"scan": -1}, "scan=-1"),
        ({"person": "1"}, "person='1'"),
        ({"person": 1.5}, "person=1.5"),
        ({"voxel_scale": "2"}, r"voxel_scale.*'2'"),
        ({"scanner": ["GE"]}, r"Unknown simulated scanner.*\['GE'\]"),
    ],
)
def test_what_there_is_not(options, told):
    with pytest.raises(UsageError, match=told):
        simulate(**({"voxel_scale": 6} | options))
