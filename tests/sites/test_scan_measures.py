"""Measures of scans side by side, and the table of how much sites and people differ."""

import numpy as np
import pytest

from bids_harmony.sites.priors import MEASURES, Prior, prior_of
from bids_harmony.sites.profile_cache import GivenProfiles
from bids_harmony.sites.scan_measures import ScanMeasures
from bids_harmony.sites.tissue_profile import contrasts


def test_measures_stand_side_by_side_in_their_parts():
    means = np.array([[0.6, 0.8, 0.2], [0.4, 0.8, 0.4]])
    fields, detail = np.arange(40.0).reshape(2, 20), np.array([[-2.0, -4], [-3, -5]])
    own = ScanMeasures(("a", "b"), means, fields, detail)
    assert np.allclose(own.contrasts, np.log([[0.75, 0.25], [0.5, 0.5]]))
    assert own.measures.shape == (2, 24) and own.covariates == {}
    for part, expected in zip(own.parts(), (own.contrasts, fields, detail), strict=True):
        assert np.array_equal(own.measures[:, part], expected)


@pytest.mark.parametrize(
    ("scans", "people"), [(("a", "b", "c"), ("a", "b", "c")), ((), ("unknown",))]
)
def test_of_an_average_every_scan_is_the_average(scans, people):
    means, field, detail = np.array([0.6, 0.8, 0.2]), np.arange(20.0), np.array([-2.0, -4])
    own = ScanMeasures.from_average(scans, means, field, detail)
    assert own.people == people
    assert np.array_equal(own.means, [means] * len(people))
    assert np.array_equal(own.fields, [field] * len(people))
    assert np.array_equal(own.detail, [detail] * len(people))


def test_a_nulled_tissue_counts_as_two_percent():
    found = contrasts(np.array([[300, 400, 0.0], [-5, 400, 800]]))
    assert np.allclose(found, [[np.log(0.75), np.log(0.02)], [np.log(0.02), np.log(2)]])
    assert contrasts(np.array([1.0, 2, 4])).shape == (2,)


def test_people_and_repeats_add_up():
    assert Prior(1.0, 0.3, 0.4, 5.0).residual_sd == pytest.approx(0.5)


def test_what_the_table_does_not_know_counts_as_t2w_or_as_any():
    assert MEASURES == ("gm_wm", "csf_wm")
    for measure in MEASURES:
        assert prior_of("dwi-b0", measure) == prior_of("T2w", measure)
    assert prior_of("dwi-b0", "csf_wm").repeat_sd == 0.038 != prior_of("T1w", "csf_wm").repeat_sd
    for measure in ("field_1", "field_2", "field_3", "detail"):
        assert prior_of("T1w", measure) == prior_of("FLAIR", measure)
        assert min(vars(prior_of("T1w", measure)).values()) > 0
    with pytest.raises(KeyError, match="field_4"):
        prior_of("T1w", "field_4")


def test_profiles_in_memory_stand_for_a_cache(world):
    own = GivenProfiles({("GE", "T1w"): world.profiles["GE"], ("A", "T2w"): None}, 5.0)
    assert own.read("GE", "T1w") == (world.profiles["GE"], {"given": True})
    assert own.read("GE", "T2w") is None and own.read("COI", "T1w") is None
    assert own.made_of("GE", "T1w") == {"given": True} and own.made_of("COI", "T1w") is None
    assert own.sites("T1w") == ("GE",) and own.sites("T2w") == ("A",)
    same, other = own.on_grid(5.0), own.on_grid(4.0)
    assert same.sites("T1w") == ("GE",) and same.voxel_mm == 5.0
    assert other.sites("T1w") == () and other.voxel_mm == 4.0
