"""Pages after a run and again; a page that cannot be made spoils nothing."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from threading import Barrier

import pytest
from lxml import html

from bids_harmony.exceptions import ExitCode, InputOutputError, NothingSelected
from bids_harmony.reports import subject
from bids_harmony.workflows.reports import write_pages, write_pages_again

PICTURES = ("before", "after", "target", "change", "densities", "mask", "registration")


@pytest.fixture
def written(finished, tmp_path):
    """Settings of a finished run whose output may be spoiled."""
    settings = replace(finished[0], output_dir=tmp_path / "written")
    shutil.copytree(finished[0].output_dir, settings.output_dir)
    return settings


def test_a_run_leaves_a_page_with_all_pictures_of_every_person(finished):
    out = finished[0].output_dir
    assert {path.name for path in out.glob("*.html")} == {"sub-01.html", "sub-02.html"}
    for subject_label, images in (("01", 2), ("02", 1)):
        figures = {
            path.stem.rpartition("_")[2]
            for path in out.glob(f"sub-{subject_label}/figures/*_*_*_*.png")
        }
        assert figures == set(PICTURES)
        page = html.fromstring((out / f"sub-{subject_label}.html").read_text())
        assert len(page.xpath("//img")) == images * len(PICTURES)
        assert len(page.xpath("//figure[@class='compare']")) == images
    text = (out / "logs/CITATION.md").read_text()
    assert "T1w, T2w scans were harmonized to the site B" in text
    assert "own foreground" in text and "deepbet" not in text


def test_pages_are_made_again_without_raw_data_or_work_folder(written, tmp_path):
    before = {path: path.read_bytes() for path in written.output_dir.glob("*.html")}
    for path in before:
        path.unlink()
    gone = replace(written, bids_dir=tmp_path / "gone", work_dir=tmp_path / "none")
    write_pages_again(gone)
    assert {path: path.read_bytes() for path in before} == before


def test_pages_are_made_side_by_side_and_are_the_same(written, monkeypatch):
    """Each page waits until the other has begun: one after the other they would never end."""
    before = {path: path.read_bytes() for path in written.output_dir.glob("*.html")}
    both, whole = Barrier(len(before), timeout=60), subject.write_subject_page

    def write(*arguments, **more):
        both.wait()
        return whole(*arguments, **more)

    monkeypatch.setattr(subject, "write_subject_page", write)
    write_pages_again(replace(written, nprocs=2))
    assert {path: path.read_bytes() for path in before} == before
    with pytest.raises(InputOutputError, match="sub-01, sub-02"):
        both.abort()
        write_pages_again(replace(written, nprocs=1))


def test_pages_of_some_in_their_folders(written):
    write_pages_again(replace(written, participant_labels=("02",), report_output_level="subject"))
    assert (written.output_dir / "sub-02/sub-02.html").is_file()
    assert not (written.output_dir / "sub-01/sub-01.html").exists()


def test_nothing_to_make_a_page_of(written, tmp_path):
    with pytest.raises(NothingSelected, match="nothing to make a page of"):
        write_pages_again(replace(written, participant_labels=("99",)))
    with pytest.raises(NothingSelected):
        write_pages_again(replace(written, output_dir=tmp_path / "empty"))


def test_a_page_that_fails_is_told_and_stops_nothing(written, participant, monkeypatch, caplog):
    def fail(output_dir, unit, *rest, **more):
        if unit.subject == "01":
            raise ValueError("no page today")
        return whole(output_dir, unit, *rest, **more)

    whole = subject.write_subject_page
    monkeypatch.setattr(subject, "write_subject_page", fail)
    for path in written.output_dir.glob("*.html"):
        path.unlink()
    write_pages(written, written.output_dir / "logs/run")
    assert [path.name for path in written.output_dir.glob("*.html")] == ["sub-02.html"]
    assert "page of sub-01 could not be made: ValueError: no page today" in caplog.text
    with pytest.raises(InputOutputError, match="sub-01"):
        write_pages_again(written)
    caplog.clear()
    (written.output_dir / "logs/run/status.json").write_text("{")
    write_pages(written, written.output_dir / "logs/run")
    assert "pages of this run could not be made" in caplog.text
    code, scans = participant()
    assert code == ExitCode.DONE and {scan["state"] for scan in scans.values()} == {"done"}


def test_failed_and_left_out_scans_are_on_the_page(participant, settings):
    bad = settings.bids_dir / "sub-01/anat/sub-01_T1w.nii.gz"
    bad.write_bytes(bad.read_bytes()[:2000])
    status = settings.output_dir / "logs/run/status.json"
    status.parent.mkdir(parents=True)
    left_out = {"state": "failed", "error": "SiteError", "message": "No site.", "exit_code": 65}
    status.write_text(json.dumps({"scans": {"sub-03_T1w": left_out}}))
    _, scans = participant()
    assert scans["sub-03_T1w"] == left_out
    page = html.fromstring((settings.output_dir / "sub-01.html").read_text())
    failed = page.get_element_by_id("failed").text_content()
    assert "sub-01_T1w: input/output error" in failed and bad.name in failed
    assert str(bad) not in failed
    assert "sub-01_T2w" not in failed
    assert "No site." in (settings.output_dir / "sub-03.html").read_text()
