"""The closed form changes what sites differ in, and keeps what a person differs in."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.legendre import log_field
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.methods.conditioned import condition_scan
from bids_harmony.methods.site_forms import closed_form, site_evidence, tissue_match
from bids_harmony.methods.tissue_form import goal_means, relate_tissues, tissue_map
from bids_harmony.model.encoder import load_encoder
from bids_harmony.model.presets import preset
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.scanner import SITES, acquire
from bids_harmony.quality.image_metrics import gain_free_rmse
from bids_harmony.sites.field_scatter import field_rms
from bids_harmony.sites.image_profile import build_profile
from bids_harmony.sites.tissue_profile import contrasts, tissue_profile

GRID = reference_grid(4.0)
EFFECTS = np.linspace(-0.08, 0.08, 5)


def scaled(person, site, seed=1, **options):
    data = acquire(person, SITES[site], "T1w", scan_seed=seed, **options)
    return (data / robust_scale(data, person.mask)).astype(np.float32)


@pytest.fixture(scope="module")
def encoder():
    return load_encoder("random", widths=(4, 4, 4, 4))


def profile(encoder, name, site, people):
    scans = [(f"p{p.seed}", scaled(p, site, p.seed), p.mask, 1.0) for p in people]
    return build_profile(name, "T1w", scans, encoder, cells=4, voxel_mm=4.0, coded=1)


@pytest.fixture(scope="module")
def profiles(encoder):
    people = [make_anatomy(GRID, 300 + i) for i in range(10)]
    return {
        "SKYRA": profile(encoder, "SKYRA", "SKYRA", people[:5]),
        "COI": profile(encoder, "COI", "COI", people[5:]),
        "other name": profile(encoder, "other name", "SKYRA", people[5:]),
    }


@pytest.fixture(scope="module")
def people():
    """One anatomy each, T1 of grey matter longer or shorter."""
    base = [make_anatomy(GRID, 400 + i) for i in range(len(EFFECTS))]
    return [
        replace(p, t1_factor=(p.t1_factor * (1 + e * p.fractions[0])).astype(np.float32))
        for p, e in zip(base, EFFECTS, strict=True)
    ]


def slope(images, people):
    """Of log(grey / white) in pure voxels on the effect."""
    logs = [
        np.log(np.median(d[p.fractions[0] > 0.9]) / np.median(d[p.fractions[1] > 0.9]))
        for d, p in zip(images, people, strict=True)
    ]
    return np.polyfit(EFFECTS, logs, 1)[0]


def test_an_effect_on_grey_matter_is_kept_and_matching_each_scan_takes_it_away(profiles, people):
    pair = profiles["SKYRA"], profiles["COI"]
    scans = [scaled(p, "SKYRA") for p in people]
    truth = slope([scaled(p, "COI", noise=False, scan_field=False) for p in people], people)
    kept, taken = (
        slope([form(d, p.mask, *pair, 4.0) for d, p in zip(scans, people, strict=True)], people)
        for form in (closed_form, tissue_match)
    )
    assert kept / truth > 0.7
    assert taken / truth < 0.3


def test_the_site_goes_all_the_same(profiles, people):
    person = people[2]
    data, twin = scaled(person, "SKYRA"), scaled(person, "COI", noise=False, scan_field=False)
    result = closed_form(data, person.mask, profiles["SKYRA"], profiles["COI"], 4.0)
    before, after = (gain_free_rmse(twin, d, mask=person.mask) for d in (data, result))
    assert after < before / 2


def test_two_names_of_one_scanner_change_next_to_nothing(profiles, people):
    person = people[0]
    data = scaled(person, "SKYRA")
    pair = profiles["SKYRA"], profiles["other name"]
    assert site_evidence(*pair).probability < 0.05
    change = closed_form(data, person.mask, *pair, 4.0) - data
    assert np.sqrt(np.mean(np.square(change[person.mask]))) < 0.002
    matched = tissue_match(data, person.mask, *pair, 4.0) - data
    assert np.sqrt(np.mean(np.square(matched[person.mask]))) > 0.01


def test_evidence_of_no_difference_leaves_no_condition_for_the_network(profiles, people):
    config, person = preset("local", grid=4), people[1]
    data = scaled(person, "SKYRA")

    def conditioned(target, probability):
        source = profiles["SKYRA"]
        found = site_evidence(source, profiles[target])
        found = replace(found, probability=probability)
        with pytest.MonkeyPatch.context() as patch:
            for room in ("conditioned", "site_forms"):
                patch.setattr(f"bids_harmony.methods.{room}.site_evidence", lambda *_: found)
            return condition_scan(
                data, person.mask, source, replace(profiles[target]), voxel_mm=4.0, config=config,
                use_closed_form=True,
            )  # fmt: skip

    none, half, all_of_it = (conditioned("COI", p) for p in (0.0, 0.5, 1.0))
    assert none.gate == 0 and half.gate == 0.5 and all_of_it.gate == 1
    assert np.array_equal(none.image, data * person.mask)
    assert np.array_equal(none.codes_source, none.codes_target)
    assert np.allclose(none.maps_source, none.maps_target, atol=1e-6)
    middle = (none.codes_target + all_of_it.codes_target) / 2
    assert np.allclose(half.codes_target, middle, atol=1e-5)
    assert not np.allclose(all_of_it.maps_source, all_of_it.maps_target, atol=1e-2)


def test_tissues_go_where_the_sites_and_the_person_say(profiles):
    source, target = profiles["SKYRA"].scan_measures, profiles["COI"].scan_measures
    difference = site_evidence(profiles["SKYRA"], profiles["COI"])
    site = source.contrasts.mean(axis=0)
    mean = np.array([np.exp(site[0]), 1.0, np.exp(site[1])])
    start, goal = goal_means(mean, source, target, difference, "T1w")
    assert np.allclose(start, mean)
    assert contrasts(goal)[0] - site[0] == pytest.approx(difference.contrasts[0], abs=0.01)
    darker = mean * [0.95, 1, 1]
    _, other = goal_means(darker, source, target, difference, "T1w")
    deviation = contrasts(other)[0] - contrasts(goal)[0]
    # COI has the stronger contrast: a deviation grows there.
    assert np.log(0.95) * 1.8 < deviation < np.log(0.95) * 1.05
    # Beyond belief: the site's tissues stand in.
    start, _ = goal_means(mean * [0.2, 1, 1], source, target, difference, "T1w")
    assert contrasts(start)[0] == pytest.approx(site[0] - 0.25)


def test_beyond_the_brightest_tissue_contrast_is_kept(profiles, people):
    person = people[2]
    data = scaled(person, "SKYRA", noise=False)
    spot = person.fractions[1] > 0.97
    lit = data + 0.3 * spot
    own = tissue_profile(data, person.mask, 4.0)
    pair = profiles["SKYRA"], profiles["COI"]
    arguments = (
        own,
        pair[0].scan_measures,
        pair[1].scan_measures,
        site_evidence(*pair),
        "T1w",
        4.0,
    )
    plain, bright = (relate_tissues(d, person.mask, *arguments) for d in (data, lit))
    gain = np.median(plain[spot] / data[spot])
    kept = np.median((bright - plain)[spot]) / 0.3 / gain
    assert 0.75 <= kept <= 1.3


def test_the_scanners_share_of_a_scans_field_goes_out(profiles, people):
    person, pair = people[2], (profiles["SKYRA"], profiles["COI"])
    data = scaled(person, "SKYRA")
    own, found = tissue_profile(data, person.mask, 4.0), site_evidence(*pair)
    looks = pair[0].scan_measures, pair[1].scan_measures

    def form(share):
        changed = replace(found, scan_field=share)
        return relate_tissues(data, person.mask, own, *looks, changed, "T1w", 4.0)

    stays, half, goes = (form(share) for share in (0.0, 0.5, 1.0))
    field = log_field(own.field - looks[0].fields.mean(axis=0), data.shape)
    inside = person.fractions[1] > 0.9
    removed = np.log(stays[inside] / goes[inside])
    assert np.corrcoef(removed, field[inside])[0, 1] > 0.9
    assert (
        np.abs(half - (stays + goes) / 2)[inside].mean() < np.abs(stays - goes)[inside].mean() / 5
    )


@pytest.mark.parametrize(("size", "taken"), [(0.05, 1), (0.1, 1), (0.13, 0.5), (0.2, 0)])
def test_no_scanner_changes_its_field_so_much_from_scan_to_scan(profiles, people, size, taken):
    pair = profiles["SKYRA"], profiles["COI"]
    looks, found = [p.scan_measures for p in pair], site_evidence(*pair)
    own = tissue_profile(scaled(people[2], "SKYRA"), people[2].mask, 4.0)
    site = looks[0].fields.mean(axis=0)
    deviation = own.field - site
    deviation *= size / field_rms(deviation)
    leaves = tissue_map(replace(own, field=site + deviation), *looks, found, "T1w").leaves
    assert leaves - site == pytest.approx(taken * found.scan_field * deviation)


def test_a_lesion_as_large_as_a_lobe_is_not_taken_for_a_field(profiles, people):
    person, pair = people[2], (profiles["SKYRA"], profiles["COI"])
    data = scaled(person, "SKYRA", noise=False)
    points = np.indices(data.shape) - np.argwhere(person.mask).mean(axis=0)[:, None, None, None]
    ball = np.square(4 * (points - np.array([7, 8, 5])[:, None, None, None])).sum(axis=0)
    lesion = np.clip((34 - np.sqrt(ball)) / 8, 0, 1) * person.mask
    ill = (data * (1 + 0.6 * lesion)).astype(np.float32)

    def contrast(image):
        white = person.fractions[1] > 0.9
        here, there = white & (lesion == 1), white & (lesion == 0)
        return np.log(image[here].mean() / image[there].mean())

    well, made = (closed_form(d, person.mask, *pair, 4.0) for d in (data, ill))
    added = contrast(ill) - contrast(data)
    assert contrast(made) - contrast(well) == pytest.approx(added, rel=0.1)


def test_one_or_two_people_of_a_site_support_no_stretch_of_contrast(profiles, people):
    found = site_evidence(profiles["SKYRA"], profiles["COI"])
    assert (found.support, found.condition_share) == (1, found.probability)
    few = replace(found, people=(20, 2))
    assert few.support == 0 and few.condition_share == pytest.approx(0.4 * few.probability)
    assert replace(found, people=(3, 9)).support == pytest.approx(1 / 3)
    person = people[2]
    data = scaled(person, "SKYRA")
    own = tissue_profile(data, person.mask, 4.0)
    looks = profiles["SKYRA"].scan_measures, profiles["COI"].scan_measures

    def stretch(difference):
        result = relate_tissues(data, person.mask, own, *looks, difference, "T1w", 4.0)
        grey, white = (person.fractions[t] > 0.95 for t in (0, 1))
        before, after = (np.median(d[white]) - np.median(d[grey]) for d in (data, result))
        return after / before / (np.median(result[white]) / np.median(data[white]))

    far = replace(found, contrasts=np.array([-0.35, 0.0]))
    assert stretch(replace(far, people=(20, 2))) < 1.15 < 1.25 < stretch(far)


@pytest.mark.parametrize(("count", "held_back"), [(2, True), (5, False)])
def test_what_is_told_as_applied_is_what_the_form_does(encoder, count, held_back):
    """Two people of a site could both be ill: tissues are not stretched as far as they say."""
    known = [make_anatomy(GRID, 300 + i) for i in range(2 * count)]
    source = profile(encoder, "GE", "GE", known[:count])
    target = profile(encoder, "COI", "COI", known[count:])
    told = site_evidence(source, target).for_sidecar()["Contrasts"]["GreyToWhite"]
    supported, applied = told["SupportedLogDifference"], told["AppliedLogDifference"]
    assert supported < -0.2
    assert (applied > supported / 2) == held_back
    assert held_back or applied == pytest.approx(supported, abs=0.03)
    changes = []
    for person in known[:count]:
        scan = scaled(person, "GE", person.seed)
        made = closed_form(scan, person.mask, source, target, GRID.voxel_mm)
        before, after = (
            contrasts(tissue_profile(data, person.mask, GRID.voxel_mm).means)[0]
            for data in (scan, made)
        )
        changes.append(after - before)
    assert np.mean(changes) == pytest.approx(applied, abs=0.04)
