"""Dots of the group page: each where its value is, each opening its scan's page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from lxml import etree

from bids_harmony.group.measures import Measure
from bids_harmony.reports.dots import dots_of, page_links

SVG = {"x": "http://www.w3.org/2000/svg"}


@dataclass(frozen=True)
class _Output:
    label: str
    scan: SimpleNamespace
    participant: str
    session: str = ""


@pytest.fixture
def chapter():
    """Three scans of two sites; the last has no value after."""
    outputs = [
        _Output(
            f"sub-0{n}_T1w", SimpleNamespace(image=Path(f"sub-0{n}_desc-h_T1w.nii.gz")), f"0{n}"
        )
        for n in (1, 2, 3)
    ]
    table = pd.DataFrame(
        {
            "site": ["<b>", "B", "B"],
            "gm_source": [1.0, 2.0, 3.0],
            "gm_harmonized": [2.0, 2.0, np.nan],
        }
    )
    measures = (Measure("gm", "grey matter", "Median of grey matter"),)
    return SimpleNamespace(outputs=outputs, table=table, measures=measures)


def test_dots_lie_in_the_order_of_their_values_and_open_pages(chapter):
    (dots,) = dots_of(chapter, {"sub-01_desc-h_T1w": "sub-01.html#sub-01_desc-h_T1w"})
    tree = etree.fromstring(dots.drawing)
    circles = {c.findtext("title"): c for c in tree.iter("circle")}
    assert set(circles) == {
        "sub-01_T1w, before: 1", "sub-01_T1w, after: 2", "sub-02_T1w, before: 2",
        "sub-02_T1w, after: 2", "sub-03_T1w, before: 3",
    }  # fmt: skip
    x = {title: float(circle.get("cx")) for title, circle in circles.items()}
    one, two, three = (x[f"sub-0{n}_T1w, before: {n}"] for n in (1, 2, 3))
    assert two - one == pytest.approx(three - two, abs=0.2) and two > one
    assert x["sub-01_T1w, after: 2"] == pytest.approx(two, abs=0.1)
    linked = [a.get("href") for a in tree.iter("a")]
    assert linked == ["sub-01.html#sub-01_desc-h_T1w"] * 2
    assert "<b>" in {text.text for text in tree.iter("text")}  # escaped: a word, no element


def test_a_page_of_many_thousands_has_fewer_drawings(chapter):
    chapter.measures = chapter.measures * 6
    assert len(dots_of(chapter, {})) == 6
    chapter.outputs = chapter.outputs * 1500
    chapter.table = pd.concat([chapter.table] * 1500, ignore_index=True)
    assert len(dots_of(chapter, {})) == 1


def test_nothing_known_nothing_drawn(chapter):
    chapter.table[["gm_source", "gm_harmonized"]] = np.nan
    assert dots_of(chapter, {}) == []


def test_links_lead_to_pages_that_are_there(chapter, tmp_path):
    (tmp_path / "sub-01.html").write_text("")
    (tmp_path / "sub-02").mkdir()
    (tmp_path / "sub-02/sub-02.html").write_text("")
    assert page_links(tmp_path, chapter.outputs) == {
        "sub-01_desc-h_T1w": "sub-01.html#sub-01_desc-h_T1w",
        "sub-02_desc-h_T1w": "sub-02/sub-02.html#sub-02_desc-h_T1w",
    }
