"""What two sites differ in, from the looks of single scans."""

import numpy as np
import pytest

from bids_harmony.sites.difference import compare_sites
from bids_harmony.sites.looks import ScanLooks
from bids_harmony.sites.priors import prior_of

SITE = np.array([-0.4, -1.5])


def looks(rng, count, *, contrast=SITE, field=0.0, detail=0.0, covariates=None, people=None):
    """People of one site who differ as the table of priors says."""
    own = [prior_of("T1w", name).between_people_sd for name in ("gm_wm", "csf_wm")]
    logs = contrast + np.array(own) * rng.standard_normal((count, 2))
    means = np.stack([np.exp(logs[:, 0]), np.ones(count), np.exp(logs[:, 1])], axis=1)
    fields = np.zeros((count, 20))
    fields[:, 1:] = field + 0.04 * rng.standard_normal((count, 19))
    return ScanLooks(
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
    assert grey["AppliedLogDifference"] == pytest.approx(found.contrasts[0], abs=1e-4)
    expected = found.by_contrast[0].residual_sd * np.sqrt(1 / 10 + 1 / 20)
    assert grey["StandardError"] == pytest.approx(expected, rel=1e-3)


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


def test_a_scans_field_goes_out_as_far_as_it_varies_beyond_anatomy(rng):
    def share(amplitude):
        own = looks(rng, 12)
        fields = np.zeros_like(own.fields)
        fields[:, 1:] = amplitude * rng.standard_normal((12, 19))
        quiet = ScanLooks(own.people, own.means, fields, own.detail)
        return compare_sites(quiet, looks(rng, 12), "T1w").scan_field

    assert share(0.0) == 0
    assert 0.8 < share(0.3) < 1


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
