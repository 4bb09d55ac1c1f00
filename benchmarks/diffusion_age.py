"""Is the effect of age on diffusion maps kept when series are harmonized?

    python benchmarks/diffusion_age.py        after benchmarks/diffusion.py, whose cohort it uses

Thirty simulated people of 20 to 75 years, five at each of six sites; their neurite density falls
with age. Each series is harmonized to the target. Slopes of white-matter medians on age, within
sites, before and after, with the confidence interval of their ratio.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from diffusion import RESULTS, ROOT, SITES, harmonized_voxels, load_profiles
from diffusion_cohort import TARGET, Scan, ages, bank_scans, simulate
from measure import provenance
from tqdm import tqdm

from bids_harmony.diffusion.noddi import fit_noddi, noddi_possible
from bids_harmony.diffusion.tensor import fit_tensor
from bids_harmony.quality.effects_kept import effect_kept

#: NODDI is fitted to so many voxels of white matter.
NODDI_VOXELS = 3000


def main() -> None:
    """Harmonize everyone, fit, regress."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "diffusion")
    parser.add_argument("--result", type=Path, default=RESULTS / "diffusion_age.json")
    options = parser.parse_args()
    simulate(options.folder / "scans")
    harmonizer, looks = load_profiles(options.folder, (TARGET, *SITES))
    known, people = ages(), []
    scans = [s for site in SITES for s in bank_scans(options.folder / "scans", site)]
    for scan in tqdm(scans, "people", disable=None):
        after = harmonized_voxels(scan, harmonizer, looks[scan.site], looks[TARGET], "rish")
        person: dict[str, Any] = {"site": scan.site, "age": known[scan.label]}
        people.append(person | _medians(scan, after))
    rows = [_kept(name, people) for name in ("ndi", "odi", "fa", "md")]
    record = {"name": "diffusion_age", "command": "python benchmarks/diffusion_age.py"}
    record |= {"table": rows, "people": people} | provenance(("numpy", "dipy", "dmri-amico"))
    options.result.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    lines = [
        "# Effect of age on white-matter medians, before and after harmonization",
        "",
        f"`{record['command']}`. Slopes within sites; MD in 1e-3 mm2/s.",
        "",
        "| map | people | slope before, 1/year | after | ratio | 95 % interval |",
        "|---|---:|---:|---:|---:|---|",
    ]
    for row in rows:
        ends = ["any" if end is None else f"{end:.3f}" for end in row["interval"]]
        lines.append(
            f"| {row['map']} | {row['people']} | {row['before']:.2e} | {row['after']:.2e} "
            f"| {row['ratio']:.3f} | {' to '.join(ends)} |"
        )
    options.result.with_suffix(".md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))


def _medians(scan: Scan, after: np.ndarray) -> dict[str, float]:
    """Medians before and after in the same voxels, white by the series as it came."""
    states = {"before": scan.voxels(), "after": after}
    inside = np.ones((len(after), 1, 1), bool)
    maps = {s: fit_tensor(v[:, None, None], inside, scan.gradients) for s, v in states.items()}
    fa, md = maps["before"].fa.ravel(), maps["before"].md.ravel()
    white = np.flatnonzero((fa > 0.4) & (md > 0.3e-3) & (md < 1.1e-3))
    found = {}
    for state, fit in maps.items():
        found[f"fa_{state}"] = float(np.median(fit.fa.ravel()[white]))
        found[f"md_{state}"] = float(np.median(fit.md.ravel()[white])) * 1e3
    if noddi_possible(scan.gradients)[0]:
        some = white[:: max(1, len(white) // NODDI_VOXELS)]
        for state, voxels in states.items():
            with tempfile.TemporaryDirectory() as folder:
                part = voxels[some][:, None, None]
                fit = fit_noddi(part, np.ones(part.shape[:3], bool), scan.gradients, Path(folder))
            found[f"ndi_{state}"] = float(np.median(fit.ndi))
            found[f"odi_{state}"] = float(np.median(fit.odi))
    return found


def _kept(name: str, people: list[dict[str, Any]]) -> dict[str, Any]:
    own = [p for p in people if f"{name}_before" in p]
    columns = [[p[key] for p in own] for key in ("age", f"{name}_before", f"{name}_after")]
    effect = effect_kept(*columns, sites=[p["site"] for p in own])
    return {
        "map": name, "people": len(own), "before": effect.slope_before,
        "after": effect.slope_after, "ratio": effect.ratio,
        "interval": [b if np.isfinite(b) else None for b in (effect.low, effect.high)],
    }  # fmt: skip


if __name__ == "__main__":
    main()
