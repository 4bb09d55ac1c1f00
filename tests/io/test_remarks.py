"""A remark on a file is told by one step of its scan, not by every one that reads it."""

from __future__ import annotations

import logging

from bids_harmony.io.remarks import remark, tell_once

log = logging.getLogger("bids_harmony.test")


def told(caplog):
    return [r.message for r in caplog.records if r.levelno == logging.WARNING]


def test_outside_of_a_run_every_remark_is_a_warning(caplog):
    remark(log, "a.nii", "%s forms", "two")
    remark(log, "a.nii", "%s forms", "two")
    assert told(caplog) == ["a.nii: two forms"] * 2


def test_a_run_tells_once_and_its_steps_of_their_own_files_only(caplog):
    with tell_once():
        for _ in range(2):
            remark(log, "a.bvec", "rescaled")
            for files in ([], ["a.nii"]):
                with tell_once(files):
                    remark(log, "a.nii", "two forms")
                    remark(log, "a.nii", "two forms")
                    remark(log, "a_mask.nii", "two forms")
        remark(log, "b.bvec", "rescaled")
    own = ["a.nii: two forms"] * 4
    assert told(caplog) == ["a.bvec: rescaled", own[0], own[1], "b.bvec: rescaled"]


def test_what_is_not_told_is_there_for_debugging(caplog):
    with caplog.at_level(logging.DEBUG), tell_once([]):
        remark(log, "a.nii", "50 % off")
    assert [r.levelname for r in caplog.records] == ["DEBUG"]
