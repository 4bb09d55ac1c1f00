"""Profiles of sites in diffusion series: kept while images, tables, settings are the same."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bids_harmony.bids.dataset import ScanSelection
from bids_harmony.bids.decisions import excluded_scans
from bids_harmony.bids.scan import Scan, SiteEvidence
from bids_harmony.bids.site import DatasetSites
from bids_harmony.diffusion.calibration import SeriesMeasures
from bids_harmony.diffusion.features import B0_KEY, shell_key
from bids_harmony.exceptions import InputOutputError
from bids_harmony.settings import Settings
from bids_harmony.sites.image_profile import ImageProfile
from bids_harmony.sites.scan_measures import ScanMeasures
from bids_harmony.sites.series_profile import SeriesProfile
from bids_harmony.workflows.profiles import profile_cache
from bids_harmony.workflows.series_profiles import SeriesProfiles, series_profile_path
from bids_harmony.workflows.site_scans import ProfileKey
from bids_harmony.workflows.status import ScanStatus

HARMONIZER = SimpleNamespace(encoder=SimpleNamespace(sha256="e"))


def series(folder, subject: str, site: str) -> Scan:
    stem = folder / f"sub-{subject}_dwi"
    paths = [stem.with_suffix(kind) for kind in (".nii", ".bval", ".bvec")]
    folder.mkdir(parents=True, exist_ok=True)
    for path in paths:
        path.write_bytes(path.name.encode())
    entities = {"subject": subject, "suffix": "dwi"}
    return Scan(paths[0], entities, "dwi", {}, SiteEvidence(site, "test"), tuple(paths[1:]))


def profile(site: str, key: str, scans: tuple[str, ...]) -> ImageProfile:
    empty = np.ones((2, 2, 2))
    return ImageProfile(
        site=site, modality=key, mean_image=empty, landmarks=np.ones(11), quantiles=np.ones(101),
        codes=np.ones((1, 2)), texture=np.ones((1, 1, 1, 1)), tissue_means=np.ones(3),
        field=np.ones(20), scale=1.0, scans=scans,
    )  # fmt: skip


class Numbers:
    shells = (1000.0,)

    def __init__(self, labels):
        self.labels = labels

    def write(self, path):
        path.write_text(" ".join(self.labels))


@pytest.fixture
def world(tmp_path, monkeypatch):
    """Four people at two sites; preparation and profiles are pretended, and counted."""
    settings = Settings(
        tmp_path / "bids", tmp_path / "out", "participant", target_site="A", bank_scans=2
    )
    people = [
        series(settings.bids_dir / f"sub-{n}" / "dwi", n, s)
        for n, s in zip("1234", "AAAB", strict=True)
    ]
    made, broken, shells, looks = [], set(), ["dwi-b1000", "dwi-b2000"], []

    def find_scans(settings, *, whole_dataset, sites=None):
        assert whole_dataset
        looks.append(sites)
        told = {s.path.relative_to(settings.bids_dir).as_posix(): s.site for s in people}
        there = excluded_scans(settings.output_dir)
        kept = tuple(scan for scan in people if scan.label not in there)
        return ScanSelection(kept, (), sites=DatasetSites(told))

    def prepare(self, work, everyone, log_dir):
        labels = {scan.label for scan in work}
        states = {
            label: ScanStatus(label, "failed", "X", "I/O error.", 74)
            if label in broken
            else ScanStatus(label, "done")
            for label in labels
        }
        return dict.fromkeys(labels - broken), states

    def build(site, scans, encoder, *, cells, voxel_mm):
        labels = tuple(label for label, _ in scans)
        made.append((site, labels))
        return Numbers(labels), [profile(site, key, labels) for key in (B0_KEY, *shells)]

    monkeypatch.setattr("bids_harmony.bids.dataset.find_scans", find_scans)
    monkeypatch.setattr("bids_harmony.sites.series_profile.build_series_profiles", build)
    monkeypatch.setattr(SeriesProfiles, "prepare", prepare)
    return SimpleNamespace(
        settings=settings, people=people, made=made, broken=broken, shells=shells, log=tmp_path,
        looks=looks,
    )  # fmt: skip


def make(world, settings=None):
    keys = [ProfileKey("A", "dwi"), ProfileKey("B", "dwi")]
    return SeriesProfiles(settings or world.settings, HARMONIZER).make(keys, world.log)


def is_known(site, settings):
    return SeriesProfiles(settings, HARMONIZER).is_known(ProfileKey(site, "dwi"))


def test_a_site_is_looked_at_once_by_as_many_people_as_asked_for(world):
    assert not is_known("A", world.settings)
    make(world)
    assert world.made == [("A", ("sub-1_dwi", "sub-2_dwi")), ("B", ("sub-4_dwi",))]
    assert is_known("A", world.settings)
    make(world)
    assert len(world.made) == 2


def test_decisions_count_and_need_no_second_look_at_the_dataset(world):
    table = world.settings.output_dir / "all_decisions.tsv"
    table.parent.mkdir()

    def decide(**decisions):
        rows = (f"sub-{name.removeprefix('s')}_dwi\t{d}\n" for name, d in decisions.items())
        table.write_text("scan\tdecision\n" + "".join(rows))

    decide(s1="exclude")
    make(world)
    assert len(world.looks) == 1
    assert world.made[0] == ("A", ("sub-2_dwi", "sub-3_dwi"))
    made_of = profile_cache(world.settings, series=True).made_of
    assert made_of("A", B0_KEY)["excluded"] == ["sub-1_dwi"]
    assert "excluded" not in made_of("B", B0_KEY)
    # Site A stays known as long as its own scans count as they did; B has but one.
    for decisions, a, b in (
        ({"s1": "exclude"}, True, True),
        ({"s1": "exclude", "s4": "exclude"}, True, False),
        ({"s1": "keep"}, False, True),
        ({"s1": "exclude", "s3": "exclude"}, False, True),
    ):
        decide(**decisions)
        assert (is_known("A", world.settings), is_known("B", world.settings)) == (a, b), decisions


@pytest.mark.parametrize("spoilt", [".nii", ".bval", ".bvec", "numbers", "profile"])
def test_what_has_changed_is_looked_at_again_and_no_more(world, spoilt):
    make(world)
    cache = profile_cache(world.settings, series=True)
    if spoilt == "numbers":
        series_profile_path(cache, "A").unlink()
    elif spoilt == "profile":
        cache.remove("A", B0_KEY)
    else:
        world.people[0].path.with_suffix(spoilt).write_bytes(b"another content")
    world.shells.remove("dwi-b2000")
    make(world)
    assert [site for site, _ in world.made] == ["A", "B", "A"]
    # A shell that the site has no more is forgotten.
    assert cache.read("A", "dwi-b1000") and cache.read("A", "dwi-b2000") is None
    assert cache.read("B", "dwi-b2000")


def test_settings_that_count_and_settings_that_do_not(world):
    volumes = replace(world.settings, dwi_mode="volume")
    make(world)
    assert not is_known("A", volumes)
    assert not is_known("A", replace(world.settings, b0_threshold=10.0))
    assert is_known("A", replace(world.settings, voxel_mm=3.0, n4=True))
    assert is_known("A", replace(world.settings, dwi_mode="attenuation"))
    make(world, volumes)
    # What was made for single volumes serves the others.
    assert is_known("A", world.settings)


def test_a_series_of_no_use_stands_for_no_site(world, caplog):
    world.broken.update({"sub-1_dwi", "sub-4_dwi"})
    unseen = make(world)
    assert world.made == [("A", ("sub-2_dwi",))]
    assert "No usable dwi series of B" in caplog.text
    assert not is_known("B", world.settings)
    # Whoever needs B's profile is told why there is none; A has another series.
    assert [key.site for key in unseen] == ["B"]
    (why,) = unseen.values()
    assert isinstance(why, InputOutputError) and "sub-4_dwi" in str(why)


def test_given_series_stand_for_the_target_until_they_are_gone(world, tmp_path):
    make(world)
    given = series(tmp_path / "given", "x", "A")
    asked = replace(world.settings, target_images=(given.path,))
    assert not is_known("A", asked) and is_known("B", asked)
    make(world, asked)
    assert world.made[2:] == [("A", ("sub-x_dwi",))]
    assert is_known("A", asked) and not is_known("A", world.settings)
    given.gradients[0].write_bytes(b"another content")
    assert not is_known("A", asked)


@pytest.fixture
def to_mean(tmp_path, monkeypatch):
    """Three people at two sites, whose profiles are really written; nothing is measured."""
    settings = Settings(tmp_path / "bids", tmp_path / "out", "participant", target_site="mean")
    people = [
        series(settings.bids_dir / f"sub-{n}" / "dwi", n, s)
        for n, s in zip("123", "AAB", strict=True)
    ]
    shells = {"A": (1000.0, 3000.0), "B": (950.0,)}

    def find_scans(settings, *, whole_dataset=False, sites=None):
        showing = DatasetSites(
            scans={s.path.relative_to(settings.bids_dir).as_posix(): s.site for s in people}
        )
        return ScanSelection(tuple(people), (), sites=showing)

    def prepare(self, work, everyone, log_dir):
        return (
            {scan.label: None for scan in work},
            {scan.label: ScanStatus(scan.label, "done") for scan in work},
        )

    def build(site, scans, encoder, *, cells, voxel_mm):
        looks = SeriesMeasures(
            0.01, 3e-3, *(dict.fromkeys(shells[site], (0.0,)) for _ in range(2))
        )
        labels = tuple(label for label, _ in scans)
        keys = (B0_KEY, *(shell_key(b) for b in shells[site]))
        profiles = [measured(site, key, labels) for key in keys]
        return SeriesProfile(site, tuple((label, looks) for label in labels)), profiles

    monkeypatch.setattr("bids_harmony.bids.dataset.find_scans", find_scans)
    monkeypatch.setattr("bids_harmony.sites.series_profile.build_series_profiles", build)
    monkeypatch.setattr(SeriesProfiles, "prepare", prepare)
    return SimpleNamespace(settings=settings, people=people, shells=shells, log=tmp_path)


def measured(site, key, labels):
    single = ScanMeasures.from_average(labels, np.ones(3), np.ones(20), np.ones(2))
    return replace(profile(site, key, labels), single=single)


def make_mean(world, **changes):
    profiles = SeriesProfiles(replace(world.settings, **changes), HARMONIZER)
    sites = dict.fromkeys(site for scan in world.people for site in profiles.sites_to(scan))
    keys = [ProfileKey(site, "dwi") for site in sites]
    return profiles, profiles.make(keys, world.log)


def test_the_mean_of_all_sites_is_made_of_theirs_and_says_what_it_lacks(to_mean, caplog):
    caplog.set_level("INFO")
    profiles, unseen = make_mean(to_mean)
    assert unseen == {}
    cache = profile_cache(to_mean.settings, series=True)
    mean = SeriesProfile.read(series_profile_path(cache, "mean"))
    assert mean.members == {"A": 2, "B": 1} and mean.shells == (950.0, 1000.0)
    b0, _ = cache.read("mean", B0_KEY)
    assert b0.scan_measures.people_of_sites() == {"A": 2, "B": 1}
    assert "A (2 series), B (1 series); each counts once; shells b=950, b=1000" in caplog.text
    assert "not in the mean, because not all sites show it: b=3000 of A" in caplog.text
    key = ProfileKey("mean", "dwi")
    assert profiles.is_known(key)
    # Volumes as images were not asked for yet, though those of the sites are there.
    volume = {"dwi_mode": "volume"}
    assert not SeriesProfiles(replace(to_mean.settings, **volume), HARMONIZER).is_known(key)
    make_mean(to_mean, **volume)
    assert cache.read("mean", "dwi-b1000") and cache.read("mean", "dwi-b950")
    assert cache.read("mean", "dwi-b3000") is None
    series_profile_path(cache, "mean").unlink()
    assert not profiles.is_known(key)


def test_a_site_that_looks_otherwise_makes_another_mean(to_mean):
    profiles, _ = make_mean(to_mean)
    to_mean.people[2].path.write_bytes(b"another content")
    assert not profiles.is_known(ProfileKey("mean", "dwi"))
    assert profiles.is_known(ProfileKey("A", "dwi"))
    to_mean.shells["B"] = (2000.0,)
    profiles, unseen = make_mean(to_mean)
    (why,) = unseen.values()
    assert "no shell in common" in str(why) and not profiles.is_known(ProfileKey("mean", "dwi"))


def test_one_site_has_no_mean(to_mean):
    del to_mean.people[2]
    _, unseen = make_mean(to_mean)
    assert "two sites" in str(unseen[ProfileKey("mean", "dwi")])
