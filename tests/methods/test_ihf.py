"""The trained network of a model folder, from prepared scan to harmonized scan."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from bids_harmony.imaging.slices import reassemble
from bids_harmony.methods import load_harmonizer
from bids_harmony.methods.conditioned import condition_scan, predict_change
from bids_harmony.methods.site_forms import closed_form
from bids_harmony.model.checkpoint import save_model
from bids_harmony.sites.profile_files import write_profiles


@pytest.fixture
def load(world, moved_network, tmp_path):
    """Write a model that knows COI and GE, and load it."""

    def make(use_closed_form):
        extra = {"version": "1", "use_closed_form": use_closed_form}
        save_model(tmp_path, moved_network, world.encoder, extra)
        write_profiles(tmp_path, world.profiles.values(), 5.0)
        return load_harmonizer("ihf", tmp_path)

    return make


@pytest.mark.parametrize("use_closed_form", [True, False])
def test_a_scan_gets_the_networks_change_on_the_closed_form_to_the_target(
    world, moved_network, load, use_closed_form
):
    scan = world.scan("GE")
    pair = world.profiles["GE"], world.profiles["COI"]
    applied = load(use_closed_form).apply(
        scan, modality="T1w", source_site="GE", target_site="COI"
    )
    start = closed_form(scan.data, scan.mask, *pair, 5.0) if use_closed_form else scan.data
    conditioned = condition_scan(
        scan.data, scan.mask, *pair,
        voxel_mm=5.0, config=moved_network.config, use_closed_form=use_closed_form,
    )  # fmt: skip
    change = reassemble(predict_change(moved_network, conditioned))
    assert np.abs(change[scan.mask]).mean() > 1e-3
    expected = np.where(scan.mask, np.maximum(start + change, 0), 0)
    np.testing.assert_allclose(applied.data, expected, atol=1e-5)
    assert applied.round_trip_error < 1e-4


def test_a_scan_of_the_target_is_the_scan(world, load):
    scan = world.scan("GE")
    applied = load(True).apply(scan, modality="T1w", source_site="GE", target_site="GE")
    assert_array_equal(applied.data, scan.data * scan.mask)
