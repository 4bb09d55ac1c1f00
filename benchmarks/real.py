"""Real scans of several scanners: how near, whose site can still be told, what is kept.

    python benchmarks/real.py

Slices of the shared data go through the array interface with the shipped model: four patients at
0.055 T and 3 T, three hospitals, four institutions. Nothing is registered; see `real_slices`. What
is known of a site comes from other people, where a row does not say otherwise. Whole scans were
measured by other benchmarks, whose results are cited. Prints a table, writes
``benchmarks/results/real.{json,md}`` and a figure of numbers; no image of anyone.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from measure import provenance
from real_low_field import ulf_rows
from real_sites import ixi_rows, lgg_rows
from real_slices import SLICES
from travelling_tables import markdown

from bids_harmony.io.atomic import write_atomically

matplotlib.use("Agg")

RESULTS = Path(__file__).resolve().parent / "results"
SETS = {"ulf": ulf_rows, "lgg": lgg_rows, "ixi": ixi_rows}
SEED = 0
_HEADS = {
    "set": "set", "modality": "contrast", "method": "method", "n": "n", "target": "target",
    "target_known_from": "target known from", "rmse": "RMSE", "psnr_db": "PSNR, dB",
    "probe_accuracy": "site probe", "probe_of_mask": "of the mask alone",
    "anova_p": "p of GM/WM", "anova_p_csf_wm": "p of CSF/WM", "anova_p_noise": "p of noise",
    "lesion_contrast_kept": "lesion contrast kept",
    "tissue_contrast_kept": "of tissues", "lesion_over_tissue_kept": "lesions' over tissues'",
    "ratio_t1w_t2w_kept": "T1w/T2w kept",
    "left_unchanged": "left as they were",
}  # fmt: skip
NOTES = {
    "ulf": "Four patients at 0.055 T and, registered in plane by the source of the data, at 3 T; "
    "means over people, inside the head's outline shrunk to 0.85, scaled by the 99.5th "
    "percentile. Heights are assumed by eye and wrong by up to 15 mm, the template's tissues are "
    "not aligned, skull-stripping is not possible: the closed forms and `ihf` do not get what "
    "they are made for. `linear-per-slice` knows the target slice itself; `linear` is one line "
    "for all. b0 and diffusion-weighted slices have no modality of the array interface. With four "
    "people no difference between methods is certain.",
    "ixi": "Healthy people of three hospitals, one slice each, skull-stripped, moved by whole "
    "millimetres onto the template's middle at z = 20 mm (by likeness to the template it is 20 "
    "or 32, by person). Other people of the other half make both profiles. GM/WM and CSF/WM by a "
    "mixture of three normal distributions, noise over white matter from neighbouring voxels, "
    "after smoothing to the grid; p of a one-way analysis of variance. Intensities had been "
    "scaled and quantised to about 110 levels; ages are not known, so that a difference between "
    "hospitals may be one of people; a large p does not show that no difference is left. Slices "
    "of the target stay as they are, so that a probe can also tell what was processed.",
    "lgg": "FLAIR of patients with glioma of four institutions, four slices each, 8 bit, skull "
    "still there: the mask is the head's outline shrunk to 0.85, heights are the slices' share of "
    "the stack, on the assumption that a stack covers the brain. Several scanners inside one "
    "institution, so that a profile is of a mixture. The probe sees what is outside the tumour; "
    "lesion contrast is that of medians inside and outside the tumour's mask, after over before, "
    "median over tumours of scans of other institutions. Contrast of tissues is grey over white "
    "matter by a mixture of three normal distributions, minus 1: a scanner that shows less of the "
    "one shows less of the other (contrast_law.json: correlation of the logarithms 0.95 "
    "and more), so that the quotient of both says more than the first alone.",
    "whole scans": "Cited, not measured here: 3-D pairs of one person under two protocols "
    "(small_evidence.json, profile of one other person or two), lesions put into real scans "
    "(lesions_real.json), six vendors (multivendor.json: pairs of people, so a distance of 0 is "
    "not to be expected).",
}


def main() -> None:
    """Measure all sets, or some; every row is kept as soon as it is there."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "--sets", nargs="*", choices=SETS, default=list(SETS),
        help="the rows of others are taken from the folder of work",
    )  # fmt: skip
    parser.add_argument("--voxel-mm", type=float, choices=(1.0, 2.0), default=2.0)
    parser.add_argument("--work", type=Path, default=Path("build/real"))
    options = parser.parse_args()
    if not SLICES.is_dir():
        raise SystemExit("not run: the shared data are not beside the repository")
    options.work.mkdir(parents=True, exist_ok=True)
    for name in options.sets:
        start, rows = time.monotonic(), []
        for row in SETS[name](options.voxel_mm, SEED):
            rows.append(_rounded(row | {"voxel_mm": options.voxel_mm}))
            _keep(options.work, name, rows, start, finished=False)
        _keep(options.work, name, rows, start, finished=True)
    report(options.work)


def _keep(
    work: Path, name: str, rows: list[dict[str, Any]], start: float, *, finished: bool
) -> None:
    part = {
        "minutes": round((time.monotonic() - start) / 60, 1), "finished": finished,
        "load_average": os.getloadavg(),
        **provenance(("torch", "numpy", "scipy", "scikit-learn", "scikit-image")), "rows": rows,
    }  # fmt: skip
    write_atomically(work / f"{name}.json", json.dumps(part, indent=1).encode())


def report(work: Path) -> None:
    """Write the result of all sets that are in the folder of work, with what is cited."""
    files = {name: work / f"{name}.json" for name in SETS}
    parts = {k: json.loads(file.read_text()) for k, file in files.items() if file.is_file()}
    rows = [row for part in parts.values() for row in part.pop("rows")]
    rows += [_rounded(row) for row in cited(RESULTS)]
    record = {
        "name": "real", "command": "python benchmarks/real.py", "seeds": [SEED],
        "made_by": parts, "notes": NOTES, "rows": rows,
    }  # fmt: skip
    (RESULTS / "real.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    text = page(record)
    (RESULTS / "real.md").write_text(text, encoding="utf-8")
    figure(rows, RESULTS / "figures" / "real.png")
    print(text)


def cited(results: Path) -> Iterator[dict[str, Any]]:
    """Rows of other benchmarks' results: whole scans of the same kind of question."""
    common = {"set": "whole scans"}
    evidence = json.loads((results / "small_evidence.json").read_text())["rows"]
    for row in evidence:
        if row["case"].startswith("real: ") and row["method"] != "ihf-before":
            about = common | {
                "modality": row["modality"], "n": 1, "source": "small_evidence.json",
                "target": row["case"].removeprefix("real: "),
            }  # fmt: skip
            yield about | {"method": row["method"], "psnr_db": row["psnr_db"]}
    lesions = json.loads((results / "lesions_real.json").read_text())["rows"]
    for modality in ("T1w", "T2w", "FLAIR"):
        own = [r for r in lesions if r["modality"] == modality and r["method"] == "ihf"]
        yield common | {
            "modality": modality, "method": "ihf", "target": "lesions put in",
            "n": len({r["person"] for r in own}), "source": "lesions_real.json",
            "lesion_contrast_kept": float(np.median([r["signal_kept"] for r in own])),
        }  # fmt: skip
    vendors = json.loads((results / "multivendor.json").read_text())["rows"]
    for method, key in (("none", "wasserstein_before"), ("ihf", "wasserstein_after")):
        yield common | {
            "modality": "T1w", "method": method, "n": len({r["person"] for r in vendors}),
            "target": "six vendors", "source": "multivendor.json",
            "wasserstein": float(np.mean([r[key] for r in vendors])),
        }  # fmt: skip


def page(record: dict[str, Any]) -> str:
    """The result as a page."""
    made = [
        f"{name}: commit {part['commit'][:10]}, {part['date']}, {part['machine']['processor']}, "
        f"{part['minutes']} minutes" + ("" if part["finished"] else ", **not finished**")
        for name, part in record["made_by"].items()
    ]
    lines = [
        "# Real scans of several scanners", "",
        f"`{record['command']}` ({'; '.join(made)}). The shipped model, not trained on any of "
        "these. Research software, not for diagnosis.", "",
        "`none` is before. Site probe: balanced accuracy of the stronger of two classifiers, "
        "trained on the very images of the row (intensities and fine detail), on people it was "
        "not trained on; beside it the same of the mask alone, which no method can change. *Left "
        "as they were*: scans that would have lost contrast, which the program does not "
        "harmonize.", "",
        "![Numbers of the three sets](figures/real.png)", "",
    ]  # fmt: skip
    for name, note in NOTES.items():
        own = [row for row in record["rows"] if row["set"] == name]
        if own:
            lines += [f"## {name}", "", note, "", *_table(own), ""]
    return "\n".join(lines).rstrip() + "\n"


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    extra = {"voxels": "voxels", "wasserstein": "Wasserstein", "note": "note"}
    heads = {k: v for k, v in (_HEADS | extra).items() if any(r.get(k) is not None for r in rows)}
    heads.pop("set", None)
    body = [[_cell(row.get(key), key) for key in heads] for row in rows]
    return markdown(list(heads.values()), body, words=2)


def _cell(value: Any, key: str) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        if key.startswith("anova_p"):
            return f"{value:.2g}"
        return f"{value:.1f}" if key == "psnr_db" else f"{value:.3f}"
    return str(value) or "–"


def _rounded(row: dict[str, Any]) -> dict[str, Any]:
    return {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in row.items()}


def figure(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Bars of the three sets: numbers only."""
    from matplotlib import pyplot as plt

    panels = (
        ("ulf", "rmse", "0.055 T to 3 T: RMSE (4 patients)", "modality"),
        ("ixi", "anova_p", "Three hospitals: p of GM/WM between sites", "modality"),
        ("ixi", "probe_accuracy", "Three hospitals: site probe", "modality"),
        ("lgg", "probe_accuracy", "Four institutions: site probe", "modality"),
    )
    drawn, axes = plt.subplots(2, 2, figsize=(11, 7))
    for (name, key, title, split), axis in zip(panels, axes.flat, strict=True):
        own = [r for r in rows if r["set"] == name and r.get(key) is not None]
        own = [r for r in own if r["modality"] != "T1w/T2w" and not r.get("voxels")]
        series = {
            r["method"] + {"the target scan itself": "*"}.get(r.get("target_known_from"), ""): 0
            for r in own
        }
        groups = list(dict.fromkeys(r[split] for r in own))
        for place, label in enumerate(series):
            method, itself = label.rstrip("*"), label.endswith("*")
            values = [
                [
                    r[key] for r in own
                    if r[split] == group and r["method"] == method
                    and (r.get("target_known_from") == "the target scan itself") == itself
                ]
                for group in groups
            ]  # fmt: skip
            spots = np.arange(len(groups)) + (place - len(series) / 2 + 0.5) * 0.8 / len(series)
            means = [np.mean(v) if v else np.nan for v in values]
            colour = plt.get_cmap("tab20")(place)
            axis.bar(spots, means, 0.75 / len(series), label=label, color=colour)
            for spot, each in zip(spots, values, strict=True):
                axis.plot([spot] * len(each), each, "k.", markersize=3)
        axis.set_xticks(range(len(groups)), groups)
        axis.set_title(title, fontsize=10)
        if key == "anova_p":
            axis.set_yscale("log")
            axis.axhline(0.05, color="k", linewidth=0.7)
        axis.legend(fontsize=6, ncols=5, loc="upper center", bbox_to_anchor=(0.5, -0.08))
    drawn.text(0.01, 0.005, "* the target scan itself is known; points: targets", fontsize=7)
    drawn.tight_layout(rect=(0, 0.02, 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    drawn.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(drawn)


if __name__ == "__main__":
    main()
