"""The trained network of a model folder, from prepared scan to harmonized scan."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from bids_harmony.methods import load_harmonizer
from bids_harmony.methods.conditioned import change_volume, condition_scan
from bids_harmony.methods.site_forms import closed_form
from bids_harmony.model.checkpoint import save_model
from bids_harmony.sites.profile_files import write_profiles


@pytest.fixture
def load(world, moved_network, tmp_path):
    """Write a model that knows COI and GE, and load it."""

    def make(use_closed_form, others=()):
        extra = {"version": "1", "use_closed_form": use_closed_form}
        save_model(tmp_path, moved_network, world.encoder, extra, others=others)
        write_profiles(tmp_path, world.profiles.values(), 5.0)
        return load_harmonizer("ihf", tmp_path)

    return make


@pytest.fixture
def other_network(moved_network):
    """All weights a tenth larger."""
    other = copy.deepcopy(moved_network)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.1)
    return other


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize("use_closed_form", [True, False])
def test_a_scan_gets_the_networks_change_on_the_closed_form_to_the_target(
    world, moved_network, other_network, load, use_closed_form, together
):
    scan = world.scan("GE")
    pair = world.profiles["GE"], world.profiles["COI"]
    others = [other_network] if together else []
    applied = load(use_closed_form, others).apply(
        scan, modality="T1w", source_site="GE", target_site="COI"
    )
    start = closed_form(scan.data, scan.mask, *pair, 5.0) if use_closed_form else scan.data
    conditioned = condition_scan(
        scan.data, scan.mask, *pair,
        voxel_mm=5.0, config=moved_network.config, use_closed_form=use_closed_form,
    )  # fmt: skip
    change = change_volume([moved_network, *others], conditioned)
    assert np.abs(change[scan.mask]).mean() > 1e-3
    if together:
        alone = change_volume([moved_network], conditioned)
        assert np.abs(change - alone)[scan.mask].mean() > 1e-4
    expected = np.where(scan.mask, np.maximum(start + change, 0), 0)
    np.testing.assert_allclose(applied.data, expected, atol=1e-5)
    assert applied.round_trip_error < 1e-4


def test_a_scan_of_the_target_is_the_scan(world, load):
    scan = world.scan("GE")
    applied = load(True).apply(scan, modality="T1w", source_site="GE", target_site="GE")
    assert_array_equal(applied.data, scan.data * scan.mask)
