"""From a button in a page to what `group` and the next run do: a decision on its whole way."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.e2e.browser import open_alone
from tests.e2e.program import TRAVELLER, Finished, run

pytestmark = pytest.mark.e2e

SCAN = "sub-SIEMENS01_T1w"
PEOPLE = ("COI01", "SIEMENS01", TRAVELLER)


@pytest.fixture(scope="module")
def decided(browser, harmonized, tmp_path_factory) -> tuple[Path, Path]:
    """A copy of the output folder with the table that the page of a person saved."""
    folder = tmp_path_factory.mktemp("decided")
    out = folder / "out"
    shutil.copytree(harmonized.out, out)
    with open_alone(browser, out / "sub-SIEMENS01.html") as page:
        form = page.locator(f"fieldset[data-scan='{SCAN}']")
        form.get_by_label("exclude").check()
        form.get_by_label("Remark").fill("moved")
        with page.expect_download() as started:
            page.get_by_role("button", name="Save decisions").click()
        started.value.save_as(out / started.value.suggested_filename)
    return folder, out


@pytest.fixture(scope="module")
def grouped(bids, decided) -> Finished:
    folder, out = decided
    return run(bids, out, work=folder / "group", level="group")


def rows(out: Path) -> set[str]:
    with open(out / "group_T1w.tsv", newline="") as stream:
        return {row["scan"] for row in csv.DictReader(stream, delimiter="\t")}


def test_group_leaves_the_scan_out_and_says_so(decided, grouped, bids, harmonized, tmp_path):
    assert grouped.code == 0, grouped.told
    shutil.copytree(harmonized.out, tmp_path / "out")
    before = run(bids, tmp_path / "out", work=tmp_path / "work", level="group")
    assert before.code == 0 and rows(grouped.out) == rows(before.out) - {SCAN}
    assert SCAN in rows(before.out)
    told = json.loads((grouped.out / "group.json").read_text())
    text = json.dumps(told)
    assert '"decision": "exclude"' in text and '"remark": "moved"' in text


def test_the_next_run_passes_the_scan_over_and_keeps_the_others(decided, bids, model):
    folder, out = decided
    words = ("--participant-label", *PEOPLE, *model)
    plan = run(bids, out, *words, "--dry-run", work=folder / "work")
    assert f"{SCAN}.nii.gz is passed over, as was decided: exclude: moved" in plan.shown
    again = run(bids, out, *words, work=folder / "work")
    assert again.code == 0 and SCAN not in again.scans
    # Its T2w went through it, and goes without it now.
    other = SCAN.replace("T1w", "T2w")
    assert again.states[other] == "done"
    assert {state for label, state in again.states.items() if label != other} == {"skipped"}
    # What was made before stays; nobody deletes an image for a word in a table.
    image = out / "sub-SIEMENS01/anat/sub-SIEMENS01_desc-harmonizedCOI_T1w.nii.gz"
    assert image.is_file()


def test_a_decision_taken_back_counts_again(decided, grouped, bids, tmp_path):
    _, out = decided
    shutil.copytree(out, tmp_path / "out")
    # Whoever decides later, in a table of any name.
    (tmp_path / "out/second_decisions.tsv").write_text(
        f"scan\tdecision\tdecided\n{SCAN}\tkeep\t2999-01-01T00:00:00Z\n"
    )
    assert run(bids, tmp_path / "out", work=tmp_path / "work", level="group").code == 0
    assert rows(tmp_path / "out") == rows(out) | {SCAN}


def test_a_word_that_is_no_decision_stops_both_levels(bids, decided, tmp_path):
    _, out = decided
    shutil.copytree(out, tmp_path / "out")
    (tmp_path / "out/typo_decisions.tsv").write_text(f"scan\tdecision\n{SCAN}\texlcude\n")
    for level in ("group", "participant"):
        finished = run(bids, tmp_path / "out", "--dry-run", work=tmp_path / "w", level=level)
        assert finished.code == 65 and "exlcude" in finished.told
