"""What two sites differ in, from the measures of single scans."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.sites.difference import compare_sites
from bids_harmony.sites.priors import prior_of
from bids_harmony.sites.scan_measures import ScanMeasures

SITE = np.array([-0.4, -1.5])


def looks(rng, count, *, contrast=SITE, field=0.0, detail=0.0, covariates=None, people=None):
    """People of one site who differ as the table of priors says."""
    own = [prior_of("T1w", name).between_people_sd for name in ("gm_wm", "csf_wm")]
    logs = contrast + np.array(own) * rng.standard_normal((count, 2))
    means = np.stack([np.exp(logs[:, 0]), np.ones(count), np.exp(logs[:, 1])], axis=1)
    fields = np.zeros((count, 20))
    fields[:, 1:] = field + 0.04 * rng.standard_normal((count, 19))
    return ScanMeasures(
        people=people or tuple(f"p{i}" for i in range(count)),
        means=means,
        fields=fields,
        detail=-2 + detail + 0.05 * rng.standard_normal((count, 2)),
        covariates=covariates or {},
    )


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_two_names_of_one_scanner_are_seen_as_one(rng, count):
    found = [
        compare_sites(looks(rng, count), looks(rng, count), "T1w").probability for _ in range(20)
    ]
    assert np.mean(found) < 0.25
    assert np.median(found) < (0.2 if count < 5 else 0.05)


@pytest.mark.parametrize(
    "other",
    [{"contrast": np.add(SITE, [0.25, 0])}, {"field": 0.15}, {"detail": 0.5}],
    ids=["contrast", "field", "detail"],
)
def test_any_part_of_a_look_tells_sites_apart(rng, other):
    found = compare_sites(looks(rng, 5), looks(rng, 5, **other), "T1w")
    assert found.probability > 0.99


def test_what_sites_share_does_not_hide_what_they_differ_in(rng):
    # Twenty measures say that nothing differs, one that something does.
    found = compare_sites(looks(rng, 5), looks(rng, 5, contrast=np.add(SITE, [0.1, 0])), "T1w")
    contrasts, field, detail = found.by_part
    assert contrasts > 0.99 and field < 0.01 and detail < 0.2
    assert found.probability == pytest.approx(1 - (1 - contrasts) * (1 - field) * (1 - detail))
    # Two scanners differ in all: what is seen of their fields is shrunk, not struck out.
    assert 0.002 < np.abs(found.field).max() < 0.1


def test_the_difference_is_found_and_its_numbers_are_told(rng):
    target = looks(rng, 20, contrast=np.add(SITE, [-0.2, 0.3]))
    found = compare_sites(looks(rng, 10), target, "T1w")
    assert found.contrasts[0] == pytest.approx(-0.2, abs=0.03)
    assert found.contrasts[1] == pytest.approx(0.3, abs=0.12)
    told = found.for_sidecar()
    assert (told["SourcePeople"], told["TargetPeople"]) == (10, 20)
    grey = told["Contrasts"]["GreyToWhite"]
    assert grey["SupportedLogDifference"] == pytest.approx(found.contrasts[0], abs=1e-4)
    expected = found.by_contrast[0].residual_sd * np.sqrt(1 / 10 + 1 / 20)
    assert grey["StandardError"] == pytest.approx(expected, rel=1e-3)
    # What is supported is scaled by how likely it is that the sites differ at all.
    told = replace(found, probability=0.25).for_sidecar()
    grey = told["Contrasts"]["GreyToWhite"]
    assert grey["SupportedLogDifference"] == pytest.approx(found.contrasts[0] / 4, abs=1e-5)
    assert told["ProbabilitySitesDiffer"] == 0.25


@pytest.mark.parametrize(
    ("people", "support", "share"),
    [((1, 9), 0, 0.1), ((9, 2), 0, 0.2), ((3, 9), 1 / 3, 0.3), ((9, 5), 1, 0.5), ((9, 9), 1, 0.5)],
)
def test_the_site_that_is_known_worse_decides_how_far_to_go(rng, people, support, share):
    found = compare_sites(looks(rng, 5), looks(rng, 5), "T1w")
    found = replace(found, people=people, probability=0.5)
    assert found.support == pytest.approx(support)
    assert found.condition_share == pytest.approx(share)


def test_the_error_is_that_of_the_difference_of_two_means(rng):
    found = compare_sites(looks(rng, 5), looks(rng, 5), "T1w")
    for people, error in (((4, 9), np.sqrt(1 / 4 + 1 / 9)), ((1, 1), np.sqrt(2))):
        assert replace(found, people=people).error == pytest.approx(error)
    # What one person differs from others by is the same at both sites: as good as five.
    alone = replace(found, people=(1, 1), same_person=True)
    assert alone.error == pytest.approx(np.sqrt(2 / 5))


def test_scans_of_one_person_do_not_make_a_site_better_known(rng):
    many = looks(rng, 8, people=("same",) * 8)
    found = compare_sites(many, looks(rng, 8), "T1w")
    assert found.people == (1, 8)
    assert np.isfinite(found.repeat_sd).all()


def test_covariates_known_of_all_enter_and_others_do_not(rng):
    age = rng.uniform(20, 80, 12)
    own = {"age": age, "sex": np.r_[np.nan, np.ones(5), np.zeros(6)], "here": age}
    other = {"age": age + 30, "sex": np.r_[np.ones(6), np.zeros(6)]}
    found = compare_sites(looks(rng, 12, covariates=own), looks(rng, 12, covariates=other), "T1w")
    assert found.covariates == ("age",)
    assert found.separation[0] == pytest.approx(30 / age.std(ddof=1), rel=1e-6)


def test_age_is_not_taken_for_a_scanner(rng):
    young, old = rng.uniform(20, 60, 20), rng.uniform(35, 75, 20)
    slope = np.array([-0.003, 0.0])

    def aged(ages, known):
        contrast = SITE + slope * (ages[:, None] - 45)
        return looks(rng, 20, contrast=contrast, covariates={"age": ages} if known else {})

    blind = compare_sites(aged(young, False), aged(old, False), "T1w").contrasts[0]
    seeing = compare_sites(aged(young, True), aged(old, True), "T1w").contrasts[0]
    assert blind < -0.02
    assert abs(seeing) < abs(blind) / 2


def test_the_table_of_priors_knows_every_measure_and_contrast():
    for modality in ("T1w", "T2w", "FLAIR", "b0"):
        for measure in ("gm_wm", "csf_wm", "field_1", "field_2", "field_3", "detail"):
            prior = prior_of(modality, measure)
            assert 0 < prior.repeat_sd < prior.between_sites_sd
    assert prior_of("b0", "gm_wm") == prior_of("T2w", "gm_wm")
    with pytest.raises(KeyError):
        prior_of("T1w", "colour")


def test_an_unusual_scanner_is_not_pulled_to_the_usual_ones(rng):
    source = looks(rng, 1)
    far = looks(rng, 1, field=0.8)
    found = compare_sites(source, far, "T1w")
    raw = far.fields[0] - source.fields[0]
    # Beside what people differ by, nothing of it is doubtful.
    assert np.allclose(found.field[1:], raw[1:], rtol=0.03)
    usual = looks(rng, 1, field=0.05)
    near = compare_sites(source, usual, "T1w").field
    assert np.abs(near).sum() < 0.9 * np.abs(usual.fields[0] - source.fields[0]).sum()


@pytest.mark.parametrize(("grey", "csf"), [(0.5, 0.9), (0.15, 0.1), (0.05, 0.05)])
def test_the_prior_is_as_wide_as_all_contrasts_of_two_sites_say(grey, csf):
    """One person each: means and errors are known without a fit."""

    def one(contrast):
        means = np.exp(np.insert(contrast, 1, 0.0))[None]
        return ScanMeasures(("p",), means, np.zeros((1, 20)), np.zeros((1, 2)))

    found = compare_sites(one(SITE), one(np.add(SITE, [grey, csf])), "T1w")
    priors = [prior_of("T1w", name) for name in ("gm_wm", "csf_wm")]
    sites, people = (
        np.square([getattr(prior, name) for prior in priors])
        for name in ("between_sites_sd", "residual_sd")
    )
    raw = np.array([grey, csf])
    sites = sites * max(np.mean(raw**2 / (2 * sites + 2 * people)), 1)
    assert found.contrasts == pytest.approx(raw * sites / (sites + people), rel=1e-9)


def fixed_measures(count, shift, *, scans_each=1):
    """People and scans that are the same everywhere and always."""
    wave = np.sin(1.7 * np.arange(count)[:, None] + shift + np.arange(24))
    logs = SITE + shift * np.array([0.03, 0.15]) + [0.02, 0.1] * wave[:, :2]
    fields = 0.04 * wave[:, 2:22] + 0.035 * shift
    person = np.arange(count) // scans_each
    return ScanMeasures(
        people=tuple(f"p{i}" for i in person),
        means=np.exp(np.insert(logs, 1, 0.0, axis=1)),
        fields=fields,
        detail=-2 + 0.06 * shift + 0.05 * wave[:, 22:],
        covariates={"age": 40 + 9 * shift + 15 * np.cos(0.6 * person)},
    )


@pytest.mark.parametrize(
    ("modality", "by_part", "contrasts", "field", "others"),
    [
        (
            "T1w",
            (0.1644786, 0.00160359, 0.1828785),
            (0.02656731, 0.1279474),
            (0.03956933, 0.03865589, 0.032326),
            (0.8005575, 1.436917, 0.01626167, 0.01987888, 0.01346044, 0.1014946),
        ),
        (
            "T2w",
            (0.1617265, 0.00160359, 0.1828785),
            (0.02656731, 0.1277895),
            (0.03956933, 0.03865589, 0.032326),
            (0.8005575, 1.436917, 0.01626167, 0.01987888, 0.01346044, 0.1014946),
        ),
        (
            "FLAIR",
            (0.08526437, 0.00160359, 0.1828785),
            (0.02643098, 0.1308437),
            (0.03956933, 0.03865589, 0.032326),
            (0.8005575, 1.436917, 0.01821011, 0.02225241, 0.01346044, 0.1014946),
        ),
    ],
)
def test_every_number_of_a_difference_is_what_it_was(modality, by_part, contrasts, field, others):
    """No behaviour shows a weight that is half of another: these are numbers of today."""
    found = compare_sites(fixed_measures(6, 0.0), fixed_measures(8, 1.0, scans_each=2), modality)
    first = found.by_contrast[0]
    seen = found.scan_field, found.separation[0], first.standard_error, first.residual_sd
    assert found.people == (6, 4) and found.field[0] == 0
    assert found.by_part == pytest.approx(by_part, rel=1e-6)
    assert found.probability == pytest.approx(1 - np.prod(1 - np.array(by_part)), rel=1e-6)
    assert found.contrasts == pytest.approx(contrasts, rel=1e-6)
    assert found.field[[1, 2, 3]] == pytest.approx(field, rel=1e-6)
    assert (*seen, *found.repeat_sd) == pytest.approx(others, rel=1e-6)


def test_a_sidecar_names_every_part(rng):
    found = compare_sites(looks(rng, 6), looks(rng, 7), "T1w")
    found = replace(found, by_part=(0.1, 0.2, 0.3), scan_field=0.12345)
    told = found.for_sidecar()
    assert told["ProbabilityByPart"] == {"Contrasts": 0.1, "Field": 0.2, "Detail": 0.3}
    assert told["ScanFieldShare"] == 0.1234 or told["ScanFieldShare"] == 0.1235
    assert set(told["Contrasts"]) == {"GreyToWhite", "CSFToWhite"} and told["Covariates"] == {}
    for own, name in zip(found.by_contrast, ("GreyToWhite", "CSFToWhite"), strict=True):
        assert told["Contrasts"][name]["RawLogDifference"] == pytest.approx(own.raw, abs=1e-5)
        assert told["Contrasts"][name]["BetweenPeopleSD"] == pytest.approx(
            own.residual_sd, abs=1e-5
        )
        # Nobody was scanned twice.
        assert told["Contrasts"][name]["RepeatSD"] is None
