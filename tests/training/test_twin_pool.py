"""People, scanners and profiles that twins are drawn from."""

import os
from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.cohort import CohortPlan
from bids_harmony.phantom.people import SourceMaps
from bids_harmony.phantom.random_scanner import random_scanner
from bids_harmony.phantom.real_scanners import real_scanner
from bids_harmony.phantom.scanner import SITES
from bids_harmony.sites.profile_files import as_stored, profile_digest
from bids_harmony.training.twin_pool import TwinPool, make_pool
from tests.training.small_twins import PLAN


def test_people_of_training_profiles_and_validation_are_different(pool):
    training = {p.seed for p in pool.training}
    validation = {p.seed for p in pool.validation}
    bankers = {s for profile in pool.profiles.values() for s in profile.scans}
    assert len(training) == 3 and len(validation) == 1
    assert not training & validation
    assert not {f"person-{s}" for s in training | validation} & bankers


def test_training_scanners_are_neither_validation_scanners_nor_the_named_sites(pool):
    training = {s.bias_seed for s in pool.training_scanners}
    assert not training & {s.bias_seed for s in pool.validation_scanners}
    assert not training & {s.bias_seed for s in SITES.values()}


def test_scanners_can_be_drawn_as_real_ones_differ_and_are_not_unless_asked(pool, encoder):
    real = make_pool(replace(PLAN, scanners_like="real"), encoder, cells=2)
    seeds = [7_000_000 + i for i in range(5)]
    assert list(real.scanners) == [real_scanner(s) for s in seeds]
    assert list(pool.scanners) == [random_scanner(s) for s in seeds]


def test_profiles_stay_for_a_later_run_of_the_same_plan_alone(pool, encoder, tmp_path):
    first = make_pool(PLAN, encoder, cells=2, kept=tmp_path)
    written = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(written) == len(pool.profiles)
    for path in written:
        os.utime(path, ns=(0, 0))
    again = make_pool(PLAN, encoder, cells=2, kept=tmp_path)
    assert all(path.stat().st_mtime_ns == 0 for path in written)
    for key, profile in pool.profiles.items():
        digest = profile_digest(as_stored(profile))
        assert profile_digest(first.profiles[key]) == profile_digest(again.profiles[key]) == digest
    several = replace(PLAN, profiles_per_scanner=2)
    make_pool(several, encoder, cells=2, kept=tmp_path / "more")
    kept = make_pool(several, encoder, cells=2, kept=tmp_path / "more")
    assert all(len(more) == 1 for more in kept.more.values())
    # Another plan has other people at the same scanners.
    make_pool(replace(PLAN, scans_per_profile=(2, 2)), encoder, cells=2, kept=tmp_path)
    assert all(path.read_bytes() != content for path, content in written.items())


def test_profiles_of_another_scanner_of_the_same_name_are_not_taken(
    encoder, tmp_path, monkeypatch
):
    """The table that scanners come from may change."""
    plan = replace(PLAN, scanners_like="both")
    made = make_pool(plan, encoder, cells=2, kept=tmp_path)
    for name in ("random_scanner", "real_scanner"):
        monkeypatch.setattr(
            f"bids_harmony.training.twin_pool.{name}",
            lambda seed: replace(random_scanner(seed), noise=0.1),
        )
    again = make_pool(plan, encoder, cells=2, kept=tmp_path)
    for key, profile in made.profiles.items():
        assert profile_digest(profile) != profile_digest(again.profiles[key])


def test_nobody_of_a_phantom_cohort_is_among_the_people(pool):
    first = CohortPlan().seed * 1000
    cohort = range(first, first + 1000)
    assert not any(p.seed in cohort for p in (*pool.training, *pool.validation))


def test_threads_do_not_change_the_profiles(pool, encoder):
    again = make_pool(PLAN, encoder, cells=2, threads=2)
    for key, profile in pool.profiles.items():
        assert np.array_equal(profile.mean_image, again.profiles[key].mean_image)
        assert np.array_equal(profile.codes, again.profiles[key].codes)


def test_sites_have_not_scanned_the_same_people(encoder):
    plan = replace(PLAN, profile_people=6, scans_per_profile=(2, 2), training_scanners=4)
    profiles = make_pool(plan, encoder, cells=2).profiles.values()
    assert all(len(profile.scans) == 2 for profile in profiles)
    assert len({profile.scans for profile in profiles}) > 1


def test_a_scanner_has_several_profiles_of_which_pairs_draw(encoder):
    plan = replace(
        PLAN, profile_people=6, scans_per_profile=(2, 2), profiles_per_scanner=3, coded=1
    )
    first = make_pool(replace(plan, profiles_per_scanner=1), encoder, cells=2)
    pool = make_pool(plan, encoder, cells=2)
    for (site, modality), profile in pool.profiles.items():
        # More profiles leave the first as it was.
        assert profile_digest(profile) == profile_digest(first.profiles[site, modality])
        every = (profile, *pool.more[site, modality])
        assert len(every) == 3 and all(len(own.scans) == 2 for own in every)
        rng = np.random.default_rng(0)
        drawn = [pool.draw_profile(rng, site, modality) for _ in range(30)]
        assert {id(own) for own in drawn} == {id(own) for own in every}
    assert len({own.scans for more in pool.more.values() for own in more}) > 2


def test_a_persons_scan_is_the_same_in_every_profile_of_a_scanner(encoder):
    plan = replace(
        PLAN, profile_people=2, scans_per_profile=(1, 2), profiles_per_scanner=4, coded=1
    )
    pool = make_pool(plan, encoder, cells=2)
    seen = 0
    for key, profile in pool.profiles.items():
        every = (profile, *pool.more[key])
        one = {own.scans[0]: own for own in every if len(own.scans) == 1}
        for own in every:
            if len(own.scans) == 2 and own.scans[0] in one:
                alone = one[own.scans[0]]
                assert np.array_equal(own.single.means[0], alone.single.means[0])
                # The first is encoded, whatever other profiles are made of.
                assert np.array_equal(own.codes, alone.codes)
                seen += 1
    assert seen > 0


def test_people_of_other_maps_train_and_fill_profiles_but_never_validate(encoder):
    template = make_anatomy(reference_grid(6.0), 1)
    one = np.ones_like(template.t1_factor)
    maps = SourceMaps(template.fractions, one, one, one, template.grid, "somebody")
    plan = replace(PLAN, people_per_source=3, profile_people=0, scans_per_profile=(1, 1))
    pool = make_pool(plan, encoder, cells=2, sources=[maps])
    assert [p.source for p in pool.training] == ["", "", "", "somebody", "somebody", "somebody"]
    assert all(p.source == "" for p in pool.validation)
    assert all(profile.scans for profile in pool.profiles.values())


def test_people_of_a_pool_differ_in_the_contrast_of_their_tissues(pool):
    def t1_ratio(person):
        grey, white = (person.fractions[t] > 0.8 for t in (0, 1))
        return np.log(person.t1_factor[grey].mean() / person.t1_factor[white].mean())

    ratios = [t1_ratio(person) for person in (*pool.training, *pool.validation)]
    assert np.ptp(ratios) > 0.01


def test_targets_can_be_the_scanners_most_like_the_source(pool):
    """By codes in standard deviations: unless these count alike, the first decides alone."""
    places = np.stack([100 / 7 * np.arange(8), [0, 7.3, 1.1, 6.2, 2.5, 5.7, 3.3, 4.2]], axis=1)
    scanners = tuple(replace(SITES["COI"], site=f"S{i}") for i in range(8))
    shown = pool.profiles[pool.scanners[0].site, "T1w"]
    profiles = {
        (s.site, "T1w"): replace(shown, codes=np.tile(np.float32(place), (len(shown.codes), 1)))
        for s, place in zip(scanners, places, strict=True)
    }
    drawn_from = TwinPool(
        replace(PLAN, training_scanners=8), pool.grid, (), (), scanners, profiles
    )

    def steps(alike, count=200):
        rng = np.random.default_rng(0)
        own = replace(drawn_from, alike=alike)
        return [
            (int(a.site[1:]), int(b.site[1:])) for a, b, _ in (own.draw(rng) for _ in range(count))
        ]

    place = places / places.std(axis=0)
    apart = np.linalg.norm(place[:, None] - place[None], axis=2) + 1e9 * np.eye(8)
    nearest = apart.argmin(axis=1)
    assert all(nearest[a] == b for a, b in steps(1.0))
    assert len(set(steps(0.0))) > 50
    share = np.mean([nearest[a] == b for a, b in steps(0.5, 2000)])
    assert share == pytest.approx(0.5 + 0.5 / 7, abs=0.05)
