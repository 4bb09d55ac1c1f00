"""How well the difference of two sites is known: a sentence and a drawing for a scan's page."""

from __future__ import annotations

from collections.abc import Mapping
from math import expm1
from typing import Any

from markupsafe import Markup

from bids_harmony.bids.scan_records import part
from bids_harmony.reports.paper import BLUE, VERMILION

__all__ = ["evidence_drawing", "evidence_sentence"]

_NAMES = {"GreyToWhite": "grey / white matter", "CSFToWhite": "CSF / white matter"}
_WIDTH, _ROW, _LEFT = 560, 34, 150
#: Logarithm of a contrast, applied against supported, that is worth a word.
_HELD_BACK = 0.02
#: Variance of a blur, mm^2, that eyes can see.
_SMOOTHER = 0.2


def evidence_sentence(sidecar: Mapping[str, Any]) -> str:
    """What is known of both sites and what was made of it; empty where the sidecar says nothing.

    Parameters
    ----------
    sidecar : mapping
        Of a harmonized image.
    """
    evidence = part(sidecar, "SiteEvidence")
    if not evidence:
        return ""
    if "Contrasts" not in evidence:
        return _mean_of_series(evidence)
    source, target = (evidence.get(name) for name in ("SourcePeople", "TargetPeople"))
    grey = _contrast(evidence, "GreyToWhite")
    raw, applied = grey.get("RawLogDifference"), grey.get("AppliedLogDifference")
    error = grey.get("StandardError")
    text = (
        f"The profile of its own site was made from scans of {_people(source)}, that of the "
        f"target site{_mean_of(evidence)} from scans of {_people(target)}. In these scans "
        f"the ratio of grey to white matter differs by {_percent(raw)}. Applied was "
        f"{_percent(applied)}: the difference{_alike(evidence)}, as far as the scans support it"
    )
    text += f" (standard error {_percent(error, sign=False)})" if error is not None else ""
    text += _held_back(evidence)
    text += ". What this person differs in from others of the same site was left in the image."
    if evidence.get("SamePerson"):
        text += " Both profiles are of one person, who tells scanners apart as five strangers do."
    blur = evidence.get("BlurVarianceDifference")
    if isinstance(blur, list) and max(blur, default=0.0) >= _SMOOTHER:
        text += (
            " The target's images are smoother (variance of the blur along x, y and z: "
            f"{', '.join(f'{value:+.1f}' for value in blur)} mm²)."
        )
    probability = evidence.get("ProbabilitySitesDiffer")
    if isinstance(probability, float) and probability < 0.95:
        text += (
            " The two sites may be one scanner (probability that they differ: "
            f"{probability:.2f}); the change was scaled down by that."
        )
    return text


def evidence_drawing(sidecar: Mapping[str, Any]) -> Markup:
    """Differences of the sites' contrasts with two standard errors, and what was applied: SVG."""
    evidence = part(sidecar, "SiteEvidence")
    if "Contrasts" not in evidence:
        return Markup("")
    rows = [(words, _contrast(evidence, name)) for name, words in _NAMES.items()]
    rows = [(w, r) for w, r in rows if r.get("RawLogDifference") is not None]
    ends = [0.02]
    for _, row in rows:
        ends.append(abs(row["RawLogDifference"]) + 2 * (row.get("StandardError") or 0.0))
    scale = (_WIDTH - _LEFT - 20) / 2 / max(ends)
    zero = _LEFT + (_WIDTH - _LEFT) / 2

    def x(value: float) -> str:
        return f"{zero + value * scale:.1f}"

    height = _ROW * len(rows) + 26
    parts = [f'<line x1="{zero}" x2="{zero}" y1="4" y2="{height - 22}" stroke="#888"/>']
    for number, (words, row) in enumerate(rows):
        y = 20 + number * _ROW
        raw, error = row["RawLogDifference"], 2 * (row.get("StandardError") or 0.0)
        applied = row.get("AppliedLogDifference") or 0.0
        parts += [
            f'<text x="4" y="{y + 5}" font-size="13">{words}</text>',
            f'<line x1="{x(raw - error)}" x2="{x(raw + error)}" y1="{y}" y2="{y}" '
            f'stroke="{BLUE}" stroke-width="2"/>',
            f'<circle cx="{x(raw)}" cy="{y}" r="4" fill="{BLUE}"/>',
            f'<rect x="{float(x(applied)) - 4:.1f}" y="{y - 4}" width="8" height="8" '
            f'fill="none" stroke="{VERMILION}" stroke-width="2"/>',
        ]
    parts.append(
        f'<text x="{zero}" y="{height - 6}" font-size="12" text-anchor="middle">'
        f"difference of the sites, log; the axis ends at &#177;{max(ends):.2f}</text>"
    )
    body = "".join(parts)
    return Markup(
        f'<svg role="img" aria-label="Differences of contrast between the sites" width="{_WIDTH}" '
        f'viewBox="0 0 {_WIDTH} {height}" style="max-width:100%">{body}</svg>'
    )


def _contrast(evidence: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = part(part(evidence, "Contrasts"), name)
    return {k: v for k, v in found.items() if isinstance(v, (int, float))}


def _mean_of(evidence: Mapping[str, Any]) -> str:
    """The sites whose mean the target is, with their people; empty where it is one site."""
    sites = part(evidence, "TargetIsMeanOf")
    if not sites:
        return ""
    told = ", ".join(f"{site} ({count})" for site, count in sites.items())
    return f", which is the mean of {told}, each counting once,"


def _mean_of_series(evidence: Mapping[str, Any]) -> str:
    """Of a diffusion series, whose sites are compared by other numbers: whose mean it goes to."""
    sites = part(evidence, "TargetIsMeanOf")
    if not sites:
        return ""
    told = ", ".join(f"{site} ({count} series)" for site, count in sites.items())
    text = f"The target is the mean of {told}, each counting once."
    left = "; ".join(
        f"{', '.join(f'b={b:g}' for b in shells)} of {site}"
        for site, shells in part(evidence, "ShellsLeftOut").items()
        if isinstance(shells, list) and all(isinstance(b, (int, float)) for b in shells)
    )
    return text + (f" Not in it, because not all sites show it: {left}." if left else "")


def _held_back(evidence: Mapping[str, Any]) -> str:
    """That few people show a site, where this held the contrast back; else empty."""
    grey = _contrast(evidence, "GreyToWhite")
    supported, applied = grey.get("SupportedLogDifference"), grey.get("AppliedLogDifference")
    if supported is None or applied is None or abs(supported - applied) < _HELD_BACK:
        return ""
    return (
        f". Of the {_percent(supported)} that a scan of these two would need, the rest was held "
        "back: one or two people may be ill, and a lesion's contrast would be changed as well; "
        "scans of five people of either site show a contrast in full"
    )


def _alike(evidence: Mapping[str, Any]) -> str:
    """That people of the two sites were made alike in covariates, which may make it the larger."""
    names = list(part(evidence, "Covariates"))
    return f" between people alike in {' and '.join(names)}" if names else ""


def _people(count: Any) -> str:
    return "one person" if count == 1 else f"{count} people"


def _percent(log: float | None, *, sign: bool = True) -> str:
    if log is None:
        return "an unknown amount"
    percent = 100 * expm1(log)
    return f"{percent:+.1f} %" if sign else f"{percent:.1f} %"
