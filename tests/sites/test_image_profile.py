"""Codes of profiles, as a network standardizes them."""

from types import SimpleNamespace

import numpy as np
import pytest

from bids_harmony.exceptions import DataError
from bids_harmony.sites.image_profile import standardize_codes
from tests.training.tiny import network


def test_all_height_bins_of_all_profiles_count_alike(rng):
    codes = rng.normal(3, 2, (7, 6)).astype(np.float32)
    made = network()
    standardize_codes(made, [SimpleNamespace(codes=codes[:2]), SimpleNamespace(codes=codes[2:])])
    assert np.allclose(made.code_mean, codes.mean(0), atol=1e-6)
    assert np.allclose(made.code_std, codes.std(0, ddof=1), atol=1e-6)
    with pytest.raises(DataError, match="two vectors of 6"):
        standardize_codes(made, [SimpleNamespace(codes=codes[:, :5])])
