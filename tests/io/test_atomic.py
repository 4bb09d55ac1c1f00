"""A second name for a file: whole, once, and without anything left behind."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bids_harmony.exceptions import CannotCreateOutput, TryAgain
from bids_harmony.io.atomic import link_atomically


@pytest.fixture
def image(tmp_path) -> Path:
    path = tmp_path / "image"
    path.write_bytes(b"voxels")
    return path


def test_a_link_and_nothing_the_second_time(image, tmp_path):
    other = tmp_path / "other"
    assert link_atomically(image, other)
    assert other.samefile(image)
    assert not link_atomically(image, other)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image", "other"]


def test_another_file_of_that_name_is_replaced_and_stays_whole_elsewhere(image, tmp_path):
    other, third = tmp_path / "other", tmp_path / "third"
    other.write_bytes(b"before")  # as long
    os.utime(other, (1, 1))
    os.link(other, third)
    assert link_atomically(image, other)
    assert other.read_bytes() == b"voxels" and third.read_bytes() == b"before"


def test_a_copy_where_there_are_no_links(image, tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "link", refuse)
    other = tmp_path / "other"
    assert link_atomically(image, other)
    assert other.read_bytes() == b"voxels" and not other.samefile(image)
    assert not link_atomically(image, other)


def test_two_jobs_at_once_leave_no_temporary_name(image, tmp_path, monkeypatch):
    other, real = tmp_path / "other", os.link

    def after_the_other_job(source, temporary):
        real(source, other)
        real(source, temporary)

    monkeypatch.setattr(os, "link", after_the_other_job)
    assert link_atomically(image, other)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image", "other"]


def test_failures_say_what_they_are_and_leave_nothing(image, tmp_path, monkeypatch):
    with pytest.raises(CannotCreateOutput, match="nowhere"):
        link_atomically(image, tmp_path / "nowhere" / "other")

    def full(source, temporary, **_):
        Path(temporary).write_bytes(b"vo")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr("shutil.copyfile", full)
    with pytest.raises(TryAgain):
        link_atomically(image, tmp_path / "other")
    assert [p.name for p in tmp_path.iterdir()] == ["image"]
