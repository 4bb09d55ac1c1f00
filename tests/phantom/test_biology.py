from dataclasses import fields, replace

import numpy as np
import pytest

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import deep_grey, make_anatomy
from bids_harmony.phantom.biology import (
    AGES,
    LOCAL_VARIATION,
    PERSON_SD,
    Biology,
    age_curves,
    deep_t2_of_iron,
    draw_biology,
    with_biology,
)
from bids_harmony.phantom.scanner import SITES, acquire

GRID = reference_grid(4.0)
DEEP = deep_grey(GRID)


@pytest.fixture(scope="module")
def person():
    return make_anatomy(GRID, 3, variation=LOCAL_VARIATION)


def pure(anatomy, tissue):
    return (anatomy.fractions[tissue] > 0.9) & (DEEP < 0.05)


def median(values, where):
    return float(np.log(np.median(values[where])))


def test_every_tissue_gets_its_own_factor_and_no_other(person):
    mean = with_biology(person, Biology())
    grey, white, csf = (pure(person, tissue) for tissue in range(3))
    changed = with_biology(person, Biology(grey_t1=0.08, white_t2=-0.05, csf_density=0.1))
    for name, expected in (
        ("t1_factor", (0.08, 0.0, 0.0)),
        ("t2_factor", (0.0, -0.05, 0.0)),
        ("density_factor", (0.0, 0.0, 0.1)),
    ):
        ratio = getattr(changed, name) / getattr(mean, name)
        for where, log in zip((grey, white, csf), expected, strict=True):
            assert median(ratio, where) == pytest.approx(log, abs=0.006)
    assert np.array_equal(changed.fractions, person.fractions)
    assert (changed.mask == person.mask).all() and changed.seed == person.seed


def test_the_common_factor_of_an_anatomy_is_taken_out_and_its_texture_stays(person):
    longer = replace(person, t1_factor=person.t1_factor * np.float32(1.2))
    first, second = (with_biology(p, Biology()) for p in (person, longer))
    assert np.allclose(first.t1_factor, second.t1_factor, rtol=1e-5)
    assert abs(median(first.t1_factor, pure(person, 1))) < 0.01
    inside = person.mask
    together = np.corrcoef(first.t1_factor[inside], person.t1_factor[inside])[0, 1]
    assert together > 0.999


def test_iron_shortens_t2_of_deep_grey_matter_only(person):
    mean, old = (with_biology(person, Biology(deep_t2=log)) for log in (0.0, -0.2))
    ratio = old.t2_factor / mean.t2_factor
    deep = (person.fractions[0] > 0.9) & (DEEP > 0.95)
    assert median(ratio, deep) == pytest.approx(-0.2, abs=0.02)
    assert np.allclose(ratio[pure(person, 0)], 1, atol=0.011)
    assert np.array_equal(old.t1_factor, mean.t1_factor)


def test_iron_follows_hallgren_and_sourander():
    # Putamen at 20 and 75 years: 8.51 and 14.35 mg per 100 g; at 45, 12.66.
    def r2(iron):
        return 12.7 + 0.61 * iron

    assert deep_t2_of_iron(45) == 0
    assert deep_t2_of_iron(20) == pytest.approx(np.log(r2(12.66) / r2(8.51)), abs=1e-3)
    assert deep_t2_of_iron(75) == pytest.approx(np.log(r2(12.66) / r2(14.35)), abs=1e-3)


def test_atrophy_is_the_share_of_grey_matter_that_gives_way_to_csf(person):
    volumes = {
        lost: with_biology(person, Biology(atrophy=lost)).fractions.reshape(3, -1).sum(1)
        for lost in (-0.05, 0.0, 0.05, 0.1)
    }
    grey, white, csf = volumes[0.0]
    for lost in (0.05, 0.1):
        assert 1 - volumes[lost][0] / grey == pytest.approx(lost, rel=0.2)
        assert 0 < 1 - volumes[lost][1] / white < 0.6 * lost
    assert volumes[-0.05][0] > 1.02 * grey and volumes[-0.05][2] < csf
    for lost in volumes:
        total = with_biology(person, Biology(atrophy=lost)).fractions.sum(0)
        assert np.allclose(total[person.mask], 1, atol=1e-5)
        assert not total[~person.mask].any()


def test_lesions_have_the_volume_that_was_asked_for(person):
    healthy = with_biology(person, Biology())
    volumes = []
    for load in (2.0, 8.0, 25.0):
        ill = with_biology(person, Biology(lesions_ml=load))
        volumes.append(((ill.t2_factor / healthy.t2_factor) > 1.05).sum() * 0.064)
    # Soft edges: more voxels are touched than the load fills.
    assert volumes[0] < volumes[1] < volumes[2]
    assert 0.7 * 25 < volumes[2] < 2.5 * 25


def test_the_drawn_population_has_the_stated_spread_about_the_curves_of_age():
    people = [draw_biology(seed, age=60.0) for seed in range(600)]
    mean = age_curves(60.0)
    for name, sd in PERSON_SD.items():
        if name == "common_t1":
            continue
        values = np.array([getattr(p, name) for p in people])
        wanted = np.hypot(sd, PERSON_SD["common_t1"] if name in ("grey_t1", "white_t1") else 0)
        assert values.std() == pytest.approx(wanted, rel=0.12)
        assert values.mean() == pytest.approx(getattr(mean, name), abs=0.2 * wanted)
    assert np.median([p.lesions_ml for p in people]) == pytest.approx(mean.lesions_ml, rel=0.15)


def test_ages_are_drawn_evenly_and_the_same_seed_gives_the_same_person():
    ages = [draw_biology(seed).age for seed in range(400)]
    assert min(ages) >= AGES[0] and max(ages) <= AGES[1]
    assert np.mean(ages) == pytest.approx(50, abs=3)
    assert draw_biology(7) == draw_biology(7) != draw_biology(8)
    # What the person is beyond the age does not depend on it.
    young, old = (draw_biology(7, age=age) for age in (30.0, 70.0))
    assert young.csf_density == old.csf_density
    assert old.white_t1 - young.white_t1 == pytest.approx(
        age_curves(70).white_t1 - age_curves(30).white_t1
    )


def test_age_fades_the_contrast_and_shrinks_the_brain():
    young, middle, old = (age_curves(age) for age in (20.0, 45.0, 75.0))
    assert old.white_t1 - old.grey_t1 > 0.03
    assert young.atrophy < 0 < old.atrophy == pytest.approx(0.105)
    assert young.deep_t2 > 0 > old.deep_t2
    neutral = {f.name: 0.0 for f in fields(Biology) if f.name not in ("age", "lesions_ml")}
    assert {name: getattr(middle, name) for name in neutral} == pytest.approx(neutral)


def test_people_of_one_age_differ_in_contrast_as_real_people_do():
    """Log of grey over white matter in T1w: about 1.5 %; CSF over white matter about 7 %."""
    grid = reference_grid(4.0)
    contrasts = []
    for seed in range(12):
        anatomy = make_anatomy(grid, seed, variation=LOCAL_VARIATION)
        someone = with_biology(anatomy, draw_biology(seed, age=45.0))
        image = acquire(someone, SITES["COI"], "T1w", scan_seed=1, noise=False, scan_field=False)
        grey, white, csf = (median(image, pure(someone, tissue)) for tissue in range(3))
        contrasts.append((grey - white, csf - white))
    grey, csf = np.std(contrasts, axis=0, ddof=1)
    assert 0.008 < grey < 0.025
    assert 0.05 < csf < 0.15
