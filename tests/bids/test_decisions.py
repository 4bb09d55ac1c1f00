"""Decisions about scans: which table counts, and what becomes of excluded scans."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bids_harmony.bids.dataset import find_scans
from bids_harmony.bids.decisions import (
    Decision,
    excluded_among,
    excluded_scans,
    read_decisions,
)
from bids_harmony.exceptions import DataError

HEAD = "scan\ttarget_site\tdecision\tremark\tdecided\n"


def test_the_latest_decision_counts(tmp_path):
    (tmp_path / "sub-01_decisions.tsv").write_text(
        HEAD
        + "sub-01_T1w\tCOI\texclude\tmotion <b>\t2026-01-02T00:00:00Z\n"
        + "sub-01_T2w\tCOI\tKeep\tn/a\tn/a\n"
        + "sub-01_FLAIR\tCOI\tn/a\tn/a\tn/a\n"
    )
    (tmp_path / "all_decisions.tsv").write_text(
        HEAD + "sub-01_T1w\tCOI\tkeep\tbetter\t2026-01-01T00:00:00Z\n"
    )
    (tmp_path / "._sub-01_decisions.tsv").write_bytes(b"\0\1")  # macOS leaves such
    found = read_decisions(tmp_path)
    assert found == {
        "sub-01_T1w": Decision("sub-01_T1w", "exclude", "motion <b>", "2026-01-02T00:00:00Z"),
        "sub-01_T2w": Decision("sub-01_T2w", "keep", "", "n/a"),
    }
    assert found["sub-01_T1w"].words == "exclude: motion <b>"
    assert read_decisions(tmp_path / "nowhere") == {}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEAD + "sub-01_T1w\tCOI\tthrow away\tn/a\tn/a\n", "keep, look again or exclude"),
        ("image\tdecision\nsub-01_T1w\tkeep\n", "no column scan"),
    ],
)
def test_other_tables_are_refused(tmp_path, text, told):
    (tmp_path / "x_decisions.tsv").write_text(text)
    with pytest.raises(DataError, match=told):
        read_decisions(tmp_path)


def test_excluded_scans_are_passed_over_and_show_no_site(cohort):
    settings = cohort.settings()
    before = find_scans(settings)
    gone = before.scans[0]
    settings.output_dir.mkdir()
    path = settings.output_dir / "sub-01_decisions.tsv"
    path.write_text(f"{HEAD}{gone.label}\tCOI\texclude\tghosts\tn/a\n")
    for whole in (False, True):
        found = find_scans(settings, whole_dataset=whole)
        assert [scan.path for scan in found.scans] == [s.path for s in before.scans[1:]]
        assert [n for n in found.notes if "exclude: ghosts" in n and gone.path.name in n]
        assert not found.problems
    path.write_text(f"{HEAD}{gone.label}\tCOI\tlook again\tghosts\tn/a\n")
    assert find_scans(settings).scans == before.scans


def decide(settings, scan, decision):
    settings.output_dir.mkdir(exist_ok=True)
    path = settings.output_dir / "all_decisions.tsv"
    path.write_text(f"{HEAD}{scan}\tCOI\t{decision}\tn/a\tn/a\n")


def test_a_changed_table_is_read_again(tmp_path):
    path = tmp_path / "x_decisions.tsv"
    path.write_text(f"{HEAD}sub-01_T1w\tCOI\texclude\tn/a\tn/a\n")
    assert list(excluded_scans(tmp_path)) == ["sub-01_T1w"]
    images = ["sub-02/anat/sub-02_T1w.nii.gz", "sub-01/anat/sub-01_T1w.nii.gz"]
    assert excluded_among(images, tmp_path) == ["sub-01_T1w"]
    path.write_text(f"{HEAD}sub-01_T1w\tCOI\tkeep\tn/a\tn/a\n")
    assert excluded_scans(tmp_path) == {}


def test_the_name_of_the_file_is_the_scan(cohort):
    settings = cohort.settings()
    gone = find_scans(settings).scans[0]
    decide(settings, gone.path.name, "exclude")
    found = find_scans(settings)
    assert gone.path not in {scan.path for scan in found.scans}
    assert not [text for text in found.warnings if "decision" in text]


@pytest.mark.parametrize("decision", ["keep", "look again", "exclude"])
@pytest.mark.parametrize("scan", ["sub-nobody_T1w", "sub-01_ses-none_T1w", "remark"])
def test_a_decision_about_a_scan_that_is_not_there_is_told(cohort, scan, decision):
    settings = cohort.settings()
    decide(settings, scan, decision)
    told = [text for text in find_scans(settings).warnings if "decision" in text]
    assert len(told) == 1 and scan in told[0] and str(settings.bids_dir) in told[0]
    # Once: not where the whole dataset is looked at besides.
    assert not [t for t in find_scans(settings, whole_dataset=True).warnings if "decision" in t]


def test_a_decision_about_a_scan_that_is_not_selected_is_no_matter(cohort):
    settings = cohort.settings()
    scans = find_scans(settings).scans
    decide(settings, scans[-1].label, "exclude")
    one = replace(settings, participant_labels=(scans[0].subject,))
    assert not [text for text in find_scans(one).warnings if "decision" in text]
