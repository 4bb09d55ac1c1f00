"""Whose profile counts: the model's own, the cache's, or that of images given in its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.exceptions import SiteError, UsageError
from bids_harmony.methods import load_harmonizer
from bids_harmony.methods.profiled import Profiled
from bids_harmony.methods.site_forms import site_evidence
from bids_harmony.sites.profile_cache import ProfileCache
from bids_harmony.sites.profile_files import write_profiles


@pytest.fixture
def model(world, tmp_path):
    """A model that knows COI and GE."""
    write_profiles(tmp_path / "model", world.profiles.values(), 5.0)
    return tmp_path / "model"


@pytest.fixture
def cache(tmp_path):
    return ProfileCache(tmp_path / "banks", 5.0)


@pytest.fixture
def other_look(world):
    """A profile under the name of a site that the model knows, with another look."""
    return replace(world.profiles["GE"], site="COI")


def look_of(profiled, site="COI"):
    return profiled.profile("T1w", site).landmarks


def test_images_given_in_the_place_of_a_known_site_win(world, model, cache, other_look):
    plain = Profiled(model, cache)
    assert np.array_equal(look_of(plain), world.profiles["COI"].landmarks)
    to_coi, to_ge = (plain.identity("T1w", "GE", site) for site in ("COI", "GE"))
    cache.write(other_look, {"given": True})
    profiled = Profiled(model, cache)
    assert np.array_equal(look_of(profiled), other_look.landmarks)
    assert np.array_equal(profiled.target_quantiles("T1w", "COI"), other_look.quantiles)
    # What was harmonized to the model's own is not taken for this one; the others stay.
    assert profiled.identity("T1w", "GE", "COI") != to_coi
    assert profiled.identity("T1w", "GE", "GE") == to_ge
    assert profiled.own_sites("T1w") == profiled.sites("T1w") == ("COI", "GE")


def test_a_profile_of_a_known_sites_own_scans_does_not_count(world, model, cache, other_look):
    for made_of in ({}, {"given": False}):
        cache.write(other_look, made_of)
        assert np.array_equal(look_of(Profiled(model, cache)), world.profiles["COI"].landmarks)


def test_the_shelf_tells_what_the_model_does_not_know(model, cache, other_look):
    profiled = Profiled(model, cache)
    with pytest.raises(SiteError, match="knows no site 'new'"):
        profiled.profile("T1w", "new")
    # A profile that another job has put there since is found.
    cache.write(replace(other_look, site="new"), {})
    assert profiled.has_profile("T1w", "new") and "new" in profiled.sites("T1w")
    assert profiled.own_sites("T1w") == ("COI", "GE")
    assert np.array_equal(look_of(profiled, "new"), other_look.landmarks)


def test_a_models_own_profiles_can_be_left_aside(world, model, cache):
    finer = replace(cache, voxel_mm=2.0)
    profiled = Profiled(model, finer, own_profiles=False)
    assert profiled.voxel_mm == 2.0
    assert profiled.sites("T1w") == () and not profiled.has_profile("T1w", "COI")
    assert Profiled(model, finer).voxel_mm == 5.0


def test_evidence_is_that_of_the_closed_form_and_none_where_a_site_is_not_known(model):
    profiled = Profiled(model)
    pair = (profiled.profile("T1w", site) for site in ("GE", "COI"))
    assert profiled.evidence("T1w", "GE", "COI") is site_evidence(*pair)
    assert profiled.evidence("T1w", "GE", "GE") is None
    assert profiled.evidence("T1w", "GE", "nowhere") is None


@pytest.mark.parametrize("method", ["cgan", "simix", "ssimh", "histogram-n4"])
def test_a_method_without_profiles_on_a_shelf_says_so(model, cache, method):
    with pytest.raises(UsageError, match="does not harmonize diffusion series"):
        load_harmonizer(method, model, cache, own_profiles=False)
