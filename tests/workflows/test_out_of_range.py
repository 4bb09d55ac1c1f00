"""What a run does with scans beyond the range of training."""

from __future__ import annotations

import json

import pytest

from bids_harmony.exceptions import ExitCode


@pytest.fixture
def strange(pretend, monkeypatch):
    """Every scan is far from training."""
    monkeypatch.setattr(pretend.Multiply, "novelty", lambda self, prepared, modality: 2.5)


def harmonized(settings):
    return sorted(p.name for p in settings.output_dir.rglob("*harmonized*T1w.nii.gz"))


def test_warned_of_and_written_down(participant, settings, strange, caplog):
    code, states = participant(modalities=("T1w",))
    assert code == ExitCode.DONE
    assert {s["state"] for s in states.values()} == {"done"}
    path = settings.output_dir / "sub-01/anat/sub-01_desc-harmonizedB_T1w.json"
    assert json.loads(path.read_text())["OutOfDistributionScore"] == 2.5
    # To warn and go on is what it does already.
    assert "harmonized all the same" in caplog.text and "--on-ood warn" not in caplog.text


def test_left_out_without_being_a_failure(participant, settings, strange):
    code, states = participant(modalities=("T1w",), on_ood="skip")
    assert code == ExitCode.DONE
    assert {s["state"] for s in states.values()} == {"skipped"}
    assert "unlike" in states["sub-01_T1w"]["message"]
    assert harmonized(settings) == []


def test_refused(participant, settings, strange):
    code, states = participant(modalities=("T1w",), on_ood="error")
    assert code == ExitCode.BAD_DATA
    assert {s["state"] for s in states.values()} == {"failed"}
    assert "--on-ood warn" in states["sub-01_T1w"]["message"]
    assert harmonized(settings) == []


def test_a_scan_near_the_border_is_none_of_its_business(
    participant, settings, pretend, monkeypatch
):
    # Real scans have scores a little above 1.
    monkeypatch.setattr(pretend.Multiply, "novelty", lambda self, prepared, modality: 1.9)
    code, _ = participant(modalities=("T1w",), on_ood="error")
    assert code == ExitCode.DONE and len(harmonized(settings)) == 2
