"""Every scan as a dot that opens its page: drawings of the group page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from bids_harmony.bids.naming import report_path
from bids_harmony.group.chapter import Chapter
from bids_harmony.group.outputs import Output
from bids_harmony.io.names import file_stem
from bids_harmony.quality.summary import STAGES
from bids_harmony.reports.album import link_to
from bids_harmony.reports.group_figures import STATE_STYLES
from bids_harmony.settings import REPORT_LEVELS

__all__ = ["Dots", "dots_of", "page_links"]

_WIDTH, _LEFT, _RIGHT, _LANE, _TOP, _FOOT = 720, 150, 16, 22, 8, 34
#: Of the golden ratio: neighbours in a lane lie at different heights, the same each time.
_SPREAD = 0.618034
#: So that a page of many thousands stays a page.
_MOST_DOTS = 12_000


class Dots(NamedTuple):
    """A drawing of one measure."""

    name: str
    words: str
    drawing: Markup


def page_links(output_dir: Path, outputs: Sequence[Output]) -> dict[str, str]:
    """Address of the part of a page that shows each image, by the stem of the image; relative to
    the output folder, and only of pages that are there."""
    found = {}
    for output in outputs:
        pages = (
            report_path(output_dir, output.participant, output.session or None, level=level)
            for level in REPORT_LEVELS
        )
        page = next((path for path in pages if path.is_file()), None)
        if page is not None:
            stem = file_stem(output.scan.image)
            found[stem] = f"{link_to(page, output_dir)}#{stem}"
    return found


def dots_of(chapter: Chapter, links: Mapping[str, str]) -> list[Dots]:
    """A drawing of each measure of a chapter, while there is room: before above, after below.

    Parameters
    ----------
    chapter : Chapter
    links : mapping
        As `page_links` gives them. A scan without a page is a dot that opens nothing.
    """
    each = max(1, len(STAGES) * len(chapter.outputs))
    room = max(1, _MOST_DOTS // each)
    drawn = []
    for measure in chapter.measures[:room]:
        drawing = _drawing(chapter, measure.key, measure.name, links)
        if drawing:
            drawn.append(Dots(measure.name, f"{measure.words} ({measure.unit})", drawing))
    return drawn


def _drawing(chapter: Chapter, key: str, name: str, links: Mapping[str, str]) -> Markup:
    table = chapter.table
    values = {stage: table[f"{key}_{stage}"].to_numpy(float) for stage in STAGES}
    known = np.concatenate([v[np.isfinite(v)] for v in values.values()])
    if not known.size:
        return Markup("")
    low, high = float(known.min()), float(known.max())
    margin = 0.03 * (high - low) or abs(high) * 0.01 or 1.0
    low, high = low - margin, high + margin
    scale = (_WIDTH - _LEFT - _RIGHT) / (high - low)
    sites = sorted(table["site"].unique())
    parts = []
    for row, site in enumerate(sites):
        top = _TOP + row * len(STAGES) * _LANE
        middle = top + _LANE + 4
        parts.append(
            Markup('<text x="4" y="{}" font-size="13">{}</text>').format(middle, _short(site))
        )
        if row:
            parts.append(
                Markup('<line x1="0" x2="{}" y1="{}" y2="{}" stroke="#c8c8c8"/>').format(
                    _WIDTH, top, top
                )
            )
        for lane, stage in enumerate(STAGES):
            words, colour, _ = STATE_STYLES[stage]
            for number, index in enumerate(np.flatnonzero(table["site"] == site)):
                value = values[stage][index]
                if not np.isfinite(value):
                    continue
                output = chapter.outputs[index]
                inside = 5 + (number * _SPREAD % 1) * (_LANE - 10)
                dot = Markup(
                    '<circle cx="{:.1f}" cy="{:.1f}" r="4.5" fill="{}" fill-opacity="0.75">'
                    "<title>{}, {}: {:.4g}</title></circle>"
                ).format(
                    _LEFT + (value - low) * scale, top + lane * _LANE + inside, colour,
                    output.label, words, value,
                )  # fmt: skip
                link = links.get(file_stem(output.scan.image))
                if link:
                    label = f"Page of {output.label}, {words}"
                    dot = Markup('<a href="{}" aria-label="{}">{}</a>').format(link, label, dot)
                parts.append(dot)
    height = _TOP + len(sites) * len(STAGES) * _LANE + _FOOT
    for value, anchor, x in ((low, "start", _LEFT), (high, "end", _WIDTH - _RIGHT)):
        parts.append(
            Markup('<text x="{}" y="{}" font-size="12" text-anchor="{}">{:.3g}</text>').format(
                x, height - 14, anchor, value
            )
        )
    return Markup(
        '<svg role="group" aria-label="{}: every scan, before and after" width="{}" '
        'viewBox="0 0 {} {}" style="max-width:100%;height:auto">{}</svg>'
    ).format(name, _WIDTH, _WIDTH, height, Markup("").join(parts))


def _short(site: str) -> str:
    return site if len(site) <= 20 else site[:19] + "…"
