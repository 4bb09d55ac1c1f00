"""The mean of several sites: each counts once, and a site's own people stand on one side only."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.exceptions import DataError
from bids_harmony.methods.site_forms import site_evidence
from bids_harmony.sites.image_profile import ImageProfile
from bids_harmony.sites.mean_site import mean_profile
from bids_harmony.sites.profile_files import (
    as_stored,
    profile_digest,
    read_profile,
    write_profile,
)
from bids_harmony.sites.scan_measures import ScanMeasures

SHAPE = (4, 5, 6)


def site(rng, name, count, grey=0.7, white=0.8, field=0.0):
    """A site of people who all see white matter alike, and grey matter nearly."""
    greys = white * grey * np.exp(0.01 * rng.standard_normal(count))
    means = np.stack([greys, np.full(count, white), np.full(count, 0.2)], axis=1)
    fields = np.full((count, 20), field) + 0.01 * rng.standard_normal((count, 20))
    single = ScanMeasures(
        tuple(f"p{i}" for i in range(count)),
        means,
        fields,
        detail=np.full((count, 2), -2.0),
        covariates={"age": np.linspace(20, 60, count), name: np.zeros(count)},
        curves=np.sort(rng.uniform(0.1, 1, (count, 30)), axis=1),
        blur=np.full((count, 3), 1.0),
    )
    image = np.zeros(SHAPE, np.float32)
    image[1:, :, :] = white
    return ImageProfile(
        name, "T1w", image, np.linspace(0, white, 11), np.linspace(0, white, 101),
        np.full((1, 7), white, np.float32), np.full((6, 2, 2, 2), white, np.float32),
        means.mean(axis=0), fields.mean(axis=0), 100 * white,
        tuple(f"sub-{name}{i}" for i in range(count)), single,
    )  # fmt: skip


def test_each_site_counts_once_however_many_people_show_it(rng):
    few, many = site(rng, "few", 2, grey=0.5, white=0.6), site(rng, "many", 18, grey=0.9, white=1)
    mean = mean_profile([many, few])
    assert (mean.site, mean.modality) == ("mean", "T1w")
    assert mean.scans == (*few.scans, *many.scans)
    assert mean.tissue_means[1] == pytest.approx(0.8)
    logs = [np.log(own.single.means[:, 0] / own.single.means[:, 1]).mean() for own in (few, many)]
    assert np.log(mean.tissue_means[0] / 0.8) == pytest.approx(np.mean(logs), rel=1e-9)
    for name in ("landmarks", "quantiles", "codes", "texture", "field"):
        both = (getattr(few, name) + getattr(many, name)) / 2
        assert getattr(mean, name) == pytest.approx(both, rel=1e-5), name
    assert mean.mean_image[2, 2, 2] == pytest.approx(np.sqrt(0.6), rel=1e-5)
    assert not mean.mean_image[0].any()
    assert mean.scan_measures.average(mean.scan_measures.means[:, 1]) == pytest.approx(0.8)
    assert mean.scan_measures.people_of_sites() == {"few": 2, "many": 18}
    # What only one site has of its people is not of the mean.
    assert set(mean.scan_measures.covariates) == {"age"}


def test_a_file_gives_the_same_back(rng, tmp_path):
    mean = mean_profile([site(rng, "A", 3), site(rng, "B", 4)])
    write_profile(tmp_path / "mean.safetensors", mean, 2.0, {"mean_of": {"A": "x"}})
    again, made_of, _ = read_profile(tmp_path / "mean.safetensors")
    assert again.scan_measures.groups == ("A",) * 3 + ("B",) * 4
    assert profile_digest(again) == profile_digest(as_stored(mean))
    assert made_of == {"mean_of": {"A": "x"}}
    # Who belongs to which site counts.
    other = replace(again, single=replace(again.single, groups=("A",) * 4 + ("B",) * 3))
    assert profile_digest(other) != profile_digest(again)


def test_a_site_is_compared_with_the_others_alone(rng):
    sites = [site(rng, "A", 6, grey=0.6), site(rng, "B", 6, grey=0.7), site(rng, "C", 3, grey=0.8)]
    mean = mean_profile(sites)
    logs = [np.log(own.single.means[:, 0] / own.single.means[:, 1]).mean() for own in sites]
    others, share = mean.scan_measures.seen_from("A")
    assert set(others.groups) == {"B", "C"} and share == pytest.approx(2 / 3)
    assert all(person.startswith(("B", "C")) for person in others.people)
    found = site_evidence(sites[0], mean)
    assert found.by_contrast[0].raw == pytest.approx(np.mean(logs) - logs[0], rel=1e-9)
    assert found.contrasts[0] == pytest.approx(np.mean(logs) - logs[0], abs=0.01)
    # The mean is known as well as one site of this many people: 2^2 / (1/6 + 1/3).
    assert found.people == (6, 8)
    told = found.for_sidecar()
    assert told["TargetIsMeanOf"] == {"A": 6, "B": 6, "C": 3} and told["TargetPeople"] == 15
    # A site that is none of them is compared with all.
    stranger = site_evidence(site(rng, "D", 6, grey=0.6), mean)
    assert stranger.people == (6, 13)
    assert "TargetIsMeanOf" not in site_evidence(sites[0], sites[1]).for_sidecar()


def test_what_goes_to_the_mean_adds_up_to_nothing(rng):
    """No site is favoured: differences of all sites from their mean cancel."""
    sites = [
        site(rng, name, 8, grey=grey, field=field)
        for name, grey, field in (("A", 0.6, -0.05), ("B", 0.7, 0.0), ("C", 0.8, 0.08))
    ]
    mean = mean_profile(sites)
    found = [site_evidence(own, mean) for own in sites]
    assert found[0].probability > 0.99 and found[2].probability > 0.99
    assert abs(sum(own.contrasts[0] for own in found)) < 0.01
    assert np.abs(sum(own.field for own in found)).max() < 0.02
    assert max(np.abs(own.contrasts[0]) for own in found) > 0.1


def test_one_site_has_no_mean(rng):
    with pytest.raises(DataError, match="two or more"):
        mean_profile([site(rng, "A", 3)])
    with pytest.raises(DataError, match="one modality"):
        mean_profile([site(rng, "A", 3), replace(site(rng, "B", 3), modality="T2w")])
