"""What a cohort of a thousand people costs before anything is harmonized: planning its jobs.

    python benchmarks/scale.py [--subjects N]

A BIDS dataset of tiny images is made in a temporary folder: ten sites, T1w and T2w with sidecars,
every tenth person with two sessions. Measured on the command line, each in a process of its own:
the plan (``--dry-run``) of one person's job whose target site belongs to others, the plan of the
whole, and ``--write-slurm``. Results go to ``benchmarks/results/scale.json``. The load average
stands beside them: on a machine that is busy with other work, processor seconds tell more.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measure import measured_command, provenance

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "scale.json"
SITES = tuple(f"HOSPITAL{n:02d}" for n in range(10))
# The last site: its people come last, which is the hard case for a job that looks for them.
TARGET = SITES[-1]
AIMS = {"one": 30.0, "whole": 60.0}
PACKAGES = ("pybids", "nibabel", "numpy")


def people(subjects: int) -> Iterator[tuple[str, str, tuple[str | None, ...]]]:
    """Label, site and sessions of every person."""
    for number in range(subjects):
        site = SITES[number * len(SITES) // subjects]
        sessions = ("1", "2") if number % 10 == 0 else (None,)
        yield f"{number + 1:04d}", site, sessions


def make_dataset(root: Path, subjects: int, *, table: bool) -> int:
    """Write the dataset; gives the number of scans.

    `table` puts the sites into ``participants.tsv``, too; otherwise only sidecars tell them.
    """
    import nibabel as nib
    import numpy as np

    root.mkdir(parents=True)
    image = nib.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, root.parent / "image.nii.gz")
    voxels = (root.parent / "image.nii.gz").read_bytes()
    description = {"Name": "scale", "BIDSVersion": "1.10.0", "DatasetType": "raw"}
    (root / "dataset_description.json").write_text(json.dumps(description))
    (root / "README").write_text("A skeleton of a cohort, for measuring.\n")
    rows, scans = [], 0
    for label, site, sessions in people(subjects):
        rows.append(f"sub-{label}\t{site}" if table else f"sub-{label}\t40")
        for session in sessions:
            name = f"sub-{label}" + (f"_ses-{session}" if session else "")
            folder = root.joinpath(*name.split("_"), "anat")
            folder.mkdir(parents=True)
            for modality in ("T1w", "T2w"):
                (folder / f"{name}_{modality}.nii.gz").write_bytes(voxels)
                sidecar = {"InstitutionName": site, "Manufacturer": "Siemens", "EchoTime": 0.003}
                (folder / f"{name}_{modality}.json").write_text(json.dumps(sidecar))
                scans += 1
    head = "participant_id\tsite" if table else "participant_id\tage"
    (root / "participants.tsv").write_text("\n".join([head, *rows]) + "\n")
    return scans


def measure_plans(folder: Path, subjects: int) -> list[dict[str, Any]]:
    """Plans of one person's job and of the whole, for both ways to tell a site."""
    rows = []
    for told_by in ("sidecars", "participants.tsv"):
        bids = folder / told_by / "bids"
        scans = make_dataset(bids, subjects, table=told_by == "participants.tsv")
        words = [str(bids), str(folder / "out"), "participant", "--target-site", TARGET]
        words += ["-w", str(folder / "work")]
        for name, more in (
            ("one", ["--participant-label", "0001", "--dry-run"]),
            ("whole", ["--dry-run"]),
            ("slurm", ["--write-slurm", str(folder / told_by / "slurm")]),
        ):
            row: dict[str, Any] = {"variant": name, "sites_told_by": told_by}
            row |= {"subjects": subjects, "scans": scans}
            row |= measured_command(*words, *more, log=folder / "log.txt")
            if name in AIMS:
                row |= {"aim_seconds": AIMS[name], "ratio": round(row["seconds"] / AIMS[name], 3)}
            took = f"{row['seconds']:6.1f} s, {row['cpu_seconds']:6.1f} s of a processor"
            print(f"{name:6s} {told_by:18s} {took}", flush=True)
            rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--subjects", type=int, default=1000)
    options = parser.parse_args()
    before = os.getloadavg()
    with tempfile.TemporaryDirectory() as name:
        rows = measure_plans(Path(name), options.subjects)
    result = {
        "name": "scale",
        "command": "python benchmarks/scale.py",
        **provenance(PACKAGES),
        "load_average": {"before": before, "after": os.getloadavg()},
        "seeds": [],
        "rows": rows,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
