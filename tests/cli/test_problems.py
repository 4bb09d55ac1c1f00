"""What a run says of scans that failed: each reason once, and at the end how many, why, where."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bids_harmony.bids.dataset import Problem, ScanSelection
from bids_harmony.cli.problems import record_problems, report_end, report_plan, told_once
from bids_harmony.exceptions import DataError, MissingInput, SiteError

HARMONIZED = {"state": "done", "exit_code": 0}
BEFORE = {"state": "skipped", "exit_code": 0}
UNUSUAL = {"state": "skipped", "exit_code": 0, "error": "OutOfRange", "message": "x"}


def failed(code):
    return {"state": "failed", "error": "X", "message": "x", "exit_code": code}


@pytest.fixture
def end(tmp_path, caplog):
    """The last lines of a run whose scans are given."""

    def told(scans):
        (tmp_path / "status.json").write_text(json.dumps({"state": "running", "scans": scans}))
        caplog.clear()
        caplog.set_level("INFO", logger="bids_harmony")
        report_end(tmp_path, done="harmonized")
        return [(record.levelname, record.getMessage()) for record in caplog.records]

    return told


def test_failures_of_several_kinds_are_counted_with_where_to_look_and_what_to_do(end, tmp_path):
    scans = {"a": HARMONIZED, "b": BEFORE, "c": failed(65), "d": failed(66), "e": failed(65)}
    (one, counts), (two, where) = end(scans)
    assert one == two == "ERROR"
    assert counts == (
        "2 of 5 scans harmonized (1 by an earlier run); 3 failed: bad data (code 65): c, e; "
        "missing input (code 66): d"
    )
    assert str(tmp_path / "status.json") in where and "crash" not in where
    assert "--participant-label" in where and "Run the same command again" in where
    (tmp_path / "crash-1.txt").write_text("")
    assert "crash file beside it" in end(scans)[1][1]


def test_what_may_pass_by_itself_is_only_tried_again(end):
    (_, (_, where)) = end({"a": HARMONIZED, "b": failed(75)})
    assert "Run the same command again" in where and "--participant-label" not in where


def test_a_good_run_says_how_many(end):
    assert end({"a": HARMONIZED}) == [("INFO", "1 of 1 scan harmonized")]
    assert end({"a": HARMONIZED, "b": UNUSUAL}) == [
        ("INFO", "1 of 2 scans harmonized; left out by --on-ood skip: b")
    ]
    assert end({}) == []


def test_a_reason_is_told_once_with_all_scans():
    problems = [
        Problem(f"sub-{n}_T1w", Path("x"), SiteError("No site", where=f"sub-{n}_T1w.nii.gz"))
        for n in (1, 2)
    ]
    other = Problem("sub-3_T1w", Path("x"), DataError("No site", where="sub-3_T1w", got="y"))
    assert told_once([problems[0], other, problems[1]]) == [
        (["sub-1_T1w", "sub-2_T1w"], "No site"),
        (["sub-3_T1w"], "No site [sub-3_T1w] Got: y."),
    ]
    # Places that are no scans stay.
    places = [
        Problem(f"sub-{n}_T1w", Path("x"), DataError("Bad", where=f"/data/{n}.json"))
        for n in (1, 2)
    ]
    assert [reason for _, reason in told_once(places)] == [
        "Bad [/data/1.json]",
        "Bad [/data/2.json]",
    ]


def test_what_was_left_out_before_the_run_counts(tmp_path, caplog):
    record_problems(tmp_path, [Problem("sub-1_T1w", Path("x"), DataError("Bad"))])
    report_end(tmp_path, done="harmonized")
    assert "0 of 1 scan harmonized; 1 failed: bad data (code 65): sub-1_T1w" in caplog.text


def test_the_last_lines_of_the_program_name_the_failures(call, workflow, cohort, tmp_path):
    (cohort.root / "sub-02/anat/sub-02_T2w.json").write_text("{,}")
    (cohort.root / "sub-01/anat/sub-01_T1w.nii.gz").unlink()
    (cohort.root / "sub-01/anat/sub-01_T1w.nii.gz").symlink_to("nowhere.nii.gz")
    code, _, err = call()
    *_, counts, where, last = err.strip().splitlines()
    assert code == 66 and "Exit code 66" in last
    assert "bad data (code 65): sub-02_T2w" in counts
    assert "missing input (code 66): sub-01_T1w" in counts
    assert str(tmp_path / "out/logs") in where


def test_a_plan_counts_what_cannot_be_used_by_kind(caplog):
    problems = (
        Problem("b", Path("b"), DataError("one")),
        Problem("c", Path("c"), MissingInput("two")),
        Problem("d", Path("d"), SiteError("three")),
    )
    report_plan(ScanSelection((), problems), done="harmonized")
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        (
            "ERROR",
            "3 of 3 scans cannot be harmonized: bad data (code 65): b, d; missing input "
            "(code 66): c",
        )
    ]
    caplog.clear()
    report_plan(ScanSelection((), ()), done="harmonized")
    assert not caplog.records
