"""What the plan tells before anything is written: sites that differ in age, and one exit code."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from bids_harmony.bids.dataset import Problem
from bids_harmony.cli.plan import confounded_covariates, report_problems
from bids_harmony.cli.problems import worst_code
from bids_harmony.exceptions import DataError, ExitCode, InputOutputError, NotFetched
from bids_harmony.settings import Settings


@pytest.fixture
def settings(tmp_path):
    return Settings(tmp_path, tmp_path / "out", "participant", target_site="COI")


def selection(folder, ages):
    """People of two sites, ten each, of the ages that are given."""
    lines, scans = ["participant_id\tage\tsex"], []
    for site, start in zip(("GE", "COI"), ages, strict=True):
        for i in range(10):
            label = f"{site}{i:02d}"
            lines.append(f"sub-{label}\t{start + 2 * i}\t{'FM'[i % 2]}")
            place = SimpleNamespace(site=site, contradictions=())
            scans.append(SimpleNamespace(subject=label, session=None, label=label, site=place))
    (folder / "participants.tsv").write_text("\n".join(lines) + "\n")
    return SimpleNamespace(scans=tuple(scans), problems=(), notes=(), warnings=())


def test_ages_that_do_not_overlap_are_told_with_the_numbers(settings, tmp_path, caplog):
    found = selection(tmp_path, (20, 60))
    (told,) = confounded_covariates(settings, found)
    assert told.startswith("age and site cannot be told apart")
    assert "GE 29 (20 to 38)" in told and "COI 69 (60 to 78)" in told
    with caplog.at_level(logging.WARNING):
        report_problems(settings, found)
    assert told in caplog.text


def test_sites_alike_and_covariates_that_were_not_asked_for_are_not_told(settings, tmp_path):
    assert confounded_covariates(settings, selection(tmp_path, (20, 22))) == []
    apart = selection(tmp_path, (20, 60))
    assert confounded_covariates(replace(settings, covariates=("sex",)), apart) == []
    assert confounded_covariates(replace(settings, covariates=()), apart) == []


def test_some_people_say_nothing_of_sites_that_everybody_shows(settings, tmp_path):
    some = replace(settings, participant_labels=("GE00", "COI00"))
    apart = selection(tmp_path, (20, 60))
    assert confounded_covariates(some, apart) == []
    assert confounded_covariates(settings, apart) != []


def test_what_was_not_fetched_is_the_code_of_the_run():
    bad, gone = (Problem("sub-x_T1w", Path("x"), e("words")) for e in (DataError, NotFetched))
    wrong = Problem("sub-y_T1w", Path("y"), InputOutputError("words"))
    assert worst_code(ExitCode.DONE, []) == ExitCode.DONE
    assert worst_code(ExitCode.DONE, [bad, bad]) == ExitCode.BAD_DATA
    assert worst_code(ExitCode.BAD_DATA, [wrong]) == ExitCode.UNSPECIFIED
    assert worst_code(ExitCode.BAD_DATA, [wrong, gone]) == ExitCode.MISSING_INPUT
