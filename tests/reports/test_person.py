"""One person over sessions: the page has every scan, links to its page, and a line over time."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lxml import html

from bids_harmony.bids.naming import summary_path
from bids_harmony.bids.run_records import Unit, read_runs, runs_of_units
from bids_harmony.quality.summary import save_summary
from bids_harmony.reports.person import write_person_page
from tests.group.conftest import Effects, scan_summary
from tests.output_folder import HOSTILE, add_run, add_scan

UNITS = [Unit("01", "A"), Unit("01", "B")]


@pytest.fixture
def sessions(tmp_path) -> Path:
    """Sessions A and B of one person at two sites; the T2w is of A alone."""
    out = tmp_path / "out"
    add_scan(out, "T1w", site=HOSTILE)
    add_scan(out, "T2w")
    first = out / "sub-01/ses-A"
    shutil.copytree(first, out / "sub-01/ses-B")
    for path in sorted((out / "sub-01/ses-B").rglob("*")):
        if path.is_file():
            if path.suffix == ".json":
                path.write_text(path.read_text().replace("ses-A", "ses-B"))
            path.rename(path.with_name(path.name.replace("ses-A", "ses-B")))
    for path in (out / "sub-01/ses-B").rglob("*T2w*"):
        path.unlink()
    rng = np.random.default_rng(0)
    for site, session in enumerate("AB"):
        image = (
            out / f"sub-01/ses-{session}/anat/sub-01_ses-{session}_desc-harmonizedCOI_T1w.nii.gz"
        )
        path = summary_path(image)
        path.parent.mkdir(parents=True, exist_ok=True)
        summary = scan_summary(rng, 3 * site, 50, Effects(site=0.1))
        grey = np.array([600 + 12 * site, 600 + 3 * site])
        volumes = np.stack([grey, [500, 500], [200, 200]], axis=1).astype(np.float32)
        save_summary(path, replace(summary, volumes=volumes))
    failure = {"state": "failed", "error": "DataError", "exit_code": 65, "message": "no signal"}
    add_run(out, "run1", {"sub-01_ses-B_FLAIR": failure})
    return out


def page_of(out: Path, level: str = "root") -> tuple[Path, html.HtmlElement]:
    path = write_person_page(out, UNITS, runs_of_units(read_runs(out)), level=level)
    assert path is not None
    return path, html.fromstring(path.read_text())


def test_every_scan_of_every_session_is_there(sessions):
    path, tree = page_of(sessions)
    assert path == sessions / "sub-01_sessions.html"
    links = {a.text: a.get("href") for a in tree.xpath("//table//a")}
    assert links == {
        f"sub-01_ses-{s}_{kind}": f"sub-01_ses-{s}.html#sub-01_ses-{s}_desc-harmonizedCOI_{kind}"
        for s, kind in (("A", "T1w"), ("A", "T2w"), ("B", "T1w"))
    }
    assert "no signal" in " ".join(tree.xpath("//p[@class='warning']//text()"))
    # Figures are those of session A; B has none.
    assert len(tree.xpath("//img")) == 4
    assert HOSTILE not in path.read_text()


def test_lines_over_sessions_say_what_harmonization_brought_together(sessions):
    _, tree = page_of(sessions)
    drawings = tree.xpath("//section[@id='courses']//svg")
    assert [svg.get("aria-label") for svg in drawings] == [
        *(f"T1w to COI: median of {tissue}" for tissue in ("grey matter", "white matter", "CSF")),
        "T1w to COI: grey over white matter, which is contrast",
        *(f"T1w to COI: {tissue}, ml" for tissue in ("grey matter", "white matter", "CSF")),
    ]
    before, after = (
        [float(point.split(",")[1]) for point in line.get("points").split()]
        for line in drawings[0].findall("polyline")
    )
    assert abs(before[1] - before[0]) > 5 * abs(after[1] - after[0])
    hrefs = drawings[0].xpath(".//a/@href")
    assert len(hrefs) == 4 and all(h.startswith("sub-01_ses-") for h in hrefs)


def test_the_page_says_how_the_person_changed_and_where_the_site_did(sessions):
    section = page_of(sessions)[1].xpath("//section[@id='courses']")[0]
    rows = {
        r.findtext("th"): [c.text for c in r.findall("td")] for r in section.xpath(".//tr[td]")
    }
    # Of 600 and 612 ml, then of 600 and 603.
    assert rows["grey matter, ml"] == ["1.40", "0.35"]
    assert rows["white matter, ml"] == ["0.00", "0.00"]
    assert "All sessions are of one site." in section.text_content()
    assert not section.xpath(".//line")
    sidecar = sessions / "sub-01/ses-B/anat/sub-01_ses-B_desc-harmonizedCOI_T1w.json"
    record = json.loads(sidecar.read_text())
    record["HarmonizationSource"]["Site"] = "after the upgrade"
    sidecar.write_text(json.dumps(record))
    section = page_of(sessions)[1].xpath("//section[@id='courses']")[0]
    assert "The site changes between sessions." in section.text_content()
    drawings = section.xpath(".//svg")
    assert len(section.xpath(".//line")) == len(drawings)
    assert drawings[0].xpath(".//line/title/text()") == [f"{HOSTILE} to after the upgrade"]
    assert drawings[0].xpath("./text/text()")[-4:] == ["A", "site 1", "B", "site 2"]
    told = f"Site 1 is {HOSTILE}: A. Site 2 is after the upgrade: B. The site changes between"
    assert told in section.text_content()


def test_summaries_of_earlier_releases_have_no_volumes(sessions):
    for path in (sessions / "sub-01/summaries").glob("*_T1w.npz"):
        with np.load(path) as file:
            arrays = {name: file[name] for name in file.files if name != "volumes"}
        np.savez(path, **arrays)
    section = page_of(sessions)[1].xpath("//section[@id='courses']")[0]
    assert "grey matter, ml" not in section.text_content()
    assert "median of grey matter" in section.text_content()


def test_beside_the_pages_of_the_sessions(sessions):
    path, tree = page_of(sessions, "session")
    assert path == sessions / "sub-01/sub-01_sessions.html"
    assert "ses-A/sub-01_ses-A.html#sub-01_ses-A_desc-harmonizedCOI_T1w" in tree.xpath("//a/@href")


def test_one_session_needs_no_such_page(sessions):
    assert write_person_page(sessions, UNITS[:1], {}) is None
    assert write_person_page(sessions, [Unit("01")], {}) is None
    assert not (sessions / "sub-01_sessions.html").exists()


def test_a_decision_stands_beside_its_scan(sessions):
    (sessions / "sub-01_ses-A_decisions.tsv").write_text(
        "scan\tdecision\tremark\nsub-01_ses-A_T1w\texclude\tghosts\n"
    )
    _, tree = page_of(sessions)
    told = tree.xpath("//td[@data-of='decision']/text()")
    assert told == ["exclude: ghosts", "none", "none"]
