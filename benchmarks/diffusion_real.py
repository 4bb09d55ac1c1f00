"""Tensor and NODDI of every real diffusion series, by the adapters that a run uses.

    python benchmarks/diffusion_real.py --work build/diffusion_real

Nothing is harmonized here: it is the state before, and it shows that series of all vendors are
read and fitted. There is no truth; the sheet is to be looked at. Prints the table, writes
``benchmarks/results/diffusion_real.{json,md}`` and a figure.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from anatomies import DATA
from dipy.segment.mask import median_otsu
from measure import provenance
from nipype.interfaces.base import isdefined
from PIL import Image
from travelling_tables import markdown

from bids_harmony.diffusion.gradient_files import read_gradients
from bids_harmony.diffusion.maps import world_directions
from bids_harmony.diffusion.series import mean_b0, open_series
from bids_harmony.interfaces.diffusion_fits import FitNoddi, FitTensor
from bids_harmony.quality.diffusion import diffusion_tissues, map_row, signal_row
from bids_harmony.reports import paper
from bids_harmony.reports.planes import PLANES, Cell, cut, in_ras, voxel_sizes

RESULTS = Path(__file__).resolve().parent / "results"
_COLUMNS = ("mean b=0", "FA", "colour FA", "MD", "NDI", "ODI")
_WINDOWS = {"FA": 0.8, "colour FA": 1.0, "MD": 2e-3, "NDI": 1.0, "ODI": 1.0}
_FIGURES = {
    "fa_wm_median": "FA, white",
    "fa_gm_median": "FA, grey",
    "md_wm_median": "MD, white (µm²/ms)",
    "md_gm_median": "MD, grey (µm²/ms)",
    "ndi_wm_median": "NDI, white",
    "odi_wm_median": "ODI, white",
    "ratio_above_one_share": "S/S0 > 1",
    "negative_share": "S < 0",
}
_LAYOUT = paper.Layout(1.0, 0.04, left=1.2, right=0.1, foot=0.3, heading=(9, 0.1))


def main() -> None:
    """Fit every series."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("build/diffusion_real"))
    options = parser.parse_args()
    found = sorted(DATA.glob("multi*/**/*_dwi.nii.gz"))
    if not found:
        raise SystemExit(f"no diffusion series in {DATA}")
    rows, pictures = [], {}
    for path in found:
        name = path.name.removesuffix("_dwi.nii.gz").removeprefix("sub-")
        row, pictures[name] = _fitted(path, options.work / name)
        rows.append({"series": name} | row)
        print(f"{name:24s} {row['seconds_tensor']:6.1f} s  {row['noddi']}", flush=True)
    _write(rows, pictures)


def _fitted(path: Path, work: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Numbers of one series, and an axial slice of each map."""
    stem = str(path).removesuffix(".nii.gz")
    series = open_series(path)
    gradients = read_gradients(f"{stem}.bval", f"{stem}.bvec", series.shape[3])
    b0 = np.asarray(mean_b0(series, gradients).dataobj)
    inputs = {
        "in_file": str(path),
        "bval_file": f"{stem}.bval",
        "bvec_file": f"{stem}.bvec",
        "mask_file": str(brain_mask_file(path, series, b0, work)),
    }
    maps, seconds, statement = {"mean b=0": b0}, {}, ""
    for kind in (FitTensor, FitNoddi):
        folder = work / kind.__name__
        folder.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        outputs = kind(**inputs).run(cwd=str(folder)).outputs
        seconds[kind] = round(time.perf_counter() - start, 1)
        statement = getattr(outputs, "statement", "")
        if isdefined(outputs.map_files):
            maps |= {Path(f).name.split(".")[0]: _data(f) for f in outputs.map_files}
    fitted = maps["md"] > 0
    tissues = diffusion_tissues(maps["fa"], maps["md"], fitted)
    measured = map_row(maps, {}, tissues)
    measured |= signal_row(series.volumes(), series.volumes(), b0, b0, fitted, gradients)
    sidecar = Path(f"{stem}.json")
    about = json.loads(sidecar.read_text()) if sidecar.is_file() else {}
    row = {
        "vendor": about.get("Manufacturer", ""),
        "model": about.get("ManufacturersModelName", ""),
        "shells": ", ".join(f"b={s.nominal:g} x{len(s.volumes)}" for s in gradients.shells),
        "voxel_mm": [round(float(v), 2) for v in nib.affines.voxel_sizes(series.affine)],
        "fitted_voxels": int(fitted.sum()),
        "white_voxels": int((tissues == 2).sum()),
        **{name: measured[f"{name}_source"] for name in _FIGURES},
        "seconds_tensor": seconds[FitTensor],
        "seconds_noddi": seconds[FitNoddi] if "ndi" in maps else None,
        "noddi": statement,
    }
    maps["v1"] = np.abs(world_directions(maps["v1"], series.affine)) * maps["fa"][..., None]
    return row, _slices(maps, fitted, series.affine)


def brain_mask_file(path: Path, series: Any, b0: np.ndarray, work: Path) -> Path:
    """The brain mask beside a series, or one that is made of its mean b=0."""
    given = Path(str(path).replace("_dwi.nii.gz", "_mask.nii.gz"))
    if given.is_file():
        return given
    work.mkdir(parents=True, exist_ok=True)
    _, brain = median_otsu(b0, median_radius=2, numpass=2)
    nib.save(nib.Nifti1Image(brain.astype(np.uint8), series.affine), work / "mask.nii.gz")
    return work / "mask.nii.gz"


def _data(file: str) -> np.ndarray:
    return nib.load(file).get_fdata(dtype=np.float32)


def _slices(
    maps: dict[str, np.ndarray], fitted: np.ndarray, affine: np.ndarray
) -> dict[str, np.ndarray]:
    """Axial slices where the brain is largest, (up, right) or (up, right, 3)."""
    brain = in_ras(fitted, affine)
    picture = cut(brain, brain, voxel_sizes(affine))
    keys = dict(zip(_COLUMNS, ("mean b=0", "fa", "v1", "md", "ndi", "odi"), strict=True))
    slices = {"voxel": picture.voxel[:2]}
    for column, key in keys.items():
        if key in maps:
            data = in_ras(maps[key], affine)
            parts = data[..., None] if data.ndim == 3 else data
            planes = [picture.plane(parts[..., i], PLANES[0]) for i in range(parts.shape[-1])]
            slices[column] = np.stack(planes, axis=-1).squeeze()
    return slices


def _draw(pictures: dict[str, dict[str, np.ndarray]], path: Path) -> None:
    rows = []
    for slices in pictures.values():
        row: list[Cell | None] = []
        for column in _COLUMNS:
            image = slices.get(column)
            if image is None:
                row.append(None)
                continue
            top = _WINDOWS.get(column) or float(np.percentile(image[image > 0], 98))
            image = np.clip(image, 0, 1) if image.ndim == 3 else image
            pixel = float(slices["voxel"][0]), float(slices["voxel"][1])
            row.append(Cell(image, pixel, paper.grey(top), None if rows else PLANES[0].letters))
        rows.append(row)
    sheet = paper.draw_table(
        rows, _LAYOUT, title="Real diffusion series as they came", headings=_COLUMNS,
        labels=[name.replace("_", "\n") for name in pictures],
    )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
    # A palette is enough, and a third of the file.
    with Image.open(path) as image:
        image.convert("RGB").quantize(256).save(path, optimize=True)


def _write(rows: list[dict[str, Any]], pictures: dict[str, dict[str, np.ndarray]]) -> None:
    figure = RESULTS / "figures" / "diffusion_real.png"
    _draw(pictures, figure)
    body = [
        [r["series"], f"{r['vendor']} {r['model']}", r["shells"],
         *(_cell(name, r[name]) for name in _FIGURES)]
        for r in rows
    ]  # fmt: skip
    table = markdown(["series", "scanner", "shells", *_FIGURES.values()], body, words=3)
    command = "python benchmarks/diffusion_real.py"
    with_noddi = [r["series"] for r in rows if r["seconds_noddi"] is not None]
    lines = [
        "# Tensor and NODDI of real diffusion series", "",
        f"`{command}`: {len(rows)} series as they came, not harmonized and not preprocessed; the "
        "tensor by DIPY (weighted least squares, up to b=1500 s/mm2 where that suffices), NODDI "
        f"by AMICO where there are two shells ({', '.join(with_noddi) or 'none'}). Medians in "
        "white and grey matter as the tensor tells them; the last columns are shares of voxels x "
        "volumes. Research software, not for diagnosis.", "",
        "People, protocols and voxels differ: rows are not to be compared as sites. With few "
        "directions and little signal FA is too high, most of all in grey matter.", "",
        f"![An axial slice of every map](figures/{figure.name})", "", *table,
    ]  # fmt: skip
    (RESULTS / "diffusion_real.md").write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    packages = ("dipy", "dmri-amico", "nibabel", "numpy", "scipy")
    record = {"name": "diffusion_real", "command": command, "seeds": [],
              **provenance(packages), "rows": rows}  # fmt: skip
    (RESULTS / "diffusion_real.json").write_text(json.dumps(record, indent=1) + "\n")
    print("\n".join(table))


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    if name.endswith("share"):
        return f"{100 * value:.2f} %"
    return f"{1000 * value if name.startswith('md') else value:.3f}"


if __name__ == "__main__":
    main()
