"""Sessions of one person in one space, beside each session by itself.

    python benchmarks/longitudinal.py --people 6

Simulated people are scanned twice, in two poses: at one scanner, and at two. Each session is
registered to the template by itself, or with the other one as ``--longitudinal`` does it. The
person has not changed: whatever differs between the sessions is the scanner's, or the
registration's. Rows are means over people, in percent: how much one transform stretches the brain
in some direction against the other, how much it makes it larger or smaller, and how much the
volumes of tissues differ between the sessions.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from bids_harmony.api import simulation
from bids_harmony.imaging.mask import brain_mask
from bids_harmony.imaging.prepared import prepare
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.registration import register_to_reference
from bids_harmony.imaging.tissues import segment_coarsely
from bids_harmony.imaging.volume import from_image
from bids_harmony.imaging.within_person import share_space
from bids_harmony.quality.summarize_scan import tissue_volumes

RESULT = Path(__file__).with_name("results") / "longitudinal.json"
SITES = ("COI", "GE")
MM = 2.0


def sessions(person: int, scanners: tuple[str, str]) -> list[tuple[Any, Any]]:
    """Two scans of a person with their masks."""
    found = []
    for scan, scanner in enumerate(scanners):
        image = simulation.simulate(person, scanner, scan=scan, voxel_scale=MM)
        volume = from_image(image)
        found.append((volume, brain_mask(volume)))
    return found


def measures(scans: list[tuple[Any, Any]], worlds: list[np.ndarray]) -> dict[str, float]:
    """What differs between the two, in percent and mm."""
    volumes, sizes = [], []
    for (volume, mask), world in zip(scans, worlds, strict=True):
        prepared = prepare(volume, mask, world, reference_grid(MM))
        sizes.append(float(np.linalg.det(world[:3, :3])))
        seen = segment_coarsely(prepared.data, prepared.mask, MM, 1)
        volumes.append(tissue_volumes(seen, MM, sizes[-1]))
    step = (np.linalg.inv(worlds[1]) @ worlds[0])[:3, :3]
    stretch = np.linalg.svd(step)[1]
    ratios = 100 * np.abs(np.log(volumes[1] / volumes[0]))
    return {
        "stretch_percent": float(100 * np.abs(np.log(stretch)).max()),
        "size_percent": float(100 * abs(np.log(sizes[1] / sizes[0]))),
        **dict(zip(("gm_percent", "wm_percent", "csf_percent"), map(float, ratios), strict=True)),
    }


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=6)
    asked = parser.parse_args()
    rows = []
    for case, scanners in (("one scanner", SITES[:1] * 2), ("two scanners", SITES)):
        found: dict[str, list[dict[str, float]]] = {"alone": [], "together": []}
        for person in range(1, asked.people + 1):
            scans = sessions(person, scanners)  # type: ignore[arg-type]
            alone = [register_to_reference(v, m, modality="T1w").world for v, m in scans]
            shared = share_space(scans, modality="T1w")
            found["alone"].append(measures(scans, alone))
            found["together"].append(measures(scans, list(shared.worlds)))
        for how, own in found.items():
            mean = {key: round(float(np.mean([m[key] for m in own])), 3) for key in own[0]}
            rows.append({"sessions": case, "registered": how, "people": asked.people, **mean})
            print(rows[-1], flush=True)
    RESULT.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
