"""The page of a whole cohort: ``group.html``, one file, no network.

Everything that comes from a dataset is escaped: a site may be called anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bids_harmony import __version__
from bids_harmony.bids.decisions import Decision
from bids_harmony.bids.derivative import write_text
from bids_harmony.group.chapter import Chapter
from bids_harmony.group.outputs import Missing
from bids_harmony.io.names import file_stem
from bids_harmony.quality.power import people_per_site
from bids_harmony.quality.summary import STAGES, ScanSummary
from bids_harmony.reports.album import Embedded, embedded, inline_pictures
from bids_harmony.reports.dots import Dots, dots_of, page_links
from bids_harmony.reports.group_figures import (
    STATE_STYLES,
    Estimate,
    changes_figure,
    densities_figure,
    forest_figure,
    pairs_figure,
)
from bids_harmony.reports.methods_text import group_methods_text
from bids_harmony.reports.page import filled

__all__ = ["GROUP_PAGE_BYTES", "write_group_page"]

GROUP_PAGE_BYTES = 8_000_000
SOURCE, HARMONIZED = STAGES


@dataclass(frozen=True)
class _Shown:
    """A chapter with its figures by kind, as ``data:`` addresses and file names."""

    chapter: Chapter
    anchor: str
    pictures: Mapping[str, Embedded]
    counts: Mapping[str, int]
    dots: Sequence[Dots] = ()
    pages: Mapping[str, str] = field(default_factory=dict)


def write_group_page(
    output_dir: Path,
    chapters: Sequence[Chapter],
    missing: Sequence[Missing],
    decisions: Sequence[Decision] = (),
) -> Path:
    """Write ``group.html`` and its figures.

    Parameters
    ----------
    output_dir : Path
    chapters : sequence of Chapter
    missing : sequence of Missing
        What could not be used, and why.
    decisions : sequence of Decision
        About scans of the page, other than to keep them.

    Returns
    -------
    Path
    """
    figures = {_anchor(c): draw_figures(c, output_dir / "figures") for c in chapters}
    paths = [path for own in figures.values() for path in own.values()]
    addresses = inline_pictures(paths, GROUP_PAGE_BYTES // 2)
    links = page_links(output_dir, [o for chapter in chapters for o in chapter.outputs])
    shown = [
        _Shown(
            chapter,
            _anchor(chapter),
            embedded(figures[_anchor(chapter)], addresses, output_dir),
            chapter.table["site"].value_counts().to_dict(),
            dots_of(chapter, links),
            {
                o.label: links[s]
                for o in chapter.outputs
                if (s := file_stem(o.scan.image)) in links
            },
        )
        for chapter in chapters
    ]
    text = filled(
        "group.html",
        shown=shown,
        missing=missing,
        decisions=decisions,
        states={state: words for state, (words, *_) in STATE_STYLES.items()},
        colours={state: colour for state, (_, colour, _) in STATE_STYLES.items()},
        without_site=partial(people_per_site, 0.0),
        version=__version__,
        methods=group_methods_text(),
    )
    path = Path(output_dir) / "group.html"
    write_text(path, text)
    return path


def draw_figures(chapter: Chapter, folder: Path) -> dict[str, Path]:
    """Draw what there is to draw of a chapter; figures by kind."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn: dict[str, Path] = {}

    def path(kind: str) -> Path:
        drawn[kind] = folder / f"group_{_anchor(chapter)}_{kind}.png"
        return drawn[kind]

    scans = [(o.site, o.summary) for o in chapter.outputs if isinstance(o.summary, ScanSummary)]
    if scans:
        before, after = (_by_site([(s, m.quantiles[i, 0]) for s, m in scans]) for i in range(2))
        target = scans[0][1].target_quantiles
        densities_figure(
            before, after, target if np.size(target) else None, chapter.target, path("densities")
        )
        shapes = [m.change.shape for _, m in scans]
        # Of runs with another reference grid there may be a few.
        common = max(set(shapes), key=shapes.count)
        changed = _by_site(
            [
                (s, m.change)
                for s, m in scans
                if s != chapter.target and m.change.shape == common and np.any(m.change)
            ]
        )
        if changed:
            means = {
                site: np.stack(own).mean(axis=0, dtype=float) for site, own in changed.items()
            }
            changes_figure(means, path("changes"))
    if chapter.effects:
        forest_figure(
            {
                e.measure.name: [
                    Estimate(state, effect.share, effect.low, effect.high)
                    for state, effect in e.effects.items()
                ]
                for e in chapter.effects
            },
            path("site_effects"),
            "share of variance that the site explains",
            limits=(0.0, 1.0),
        )
    if chapter.probes:
        forest_figure(
            {
                p.shown: [
                    Estimate(
                        HARMONIZED if p.shown == HARMONIZED else SOURCE,
                        p.result.balanced_accuracy,
                        p.result.low,
                        p.result.high,
                    )
                ]
                for p in chapter.probes
            },
            path("probe"),
            "balanced accuracy of telling the site",
            line=chapter.probes[0].result.chance,
            line_name="chance",
            limits=(0.0, 1.0),
        )
    kept: dict[str, list[Estimate]] = {}
    for k in chapter.kept:
        if k.effect.p_before < 0.05 and np.isfinite([k.effect.low, k.effect.high]).all():
            kept.setdefault(f"{k.covariate}: {k.measure.name}", []).append(
                Estimate(k.state, k.effect.ratio, k.effect.low, k.effect.high)
            )
    if kept:
        forest_figure(
            kept, path("effects_kept"), "effect after over effect before (1: kept)", line=1.0
        )
    pairs = _pairs(chapter)
    if pairs:
        floor = [row.rmse for row in chapter.travelling if row.state == "rescan"]
        pairs_figure(pairs, floor, path("travelling"), "RMSE to the person's scan at the target")
    return drawn


def _pairs(chapter: Chapter) -> list[tuple[str, float, float]]:
    rows = {(row.scan, row.state): row for row in chapter.travelling}
    return [
        (row.site, row.rmse, rows[scan, HARMONIZED].rmse)
        for (scan, state), row in rows.items()
        if state == SOURCE and (scan, HARMONIZED) in rows
    ]


def _by_site(values: Sequence[tuple[str, Any]]) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for site, value in values:
        found.setdefault(site, []).append(value)
    return dict(sorted(found.items()))


def _anchor(chapter: Chapter) -> str:
    from bids_harmony.bids.naming import target_label

    return f"{chapter.suffix}_{target_label(chapter.target)}"
