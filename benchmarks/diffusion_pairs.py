"""Real series of one person, taken twice: FA and MD before and after harmonizing one to the other.

    python benchmarks/diffusion_pairs.py --work build/diffusion_pairs

A Canon scanner before and after its change of software, and a Siemens scanner with either phase
encoding. Each way by a whole run of the program. Either site is shown by the person's own scan
there and by no other: the best case that there can be. Prints the table, writes
``benchmarks/results/diffusion_pairs.{json,md}`` and a figure.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from anatomies import DATA
from diffusion_pairs_report import axial_slices, write_report
from dipy.core.gradients import gradient_table
from dipy.reconst.dti import TensorModel
from measure import measured_command, provenance
from nibabel.processing import resample_from_to
from scipy import linalg

from bids_harmony.diffusion.features import b0_volume
from bids_harmony.diffusion.gradient_files import read_gradients
from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.series import Series, open_series
from bids_harmony.diffusion.tensor import fit_tensor
from bids_harmony.imaging.mask import read_brain
from bids_harmony.imaging.registration import register_rigid
from bids_harmony.quality.diffusion import diffusion_tissues

RESULTS = Path(__file__).resolve().parent / "results"
SEED = 20
MODES = ("rish", "attenuation", "volume")
WHITE = 2
Array = np.ndarray
Grid = tuple[tuple[int, ...], Array]


@dataclass(frozen=True)
class Pair:
    """Two series of one person; `scans` are site and file, below the folder of the shared data."""

    person: str
    differs: str
    scans: dict[str, str]


PAIRS = (
    Pair(
        "canon01",
        "software V6.0 and V6.1, a year between; one person as the anatomy tells, not the source",
        {v: f"multivendor/sub-canon01/ses-{v}/dwi/sub-canon01_ses-{v}_dir-PA_dwi"
         for v in ("V60", "V61")},
    ),
    Pair(
        "siemens01",
        "phase encoding alone, one session: no scanner effect to remove",
        {d: f"multivendor/sub-siemens01/dwi/sub-siemens01_dir-{d}_dwi" for d in ("AP", "PA")},
    ),
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Scan:
    """A series as a run has left it: its files, and maps by name and state."""

    stem: Path
    out: Path
    site: str
    person: str

    @property
    def folder(self) -> Path:
        return self.out / f"sub-{self.person}" / f"ses-{self.site}" / "dwi"

    def maps(self, state: str) -> dict[str, nib.Nifti1Image]:
        begin = f"sub-{self.person}_ses-{self.site}_model-tensor_param-"
        names = {n: self.folder / f"{begin}{n}_desc-{state}_dwimap.nii.gz" for n in ("fa", "md")}
        return {name: nib.load(path) for name, path in names.items()}

    def sidecar(self, target: str) -> dict[str, Any]:
        name = f"sub-{self.person}_ses-{self.site}_desc-harmonized{target}_dwi.json"
        return json.loads((self.folder / name).read_text())

    def series(self) -> tuple[Series, Gradients]:
        series = open_series(f"{self.stem}.nii.gz")
        ends = (f"{self.stem}.bval", f"{self.stem}.bvec")
        return series, read_gradients(*ends, series.shape[3])

    def mask(self) -> Path:
        return self.folder / f"sub-{self.person}_ses-{self.site}_desc-brain_mask.nii.gz"


def main() -> None:
    """Harmonize every pair both ways."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("build/diffusion_pairs"))
    options = parser.parse_args()
    rows, pictures = [], {}
    for pair in PAIRS:
        bids = _dataset(pair, options.work / pair.person)
        for target in pair.scans:
            for row in _one_way(pair, bids, target, pictures):
                rows.append(row)
                print(json.dumps(row), flush=True)
    command = "python benchmarks/diffusion_pairs.py"
    record = {"name": "diffusion_pairs", "command": command, "seeds": [SEED],
              **provenance(("dipy", "antspyx", "nibabel", "numpy", "scipy")),
              "rows": rows}  # fmt: skip
    write_report(record, pictures, RESULTS / "diffusion_pairs.json")


def _dataset(pair: Pair, work: Path) -> Path:
    """Each series as a session and a site of its own."""
    bids = work / "bids"
    shutil.rmtree(bids, ignore_errors=True)
    lines = ["participant_id\tsession_id\tsite"]
    for site, stem in pair.scans.items():
        folder = bids / f"sub-{pair.person}" / f"ses-{site}" / "dwi"
        folder.mkdir(parents=True)
        for end in (".nii.gz", ".bval", ".bvec", ".json"):
            shutil.copy(DATA / f"{stem}{end}", folder / f"sub-{pair.person}_ses-{site}_dwi{end}")
        lines.append(f"sub-{pair.person}\tses-{site}\t{site}")
    about = {"Name": pair.person, "BIDSVersion": "1.10.0"}
    (bids / "dataset_description.json").write_text(json.dumps(about))
    (work / "sites.tsv").write_text("\n".join(lines) + "\n")
    return bids


def _run(bids: Path, target: str, mode: str) -> Path:
    out = bids.parent / f"{mode}_{target}"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    words = [str(bids.resolve()), str(out.resolve()), "participant", "--target-site", target]
    words += ["--site-map", str((bids.parent / "sites.tsv").resolve()), "--dwi-mode", mode]
    words += ["--dwi-fits", "tensor", "--nprocs", "1", "--device", "cpu"]
    words += ["-w", str((bids.parent / "work").resolve()), "--clean-workdir"]
    measured_command(*words, log=out / "log.txt")
    return out


def _one_way(
    pair: Pair, bids: Path, target: str, pictures: dict[str, Any]
) -> Iterator[dict[str, Any]]:
    """Maps of the scan that was harmonized against the other's own."""
    outs = {mode: _run(bids, target, mode) for mode in MODES}
    (source,) = set(pair.scans) - {target}
    scans = {
        site: Scan(DATA / stem, outs[MODES[0]], site, pair.person)
        for site, stem in pair.scans.items()
    }
    places, grid = _halfway(*scans.values())
    place = dict(zip(scans, places, strict=True))
    moving, fixed = scans[source], scans[target]
    before, wanted = (
        _moved(scan.maps("source"), place[scan.site], grid) for scan in (moving, fixed)
    )
    shared = np.logical_and(*(_inside(scan, place[scan.site], grid) for scan in (moving, fixed)))
    # By both series as they came; by one of them, its noise would choose.
    tissues = diffusion_tissues(
        (wanted["fa"] + before["fa"]) / 2, (wanted["md"] + before["md"]) / 2, shared
    )
    rng = np.random.default_rng(SEED)
    noise = [_moved(_noise_of(scan, rng), place[scan.site], grid) for scan in scans.values()]
    regions = {"white matter": tissues == WHITE, "brain": shared}
    for mode, out in outs.items():
        harmonized = replace(moving, out=out)
        after = _moved(harmonized.maps(f"harmonized{target}"), place[source], grid)
        told = harmonized.sidecar(target)["HarmonizationQuality"]
        for (region, where), name in product(regions.items(), wanted):
            errors = {
                "before": (before[name] - wanted[name])[where],
                "after": (after[name] - wanted[name])[where],
            }
            row: dict[str, Any] = {
                "person": pair.person,
                "n_people": 1,
                "differs": pair.differs,
                "source": source,
                "target": target,
                "sites_shown_by": "the person's own scan at each site, one each: best case",
                "mode": mode,
                "map": name,
                "region": region,
                "voxels": int(where.sum()),
            }
            row |= {f"rmse_{state}": _rms(error) for state, error in errors.items()}
            row["rmse_noise_alone"] = float(np.hypot(*(_rms(n[name][where]) for n in noise)))
            row |= {f"bias_{state}": float(error.mean()) for state, error in errors.items()}
            row["changed_by"] = _rms(errors["after"] - errors["before"])
            row |= {k: told.get(k) for k in ("noise_share", "target_noise_share", "b_scale")}
            yield row
        if mode == MODES[0]:
            states = {"wanted": wanted, "before": before, "after": after}
            name = f"{pair.person}\n{source} to {target}"
            pictures[name] = axial_slices(states, shared, grid[1])


def _rms(values: Array) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _halfway(first: Scan, second: Scan) -> tuple[tuple[Array, Array], Grid]:
    """Where either series goes to meet the other, RAS+ mm, and the grid on which they do.

    Rigid, by their mean b=0 as they came. Both are interpolated: of one alone, interpolation would
    lower FA.
    """
    volumes = [b0_volume(*scan.series()) for scan in (first, second)]
    masks = [read_brain(scan.mask()) for scan in (first, second)]
    world = register_rigid(volumes[0], masks[0], volumes[1], masks[1], seed=SEED).world
    half = np.real(linalg.sqrtm(world))
    places = half, np.linalg.inv(half)
    own = second.maps("source")["fa"]
    # A quarter of a voxel aside: a grid that coincides with a scan's would spare that one.
    aside = own.affine @ nib.affines.from_matvec(np.eye(3), [0.25, 0.25, 0.25])
    return places, (own.shape, places[1] @ aside)


def _moved(maps: dict[str, nib.Nifti1Image], world: Array, grid: Grid) -> dict[str, Array]:
    return {
        name: resample_from_to(
            nib.Nifti1Image(image.get_fdata(), world @ image.affine), grid, order=1
        ).get_fdata()
        for name, image in maps.items()
    }


def _inside(scan: Scan, world: Array, grid: Grid) -> Array:
    """Where nothing outside the scan's fit was mixed in."""
    md = scan.maps("source")["md"]
    fitted = nib.Nifti1Image((md.get_fdata() > 0).astype(np.float32), md.affine)
    return _moved({"fitted": fitted}, world, grid)["fitted"] > 0.999


def _noise_of(scan: Scan, rng: np.random.Generator) -> dict[str, nib.Nifti1Image]:
    """FA and MD of a noisy copy of the fitted tensors' signals, less those of the tensors."""
    series, gradients = scan.series()
    fitted = scan.maps("source")["md"].get_fdata() > 0
    signal = series.signal(fitted).astype(np.float64)
    table = gradient_table(
        gradients.bvals, bvecs=gradients.bvecs, b0_threshold=gradients.b0_threshold
    )
    model = TensorModel(table, fit_method="WLS", return_S0_hat=True)
    fit = model.fit(np.maximum(signal, 1e-3))
    clean = fit.predict(table, S0=fit.S0_hat)
    # Seven numbers were fitted. What a tensor cannot say counts as noise, too.
    left = np.square(signal - clean).sum(axis=1) / (signal.shape[1] - 7)
    sigma = np.sqrt(np.median(left))
    parts = sigma * rng.standard_normal((2, *clean.shape))
    maps = []
    for values in (clean, np.hypot(clean + parts[0], parts[1])):
        data = np.zeros(series.shape, np.float32)
        data[fitted] = values
        maps.append(fit_tensor(data, fitted, gradients))
    return {
        name: nib.Nifti1Image(getattr(maps[1], name) - getattr(maps[0], name), series.affine)
        for name in ("fa", "md")
    }


if __name__ == "__main__":
    main()
