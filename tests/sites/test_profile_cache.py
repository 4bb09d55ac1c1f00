"""A cache of profiles: what is put there comes back, under any name, one job at a time."""

from __future__ import annotations

import errno
import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock, Timeout

from bids_harmony.exceptions import CannotCreateOutput, DataError
from bids_harmony.sites.image_profile import ImageProfile
from bids_harmony.sites.profile_cache import ProfileCache
from bids_harmony.sites.profile_files import profile_digest
from bids_harmony.sites.scan_measures import ScanMeasures

UNUSUAL = ["a/b", "..", "../../etc", "東京", "Zürich ", "-x", "", "a" * 300, "c:\\d", "x\ny"]
SECONDS = 60


def make_profile(site: str, modality: str = "T1w", seed: int = 0) -> ImageProfile:
    rng = np.random.default_rng(seed)
    return ImageProfile(
        site=site,
        modality=modality,
        mean_image=rng.random((6, 7, 5)).astype(np.float16).astype(np.float32),
        landmarks=np.sort(rng.random(11)),
        quantiles=np.sort(rng.random(101)),
        codes=rng.random((1, 8)).astype(np.float32),
        texture=rng.random((5, 2, 2, 2)).astype(np.float32),
        tissue_means=rng.random(3),
        field=rng.random(20),
        scale=412.5,
        scans=("sub-1", "sub-2"),
    )


@pytest.fixture
def cache(tmp_path):
    return ProfileCache(tmp_path / "banks", 5.0)


def with_people(profile: ImageProfile, age: float = 30.0) -> ImageProfile:
    rng = np.random.default_rng(3)
    single = ScanMeasures(
        ("1", "2"), rng.random((2, 3)), rng.random((2, 20)), rng.random((2, 2)),
        {"sex=M": np.array([0.0, 1.0]), "age": np.array([age, np.nan])},
        curves=rng.random((2, 30)), blur=np.array([[1.0, 2.0, np.nan], [0.5, 1.5, 3.0]]),
    )  # fmt: skip
    return replace(profile, single=single)


def test_looks_of_single_scans_come_back_and_count(cache):
    profile = with_people(make_profile("COI"))
    cache.write(profile, {})
    found, _ = cache.read("COI", "T1w")
    assert found.scan_measures.people == ("1", "2")
    for name in ("means", "fields", "detail", "curves", "blur"):
        assert np.array_equal(
            getattr(found.scan_measures, name),
            getattr(profile.scan_measures, name),
            equal_nan=True,
        )
    assert list(found.scan_measures.covariates) == ["age", "sex=M"]
    assert np.array_equal(found.scan_measures.covariates["sex=M"], [0, 1])
    assert np.array_equal(found.scan_measures.covariates["age"], [30, np.nan], equal_nan=True)
    assert profile_digest(found) == profile_digest(profile)
    assert profile_digest(with_people(make_profile("COI"), age=31.0)) != profile_digest(profile)
    assert profile_digest(make_profile("COI")) != profile_digest(profile)


def test_a_profile_of_an_earlier_version_has_no_curves_and_no_blur(cache):
    profile = with_people(make_profile("COI"))
    single = replace(profile.single, curves=None, blur=None)
    cache.write(replace(profile, single=single), {})
    found, _ = cache.read("COI", "T1w")
    assert found.single.curves is None and found.single.blur is None
    assert profile_digest(found) != profile_digest(profile)


def test_a_profile_of_averages_alone_counts_every_scan_as_the_average(cache):
    cache.write(make_profile("COI"), {})
    found, _ = cache.read("COI", "T1w")
    assert found.single is None
    assert found.scan_measures.people == ("sub-1", "sub-2")
    assert np.array_equal(found.scan_measures.means, np.tile(found.tissue_means, (2, 1)))


def test_a_profile_comes_back_with_what_it_was_made_of(cache):
    profile, made_of = make_profile("COI"), {"recipe": "r", "images": {"a.nii": "1"}}
    cache.write(profile, made_of)
    again, from_file = cache.read("COI", "T1w")
    assert profile_digest(again) == profile_digest(profile)
    assert (again.scale, again.scans) == (profile.scale, profile.scans)
    assert from_file == cache.made_of("COI", "T1w") == made_of


def test_sites_are_of_one_modality_and_one_grid(cache):
    assert cache.sites("T1w") == ()
    for site, modality in (("b", "T1w"), ("a", "T1w"), ("c", "T2w")):
        cache.write(make_profile(site, modality), {})
    ProfileCache(cache.folder, 1.0).write(make_profile("fine"), {})
    assert cache.sites("T1w") == ("a", "b") and cache.sites("T2w") == ("c",)
    assert cache.read("c", "T1w") is None and cache.made_of("fine", "T1w") is None


def test_a_profile_can_be_taken_off(cache):
    for site in "ab":
        cache.write(make_profile(site), {})
    cache.remove("a", "T1w")
    cache.remove("never there", "T1w")
    assert cache.sites("T1w") == ("b",)


def test_any_name_of_a_site_stays_inside_the_folder(cache):
    for number, site in enumerate(UNUSUAL):
        cache.write(make_profile(site, seed=number), {"number": number})
    files = [p for p in cache.folder.parent.rglob("*") if p.is_file()]
    assert {p.parent for p in files} == {cache.folder} and len(files) == len(UNUSUAL)
    assert not any(p.name.startswith((".", "-")) for p in files)
    assert cache.sites("T1w") == tuple(sorted(UNUSUAL))
    for number, site in enumerate(UNUSUAL):
        profile, made_of = cache.read(site, "T1w")
        assert profile.site == site and made_of == {"number": number}


@pytest.mark.parametrize("kept", [0, 4, 200])
def test_a_damaged_file_is_said(cache, kept):
    cache.write(make_profile("a"), {})
    path = cache.path("a", "T1w")
    path.write_bytes(path.read_bytes()[:kept])
    for read in (
        lambda: cache.read("a", "T1w"),
        lambda: cache.made_of("a", "T1w"),
        lambda: cache.sites("T1w"),
    ):
        with pytest.raises(DataError, match="cannot be read") as caught:
            read()
        assert str(path) in str(caught.value)


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(CannotCreateOutput, match="cannot be made"),
        ProfileCache(tmp_path / "file" / "banks", 5.0).locked(),
    ):
        pass


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_will_do(cache, monkeypatch, caplog, code):
    _refuse(monkeypatch, code)
    with cache.locked():
        cache.write(make_profile("a"), {})
    assert cache.sites("T1w") == ("a",) and "No locks" in caplog.text


def test_a_folder_that_cannot_be_written_to_is_said(cache, monkeypatch):
    _refuse(monkeypatch, errno.EACCES)
    with pytest.raises(CannotCreateOutput, match="written to"), cache.locked():
        pass


def _refuse(monkeypatch, code):
    def acquire(*args, **kwargs):
        raise OSError(code, "refused")

    monkeypatch.setattr(FileLock, "acquire", acquire)


def hold(folder: Path, held, leave) -> None:
    """What the other job does: hold the cache, and write a profile before it leaves."""
    cache = ProfileCache(folder, 5.0)
    with cache.locked():
        held.set()
        leave.wait(SECONDS)
        cache.write(make_profile("of the other job"), {})


@pytest.fixture
def other_job(cache):
    """A process that holds the cache, and the event that lets it leave."""
    context = multiprocessing.get_context("spawn")
    held, leave = context.Event(), context.Event()
    process = context.Process(target=hold, args=(cache.folder, held, leave), daemon=True)
    process.start()
    assert held.wait(SECONDS)
    yield process, leave
    process.kill()
    process.join(SECONDS)


def is_held(cache: ProfileCache) -> bool:
    try:
        with FileLock(cache.folder / ".lock", timeout=0):
            return False
    except Timeout:
        return True


def test_a_second_job_waits_for_the_first_and_finds_its_profile(cache, other_job):
    _, leave = other_job
    assert is_held(cache)
    assert cache.sites("T1w") == ()
    leave.set()
    with cache.locked():
        assert cache.sites("T1w") == ("of the other job",)
    assert not is_held(cache)


def test_the_lock_of_a_killed_job_goes_with_it(cache, other_job):
    process, _ = other_job
    process.kill()
    process.join(SECONDS)
    assert not is_held(cache)


def test_an_error_frees_the_cache(cache):
    with pytest.raises(DataError), cache.locked():
        assert is_held(cache)
        raise DataError("no scan")
    assert not is_held(cache)
