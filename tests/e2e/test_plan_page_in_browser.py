"""The page of the plan in a real browser: nothing is loaded, empty or too wide."""

from __future__ import annotations

import json
import shutil

import pytest

from bids_harmony.cli.main import main
from tests.e2e.browser import NARROW, assert_nothing_beyond, open_alone, sync_api

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(sync_api is None, reason="needs playwright: pip install playwright"),
]


@pytest.fixture(scope="module")
def written(bids, tmp_path_factory):
    """Of the simulated cohort, with a scan whose sidecar is nearly empty and one that is none."""
    top = tmp_path_factory.mktemp("plan")
    shutil.copytree(bids, top / "bids")
    first, second, *_ = sorted((top / "bids").glob("sub-*/anat/*_T1w.nii.gz"))
    sidecar = first.with_name(first.name.replace(".nii.gz", ".json"))
    sidecar.write_text(json.dumps({"InstitutionName": "COI"}))
    second.write_bytes(b"no image")
    page = top / "plan.html"
    words = ("participant", "--target-site", "COI", "--dry-run", "--plan-page", str(page))
    assert main([str(top / "bids"), str(top / "out"), *words]) != 0
    assert not (top / "out").exists()
    return page


@pytest.fixture
def page(browser, written):
    with open_alone(browser, written) as opened:
        yield opened


def test_no_section_and_no_cell_is_empty(page):
    assert page.locator("section").count() == 5
    for table in page.locator("table").all():
        assert table.locator("tr").count() > 1
    empty = page.evaluate(
        """() => [...document.querySelectorAll("section, td, p, li, dd, caption")]
        .filter(e => !e.textContent.trim()).map(e => e.outerHTML)"""
    )
    assert empty == []


@pytest.mark.parametrize("width", [NARROW, 1280])
def test_nothing_has_to_be_scrolled_sideways(page, width):
    assert_nothing_beyond(page, width)


def test_links_lead_to_sections(page):
    for link in page.locator("nav a").all():
        link.click()
        assert page.locator(link.get_attribute("href")).is_visible()
