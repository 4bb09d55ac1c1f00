"""Twins between the dataset's own sites: who is drawn, and what the network is told."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.model.encoder import load_encoder
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.scanner import SITES, acquire
from bids_harmony.sites.prepared_scans import PreparedScan, build_profiles
from bids_harmony.training.own_sites import fit_sites, own_twins
from bids_harmony.training.twin_pool import TwinPlan, make_pool
from bids_harmony.training.twins import twin_pair
from tests.training.test_twins import CONFIG

GRID = reference_grid(6.0)
PLAN = TwinPlan(
    training_people=2, profile_people=1, validation_people=1, training_scanners=2,
    validation_scanners=2, modalities=("T1w",), voxel_mm=6.0,
)  # fmt: skip
ENCODER = load_encoder("random", widths=(4, 4, 4, 4))


def scan(site, modality, seed):
    person = make_anatomy(GRID, seed)
    data = acquire(person, SITES[site], modality, scan_seed=seed)
    scale = robust_scale(data, person.mask)
    label = f"sub-{seed}_{modality}"
    return PreparedScan(label, str(seed), modality, site, data / scale, person.mask, scale)


@pytest.fixture(scope="module")
def scans():
    sites = ("COI", "GE", "INTERA")
    found = [scan(site, "T1w", 10 * i + j) for i, site in enumerate(sites) for j in range(2)]
    return [*found, scan("COI", "T2w", 90)]


@pytest.fixture(scope="module")
def profiles(scans):
    return build_profiles(scans, ENCODER, cells=2, size=2, voxel_mm=6.0)


@pytest.fixture(scope="module")
def fits(scans, profiles):
    return fit_sites(profiles, scans, GRID, seed=1, threads=2)


@pytest.fixture(scope="module")
def pool():
    return make_pool(PLAN, ENCODER, cells=2)


def test_every_site_is_fitted_and_threads_change_nothing(fits, scans, profiles):
    assert sorted(fits) == [("COI", "T1w"), ("COI", "T2w"), ("GE", "T1w"), ("INTERA", "T1w")]
    assert all(len(own) == 3 for own in fits.values())
    assert fits == fit_sites(profiles, scans, GRID, seed=1)
    assert max(abs(fit.contrasts[0]) for own in fits.values() for fit in own) < 0.05


def test_a_site_that_no_scanner_is_like_has_no_twins(scans, profiles, caplog):
    odd = profiles["GE", "T1w"]
    # Grey matter far brighter than white in T1w, as no sequence of that name shows it.
    profile = replace(odd, tissue_means=odd.tissue_means * [4.0, 1.0, 1.0])
    key = ("GE", "T1w")
    assert key not in fit_sites({key: profile}, scans, GRID, seed=1)
    assert "no simulated scanner is like GE T1w" in caplog.text


def test_pairs_lead_from_any_site_to_the_target_and_never_to_themselves(pool, profiles, fits):
    own = own_twins(pool, profiles, fits, share=1.0, target="GE")
    assert own.modalities == ["T1w"]
    rng = np.random.default_rng(0)
    drawn = [own.draw(rng) for _ in range(60)]
    routes = Counter((a.site, b.site) for a, b, _ in drawn)
    assert set(routes) == {("COI", "GE"), ("INTERA", "GE")} and min(routes.values()) > 15
    anywhere = replace(own, target=None)
    routes = Counter((a.site, b.site) for a, b, _ in (anywhere.draw(rng) for _ in range(120)))
    assert len(routes) == 6 and all(a != b for a, b in routes)


def test_validation_has_the_fits_that_training_never_draws(pool, profiles, fits):
    own = own_twins(pool, profiles, fits, share=1.0, target=None)
    rng = np.random.default_rng(0)
    unseen = {id(s) for n in range(40) for s in own.draw_unseen(rng, n)[:2]}
    seen = {id(s) for _ in range(80) for s in own.draw(rng)[:2]}
    assert len(unseen) == 3 and len(seen) == 6 and not unseen & seen


def test_the_rest_of_the_pairs_are_of_any_scanners(pool, profiles, fits):
    own = own_twins(pool, profiles, fits, share=0.5, target=None)
    rng = np.random.default_rng(0)
    real = sum(own.draw(rng)[0].site in SITES for _ in range(200))
    assert 70 < real < 130
    plain = own.without_own()
    assert type(plain) is not type(own)
    names = {s.site for _ in range(20) for s in plain.draw(rng)[:2]}
    assert names == {s.site for s in pool.training_scanners}


def test_the_network_is_told_of_the_real_sites(pool, profiles, fits):
    own = own_twins(pool, profiles, fits, share=1.0, target="COI")
    source, target, modality = own.draw(np.random.default_rng(1))
    person = own.training[0]
    rng = np.random.default_rng(0)
    known = own.draw_profile(rng, source.site, modality), own.draw_profile(rng, "COI", modality)
    conditioned, _, _ = twin_pair(
        person, source, target, known, 5, voxel_mm=6.0, config=CONFIG, use_closed_form=True
    )
    heights = np.arange(GRID.shape[2])
    told = profiles[source.site, "T1w"].codes_at(heights)
    assert np.array_equal(conditioned.codes_source, told)


def test_what_is_written_tells_how_near_the_fits_come(pool, profiles, fits):
    told = own_twins(pool, profiles, fits, share=1.0, target=None).about_fits()
    assert [(t["site"], t["modality"]) for t in told[:3]] == [("COI", "T1w")] * 3
    first = fits["COI", "T1w"][0]
    assert told[0]["missed"]["field"] == round(first.field, 4) and first.field < 0.05
    assert told[0]["sequence"]["kind"] == first.scanner.sequences["T1w"].kind
