"""Tensor maps beside those of MRtrix3, on simulated and on real series.

    python benchmarks/diffusion_others.py --work build/diffusion_others

Needs MRtrix3 (Debian: `apt-get install mrtrix3`). Simulated: known tensors on oblique grids of
either determinant, without noise, where any fit gives the same, and with noise. Prints the table,
writes ``benchmarks/results/diffusion_others.{json,md}``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from anatomies import DATA
from diffusion_real import brain_mask_file
from measure import provenance
from travelling_tables import markdown

from bids_harmony.diffusion.gradient_files import read_gradients
from bids_harmony.diffusion.maps import world_directions
from bids_harmony.diffusion.series import mean_b0, open_series
from bids_harmony.interfaces.diffusion_fits import FitTensor
from bids_harmony.quality.diffusion import angle_between
from lab.tensor_field import (
    make_tensor_field,
    mrtrix_maps,
    mrtrix_missing,
    mrtrix_version,
    oblique_affine,
    write_tensor_series,
)

RESULTS = Path(__file__).resolve().parent / "results"
SEED, SHAPE = 20, (12, 11, 10)
GRIDS = ("RAS", "ASR", "LAS", "PSR")
NOISE = (0.0, 0.02, 0.05)
#: MRtrix3's own weights, and those that start as DIPY's do.
WEIGHTS = {"default": (), "-ols": ("-ols",)}
LEAST_FA = 0.2
Array = np.ndarray


def main() -> None:
    """Compare everything."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("build/diffusion_others"))
    options = parser.parse_args()
    if mrtrix_missing():
        raise SystemExit(mrtrix_missing())
    rows = [*_simulated(options.work), *_real(options.work)]
    _write(rows)


def _simulated(work: Path) -> Iterator[dict[str, Any]]:
    for codes in GRIDS:
        affine = oblique_affine(codes)
        for noise in NOISE:
            rng = np.random.default_rng(SEED)
            field = make_tensor_field(SHAPE, rng)
            folder = work / f"{codes}_{noise:g}"
            files = write_tensor_series(folder, field, affine, rng, noise=noise)
            about = {"series": "simulated", "axes": codes, "noise": noise}
            where = np.ones(SHAPE, bool)
            yield from _compared(files, folder, about, where, field.maps)


def _real(work: Path) -> Iterator[dict[str, Any]]:
    """Series of one shell: of several, MRtrix3 takes all, and ours those up to 1500 s/mm2."""
    for path in sorted(DATA.glob("multivendor/**/*_dwi.nii.gz")):
        stem = str(path).removesuffix(".nii.gz")
        name = path.name.removesuffix("_dwi.nii.gz").removeprefix("sub-")
        series = open_series(path)
        gradients = read_gradients(f"{stem}.bval", f"{stem}.bvec", series.shape[3])
        if len(gradients.shells) > 1:
            continue
        folder = work / name
        b0 = np.asarray(mean_b0(series, gradients).dataobj)
        mask = brain_mask_file(path, series, b0, folder)
        kinds = {"in": path, "bval": f"{stem}.bval", "bvec": f"{stem}.bvec", "mask": mask}
        files = {f"{kind}_file": str(file) for kind, file in kinds.items()}
        # A signal of zero is left out here, and raised to a millionth of the brightest there.
        whole = (series.signal(...) > 0).all(axis=-1) & (np.asarray(nib.load(mask).dataobj) > 0)
        axes = "".join(nib.aff2axcodes(series.affine))
        yield from _compared(files, folder, {"series": name, "axes": axes}, whole, None)


def _compared(
    files: dict[str, str],
    folder: Path,
    about: dict[str, Any],
    where: Array,
    truth: dict[str, Array] | None,
) -> Iterator[dict[str, Any]]:
    outputs = FitTensor(**files).run(cwd=str(folder)).outputs
    ours = {name: _data(getattr(outputs, name))[where] for name in ("fa", "md", "v1")}
    affine = nib.load(files["in_file"]).affine
    world = world_directions(ours["v1"], affine)
    sign = "positive" if np.linalg.det(affine[:3, :3]) > 0 else "negative"
    for name, options in WEIGHTS.items():
        theirs = {k: v[where] for k, v in mrtrix_maps(files, folder, options).items()}
        # Directions of tensors that are nearly round mean little, in either program.
        clear = theirs["fa"] > LEAST_FA
        angle = angle_between(world, theirs["v1"])[clear]
        unturned = angle_between(ours["v1"], theirs["v1"])[clear]
        fa, md = ours["fa"] - theirs["fa"], ours["md"] / theirs["md"] - 1
        row = about | {
            "determinant": sign,
            "mrtrix_weights": name,
            "voxels": int(where.sum()),
            **_spread("fa", np.abs(fa)),
            **_spread("md_relative", np.abs(md[np.isfinite(md)])),
            **_spread("v1_degrees", angle),
            "v1_unturned_degrees_median": float(np.median(unturned)),
        }
        if truth is not None:
            error = angle_between(world, truth["v1"][where])
            row |= {
                "fa_error_rms": float(
                    np.sqrt(np.mean(np.square(ours["fa"] - truth["fa"][where])))
                ),
                "v1_error_degrees_max": float(error.max()),
            }
        print(json.dumps(row), flush=True)
        yield row


def _spread(name: str, values: Array) -> dict[str, float]:
    return {
        f"{name}_median": float(np.median(values)),
        f"{name}_p99": float(np.percentile(values, 99)),
        f"{name}_max": float(values.max()),
    }


def _data(file: str) -> Array:
    return nib.load(file).get_fdata()


def _write(rows: list[dict[str, Any]]) -> None:
    command = "python benchmarks/diffusion_others.py"
    record = {"name": "diffusion_others", "command": command, "seeds": [SEED],
              **provenance(("dipy", "nibabel", "numpy", "scipy"))}  # fmt: skip
    record["versions"]["mrtrix3"] = mrtrix_version()
    record["rows"] = rows
    headings = ["series", "axes", "determinant", "noise", "FA: median", "99 %", "MD, %: median",
                "99 %", "V1, degrees: median", "99 %", "unturned"]  # fmt: skip
    shown = [_cells(row) for row in rows if row["mrtrix_weights"] == "default"]
    table = markdown(headings, shown, words=4)
    lines = [
        "# Tensor maps beside those of MRtrix3", "",
        f"`{command}`: MRtrix3 {mrtrix_version()} (`dwi2tensor`, `tensor2metric`) and the maps "
        f"that a run writes (DIPY {record['versions']['dipy']}, weighted least squares); absolute "
        f"differences over voxels, seed {SEED}. Simulated: tensors of which all is known, 30 "
        "directions at b=1000 s/mm2, on grids turned about three axes; noise as a share of the "
        "signal at b=0. Real: series of one shell, one person each, voxels of the brain with "
        "signal in all volumes. Axes are those of the voxels. Research software, not for "
        "diagnosis.", "",
        "With noise the two weigh differently: MRtrix3 by the measured signals and then twice by "
        "the fitted ones, DIPY once, after a fit with equal weights. No option makes MRtrix3 do "
        "the same; rows with `-ols`, where it starts as DIPY does, are in the JSON file. "
        "Without noise the weights do not matter. Directions are compared where "
        f"MRtrix3's FA exceeds {LEAST_FA}. `unturned`: median angle where V1 is read as if "
        "it were in MRtrix3's frame.", "", *table,
    ]  # fmt: skip
    (RESULTS / "diffusion_others.md").write_text("\n".join(lines).rstrip() + "\n")
    (RESULTS / "diffusion_others.json").write_text(json.dumps(record, indent=1) + "\n")
    print("\n".join(table))


def _cells(row: dict[str, Any]) -> list[str]:
    def spread(name: str, factor: float = 1.0) -> list[str]:
        return [f"{factor * row[f'{name}_{end}']:.2g}" for end in ("median", "p99")]

    return [
        row["series"], row["axes"], row["determinant"],
        f"{row['noise']:g}" if "noise" in row else "–",
        *spread("fa"), *spread("md_relative", 100), *spread("v1_degrees"),
        f"{row['v1_unturned_degrees_median']:.0f}",
    ]  # fmt: skip


if __name__ == "__main__":
    main()
