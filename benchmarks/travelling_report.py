"""From the JSON of the travelling-subject benchmark to Markdown and figures.

python benchmarks/travelling_report.py benchmarks/results/travelling.json
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from travelling_cohort import TARGET
from travelling_figures import Dot, densities_figure, methods_figure, sites_figure
from travelling_margins import margins
from travelling_tables import (
    Row,
    Value,
    cell,
    heading,
    markdown,
    row_table,
    seed_value,
    selected,
    split,
)

from bids_harmony.io.atomic import write_atomically

__all__ = ["METHODS", "write_report"]

#: Order of the tables; methods that are not named here come after ``ihf``.
METHODS = (
    "none", "blur", "histogram", "histogram-cdf", "histogram-n4", "histogram-ratio",
    "histogram-fit", "histogram-tissue", "histogram-relative", "ssimh", "cgan", "simix", "ihf",
    "oracle", "ceiling",
)  # fmt: skip
_REFERENCES = ("oracle", "ceiling")
_COLUMNS = {
    "rmse": min, "ms_ssim": max, "psnr_db": max, "lpips": min, "psnr_gain_free_db": max,
}  # fmt: skip
_ABOUT = ("method", "variant", "modality", "site", "seed", "fields", "scans", "kind", "subject")

_PAPER = (
    "For scale only: the paper gives IHF-Harmony an RMSE of 0.0612, an MS-SSIM of 0.969, a PSNR "
    "of 24.59 dB and an LPIPS of 0.0406 on SRPBS-TS: other people, other scanners, other scaling, "
    "so not to be compared with the rows here."
)
_PROOFS = {
    "probe": "Can a classifier still tell the site? Trained on the method's own outputs, people "
    "apart; chance is one over the number of sites.",
    "fingerprint": "Does a harmonized scan find its own person among the target site's scans?",
    "tissues": "Has anatomy moved? Tissues of the harmonized scan against those of the source.",
    "lesion": "Is a lesion still as strong as it should be? *relaxation*: T1 and T2 are longer in "
    "the simulated person, and the twin shows what the target would see of it; *painted*: one "
    "contrast in source and twin. `kept`: 1 is treated as healthy intensities are.",
}


def write_report(record: Mapping[str, Any], folder: Path) -> Path:
    """Write ``<name>.md`` and ``figures/<name>_*.png``.

    Parameters
    ----------
    record : mapping
        ``name`` and provenance, and any of ``rows``, ``ablation``, ``losses``, ``proofs``,
        ``real`` (lists of flat rows) and ``curves``. What is missing is said to be missing.
    folder : Path
        Made where it is not there.

    Returns
    -------
    Path
        The Markdown file.
    """
    figures = folder / "figures"
    figures.mkdir(parents=True, exist_ok=True)
    name = str(record.get("name", "travelling"))
    rows = record.get("rows") or []
    sections = [
        ("Accuracy against the twin", _accuracy(rows, figures, name)),
        ("People who differ as real people do", _varied(record.get("varied") or [])),
        ("Margins of ihf", margins(_conditions(rows))),
        ("Scans of the target site itself", _same_site(rows)),
        ("Site by site", _sites(rows, figures, name)),
        ("Ablation", _ablation(record.get("ablation") or [])),
        ("Losses", _table(record.get("losses") or [])),
        ("Proofs", _proofs(record.get("proofs") or [])),
        ("Intensity distributions", _densities(record.get("curves") or {}, figures, name)),
        ("Real pairs", _real(record.get("real") or [])),
    ]
    lines = _provenance(record, name)
    for title, body in sections:
        lines += [f"## {title}", "", *(body or ["Not run.", ""])]
    path = folder / f"{name}.md"
    write_atomically(path, "\n".join(lines).rstrip().encode() + b"\n")
    return path


def _provenance(record: Mapping[str, Any], name: str) -> list[str]:
    machine = record.get("machine") or {}
    versions = ", ".join(f"{k} {v}" for k, v in (record.get("versions") or {}).items())
    changed = " with uncommitted changes" if record.get("uncommitted_changes") else ""
    lines = [
        f"# {name.replace('_', ' ').capitalize()} subjects: results"
        if name.startswith("travelling") else f"# {name}",
        "",
        f"Made from `{name}.json` by `python benchmarks/travelling_report.py`; do not edit. "
        "Simulated scanners unless stated otherwise. Research software, not for diagnosis.",
        "",
        f"* command: `{record.get('command', 'unknown')}`",
        f"* commit: {record.get('commit', 'unknown')}{changed}, {record.get('date', 'no date')}",
        f"* machine: {', '.join(f'{k} {v}' for k, v in machine.items()) or 'unknown'}",
        f"* versions: {versions or 'unknown'}",
        f"* seeds: {', '.join(map(str, record.get('seeds') or [])) or 'unknown'}",
        "",
    ]  # fmt: skip
    if record.get("note"):
        lines += [str(record["note"]), ""]
    if record.get("form") != "full":
        lines += [f"**The {record.get('form')} form: few people, one draw.**", ""]
    return lines


def _conditions(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """Rows of source sites by condition: with fields first, T1w first."""
    parts = split([r for r in rows if r["site"] != TARGET], "fields", "modality")
    order = sorted(parts, key=lambda k: (not k[0], str(k[1])))
    return {f"{m}, {'with' if f else 'no'} receive fields": parts[f, m] for f, m in order}


def _lines(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    """Rows by method and variant, in the order of the tables."""
    place = {m: i for i, m in enumerate(METHODS)}
    unknown = METHODS.index("ihf") + 0.5
    parts = split(rows, "method", "variant")
    order = sorted(parts, key=lambda k: (place.get(k[0], unknown), k[1] != "sharp"))
    return {key: parts[key] for key in order}


def _label(method: str, variant: str) -> str:
    return method if variant == "sharp" else f"{method}, {variant}"


def _accuracy(rows: Sequence[Row], figures: Path, name: str) -> list[str]:
    conditions = _conditions(rows)
    if not conditions:
        return []
    lines = [
        "Means over scans and source sites; ± is the standard deviation between seeds where there "
        "are several. Bold: the best value that needs no truth (oracle and ceiling are bounds). "
        "Gain-free PSNR lets every image choose its best overall gain first. " + _PAPER,
        "",
    ]
    for title, part in conditions.items():
        lines += [f"### {title}", "", f"{_counts(part)}.", ""]
        lines += _method_table(part, list(_COLUMNS))
        others = [
            k for k in dict.fromkeys(k for r in part for k in r)
            if k not in (*_ABOUT, *_COLUMNS, "change_rms")
            and isinstance(next((r[k] for r in part if k in r), None), (int, float))
        ]  # fmt: skip
        if others:
            lines += ["Further figures, not ranked:", "", *_method_table(part, others)]
    picture = figures / f"{name}_methods.png"
    methods_figure({t.replace(", ", "\n", 1): _dots(p) for t, p in conditions.items()}, picture)
    return [*lines, f"![PSNR of all methods](figures/{picture.name})", ""]


def _varied(rows: Sequence[Row]) -> list[str]:
    lines = []
    for title, part in _conditions(rows).items():
        lines += [f"### {title}", "", f"{_counts(part)}.", "", *_method_table(part, [*_COLUMNS])]
    if not lines:
        return []
    return [
        "As above, but people of profiles and tests differ in T1, T2 and density of each tissue, "
        "in age, atrophy, iron and lesions (`bids_harmony/phantom/biology.py`).",
        "",
        *lines,
    ]


def _counts(rows: Sequence[Row]) -> str:
    one = next(iter(_lines(rows).values()))
    sites, seeds = ({r.get(k) for r in one} for k in ("site", "seed"))
    scans = sum(r.get("scans", 1) for r in one)
    return f"{scans} scans of {len(sites)} source site(s) in {len(seeds)} seed(s)"


def _method_table(rows: Sequence[Row], figures: Sequence[str]) -> list[str]:
    values = {key: {f: seed_value(part, f) for f in figures} for key, part in _lines(rows).items()}
    best = {}
    for figure, choose in _COLUMNS.items():
        ranked = [
            v[figure][0] for (m, _), v in values.items()
            if m not in _REFERENCES and v.get(figure) is not None
        ]  # fmt: skip
        best[figure] = choose(ranked) if ranked else None
    body = [
        [
            _label(*key),
            *(
                cell(v[f], f, bold=_is_best(key[0], v[f], best.get(f)))
                for f in figures
            ),
        ]
        for key, v in values.items()
    ]  # fmt: skip
    return markdown(["method", *map(heading, figures)], body)


def _is_best(method: str, value: Value | None, best: float | None) -> bool:
    return method not in _REFERENCES and value is not None and value[0] == best


def _same_site(rows: Sequence[Row]) -> list[str]:
    own = [r for r in rows if r["site"] == TARGET and r["method"] not in _REFERENCES]
    if not own:
        return []
    parts = split(own, "fields", "modality")
    order = sorted(parts, key=lambda k: (not k[0], str(k[1])))
    body = [
        [
            _label(*key),
            *(
                cell(seed_value(selected(part, fields=f, modality=m), "change_rms"), "change_rms")
                for f, m in order
            ),
        ]
        for key, part in _lines(own).items()
    ]  # fmt: skip
    heads = [f"{m}, {'with' if f else 'no'} receive fields" for f, m in order]
    return [
        f"RMS change of scans that {TARGET} made itself, as a fraction of the robust maximum: "
        "what a method does where nothing is to be done. 0 is the input unchanged.",
        "",
        *markdown(["method", *heads], body),
    ]


def _sites(rows: Sequence[Row], figures: Path, name: str) -> list[str]:
    lines = []
    for title, part in _conditions(rows).items():
        slug = title.replace(",", "").replace(" ", "-")
        picture = figures / f"{name}_sites_{slug}.png"
        panels = {str(s): _dots(r) for (s,), r in sorted(split(part, "site").items())}
        sites_figure(panels, f"PSNR against the twin by source site: {title}", picture)
        lines += [f"![{title}](figures/{picture.name})", ""]
        won = [s for s, dots in panels.items() if _winner(dots) == "ihf"]
        lines += [f"{title}: ihf is best at {len(won)} of {len(panels)} sites (bounds apart).", ""]
    return lines


def _dots(rows: Sequence[Row]) -> list[Dot]:
    dots = []
    for (method, variant), part in _lines(rows).items():
        by_seed = [seed_value(each, "psnr_db") for each in split(part, "seed").values()]
        dots.append((method, variant, [v[0] for v in by_seed if v is not None]))
    return [d for d in dots if d[2]]


def _winner(dots: Sequence[Dot]) -> str:
    return max((float(np.mean(v)), m) for m, _, v in dots if m not in _REFERENCES)[1]


def _ablation(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    return [
        "One choice changed at a time, everything else as in the default; gain is that of the "
        "network over the closed form that it starts from.",
        "",
        *row_table(sorted(rows, key=lambda r: not r.get("default", False))),
    ]


def _proofs(rows: Sequence[Row]) -> list[str]:
    lines = []
    for (proof,), part in split(rows, "proof").items():
        lines += [f"### {proof}", "", _PROOFS.get(str(proof), ""), ""]
        lines += row_table(part, leave_out=["proof"])
    return lines


def _real(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    notes = {r["pair"]: r.get("note", "") for r in rows}
    return [
        "Two real scans of one person, distance of the first from the second. One person each: an "
        "illustration, no proof. Profiles are of other people only.",
        "",
        *(f"* {pair}: {note}." for pair, note in notes.items()),
        "",
        *row_table(rows, leave_out=["note"]),
    ]


def _table(rows: Sequence[Row]) -> list[str]:
    return row_table(rows) if rows else []


def _densities(curves: Mapping[str, Any], figures: Path, name: str) -> list[str]:
    lines = []
    for modality, found in curves.items():
        picture = figures / f"{name}_densities_{modality}.png"
        densities_figure(found, f"Brain intensities, {modality}", picture)
        step = float(np.diff(found["grid"]).mean())
        apart = {
            when: np.mean(
                [step * np.abs(np.subtract(c, found["target"])).sum() / 2 for c in sites.values()]
            )
            for when, sites in ((w, found[w]) for w in ("before", "after"))
        }
        lines += [f"![{modality}](figures/{picture.name})", ""]
        lines += [
            f"{modality}: share of the density that lies elsewhere than the target's, mean over "
            f"sites: {apart['before']:.3f} before, {apart['after']:.3f} after.",
            "",
        ]
    return lines


def main() -> None:
    """Write the report beside the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("record", type=Path)
    path = parser.parse_args().record
    print(write_report(json.loads(path.read_text()), path.parent))


if __name__ == "__main__":
    main()
