"""Codes of profiles, as a network standardizes them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from bids_harmony.exceptions import DataError
from bids_harmony.imaging.slices import cut_stack
from bids_harmony.sites.image_profile import CODE_STEP, encode_heights, standardize_codes
from tests.training.tiny import network


def test_all_height_bins_of_all_profiles_count_alike(rng):
    codes = rng.normal(3, 2, (7, 6)).astype(np.float32)
    made = network()
    standardize_codes(made, [SimpleNamespace(codes=codes[:2]), SimpleNamespace(codes=codes[2:])])
    assert np.allclose(made.code_mean, codes.mean(0), atol=1e-6)
    assert np.allclose(made.code_std, codes.std(0, ddof=1), atol=1e-6)
    with pytest.raises(DataError, match="two vectors of 6"):
        standardize_codes(made, [SimpleNamespace(codes=codes[:, :5])])


def test_codes_belong_to_the_middle_of_their_bins(world):
    """A bin's code was taken at its middle slice; half a bin further it is the mean of two."""
    profile = world.profiles["COI"]
    middle = CODE_STEP * np.arange(len(profile.codes)) + CODE_STEP / 2
    assert np.allclose(profile.codes_at(middle), profile.codes)
    between = profile.codes_at(middle[:-1] + CODE_STEP / 2)
    assert np.allclose(between, (profile.codes[:-1] + profile.codes[1:]) / 2, atol=1e-6)
    ends = profile.codes_at(np.array([0, CODE_STEP * len(profile.codes)]))
    assert np.array_equal(ends, profile.codes[[0, -1]])
    assert not np.allclose(profile.codes[0], profile.codes[-1])


def test_a_code_is_that_of_the_middle_slice(world):
    data = world.scan("GE").data
    codes = encode_heights(data, world.encoder)
    assert len(codes) == -(-data.shape[2] // CODE_STEP)
    middle = torch.from_numpy(np.clip(cut_stack(data, [2 * CODE_STEP + CODE_STEP // 2]), 0, 1.5))
    with torch.inference_mode():
        assert np.allclose(codes[2], world.encoder.code(middle)[0].numpy(), atol=1e-6)
