"""One person over sessions: ``sub-X_sessions.html``, a table, drawings and pictures.

Each session has a page of its own; this one says at a glance what they have in common, and links
to them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from markupsafe import Markup

from bids_harmony.bids.derivative import write_text
from bids_harmony.bids.naming import report_path, summary_path
from bids_harmony.bids.run_records import RunRecord, Unit, failed_scans
from bids_harmony.exceptions import BidsHarmonyError
from bids_harmony.group.measures import values_of
from bids_harmony.quality.summary import STAGES, ScanSummary, SeriesSummary, load_summary
from bids_harmony.reports.album import Embedded, embedded, inline_pictures, link_to
from bids_harmony.reports.group_figures import STATE_STYLES
from bids_harmony.reports.page import filled
from bids_harmony.reports.subject import PAGE_BYTES, SLACK, Shown, shown_scans

__all__ = ["person_page_path", "write_person_page"]

_WIDTH, _HEIGHT, _SIDE, _FOOT = 420, 184, 30, 58
#: What is drawn over sessions, where it was measured. Volumes are of a segmentation that takes
#: seconds: they compare images of one head, not people.
_VOLUMES = {"gm_ml": "grey matter, ml", "wm_ml": "white matter, ml", "csf_ml": "CSF, ml"}
_DRAWN = {
    "gm": "median of grey matter",
    "wm": "median of white matter",
    "csf": "median of CSF",
    "gm_wm": "grey over white matter, which is contrast",
    **_VOLUMES,
    "fa_wm": "FA of white matter",
    "md_wm": "MD of white matter",
}
#: Pictures of each scan.
_PICTURES = ("before", "after")


@dataclass(frozen=True)
class _Row:
    """A scan in the table: its session, its page, what is to be checked of it."""

    session: str
    page: str
    shown: Shown
    pictures: Mapping[str, Embedded]

    @property
    def to_check(self) -> int:
        return sum(f.beyond for f in self.shown.findings) + len(self.shown.warnings)


@dataclass(frozen=True)
class _Change:
    """A number over the sessions: its spread in % of its mean, before and after."""

    words: str
    before: float
    after: float


@dataclass(frozen=True)
class _Course:
    """Drawings and numbers of one modality and target; sites with the sessions at each."""

    title: str
    sites: Mapping[str, Sequence[str]]
    drawings: Sequence[tuple[str, Markup]]
    changes: Sequence[_Change]

    @property
    def moved(self) -> bool:
        """Whether the sessions were at several sites."""
        return len(self.sites) > 1


def person_page_path(output_dir: Path, subject: str, *, level: str = "root") -> Path:
    """Where the page goes: beside that of a participant without sessions."""
    page = report_path(output_dir, subject, None, level="subject" if level != "root" else "root")
    return page.with_name(f"{page.stem}_sessions.html")


def write_person_page(
    output_dir: Path,
    units: Sequence[Unit],
    runs: Mapping[Unit, Sequence[RunRecord]],
    *,
    level: str = "root",
) -> Path | None:
    """Write the page of a person of two sessions and more.

    Parameters
    ----------
    output_dir : Path
    units : sequence of Unit
        All of the person, sorted.
    runs : mapping
        Of each unit, the oldest first.
    level : {"root", "subject", "session"}
        Folder of the pages of sessions, as in ``--report-output-level``.

    Returns
    -------
    Path or None
        None where there are not two sessions.
    """
    units = [unit for unit in units if unit.session]
    if len(units) < 2:
        return None
    path = person_page_path(output_dir, units[0].subject, level=level)
    scans = {
        unit: shown_scans(output_dir, unit, runs.get(unit, ()), path.parent) for unit in units
    }
    pictures = [
        picture
        for own in scans.values()
        for one in own
        for kind, picture in one.scan.pictures.items()
        if kind in _PICTURES
    ]
    addresses = inline_pictures(pictures, PAGE_BYTES - 20 * SLACK)
    rows = []
    for unit, own in scans.items():
        page = report_path(output_dir, unit.subject, unit.session, level=level)
        for one in own:
            drawn = {k: p for k, p in one.scan.pictures.items() if k in _PICTURES}
            link = f"{link_to(page, path.parent)}#{one.stem}"
            rows.append(
                _Row(str(unit.session), link, one, embedded(drawn, addresses, path.parent))
            )
    failed = [(unit, scan) for unit in units for scan in failed_scans(unit, runs.get(unit, ()))]
    text = filled(
        "person.html",
        subject=units[0].subject,
        sessions=[unit.session for unit in units],
        rows=rows,
        failed=failed,
        courses=_courses(rows),
        states={stage: STATE_STYLES[stage][:2] for stage in STAGES},
    )
    write_text(path, text)
    return path


def _courses(rows: Sequence[_Row]) -> list[_Course]:
    """Measures over sessions, of each modality and target that has two sessions."""
    kinds: dict[str, list[tuple[_Row, dict[str, float]]]] = {}
    for row in rows:
        target = row.shown.scan.sidecar.get("HarmonizationTarget")
        try:
            summary = load_summary(summary_path(row.shown.scan.image))
            values = values_of(summary) | _volumes_of(summary)
        except BidsHarmonyError:
            continue  # the level group says why
        kinds.setdefault(f"{row.shown.scan.modality} to {target}", []).append((row, values))
    found = []
    for title, own in kinds.items():
        if len({row.session for row, _ in own}) < 2:
            continue
        known = {
            key: words
            for key, words in _DRAWN.items()
            if all(f"{key}_{stage}" in values for _, values in own for stage in STAGES)
        }
        if known:
            sites: dict[str, list[str]] = {}
            for site, session in dict.fromkeys((_site(row), row.session) for row, _ in own):
                sites.setdefault(site, []).append(session)
            found.append(
                _Course(
                    title,
                    sites,
                    [(w, _drawing(own, key, f"{title}: {w}")) for key, w in known.items()],
                    [_change(own, key, words) for key, words in known.items()],
                )
            )
    return found


def _site(row: _Row) -> str:
    return str(row.shown.scan.source.get("Site") or "not known")


def _volumes_of(summary: ScanSummary | SeriesSummary) -> dict[str, float]:
    """Volumes before and after by their columns; nothing where they were not measured."""
    if not isinstance(summary, ScanSummary) or not np.isfinite(summary.volumes).all():
        return {}
    return {
        f"{key}_{stage}": float(value)
        for stage, own in zip(STAGES, summary.volumes, strict=True)
        for key, value in zip(_VOLUMES, own, strict=True)
    }


def _change(rows: Sequence[tuple[_Row, dict[str, float]]], key: str, words: str) -> _Change:
    """Standard deviation over the sessions, of each the mean of its scans, in % of their mean."""
    spread = []
    for stage in STAGES:
        of_session: dict[str, list[float]] = {}
        for row, values in rows:
            of_session.setdefault(row.session, []).append(values[f"{key}_{stage}"])
        means = np.array([np.mean(own) for own in of_session.values()])
        spread.append(float(100 * means.std(ddof=1) / abs(means.mean())))
    return _Change(words, *spread)


def _drawing(rows: Sequence[tuple[_Row, dict[str, float]]], key: str, label: str) -> Markup:
    """A line before and a line after, session by session; dots open the session's page."""
    values = np.array([[own[f"{key}_{stage}"] for stage in STAGES] for _, own in rows])
    known = values[np.isfinite(values)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    margin = 0.15 * (high - low) or abs(high) * 0.05 or 1.0
    low, high = low - margin, high + margin
    sessions = list(dict.fromkeys(row.session for row, _ in rows))
    step = (_WIDTH - 2 * _SIDE - 40) / max(len(sessions) - 1, 1)
    at = [_SIDE + 40 + sessions.index(row.session) * step for row, _ in rows]

    def y(value: float) -> float:
        return 10 + (high - value) / (high - low) * (_HEIGHT - _FOOT)

    parts = []
    for column, stage in enumerate(STAGES):
        words, colour, _ = STATE_STYLES[stage]
        points = [
            (x, y(float(value)), row, float(value))
            for x, value, (row, _) in zip(at, values[:, column], rows, strict=True)
            if np.isfinite(value)
        ]
        path = " ".join(f"{x:.1f},{height:.1f}" for x, height, _, _ in points)
        parts.append(
            Markup('<polyline points="{}" fill="none" stroke="{}" stroke-width="1.6"/>').format(
                path, colour
            )
        )
        for x, height, row, value in points:
            parts.append(
                Markup(
                    '<a href="{}" aria-label="Session {}, {}"><circle cx="{:.1f}" cy="{:.1f}" '
                    'r="5" fill="{}"><title>{}, {}: {:.4g}</title></circle></a>'
                ).format(
                    row.page, row.session, words, x, height, colour, row.shown.scan.label, words,
                    value,
                )
            )  # fmt: skip
    for value in (low + margin, high - margin):
        parts.append(
            Markup('<text x="2" y="{:.1f}" font-size="12">{:.3g}</text>').format(
                y(value) + 4, value
            )
        )
    sites = {row.session: _site(row) for row, _ in rows}
    numbers = {site: f"site {i}" for i, site in enumerate(dict.fromkeys(sites.values()), 1)}
    before = None
    for session, x in dict(zip((row.session for row, _ in rows), at, strict=True)).items():
        short = session if len(session) < 12 else f"{session[:11]}…"
        for name, height in ((short, _HEIGHT - 20), (numbers[sites[session]], _HEIGHT - 6)):
            parts.append(
                Markup(
                    '<text x="{:.1f}" y="{}" font-size="12" text-anchor="middle">{}</text>'
                ).format(x, height, name)
            )
        if before is not None and sites[session] != before:
            parts.append(
                Markup(
                    '<line x1="{0:.1f}" x2="{0:.1f}" y1="4" y2="{1}" stroke="currentColor" '
                    'stroke-dasharray="3 3"><title>{2} to {3}</title></line>'
                ).format(x - step / 2, _HEIGHT - _FOOT + 10, before, sites[session])
            )
        before = sites[session]
    return Markup(
        '<svg role="group" aria-label="{}" width="{}" viewBox="0 0 {} {}" '
        'style="max-width:100%;height:auto">{}</svg>'
    ).format(label, _WIDTH, _WIDTH, _HEIGHT, Markup("").join(parts))
