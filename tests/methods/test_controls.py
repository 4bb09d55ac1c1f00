"""Controls: the scan to the bit, and the scan without its detail."""

import numpy as np
import pytest

from bids_harmony.exceptions import SiteError
from bids_harmony.methods import load_harmonizer
from bids_harmony.sites.profile_files import write_profiles


@pytest.fixture(scope="module")
def folder(world, tmp_path_factory):
    path = tmp_path_factory.mktemp("banks")
    write_profiles(path, world.profiles.values(), 5.0)
    return path


def test_none_returns_the_scan_to_the_bit(world, folder):
    scan, method = world.scan("GE"), load_harmonizer("none", folder)
    applied = method.apply(scan, modality="T1w", source_site="GE", target_site="COI")
    assert np.array_equal(applied.data, scan.data) and applied.data.dtype == np.float32
    assert method.targets("T1w") == ("COI", "GE") and method.name == "none"
    with pytest.raises(SiteError):
        method.apply(scan, modality="T1w", source_site="GE", target_site="MARS")


def test_blur_takes_the_detail_and_keeps_means_and_mask(world, folder):
    scan, mask = world.scan("GE"), world.person.mask
    fine = load_harmonizer("blur", folder)
    fine.voxel_mm = 1.0  # As if the coarse scan of the test were a fine one.
    applied = fine.apply(scan, modality="T1w", source_site="GE", target_site="COI")
    assert not applied.data[~mask].any()
    assert applied.data[mask].mean() == pytest.approx(scan.data[mask].mean(), rel=0.02)
    both = mask[1:] & mask[:-1]
    before, after = (np.abs(np.diff(d, axis=0))[both].mean() for d in (scan.data, applied.data))
    assert after < 0.7 * before
