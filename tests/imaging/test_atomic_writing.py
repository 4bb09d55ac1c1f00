"""Whole files or none, and nothing of a killed job stays for ever."""

from __future__ import annotations

import errno
import os

import pytest

from bids_harmony.exceptions import InputOutputError, TryAgain
from bids_harmony.io.atomic import open_atomically, remove_leftovers, write_atomically


@pytest.mark.parametrize(
    ("code", "expected"), [(errno.EIO, InputOutputError), (errno.ENOSPC, TryAgain)]
)
def test_a_disk_that_fails_when_the_file_is_flushed(tmp_path, monkeypatch, code, expected):
    (tmp_path / "image").write_bytes(b"old")

    def fails(handle):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(expected, match="image"):
        write_atomically(tmp_path / "image", b"new")
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == {"image": b"old"}


def test_what_a_killed_job_left_is_removed_and_what_a_live_one_writes_is_not(tmp_path):
    folder = tmp_path / "sub-01" / "anat"
    folder.mkdir(parents=True)
    foreign = folder / ".notes.tmp"
    with open_atomically(folder / "image.nii.gz"):
        (live,) = folder.iterdir()
        dead = live.with_name(live.name.replace("image", "mask"))
        for path in (dead, foreign):
            path.write_bytes(b"half")
            os.utime(path, (0, 0))
        assert remove_leftovers([tmp_path, tmp_path / "missing"]) == 1
        assert set(folder.iterdir()) == {live, foreign}
    assert set(folder.iterdir()) == {folder / "image.nii.gz", foreign}
