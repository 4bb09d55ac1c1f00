"""A second name for a file: whole, once, and without anything left behind."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from bids_harmony.exceptions import CannotCreateOutput, InputOutputError, TryAgain
from bids_harmony.io.atomic import (
    link_atomically,
    open_atomically,
    remove_leftovers,
    write_atomically,
    write_with_folder,
)


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


def test_what_is_written_is_there_whole_and_alone(tmp_path):
    path = tmp_path / "a" / "b" / "record.json"
    write_with_folder(path, b"first, and longer")
    write_with_folder(path, b"second")
    assert path.read_bytes() == b"second"
    assert [p.name for p in path.parent.iterdir()] == ["record.json"]
    with pytest.raises(CannotCreateOutput, match="record"):
        write_atomically(tmp_path / "none" / "record.json", b"")


def test_half_of_a_file_never_takes_the_place_of_a_whole_one(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"whole")
    with pytest.raises(RuntimeError), open_atomically(path) as handle:
        handle.write(b"ha")
        raise RuntimeError
    assert path.read_bytes() == b"whole" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENOSPC, TryAgain),
        (errno.EDQUOT, TryAgain),
        (errno.EACCES, CannotCreateOutput),
        (errno.EROFS, CannotCreateOutput),
        (errno.EIO, InputOutputError),
    ],
)
def test_each_failure_has_its_class_and_names_the_file(number, error, tmp_path, monkeypatch):
    def refuse(source, target):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(error) as caught:
        write_atomically(tmp_path / "a.txt", b"content")
    assert type(caught.value) is error and caught.value.where == str(tmp_path / "a.txt")
    assert list(tmp_path.iterdir()) == []


def test_what_killed_jobs_left_goes_and_what_is_written_now_stays(tmp_path, monkeypatch):
    names = []

    def die(source, target):
        names.append(Path(source).name)
        raise OSError(errno.EIO, "killed")

    folder = tmp_path / "out" / "sub-01"
    folder.mkdir(parents=True)
    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", die)
        for name in ("a.nii.gz", "b.json"):
            with pytest.raises(InputOutputError):
                write_atomically(folder / name, b"")
    assert len(set(names)) == 2
    others = [folder / "a.tmp", folder / ".hidden.tmp", folder / names[0].lstrip(".")]
    for path in [*(folder / name for name in names), *others]:
        path.touch()
    ancient = 1e9
    for path in [folder / names[0], *others]:
        os.utime(path, (ancient, ancient))
    assert remove_leftovers([tmp_path / "out", tmp_path / "none"]) == 1
    assert not (folder / names[0]).exists() and (folder / names[1]).exists()
    assert all(path.exists() for path in others)


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(CannotCreateOutput, match=r"cannot be written \[.*file/a\]"):
        write_with_folder(tmp_path / "file" / "a", b"1")
