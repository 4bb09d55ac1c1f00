"""Whose bank counts: the model's own, that of the shelf, or that of images given in its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.exceptions import SiteError, UsageError
from bids_harmony.methods import load_harmonizer
from bids_harmony.methods.conditioned import site_evidence
from bids_harmony.methods.profiled import Banked
from bids_harmony.sites.profile_cache import BankShelf
from bids_harmony.sites.profile_files import write_banks


@pytest.fixture
def model(world, tmp_path):
    """A model that knows COI and GE."""
    write_banks(tmp_path / "model", world.banks.values(), 5.0)
    return tmp_path / "model"


@pytest.fixture
def shelf(tmp_path):
    return BankShelf(tmp_path / "banks", 5.0)


@pytest.fixture
def other_look(world):
    """A bank under the name of a site that the model knows, with another look."""
    return replace(world.banks["GE"], site="COI")


def look_of(banked, site="COI"):
    return banked.bank("T1w", site).landmarks


def test_images_given_in_the_place_of_a_known_site_win(world, model, shelf, other_look):
    plain = Banked(model, shelf)
    assert np.array_equal(look_of(plain), world.banks["COI"].landmarks)
    to_coi, to_ge = (plain.identity("T1w", "GE", site) for site in ("COI", "GE"))
    shelf.write(other_look, {"given": True})
    banked = Banked(model, shelf)
    assert np.array_equal(look_of(banked), other_look.landmarks)
    assert np.array_equal(banked.target_quantiles("T1w", "COI"), other_look.quantiles)
    # What was harmonized to the model's look is not taken for this one, nor is another's changed.
    assert banked.identity("T1w", "GE", "COI") != to_coi
    assert banked.identity("T1w", "GE", "GE") == to_ge
    assert banked.own_sites("T1w") == banked.sites("T1w") == ("COI", "GE")


def test_a_bank_of_a_known_sites_own_scans_does_not_count(world, model, shelf, other_look):
    for made_of in ({}, {"given": False}):
        shelf.write(other_look, made_of)
        assert np.array_equal(look_of(Banked(model, shelf)), world.banks["COI"].landmarks)


def test_the_shelf_tells_what_the_model_does_not_know(model, shelf, other_look):
    banked = Banked(model, shelf)
    with pytest.raises(SiteError, match="knows no site 'new'"):
        banked.bank("T1w", "new")
    # A bank that another job has put there since is found.
    shelf.write(replace(other_look, site="new"), {})
    assert banked.has_bank("T1w", "new") and "new" in banked.sites("T1w")
    assert banked.own_sites("T1w") == ("COI", "GE")
    assert np.array_equal(look_of(banked, "new"), other_look.landmarks)


def test_a_models_own_banks_can_be_left_aside(world, model, shelf):
    finer = replace(shelf, voxel_mm=2.0)
    banked = Banked(model, finer, own_banks=False)
    assert banked.voxel_mm == 2.0
    assert banked.sites("T1w") == () and not banked.has_bank("T1w", "COI")
    assert Banked(model, finer).voxel_mm == 5.0


def test_evidence_is_that_of_the_closed_form_and_none_where_a_site_is_not_known(model):
    banked = Banked(model)
    pair = (banked.bank("T1w", site) for site in ("GE", "COI"))
    assert banked.evidence("T1w", "GE", "COI") is site_evidence(*pair)
    assert banked.evidence("T1w", "GE", "GE") is None
    assert banked.evidence("T1w", "GE", "nowhere") is None


@pytest.mark.parametrize("method", ["cgan", "simix", "ssimh", "histogram-n4"])
def test_a_method_without_banks_on_a_shelf_says_so(model, shelf, method):
    with pytest.raises(UsageError, match="does not harmonize diffusion series"):
        load_harmonizer(method, model, shelf, own_banks=False)
