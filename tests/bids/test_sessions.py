"""Which scans of a person share a space."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bids_harmony.bids.dataset import find_everyone, find_scans
from bids_harmony.bids.scan import Scan, SiteEvidence
from bids_harmony.bids.sessions import with_sessions
from bids_harmony.cli.parser import parse_settings
from bids_harmony.exceptions import UsageError
from tests.raw_dataset import RawDataset

BASE = ["bids", "out", "participant", "--target-site", "COI"]


def scan(name: str, gradients=None) -> Scan:
    parts = dict(part.split("-") for part in name.split("_")[:-1])
    entities = {"subject": parts["sub"], "session": parts["ses"]}
    return Scan(
        Path(f"/d/{name}.nii.gz"), entities, name.split("_")[-1], {}, SiteEvidence("A", "t"),
        gradients,
    )  # fmt: skip


def together(*names: str) -> dict[str, list[str]]:
    scans = [scan(name) for name in names]
    return {
        one.label: [other.label for other in one.together] for one in with_sessions(scans, scans)
    }


def test_t1w_of_two_sessions_share_and_others_go_through_them():
    t1w = ["sub-1_ses-A_T1w", "sub-1_ses-B_T1w"]
    found = together(*t1w, "sub-1_ses-A_FLAIR", "sub-1_ses-B_FLAIR", "sub-2_ses-A_T1w")
    assert found == {
        t1w[0]: t1w, t1w[1]: t1w, "sub-1_ses-A_FLAIR": [], "sub-1_ses-B_FLAIR": [],
        "sub-2_ses-A_T1w": [],
    }  # fmt: skip


def test_flair_sessions_beside_one_t1w_go_through_it():
    found = together("sub-1_ses-A_T1w", "sub-1_ses-A_FLAIR", "sub-1_ses-B_FLAIR")
    assert not any(found.values())


def test_without_any_t1w_each_contrast_shares_with_its_own():
    flair = ["sub-1_ses-A_FLAIR", "sub-1_ses-B_FLAIR"]
    found = together(*flair, "sub-1_ses-A_T2w")
    assert found == {flair[0]: flair, flair[1]: flair, "sub-1_ses-A_T2w": []}


def test_two_runs_of_one_session_are_no_two_sessions():
    assert not any(together("sub-1_ses-A_run-1_T1w", "sub-1_ses-A_run-2_T1w").values())


def test_diffusion_series_share_nothing_by_themselves():
    series = [scan(f"sub-1_ses-{s}_dwi", (Path("a"), Path("b"))) for s in "AB"]
    assert not any(one.together for one in with_sessions(series, series))


@pytest.fixture
def settings(tmp_path):
    raw = RawDataset(tmp_path / "bids")
    for session in ("A", "B"):
        raw.image(f"sub-1/ses-{session}/anat/sub-1_ses-{session}_T1w", InstitutionName="S")
    return raw.settings(longitudinal=True)


def test_the_space_does_not_depend_on_the_sessions_of_a_job(settings):
    whole = find_scans(settings).scans
    names = ["sub-1_ses-A_T1w", "sub-1_ses-B_T1w"]
    assert [[s.label for s in one.together] for one in whole] == [names, names]
    [one] = find_scans(replace(settings, session_labels=("B",))).scans
    assert one == whole[1]
    assert find_everyone(settings).scans == whole
    assert not any(s.together for s in find_scans(replace(settings, longitudinal=False)).scans)


def test_words_of_other_apps():
    assert parse_settings([*BASE, "--longitudinal"]).longitudinal
    asked = parse_settings([*BASE, "--subject-anatomical-reference", "unbiased"])
    assert asked == parse_settings([*BASE, "--longitudinal"])
    asked = parse_settings([*BASE, "--subject-anatomical-reference", "sessionwise"])
    assert not asked.longitudinal
    with pytest.raises(UsageError, match="no session is the one"):
        parse_settings([*BASE, "--subject-anatomical-reference", "first-lex"])
