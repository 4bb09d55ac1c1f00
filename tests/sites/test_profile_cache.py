"""A shelf of banks: what is put there comes back, under any name, one job at a time."""

from __future__ import annotations

import errno
import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock, Timeout

from bids_harmony.exceptions import CannotCreateOutput, DataError
from bids_harmony.sites.image_profile import SiteBank
from bids_harmony.sites.profile_cache import BankShelf
from bids_harmony.sites.profile_files import bank_digest
from bids_harmony.sites.scan_measures import ScanLooks

UNUSUAL = ["a/b", "..", "../../etc", "東京", "Zürich ", "-x", "", "a" * 300, "c:\\d", "x\ny"]
SECONDS = 60


def make_bank(site: str, modality: str = "T1w", seed: int = 0) -> SiteBank:
    rng = np.random.default_rng(seed)
    return SiteBank(
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
def shelf(tmp_path):
    return BankShelf(tmp_path / "banks", 5.0)


def with_looks(bank: SiteBank, age: float = 30.0) -> SiteBank:
    rng = np.random.default_rng(3)
    single = ScanLooks(
        ("1", "2"), rng.random((2, 3)), rng.random((2, 20)), rng.random((2, 2)),
        {"sex=M": np.array([0.0, 1.0]), "age": np.array([age, np.nan])},
    )  # fmt: skip
    return replace(bank, single=single)


def test_looks_of_single_scans_come_back_and_count(shelf):
    bank = with_looks(make_bank("COI"))
    shelf.write(bank, {})
    found, _ = shelf.read("COI", "T1w")
    assert found.looks.people == ("1", "2")
    for name in ("means", "fields", "detail"):
        assert np.array_equal(getattr(found.looks, name), getattr(bank.looks, name))
    assert list(found.looks.covariates) == ["age", "sex=M"]
    assert np.array_equal(found.looks.covariates["sex=M"], [0, 1])
    assert np.array_equal(found.looks.covariates["age"], [30, np.nan], equal_nan=True)
    assert bank_digest(found) == bank_digest(bank)
    assert bank_digest(with_looks(make_bank("COI"), age=31.0)) != bank_digest(bank)
    assert bank_digest(make_bank("COI")) != bank_digest(bank)


def test_a_bank_of_averages_alone_counts_every_scan_as_the_average(shelf):
    shelf.write(make_bank("COI"), {})
    found, _ = shelf.read("COI", "T1w")
    assert found.single is None
    assert found.looks.people == ("sub-1", "sub-2")
    assert np.array_equal(found.looks.means, np.tile(found.tissue_means, (2, 1)))


def test_a_bank_comes_back_with_what_it_was_made_of(shelf):
    bank, made_of = make_bank("COI"), {"recipe": "r", "images": {"a.nii": "1"}}
    shelf.write(bank, made_of)
    again, from_file = shelf.read("COI", "T1w")
    assert bank_digest(again) == bank_digest(bank)
    assert (again.scale, again.scans) == (bank.scale, bank.scans)
    assert from_file == shelf.made_of("COI", "T1w") == made_of


def test_sites_are_of_one_modality_and_one_grid(shelf):
    assert shelf.sites("T1w") == ()
    for site, modality in (("b", "T1w"), ("a", "T1w"), ("c", "T2w")):
        shelf.write(make_bank(site, modality), {})
    BankShelf(shelf.folder, 1.0).write(make_bank("fine"), {})
    assert shelf.sites("T1w") == ("a", "b") and shelf.sites("T2w") == ("c",)
    assert shelf.read("c", "T1w") is None and shelf.made_of("fine", "T1w") is None


def test_a_bank_can_be_taken_off(shelf):
    for site in "ab":
        shelf.write(make_bank(site), {})
    shelf.remove("a", "T1w")
    shelf.remove("never there", "T1w")
    assert shelf.sites("T1w") == ("b",)


def test_any_name_of_a_site_stays_inside_the_folder(shelf):
    for number, site in enumerate(UNUSUAL):
        shelf.write(make_bank(site, seed=number), {"number": number})
    files = [p for p in shelf.folder.parent.rglob("*") if p.is_file()]
    assert {p.parent for p in files} == {shelf.folder} and len(files) == len(UNUSUAL)
    assert not any(p.name.startswith((".", "-")) for p in files)
    assert shelf.sites("T1w") == tuple(sorted(UNUSUAL))
    for number, site in enumerate(UNUSUAL):
        bank, made_of = shelf.read(site, "T1w")
        assert bank.site == site and made_of == {"number": number}


@pytest.mark.parametrize("kept", [0, 4, 200])
def test_a_damaged_file_is_said(shelf, kept):
    shelf.write(make_bank("a"), {})
    path = shelf.path("a", "T1w")
    path.write_bytes(path.read_bytes()[:kept])
    for read in (
        lambda: shelf.read("a", "T1w"),
        lambda: shelf.made_of("a", "T1w"),
        lambda: shelf.sites("T1w"),
    ):
        with pytest.raises(DataError, match="cannot be read") as caught:
            read()
        assert str(path) in str(caught.value)


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(CannotCreateOutput, match="cannot be made"),
        BankShelf(tmp_path / "file" / "banks", 5.0).locked(),
    ):
        pass


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_will_do(shelf, monkeypatch, caplog, code):
    _refuse(monkeypatch, code)
    with shelf.locked():
        shelf.write(make_bank("a"), {})
    assert shelf.sites("T1w") == ("a",) and "No locks" in caplog.text


def test_a_folder_that_cannot_be_written_to_is_said(shelf, monkeypatch):
    _refuse(monkeypatch, errno.EACCES)
    with pytest.raises(CannotCreateOutput, match="written to"), shelf.locked():
        pass


def _refuse(monkeypatch, code):
    def acquire(*args, **kwargs):
        raise OSError(code, "refused")

    monkeypatch.setattr(FileLock, "acquire", acquire)


def hold(folder: Path, held, leave) -> None:
    """What the other job does: hold the shelf, and write a bank before it leaves."""
    shelf = BankShelf(folder, 5.0)
    with shelf.locked():
        held.set()
        leave.wait(SECONDS)
        shelf.write(make_bank("of the other job"), {})


@pytest.fixture
def other_job(shelf):
    """A process that holds the shelf, and the event that lets it leave."""
    context = multiprocessing.get_context("spawn")
    held, leave = context.Event(), context.Event()
    process = context.Process(target=hold, args=(shelf.folder, held, leave), daemon=True)
    process.start()
    assert held.wait(SECONDS)
    yield process, leave
    process.kill()
    process.join(SECONDS)


def is_held(shelf: BankShelf) -> bool:
    try:
        with FileLock(shelf.folder / ".lock", timeout=0):
            return False
    except Timeout:
        return True


def test_a_second_job_waits_for_the_first_and_finds_its_bank(shelf, other_job):
    _, leave = other_job
    assert is_held(shelf)
    assert shelf.sites("T1w") == ()
    leave.set()
    with shelf.locked():
        assert shelf.sites("T1w") == ("of the other job",)
    assert not is_held(shelf)


def test_the_lock_of_a_killed_job_goes_with_it(shelf, other_job):
    process, _ = other_job
    process.kill()
    process.join(SECONDS)
    assert not is_held(shelf)


def test_an_error_frees_the_shelf(shelf):
    with pytest.raises(DataError), shelf.locked():
        assert is_held(shelf)
        raise DataError("no scan")
    assert not is_held(shelf)
