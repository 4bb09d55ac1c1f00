"""The page of a cohort in a real browser: nothing is loaded, broken, empty or too wide."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_harmony.cli.main import main
from tests.e2e.browser import NARROW, assert_nothing_beyond, open_alone, sync_api
from tests.group.conftest import (
    Effects,
    add_output,
    empty_folders,
    write_summaries,
    write_traveller,
)

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sync_api is None, reason="needs playwright: pip install playwright"),
]


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """All that a page can have: T1w and diffusion, confounded age, a traveller, missing scans."""
    top = tmp_path_factory.mktemp("group")
    folders = empty_folders(top)
    write_summaries(folders, Effects(), suffix="dwi", travelling=True, per_site=5)
    write_summaries(folders, Effects(age=-0.002), older_by=40, per_site=8)
    write_traveller(folders)
    add_output(folders, "old", "", "GE")
    # What a dot opens.
    for unit in ("sub-001", "sub-002"):
        anchor = f'<h2 id="{unit}_desc-harmonizedCOI_T1w">here</h2>'
        (folders.out / f"{unit}.html").write_text(f"<!DOCTYPE html><title>p</title>{anchor}")
    assert main([str(folders.bids), str(folders.out), "group", "-w", str(top / "work")]) == 0
    return folders.out / "group.html"


@pytest.fixture
def page(browser, written):
    with open_alone(browser, written) as opened:
        yield opened


def test_every_picture_has_loaded(page, written):
    images = page.locator("img")
    kinds = [path.stem for path in written.parent.glob("figures/group_*.png")]
    assert images.count() == len(kinds)
    parts = ("T1w_COI_densities", "T1w_COI_travelling", "T1w_COI_changes", "dwi_COI_site_effects")
    assert {f"group_{part}" for part in parts} <= set(kinds)
    for image in images.all():
        image.scroll_into_view_if_needed()
        assert image.evaluate("i => i.complete && i.naturalWidth > 0 && i.naturalHeight > 0")
        assert image.bounding_box()["width"] > 50
        assert image.get_attribute("alt")


def test_people_needed_and_combat_stand_beside_before_and_after(page):
    needed = page.locator("table.needed")
    assert needed.count() >= 1 and "0.2 standard deviations" in needed.first.inner_text()
    heads = needed.first.locator("tr").first.inner_text().lower()
    assert "before" in heads and "after" in heads and "combat" in heads
    numbers = needed.first.locator("tr").nth(1).locator("td").all_inner_texts()
    assert all(int(text.replace(",", "").split()[0]) > 10 for text in numbers)


def test_no_section_and_no_cell_is_empty(page):
    for table in page.locator("table").all():
        assert table.locator("tr").count() > 1
    empty = page.evaluate(
        """() => [...document.querySelectorAll("section, td, figure, p, li, dd, caption")]
        .filter(e => !e.textContent.trim()).map(e => e.outerHTML)"""
    )
    assert empty == []
    # Below each heading something is said before the next one.
    bare = page.evaluate(
        """() => [...document.querySelectorAll("h2, h3")].filter(h =>
        !h.nextElementSibling || h.nextElementSibling.tagName <= h.tagName &&
        /^H/.test(h.nextElementSibling.tagName)).map(h => h.textContent)"""
    )
    assert bare == []
    text = page.locator("body").inner_text()
    assert "nan" not in text.split() and "inf" not in text.split() and "{" not in text


@pytest.mark.parametrize("width", [NARROW, 1280])
def test_nothing_has_to_be_scrolled_sideways(page, width):
    assert_nothing_beyond(page, width)


def test_on_a_telephone_each_number_says_what_it_is(page):
    page.set_viewport_size({"width": NARROW, "height": 800})
    for name in ("effects", "probe", "travelling", "reliability", "regions"):
        table = page.locator(f"table.{name}").first
        assert not table.locator("tr").first.is_visible()
        cells = table.locator("tr").nth(1).locator("td")
        heads = table.locator("tr").first.locator("th").all_text_contents()[1:]
        told = cells.evaluate_all(
            "cells => cells.map(c => getComputedStyle(c, '::before').content)"
        )
        assert len(told) == len(heads) and all(words.strip('"') for words in told)
        tops = [cell.bounding_box()["y"] for cell in cells.all()]
        assert tops == sorted(set(tops))


def test_dots_open_the_pages_of_their_scans(page, written):
    section = page.locator("section#T1w_COI")
    dots = section.locator("svg").first.locator("a")
    assert dots.count() == 4  # two scans with pages, before and after
    box = dots.first.bounding_box()
    assert box["width"] > 5 and box["height"] > 5
    address = dots.first.get_attribute("href")
    dots.first.focus()
    # Opened where reader and test are alone: what the page loads beside is asserted to be nothing.
    other = page.context.new_page()
    other.goto(
        written.parent.joinpath(address.partition("#")[0]).as_uri()
        + "#"
        + address.partition("#")[2]
    )
    assert other.locator("#" + address.partition("#")[2]).is_visible()
    assert section.locator("svg").first.locator("circle").count() > 40


def test_links_lead_to_sections_and_files(page, written):
    for link in page.locator("nav a").all():
        link.click()
        assert page.locator(link.get_attribute("href")).is_visible()
    files = page.locator("main a").evaluate_all("links => links.map(a => a.getAttribute('href'))")
    own = [name for name in files if not name.startswith("https://")]
    assert own and all((written.parent / name.partition("#")[0]).is_file() for name in own)
