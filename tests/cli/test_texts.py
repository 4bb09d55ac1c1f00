"""``--reports-only`` and ``--boilerplate-only``: texts without harmonization."""

from __future__ import annotations

import json

from bids_harmony.cli.main import main


def call(cohort, tmp_path, *words):
    return main(
        [str(cohort.root), str(tmp_path / "out"), "participant", "-w", str(tmp_path / "w"), *words]
    )


def test_boilerplate_alone(cohort, tmp_path):
    assert call(cohort, tmp_path, "--boilerplate-only", "--target-site", "COI") == 0
    logs = tmp_path / "out/logs"
    assert "harmonized to the site COI (method ihf)" in (logs / "CITATION.md").read_text()
    assert "@article{bids," in (logs / "CITATION.bib").read_text()
    assert not list((tmp_path / "out").glob("sub-*"))


def test_pages_alone(cohort, tmp_path, capsys):
    assert call(cohort, tmp_path, "--reports-only") == 18
    assert "nothing to make a page of" in capsys.readouterr().err
    status = tmp_path / "out/logs/earlier/status.json"
    status.parent.mkdir(parents=True)
    failed = {"state": "failed", "message": "The scan is empty.", "exit_code": 65}
    status.write_text(json.dumps({"scans": {"sub-01_T1w": failed, "sub-02_T1w": failed}}))
    assert call(cohort, tmp_path, "--reports-only", "--participant-label", "02") == 0
    assert {path.name for path in (tmp_path / "out").glob("*.html")} == {"sub-02.html"}
    assert "The scan is empty." in (tmp_path / "out/sub-02.html").read_text()
