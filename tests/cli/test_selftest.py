"""The self-test passes where the program works, and only there."""

from __future__ import annotations

import shlex
import shutil

import pytest

from bids_harmony.cli import selftest
from bids_harmony.cli.main import main
from bids_harmony.exceptions import ExitCode

SCAN = "sub-T01/ses-SIEMENS/anat/sub-T01_ses-SIEMENS{}_T1w.nii.gz"


@pytest.mark.e2e
def test_it_passes_here(tmp_path, capsys):
    assert selftest.main([str(tmp_path / "new" / "folder")]) == ExitCode.DONE
    assert "self-test: passed" in capsys.readouterr().out
    assert (tmp_path / "new/folder/out" / SCAN.format("_desc-harmonizedCOI")).is_file()


def test_a_result_that_is_no_nearer_to_the_truth_fails(tmp_path, capsys, monkeypatch):
    def leave_as_it_is(folder):
        made = folder / "out" / SCAN.format("_desc-harmonizedCOI")
        made.parent.mkdir(parents=True)
        shutil.copy(folder / "bids" / SCAN.format(""), made)
        return ExitCode.DONE

    monkeypatch.setattr(selftest, "harmonize", leave_as_it_is)
    assert selftest.main([str(tmp_path)]) == ExitCode.UNSPECIFIED
    assert "self-test: FAILED" in capsys.readouterr().out


def test_the_exit_code_of_the_program_is_passed_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(selftest, "simulate", lambda folder: None)
    monkeypatch.setattr(selftest, "harmonize", lambda folder: int(ExitCode.INPUT_OUTPUT))
    assert selftest.main([str(tmp_path)]) == ExitCode.INPUT_OUTPUT
    assert "exit code 74" in capsys.readouterr().err


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, capsys):
    (tmp_path / "bids").mkdir()
    assert selftest.main([str(tmp_path)]) == ExitCode.CANNOT_CREATE
    assert "not empty" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == ["bids"]


def test_a_dataset_to_try_options_on(tmp_path, capsys, monkeypatch):
    """The commands that it names are understood, and the sessions are there to share a space."""
    monkeypatch.chdir(tmp_path)
    assert selftest.main(["--dataset-only", str(tmp_path / "a b")]) == ExitCode.DONE
    told = capsys.readouterr().out.replace("\\\n", "")
    commands = [shlex.split(line) for line in told.splitlines() if "bids_harmony /" in line
                or "bids_harmony '" in line]  # fmt: skip
    assert len(commands) == 3 and not (tmp_path / "out").exists()
    for _, *words in commands:
        assert main([*words, "--dry-run"] if "--dry-run" not in words else words) == ExitCode.DONE
    shown = capsys.readouterr().out
    assert "Sessions that share a space: sub-T01 (2 T1w)" in shown
    assert "Scans per site: COI 6, GE 8, SIEMENS 8" in shown
