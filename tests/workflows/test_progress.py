"""What the log says of a run on the way."""

from __future__ import annotations

import logging

import pytest

from bids_harmony.workflows.progress import Progress

STEPS = ("mask_brain", "harmonize", "write_harmonized", "write_anatomy")


@pytest.fixture
def run(caplog):
    """Progress of 40 scans on a clock of the test; `work` takes a scan's steps through it."""
    now = [0.0]
    names = [f"wf.sub_{n}_T1w_wf.{step}" for n in range(40) for step in STEPS]
    progress = Progress(names, clock=lambda: now[0])

    def work(scan, seconds, steps=STEPS, *, failed=False):
        for step in steps:
            now[0] += seconds
            progress.ended(f"wf.sub_{scan}_T1w_wf.{step}", seconds=seconds, failed=failed)
        return [record.getMessage() for record in caplog.records]

    with caplog.at_level(logging.INFO):
        yield work


def test_time_left_is_that_of_the_steps_before(run):
    # The third step of the first scan ends it after 60 s; 157 steps of 20 s are left.
    assert run(0, 20.0) == ["1 of 40 scans done, about 52 minutes left"]


def test_one_message_a_minute(run):
    for scan in range(20):
        told = run(scan, 2.0)
    # Scans end every 8 s: at 62, 126.
    assert [words.split(" scans")[0] for words in told] == ["8 of 40", "16 of 40"]


def test_what_an_earlier_run_left_tells_nothing_of_speed(run):
    for scan in range(30):
        assert run(scan, 0.0) == []
    # 37 steps of 60 s: the next scan ended with the third of its steps.
    assert run(30, 60.0) == ["31 of 40 scans done, about 37 minutes left"]


def test_a_scan_that_failed_is_at_its_end_but_not_done(run):
    run(0, 30.0, STEPS[:1], failed=True)
    assert run(1, 40.0)[-1].startswith("1 of 40 scans done")


def test_hours_and_the_last_scan(run):
    assert run(0, 300.0)[-1].endswith("about 13 hours left")
    for scan in range(1, 40):
        told = run(scan, 300.0)
    assert not any(words.startswith("40 of 40") for words in told)
    assert told[-1] == "39 of 40 scans done, about 25 minutes left"
