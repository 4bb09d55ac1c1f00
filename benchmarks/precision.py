"""What coarser convolutions would cost the harmonized image: single precision, TF32, bf16.

    python benchmarks/precision.py

Takes two real scans of 1 mm to each other with the shipped model, once as it is and
once with the inputs and weights of every 3 x 3 convolution of the flow rounded to the mantissa
that a graphics card's faster units multiply with (sums stay in float32, couplings, statistics and
modulation too). Differences are shares of the range of prepared scans, [0, 1]. Results go to
``benchmarks/results/precision.json``, with a Markdown table beside it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from measure import made_by, provenance

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT.parent / "shared" / "data" / "multivendor"
RESULT = ROOT / "benchmarks" / "results" / "precision.json"
SITES = ("philips01", "uih01")
#: Bits of the mantissa after the first, which is not stored; float32 has 23.
FORMS = {"float32": 23, "TF32 (float16 in its range)": 10, "bf16": 7}
WITHIN = 1e-4
"""What the processor's result and a card's may differ by."""
PACKAGES = ("torch", "numpy", "antspyx", "deepbet")


def rounded(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Float32 to the nearest number with so many bits of mantissa, ties to even."""
    dropped = 23 - bits
    if not dropped:
        return values
    whole = values.contiguous().view(torch.int32)
    last_kept = (whole >> dropped) & 1
    whole = whole + ((1 << (dropped - 1)) - 1) + last_kept
    return (whole & -(1 << dropped)).view(torch.float32)


@contextmanager
def convolutions_in(bits: int) -> Iterator[None]:
    """Round what 3 x 3 convolutions multiply; products with 1 x 1 weights are no cost."""
    exact = torch.nn.functional.conv2d

    def coarse(x: torch.Tensor, weight: torch.Tensor, *rest: Any, **more: Any) -> torch.Tensor:
        if weight.shape[-1] == 3:
            x, weight = rounded(x, bits), rounded(weight, bits)
        return exact(x, weight, *rest, **more)

    with patch("torch.nn.functional.conv2d", coarse):
        yield


def prepared_scans(grid: Any) -> dict[str, Any]:
    """The scans on the reference grid."""
    from bids_harmony.imaging.mask import brain_mask
    from bids_harmony.imaging.prepared import prepare
    from bids_harmony.imaging.registration import register_to_reference
    from bids_harmony.imaging.volume import read_volume

    scans = {}
    for site in SITES:
        volume = read_volume(DATA / f"sub-{site}" / "anat" / f"sub-{site}_T1w.nii.gz")
        mask = brain_mask(volume)
        world = register_to_reference(volume, mask, modality="T1w").world
        scans[site] = prepare(volume, mask, world, grid)
    return scans


def differences() -> list[dict[str, Any]]:
    """One row for each scan and form."""
    from bids_harmony.imaging.reference import reference_grid
    from bids_harmony.methods.conditioned import change_volume, condition_scan
    from bids_harmony.methods.ihf import IHF
    from bids_harmony.model.shipped import SHIPPED_MODEL
    from bids_harmony.sites.image_profile import build_profile
    from bids_harmony.sites.profile_cache import ProfileCache

    model = IHF(SHIPPED_MODEL, ProfileCache(ROOT / "build" / "none", 1.0))
    scans = prepared_scans(reference_grid(model.voxel_mm))
    cells = model.network.config.aan.grid
    profiles = {
        site: build_profile(
            site, "T1w", [(site, scan.data, scan.mask, scan.scale)], model.encoder,
            cells=cells, voxel_mm=model.voxel_mm,
        )
        for site, scan in scans.items()
    }  # fmt: skip
    rows = []
    for source, target in (SITES, SITES[::-1]):
        scan = scans[source]
        given = condition_scan(
            scan.data, scan.mask, profiles[source], profiles[target], voxel_mm=model.voxel_mm,
            config=model.network.config, use_closed_form=model.use_closed_form,
        )  # fmt: skip
        exact = None
        for form, bits in FORMS.items():
            with convolutions_in(bits):
                change = change_volume(model.members, given)[scan.mask]
            exact = change if exact is None else exact
            off = np.abs(change - exact)
            rows.append(
                {
                    "scan": f"{source} to {target}",
                    "convolutions": form,
                    "largest": float(off.max()),
                    "rms": float(np.sqrt(np.mean(off.astype(np.float64) ** 2))),
                    "voxels_beyond": float(np.mean(off > WITHIN)),
                    "rms_change": float(np.sqrt(np.mean(change.astype(np.float64) ** 2))),
                }
            )
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    before, rows = os.getloadavg(), differences()
    result = {
        "name": "precision",
        "command": "python benchmarks/precision.py",
        **provenance(PACKAGES),
        "seeds": [0],
        "within": WITHIN,
        "load_average": {"before": before, "after": os.getloadavg()},
        "rows": rows,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    lines = [
        "# precision",
        "",
        made_by(result),
        "",
        f"| scan | convolutions | largest | RMS | voxels beyond {WITHIN:g} | RMS of the change |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for row in result["rows"]:
        lines.append(
            f"| {row['scan']} | {row['convolutions']} | {row['largest']:.1e} | {row['rms']:.1e} "
            f"| {100 * row['voxels_beyond']:.2g} % | {row['rms_change']:.1e} |"
        )
    RESULT.with_suffix(".md").write_text("\n".join(lines) + "\n")
    print(RESULT.with_suffix(".md").read_text())


if __name__ == "__main__":
    main()
