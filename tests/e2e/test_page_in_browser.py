"""The page of a participant in a real browser: nothing is loaded, nothing broken, the control
works."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bids_harmony.bids.decisions import read_decisions
from bids_harmony.bids.naming import summary_path
from bids_harmony.bids.run_records import Unit, read_runs
from bids_harmony.quality.summary import save_summary
from bids_harmony.reports.person import write_person_page
from bids_harmony.reports.subject import write_subject_page
from tests.e2e.browser import NARROW, assert_nothing_beyond, open_alone, sync_api
from tests.group.conftest import Effects, scan_summary
from tests.output_folder import KINDS, add_run, add_scan

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sync_api is None, reason="needs playwright: pip install playwright"),
]

BEFORE, AFTER, TARGET = (200, 30, 30), (30, 30, 200), (30, 200, 30)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A page with two images, a series and a failure; before is red, after is blue."""
    out = tmp_path_factory.mktemp("page") / "out"
    add_scan(out, "T1w")
    add_scan(out, "T2w", SourceSiteScans=[f"sub-{i:04}_ses-A_T2w" for i in range(30)])
    add_scan(out, "dwi", folder="dwi")
    for kind, colour in (("before", BEFORE), ("after", AFTER), ("target", TARGET)):
        for picture in (out / "sub-01" / "figures").glob(f"*_{kind}.png"):
            Image.new("RGB", (1100, 370), colour).save(picture)
    failure = {"state": "failed", "error": "DataError", "exit_code": 65}
    long = failure | {"message": f"No such file: /{'a_very_long_name/' * 20}sub-01_FLAIR.nii.gz"}
    done = {f"sub-01_ses-A_{name}": {"state": "done"} for name in ("T1w", "T2w", "dwi")}
    add_run(out, "run1", done | {"sub-01_ses-A_FLAIR": long})
    return write_subject_page(out, Unit("01", "A"), read_runs(out))


@pytest.fixture
def page(browser, written):
    with open_alone(browser, written) as opened:
        yield opened


def shown(page) -> np.ndarray:
    """Pixels of the first pair of pictures: 1 where before is seen, -1 where after is."""
    shot = page.locator("figure.compare .pair").first.screenshot()
    pixels = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)
    before, after = (np.abs(pixels - colour).max(axis=-1) < 30 for colour in (BEFORE, AFTER))
    return before.astype(int) - after.astype(int)


def shares(page) -> tuple[float, float]:
    """Which part of the first pair of pictures shows before, and which after."""
    seen = shown(page)
    return float(np.mean(seen == 1)), float(np.mean(seen == -1))


def test_every_picture_has_loaded(page):
    images = page.locator("img")
    assert images.count() == 2 * len(KINDS) + 1
    for image in images.all():
        image.scroll_into_view_if_needed()
        assert image.evaluate("i => i.complete && i.naturalWidth > 0 && i.naturalHeight > 0")
        assert image.bounding_box()["width"] > 50


def test_the_control_lays_one_picture_over_the_other(page):
    slider = page.locator("figure.compare input[type=range]").first
    assert shares(page) == pytest.approx((0.5, 0.5), abs=0.02)
    # In each of the three planes before is on the left of the line.
    row = shown(page)[100]
    places = [round((plane + part) / 3 * len(row)) for plane in range(3) for part in (0.25, 0.75)]
    assert row[places].tolist() == [1, -1] * 3
    box = slider.bounding_box()
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], middle, steps=5)
    page.mouse.up()
    before, after = shares(page)
    assert before == pytest.approx(0.8, abs=0.04) and after == pytest.approx(0.2, abs=0.04)
    flip = page.get_by_role("button", name="Flip").first
    flip.click()
    assert shares(page) == pytest.approx((0, 1), abs=0.02)
    flip.click()
    assert shares(page) == pytest.approx((1, 0), abs=0.02)
    # With the keyboard as well.
    slider.focus()
    page.keyboard.press("Home")
    assert shares(page) == pytest.approx((0, 1), abs=0.02)


@pytest.mark.parametrize("width", [NARROW, 1600])
def test_before_after_and_target_are_shown_in_one_size(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    pictures = page.locator("section#scan-1 img")
    boxes = [pictures.nth(n).bounding_box() for n in range(3)]
    sizes = {(round(box["width"]), round(box["height"])) for box in boxes}
    assert len(sizes) == 1
    assert boxes[0]["x"] == boxes[1]["x"] and boxes[0]["y"] == boxes[1]["y"]


@pytest.mark.parametrize("width", [NARROW, 1280])
def test_a_decision_is_saved_as_a_table_that_is_read_back(page, written, tmp_path, width):
    page.set_viewport_size({"width": width, "height": 800})
    save = page.get_by_role("button", name="Save decisions")
    assert save.is_visible() and save.is_disabled()
    form = page.locator("fieldset.decision").nth(1)
    form.get_by_label("exclude").check()
    form.get_by_label("Remark").fill("ghosts\t in the back")
    page.locator("fieldset.decision").nth(0).get_by_label("look again").check()
    assert "2 of 3 images decided" in page.locator("#decisions").inner_text()
    assert form.bounding_box()["width"] <= width
    with page.expect_download() as started:
        save.click()
    assert started.value.suggested_filename == "sub-01_ses-A_decisions.tsv"
    started.value.save_as(tmp_path / started.value.suggested_filename)
    found = read_decisions(tmp_path)
    assert {name: one.words for name, one in found.items()} == {
        "sub-01_ses-A_T1w": "look again",
        "sub-01_ses-A_T2w": "exclude: ghosts in the back",
    }
    assert all(one.decided.startswith("20") for one in found.values())


def test_on_a_telephone_each_number_says_what_is_expected(page):
    page.set_viewport_size({"width": NARROW, "height": 800})
    first = page.locator("table.numbers tr").nth(1)
    value, expected = first.locator("td").nth(0), first.locator("td").nth(1)
    assert value.bounding_box()["y"] == expected.bounding_box()["y"]
    told = expected.evaluate("e => getComputedStyle(e, '::before').content")
    assert "expected" in told
    assert all(not cell.is_visible() for cell in page.locator("td.none").all())


@pytest.mark.parametrize("width", [NARROW, 1280])
def test_the_page_of_all_sessions(browser, tmp_path, width):
    out = tmp_path / "out"
    rng = np.random.default_rng(0)
    for session in ("A", "B"):
        add_scan(out, "T1w")
        if session == "B":
            folder = out / "sub-01/ses-A"
            folder.rename(folder.with_name("ses-B"))
            for path in sorted(folder.with_name("ses-B").rglob("*.*")):
                path.write_text(path.read_text().replace("ses-A", "ses-B"))
                path.rename(path.with_name(path.name.replace("ses-A", "ses-B")))
            add_scan(out, "T1w")
    for number, session in enumerate("AB"):
        stem = f"sub-01_ses-{session}_desc-harmonizedCOI_T1w"
        path = summary_path(out / f"sub-01/ses-{session}/anat/{stem}.nii.gz")
        path.parent.mkdir(parents=True, exist_ok=True)
        volumes = np.full((2, 3), 500 + 10 * number, np.float32)
        save_summary(path, replace(scan_summary(rng, number, 50, Effects()), volumes=volumes))
    written = write_person_page(out, [Unit("01", "A"), Unit("01", "B")], {})
    with open_alone(browser, written) as page:
        assert_nothing_beyond(page, width)
        assert page.locator("#courses svg").count() == 7
        dot = page.locator("#courses svg a").first
        dot.scroll_into_view_if_needed()
        assert dot.bounding_box()["width"] > 5
        assert page.locator("table.images tr").count() == 3


def test_without_a_script_both_pictures_are_there(browser, written):
    context = browser.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(written.as_uri())
    assert shares(page)[0] > 0.4 and shares(page)[1] > 0.4
    context.close()


@pytest.mark.parametrize("width", [NARROW, 1280])
def test_nothing_has_to_be_scrolled_sideways(page, width):
    assert_nothing_beyond(page, width)


def test_links_lead_to_sections_and_files(page, written):
    for link in page.locator("nav a").all():
        link.click()
        name = link.get_attribute("href")
        assert page.locator(name).is_visible()
    files = page.locator("main a").evaluate_all("links => links.map(a => a.getAttribute('href'))")
    own = [name for name in files if not name.startswith("https://")]
    assert own and all((written.parent / name).is_file() for name in own)
