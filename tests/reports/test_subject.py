"""The page of a participant: whole, safe, small, without network, the same again."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from lxml import html

from bids_harmony.bids.run_records import Unit, read_runs
from bids_harmony.reports import subject
from bids_harmony.reports.subject import subject_page, write_subject_page
from tests.output_folder import HOSTILE, KINDS, add_run, add_scan, draw

UNIT = Unit("01", "A")


def page(out: Path) -> html.HtmlElement:
    return html.fromstring(subject_page(out, UNIT, read_runs(out), out))


def words(element: html.HtmlElement) -> str:
    return " ".join(" ".join(element.itertext()).split())


def test_every_section_is_there_and_none_is_empty(out):
    tree = page(out)
    sections = {s.get("id"): s for s in tree.iter("section")}
    assert list(sections) == [
        "failed",
        "scan-1",
        "scan-2",
        "diffusion",
        "decisions",
        "methods",
        "run",
    ]
    for name, section in sections.items():
        assert section.find("h2") is not None
        assert len(words(section)) > 80, name
    linked = {a.get("href")[1:] for a in tree.xpath("//nav//a")}
    assert linked == set(sections)
    assert all(words(h) for h in tree.xpath("//h1 | //h2 | //h3 | //h4"))


def test_decisions_of_before_are_shown_and_stay_text(out):
    row = f'sub-01_ses-A_T2w\tCOI\tlook again\t{HOSTILE}" autofocus\t2026-01-01T00:00:00Z'
    (out / "x_decisions.tsv").write_text(f"scan\ttarget_site\tdecision\tremark\tdecided\n{row}\n")
    tree = page(out)
    forms = {form.get("data-scan"): form for form in tree.xpath("//fieldset[@class='decision']")}
    assert list(forms) == [f"sub-01_ses-A_{kind}" for kind in ("T1w", "T2w", "dwi")]
    form = forms["sub-01_ses-A_T2w"]
    assert form.xpath(".//input[@checked]/@value") == ["look again"]
    assert form.xpath(".//input[@type='text']/@value") == [f'{HOSTILE}" autofocus']
    assert form.get("data-decided") == "2026-01-01T00:00:00Z" and form.get("data-target") == "COI"
    assert not forms["sub-01_ses-A_T1w"].xpath(".//input[@checked]")


def test_what_was_reused_is_told(out):
    anat = out / "sub-01/ses-A/anat"
    (anat / "sub-01_ses-A_desc-brain_mask.json").write_text('{"MaskFrom": "fmriprep: a"}')
    (anat / "sub-01_ses-A_from-T1w_to-MNI_xfm.json").write_text('{"TransformFrom": "qsiprep: b"}')
    first, second = (words(page(out).get_element_by_id(f"scan-{n}")) for n in (1, 2))
    assert "Reused mask from fmriprep: a; transform from qsiprep: b" in first
    assert "Reused" not in second


def test_the_group_page_finds_each_image(out):
    tree = page(out)
    for kind in ("T1w", "T2w", "dwi"):
        assert tree.get_element_by_id(f"sub-01_ses-A_desc-harmonizedCOI_{kind}").tag in (
            "h2",
            "h3",
        )


def test_all_tags_are_closed(out):
    void, stack = {"meta", "img", "link", "br", "input", "hr"}, []

    class Check(HTMLParser):
        def handle_starttag(self, tag, attrs):
            if tag not in void:
                stack.append(tag)

        def handle_endtag(self, tag):
            assert stack.pop() == tag, self.getpos()

    Check().feed(subject_page(out, UNIT, read_runs(out), out))
    assert not stack


def test_nothing_is_loaded_from_elsewhere(out):
    text = subject_page(out, UNIT, read_runs(out), out)
    tree = html.fromstring(text)
    loaded = tree.xpath("//@src | //@srcset | //@poster | //@data | //link/@href")
    assert len(loaded) == 2 * len(KINDS) + 1
    assert all(address.startswith("data:image/") for address in loaded)
    style = "".join(tree.xpath("//style/text()"))
    assert style and not re.search(r"url\(|@import|http", style)
    script = "".join(tree.xpath("//script/text()"))
    assert not re.search(r"http|fetch|import|XMLHttp", script)
    (policy,) = tree.xpath("//meta[@http-equiv='Content-Security-Policy']/@content")
    assert "default-src 'none'" in policy and "http" not in policy
    # Links that a reader may click are articles or files of the derivative.
    for link in tree.xpath("//a/@href"):
        assert link.startswith(("#", "https://doi.org/", "https://arxiv.org/", "sub-01/"))


def test_what_comes_from_a_run_stays_text(out):
    text = subject_page(out, UNIT, read_runs(out), out)
    assert HOSTILE not in text and "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    tree = html.fromstring(text)
    assert len(tree.xpath("//script")) == 1
    assert HOSTILE in words(tree.get_element_by_id("scan-1"))
    assert HOSTILE in words(tree.get_element_by_id("failed"))


def test_before_and_after_can_be_laid_over_each_other_or_seen_without_script(out):
    for name in ("scan-1", "scan-2"):
        (figure,) = page(out).get_element_by_id(name).xpath(".//figure[@class='compare']")
        before, after = figure.xpath(".//img")
        assert before.get("src") != after.get("src")
        assert "before" in before.get("alt") and "after" in after.get("alt")
        # Nothing hides either picture before the script has run.
        assert not figure.xpath(".//@hidden | .//@style")
        assert [words(p) for p in figure.xpath(".//p")] == ["before", "after"]


def test_site_evidence_target_and_numbers_are_told(out):
    section = page(out).get_element_by_id("scan-2")
    text = words(section)
    assert "GE, according to InstitutionName" in text and "GE Signa 3 T" in text
    assert "Change inside the brain 0.1 at most 0.25" in text
    assert "Distance to the target after 0.02 at most 0.08" in text
    assert "Registration 0.93 at least 0.85 Overlap (Dice)" in text
    assert "▲" not in text
    assert "made by deepbet" in text
    facts = words(page(out).find(".//dl"))
    assert "Session A" in facts and "Target site COI" in facts
    assert "3 harmonized, 1 not" in facts and "nothing stands out" in facts


def test_a_number_beyond_its_threshold_is_marked_and_counted(out):
    worse = {"wasserstein_source": 0.02, "wasserstein_harmonized": 0.08}
    add_scan(out, "T2w", HarmonizationQuality=worse)
    (row,) = page(out).xpath("//tr[@class='beyond']")
    assert words(row).startswith("Distance to the target after 0.08 at most 0.02 ▲ check")
    assert "1 number" in words(page(out).find(".//dl"))


def test_warnings_say_what_to_do(out):
    source = {"Site": "GE", "Contradictions": ["session says COI, scanner says GE"]}
    add_scan(
        out, "T2w", HarmonizationSource=source, OutOfDistributionScore=3.5,
        IntensityTransform={"ClippedVoxels": 12}, LeftAsItIs="It would lose contrast",
        SiteEvidence={"SourcePeople": 8, "TargetPeople": 1},
    )  # fmt: skip
    notes = [words(p) for p in page(out).xpath("//section[@id='scan-2']/p[@class='warning']")]
    assert len(notes) == 5
    assert "session says COI" in notes[0] and "--site-map" in notes[0]
    assert "left as it is. It would lose contrast" in notes[1]
    assert "score 3.50" in notes[2] and "12 voxels" in notes[3]
    assert "profile of COI was made from scans of 1 person" in notes[4]
    assert "5 notes" in words(page(out).find(".//dl"))


def test_a_failed_scan_has_its_reason_and_where_to_look(out):
    failed = words(page(out).get_element_by_id("failed"))
    assert "sub-01_ses-A_FLAIR: bad data" in failed
    assert "The scan is empty" in failed and "Look at the scan." in failed
    assert "logs/run2/bids_harmony.log" in failed and "run the same command again" in failed
    # Harmonized in a later run: forgotten; by a run of another level: not.
    done = {"sub-01_ses-A_FLAIR": {"state": "done"}}
    add_run(out, "run3", done, level="train")
    assert page(out).find(".//section[@id='failed']") is not None
    add_run(out, "run4", done)
    assert page(out).find(".//section[@id='failed']") is None


def test_a_person_of_whom_every_scan_failed_has_a_page(out):
    label = "sub-02_T1w"
    add_run(out, "run3", {label: {"state": "failed", "message": "No site.", "exit_code": 65}})
    tree = html.fromstring(subject_page(out, Unit("02"), read_runs(out), out))
    assert "No site." in words(tree.get_element_by_id("failed"))
    assert "0 harmonized, 1 not" in words(tree.find(".//dl"))


def test_diffusion_shows_all_figures_and_described_numbers(out):
    draw(out / "sub-01/figures/sub-01_ses-A_desc-harmonizedCOI_dwi_densities.png")
    section = page(out).get_element_by_id("diffusion")
    assert len(section.xpath(".//img")) == 2
    captions = [words(caption) for caption in section.iter("figcaption")]
    assert captions[0].startswith("Distributions of the maps in each tissue")
    assert captions[1].startswith("Maps of the fitted models")
    assert "b_scale 1.02 – Strength of the gradients [1]" in words(section)


def test_pictures_that_are_gone_are_said_to_be(out):
    for path in (out / "sub-01/figures").glob("*T2w*"):
        path.unlink()
    section = page(out).get_element_by_id("scan-2")
    assert not section.xpath(".//img") and "There are no pictures" in words(section)
    # An output of an earlier version has one figure alone.
    draw(out / "sub-01/figures/sub-01_ses-A_desc-harmonizedCOI_T2w.png")
    assert len(page(out).get_element_by_id("scan-2").xpath(".//img")) == 1


@pytest.mark.parametrize("limit", [150_000, 40_000])
def test_the_page_stays_small_and_names_what_it_leaves_out(out, monkeypatch, limit):
    whole = len(subject_page(out, UNIT, read_runs(out), out))
    assert whole > limit
    monkeypatch.setattr(subject, "PAGE_BYTES", limit)
    monkeypatch.setattr(subject, "SLACK", 5_000)
    text = subject_page(out, UNIT, read_runs(out), out)
    assert len(text.encode()) <= limit
    tree = html.fromstring(text)
    shown, named = tree.xpath("//img"), tree.xpath("//p[@class='left-out']/code/text()")
    assert len(shown) + len(named) == 2 * len(KINDS) + 1
    assert all((out / name).is_file() for name in named)
    if limit == 150_000:
        assert len(shown) > 2


def test_the_same_page_again_and_links_from_any_folder(out):
    path = write_subject_page(out, UNIT, read_runs(out))
    first, time = path.read_bytes(), path.stat().st_mtime_ns
    write_subject_page(out, UNIT, read_runs(out))
    assert path.read_bytes() == first and path.stat().st_mtime_ns == time
    assert path == out / "sub-01_ses-A.html"
    for level, folder in (("subject", "sub-01"), ("session", "sub-01/ses-A")):
        path = write_subject_page(out, UNIT, read_runs(out), level=level)
        assert path.parent == out / folder
        links = [a for a in html.fromstring(path.read_text()).xpath("//a/@href") if ".png" in a]
        assert links and all((path.parent / link).is_file() for link in links)


def test_logs_that_are_broken_or_gone_do_no_harm(out):
    (out / "logs/run1/status.json").write_text('{"run_id": ')
    (out / "logs/run2/settings.toml").write_text("= no")
    assert "sub-01_ses-A_FLAIR" in words(page(out))
    for path in out.glob("logs/*/*"):
        path.unlink()
    assert "logs of the runs that made these images are gone" in words(page(out))


def test_settings_software_and_methods(out):
    tree = page(out)
    run = words(tree.get_element_by_id("run"))
    assert "Run run1" in run and "bids_harmony 9.8.7, Python 3.11" in run and "numpy 2.3.5" in run
    assert 'method = "ihf"' in run
    methods = words(tree.get_element_by_id("methods"))
    assert "bids_harmony 9.8.7" in methods and "harmonized to the site COI (method ihf)" in methods
    assert "0.457" in words(tree.get_element_by_id("diffusion"))
    assert "Diffusion series" in methods and "10.1016/j.neuroimage.2016.04.041" in methods
    assert "own foreground" not in methods


def test_who_shows_the_sites_is_told(out):
    add_scan(out, "T1w", ProfileFilter=f"group == 'control' {HOSTILE}")
    text = words(page(out))
    assert f"Who shows the sites people with group == 'control' {HOSTILE}" in text
