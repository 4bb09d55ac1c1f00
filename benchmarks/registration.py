"""How far a registration misses, and what it costs: schedules beside each other.

    python benchmarks/registration.py [--phantoms 3] [--scans 2]

Phantoms are the template's own brain under affine transforms that are known (rotations to 15
degrees, shifts to 12 mm, stretches to 8 %, shears to 4 %), with another contrast, receive field
and noise, on a grid of 1 mm. The error is the distance between where the found and the true
transform put a point, over all points of the brain on a lattice of 4 mm (target registration
error). Real scans have no truth: there the distance is that to the first schedule. One thread, as
in the program. Results go to ``benchmarks/results/registration.json`` and a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from measure import made_by, provenance
from participant import DATA

from bids_harmony.imaging import registration
from bids_harmony.imaging.linear import COARSE, SLOPPY, Schedule
from bids_harmony.imaging.mask import BrainMask, brain_mask
from bids_harmony.imaging.reference import reference_grid, reference_mask, reference_t1w
from bids_harmony.imaging.resampling import resample_from_grid
from bids_harmony.imaging.volume import Volume, read_volume

RESULT = Path(__file__).resolve().parent / "results" / "registration.json"
SEED = 7
_EIGHT = Schedule((200,), (4,), (2,), 0.25)
_LEVELS, _SMOOTHING = (4, 3, 2, 1), (2, 1, 1, 0)
SCHEDULES: dict[str, tuple[Schedule, Schedule]] = {
    "four times the samples and twice the steps of 2 mm": (
        COARSE, Schedule((400, 200, 100, 50), _LEVELS, _SMOOTHING, 0.4),
    ),
    "2 mm, 20 steps there": (COARSE, Schedule((200, 100, 50, 20), _LEVELS, _SMOOTHING, 0.1)),
    "2 mm, 10 steps": (COARSE, Schedule((200, 100, 50, 10), _LEVELS, _SMOOTHING, 0.1)),
    "2 mm, 20 steps, half of the samples": (
        COARSE, Schedule((200, 100, 50, 20), _LEVELS, _SMOOTHING, 0.05),
    ),
    "2 mm, 20 steps; rigid at 8 mm only": (
        _EIGHT, Schedule((200, 100, 50, 20), _LEVELS, _SMOOTHING, 0.1),
    ),
    "2 mm, 10 steps; rigid at 8 mm only": (
        _EIGHT, Schedule((200, 100, 50, 10), _LEVELS, _SMOOTHING, 0.1),
    ),
    "8 and 2 mm, 20 steps; rigid at 8 mm only": (
        _EIGHT, Schedule((200, 20), (4, 1), (2, 0), 0.1),
    ),
    "4 mm": (COARSE, Schedule((200, 100, 50), (4, 3, 2), (2, 1, 1), 0.1)),
    "4 mm, 2.5 times the samples": (
        COARSE, Schedule((200, 100, 50), (4, 3, 2), (2, 1, 1), 0.25),
    ),
    "6 mm (--sloppy)": (SLOPPY, SLOPPY),
}  # fmt: skip


def phantom(rng: np.random.Generator) -> tuple[Volume, BrainMask, np.ndarray]:
    """The template's brain elsewhere: volume, mask, and the true world matrix to the template."""
    from scipy.spatial.transform import Rotation

    true = np.eye(4)
    turned = Rotation.from_euler("xyz", rng.uniform(-15, 15, 3), degrees=True).as_matrix()
    stretched = np.diag(1 + rng.uniform(-0.08, 0.08, 3))
    stretched[np.triu_indices(3, 1)] = rng.uniform(-0.04, 0.04, 3)
    true[:3, :3] = turned @ stretched
    grid = reference_grid(1.0)
    middle = grid.affine[:3, :3] @ (np.array(grid.shape) / 2) + grid.affine[:3, 3]
    true[:3, 3] = middle - true[:3, :3] @ (middle + rng.uniform(-12, 12, 3))
    shape = (200, 230, 200)
    affine = np.eye(4)
    affine[:3, 3] = middle - np.array(shape) / 2
    brain = resample_from_grid(reference_mask(grid), grid, true, affine, shape) >= 0.5
    data = resample_from_grid(reference_t1w(grid), grid, true, affine, shape, order=1)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    slopes = rng.uniform(-0.3, 0.3, 4)
    field = np.exp(slopes[0] * x + slopes[1] * y + slopes[2] * z + slopes[3] * (x**2 + y**2))
    data = np.clip(data, 0, None) ** rng.uniform(0.6, 1.6) * field
    data = np.hypot(data + 0.03 * rng.standard_normal(shape), 0.03 * rng.standard_normal(shape))
    stored = (1000 * data * brain).astype(np.float32)
    volume = Volume(stored, affine, nib.Nifti1Image(stored, affine), None)
    return volume, BrainMask(brain, "given"), true


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--phantoms", type=int, default=3)
    parser.add_argument("--scans", type=int, default=2)
    parser.add_argument("--table-only", action="store_true", help="from the stored JSON")
    options = parser.parse_args()
    if not options.table_only:
        measure(options.phantoms, options.scans)
    text = table(json.loads(RESULT.read_text()))
    RESULT.with_suffix(".md").write_text(text)
    print(text)


def measure(n_phantoms: int, n_scans: int) -> None:
    """Register all of them with every schedule."""
    before, rng = os.getloadavg(), np.random.default_rng(SEED)
    cases: list[tuple[str, Volume, BrainMask, np.ndarray | None]] = []
    for number in range(n_phantoms):
        cases.append((f"phantom {number + 1}", *phantom(rng)))
    for path in sorted(DATA.glob("sub-*/anat/*_T1w.nii.gz"))[:n_scans]:
        volume = read_volume(path)
        cases.append((path.name, volume, brain_mask(volume), None))
    rows = []
    for name, volume, mask, true in cases:
        goal = true
        for title, (rigid, affine) in SCHEDULES.items():
            registration.COARSE, registration.FINE = rigid, affine
            start = time.process_time()
            found = registration.register_to_reference(volume, mask, modality="T1w").world
            seconds = time.process_time() - start
            if goal is None:
                goal = found
            distances = target_errors(found, goal)
            rows.append(
                {
                    "case": name,
                    "truth": "known" if true is not None else "the first schedule",
                    "schedule": title,
                    "cpu_seconds": round(seconds, 2),
                    "mean_mm": round(float(distances.mean()), 3),
                    "largest_mm": round(float(distances.max()), 3),
                }
            )
            print(rows[-1], flush=True)
    record = {
        "name": "registration",
        "command": "python benchmarks/registration.py",
        "phantoms": n_phantoms,
        "scans": n_scans,
        **provenance(("antspyx", "numpy", "scipy")),
        "load_average": {"before": before, "after": os.getloadavg()},
        "seeds": [SEED],
        "rows": rows,
    }
    RESULT.write_text(json.dumps(record, indent=1) + "\n")


def target_errors(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Distances in mm of the template's brain between two transforms into its space."""
    grid = reference_grid(4.0)
    points = np.argwhere(reference_mask(grid)) @ grid.affine[:3, :3].T + grid.affine[:3, 3]
    # Where both transforms come from, each true point has one native place.
    both = found @ np.linalg.inv(true)
    return np.linalg.norm(points @ both[:3, :3].T + both[:3, 3] - points, axis=1)


def table(record: dict[str, Any]) -> str:
    """Markdown: each schedule, means over phantoms and over scans."""
    lines = [
        "# registration",
        "",
        made_by(record),
        "",
        "Error in mm of the brain: the mean over cases, and the worst point of all of them.",
        "",
        "| affine down to | CPU s | phantoms | worst | scans, to the first row | worst |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for title in SCHEDULES:
        own = [row for row in record["rows"] if row["schedule"] == title]
        cells = [f"{np.median([row['cpu_seconds'] for row in own]):.1f}"]
        for truth in ("known", "the first schedule"):
            rows = [row for row in own if row["truth"] == truth]
            cells.append(f"{np.mean([row['mean_mm'] for row in rows]):.2f}" if rows else "")
            cells.append(f"{max(row['largest_mm'] for row in rows):.2f}" if rows else "")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
