"""Time and memory of the level group for a hundred participants with T1w and T2w scans.

    python benchmarks/group_speed.py [--participants N]

Summaries are random but as large as those of 1 mm scans; no image is read, as in a real run
without travelling subjects. The level runs on the command line in a process of its own. Writes
``benchmarks/results/group_speed.json`` and ``.md``. On a machine that is busy with other work,
processor seconds tell more than the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measure import measured_command, provenance

from bids_harmony.bids.naming import summary_path
from bids_harmony.quality.summary import ScanSummary, save_summary

RESULTS = Path(__file__).resolve().parent / "results"
SITES = ("COI", "GE", "PHILIPS", "SIEMENS", "PRISMA")
#: Features of a scan and of its head, and blocks of the change, at 1 mm.
FEATURES, HEAD, CHANGE = 3820, 11554, (46, 55, 46)
AIMS = {"seconds": 120.0, "tree_peak_mib": 2048.0}
SHOWN = (
    ("seconds", "by the clock", "s"),
    ("cpu_seconds", "of a processor", "s"),
    ("tree_peak_mib", "largest memory", "MiB"),
    ("page_kb", "size of the page", "kB"),
)


def main() -> None:
    """Write a cohort, run the level on it, record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--participants", type=int, default=100)
    participants = parser.parse_args().participants
    before = os.getloadavg()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        _write_cohort(root, participants)
        words = (str(root / "bids"), str(root / "out"), "group", "-w", str(root / "work"))
        row = measured_command(*words, log=root / "log.txt")
        page = root / "out" / "group.html"
        row |= {"page_kb": round(page.stat().st_size / 1000)}
    row = {"participants": participants, "scans": 2 * participants, **row}
    for key, aim in AIMS.items():
        row |= {f"aim_{key}": aim, f"{key}_of_aim": round(row[key] / aim, 3)}
    record = {
        "name": "group_speed",
        "command": "python benchmarks/group_speed.py",
        **provenance(("numpy", "pandas", "scikit-learn", "matplotlib")),
        "load_average": {"before": before, "after": os.getloadavg()},
        "seeds": [0],
        "rows": [row],
    }
    (RESULTS / "group_speed.json").write_text(json.dumps(record, indent=2) + "\n")
    table = _table(record)
    (RESULTS / "group_speed.md").write_text(table)
    print(table)


def _table(record: dict[str, Any]) -> str:
    row, machine = record["rows"][0], record["machine"]
    rows = "\n".join(
        f"| {words} | {row[key]:g} {unit} | {f'{AIMS[key]:g} {unit}' if key in AIMS else ''} |"
        for key, words, unit in SHOWN
    )
    load = " and ".join(f"{record['load_average'][when][0]:.1f}" for when in ("before", "after"))
    return f"""# The group page of {row["participants"]} participants

`{record["command"]}`: {row["scans"]} random summaries as large as those of 1 mm scans (T1w and
T2w, {len(SITES)} sites, age and sex), nobody travelled. {machine["cores"]} cores of
{machine["processor"]}; load average {load} (before, after).

| | measured | aim |
| --- | ---: | ---: |
{rows}

Made by `python benchmarks/group_speed.py` from `group_speed.json`, {record["date"]}.
"""


def _write_cohort(root: Path, participants: int) -> None:
    rng = np.random.default_rng(0)
    (root / "bids").mkdir()
    about = {"Name": "speed", "BIDSVersion": "1.9.0"}
    (root / "bids" / "dataset_description.json").write_text(json.dumps(about))
    table = ["participant_id\tage\tsex"]
    for index in range(participants):
        label, site = f"{index + 1:04d}", SITES[index % len(SITES)]
        table.append(f"sub-{label}\t{rng.integers(20, 80)}\t{'FM'[index % 2]}")
        (root / "bids" / f"sub-{label}" / "anat").mkdir(parents=True)
        for suffix in ("T1w", "T2w"):
            _write_output(root, label, site, suffix, rng)
    (root / "bids" / "participants.tsv").write_text("\n".join(table) + "\n")


def _write_output(
    root: Path, label: str, site: str, suffix: str, rng: np.random.Generator
) -> None:
    image = (
        root / "out" / f"sub-{label}" / "anat" / f"sub-{label}_desc-harmonizedCOI_{suffix}.nii.gz"
    )
    image.parent.mkdir(parents=True, exist_ok=True)
    image.touch()
    sidecar = {
        "Sources": [f"bids:raw:sub-{label}/anat/sub-{label}_{suffix}.nii.gz"],
        "HarmonizationMethod": "ihf",
        "HarmonizationTarget": "COI",
        "HarmonizationSource": {"Site": site},
        "HarmonizationQuality": {"same_site": site == "COI"},
    }
    image.with_name(image.name.replace(".nii.gz", ".json")).write_text(json.dumps(sidecar))
    shift = 0.02 * SITES.index(site)
    quantiles = np.sort(rng.uniform(0, 1, (2, 4, 101)), axis=2)
    quantiles[0] += shift
    path = summary_path(image)
    path.parent.mkdir(parents=True, exist_ok=True)
    summary = ScanSummary(
        quantiles=quantiles.astype(np.float32),
        target_quantiles=np.linspace(0, 1, 101, dtype=np.float32),
        features=(rng.normal(size=(4, FEATURES)) + shift).astype(np.float32),
        head=rng.normal(size=HEAD).astype(np.float16),
        detail=rng.normal(-3, 0.1, 2).astype(np.float32),
        change=rng.normal(0, 0.05, CHANGE).astype(np.float16),
        voxel_mm=1.0,
    )
    save_summary(path, summary)


if __name__ == "__main__":
    main()
