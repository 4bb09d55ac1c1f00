"""Neurite density and dispersion by FORCE and by AMICO, beside the truth and on real slices.

    python benchmarks/dwi_fits.py            about 15 minutes on one quiet core

Simulated: one person at two scanners (COI of `DIFFUSION_SITES`, RS1 of `REAL_SIZED_SITES`), every
thirtieth voxel that is white (above 90 %) or grey (above 80 %) matter. The truth is that of the
tissue (`lab.microstructure`), and its signal is that of NODDI: AMICO knows the model, so that
FORCE is at a disadvantage that real tissue may not give it. Real: two slices of one person, where
nothing is known; told is how far FORCE is from AMICO, and how far each scatters between halves of
the volumes. Writes ``benchmarks/results/dwi_fits.{json,md}``.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from anatomies import DATA
from measure import Meter, provenance
from travelling_tables import markdown

from bids_harmony.diffusion import force
from bids_harmony.diffusion.gradient_files import read_gradients
from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.noddi import fit_noddi
from bids_harmony.diffusion.series import open_series
from bids_harmony.diffusion.tensor import fit_tensor
from bids_harmony.diffusion.voxels import read_mask
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.io.atomic import write_atomically
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.cohort import place
from bids_harmony.quality.diffusion import diffusion_tissues
from lab.diffusion import acquire_series
from lab.diffusion_scanner import DIFFUSION_SITES, gradient_scheme
from lab.microstructure import make_microstructure, placed
from lab.real_sized_sites import NEURITE_T2_RATIO, REAL_SIZED_SITES

RESULTS = Path(__file__).resolve().parent / "results"
SEED, EVERY = 9001, 30
WHITE, GREY = 0.9, 0.8
SERIES = DATA / "multishell/sub-mdtb1kb2k_acq-2slices"
#: Numbers of simulations that are compared; the last but one is the program's.
SIMULATIONS = (20_000, force.SIMULATIONS, 100_000)
_PACKAGES = ("numpy", "scipy", "dipy", "dmri-amico")
_TISSUES = ("white", "grey")

Array = np.ndarray
#: NDI, ODI, and the interquartile range of the first where the model gives one.
Maps = tuple[Array, Array, Array | None]
Fit = Callable[[Array, Gradients], Maps]


@dataclass(frozen=True, eq=False)
class Voxels:
    """Signals (V, N) of some voxels, with what is true of them where that is known."""

    name: str
    signals: Array
    gradients: Gradients
    tissues: dict[str, Array]
    ndi: Array | None = None
    odi: Array | None = None


def main() -> None:
    """Simulate, fit, compare."""
    meter, rows = Meter(), []
    for voxels in (*_simulated(), _real()):
        found: dict[str, Maps] = {}
        for way, fit in _ways(voxels).items():
            # The first fit of a scheme makes what all later ones share; the second is the fit.
            force.library_of.cache_clear()
            with meter.stage(f"{voxels.name}, {way}, first"):
                fit(voxels.signals[:100], voxels.gradients)
            with meter.stage(f"{voxels.name}, {way}, all"):
                found[way] = fit(voxels.signals, voxels.gradients)
            first, second = meter.rows[-2:]
            rows.append(
                {
                    "series": voxels.name,
                    "way": way,
                    "voxels": len(voxels.signals),
                    "scheme_seconds": first["cpu_seconds"],
                    "seconds_per_10000": 1e4 * second["cpu_seconds"] / len(voxels.signals),
                    "peak_mib": max(first["peak_mib"], second["peak_mib"]),
                }
                | _measured(voxels, found[way], found["AMICO"])
                | ({} if voxels.ndi is not None else _halves(voxels, fit, found[way]))
            )
            print(json.dumps(rows[-1]), flush=True)
    record = {
        "name": "dwi_fits",
        "command": "python benchmarks/dwi_fits.py",
        "seeds": [SEED, 0],
        **provenance(_PACKAGES),
        "rows": rows,
    }
    write_atomically(RESULTS / "dwi_fits.json", (json.dumps(record, indent=1) + "\n").encode())
    page = _page(rows)
    write_atomically(RESULTS / "dwi_fits.md", page.encode())
    print(page)


def _simulated() -> list[Voxels]:
    anatomy = make_anatomy(reference_grid(2.0), SEED)
    found = []
    for scanner, ratio in (
        (DIFFUSION_SITES["COI"], 1.0),
        (REAL_SIZED_SITES["RS1"], NEURITE_T2_RATIO),
    ):
        lying, _ = place(anatomy, scanner.voxel_mm, np.eye(4))
        own = replace(placed(make_microstructure(anatomy), lying), t2_ratio=ratio)
        scheme = gradient_scheme(scanner)
        series = acquire_series(lying, own, scanner, scheme, SEED)
        grey, white = lying.fractions[0], lying.fractions[1]
        chosen = np.flatnonzero(lying.mask & ((white > WHITE) | (grey > GREY)))[::EVERY]
        flat = series.reshape(-1, series.shape[-1])
        found.append(
            Voxels(
                f"simulated, {scanner.site}",
                # As scanners store them.
                np.rint(flat[chosen]).astype(np.float32),
                Gradients(scheme.b_values, scheme.directions),
                {"white": white.ravel()[chosen] > WHITE, "grey": grey.ravel()[chosen] > GREY},
                own.ndi.ravel()[chosen],
                own.odi.ravel()[chosen],
            )
        )
    return found


def _real() -> Voxels:
    series = open_series(f"{SERIES}_dwi.nii.gz")
    gradients = read_gradients(f"{SERIES}_dwi.bval", f"{SERIES}_dwi.bvec", series.shape[3])
    signals = series.signal(read_mask(f"{SERIES}_mask.nii.gz", series))[::2]
    tensor = fit_tensor(*_as_image(signals), gradients)
    labels = diffusion_tissues(tensor.fa, tensor.md, tensor.fitted).ravel()
    tissues = {"white": labels == 2, "grey": labels == 1}
    return Voxels("real, 2 slices", signals, gradients, tissues)


def _ways(voxels: Voxels) -> dict[str, Fit]:
    counts = SIMULATIONS if voxels.name.endswith("COI") else (force.SIMULATIONS,)
    ours = {f"FORCE, {n}": lambda s, g, n=n: _force(s, g, n) for n in counts}
    return {"AMICO": _amico, **ours, "FORCE as DIPY has it": _dipys}


def _as_image(signals: Array) -> tuple[Array, Array]:
    return signals[:, None, None], np.ones((len(signals), 1, 1), bool)


def _amico(signals: Array, gradients: Gradients) -> Maps:
    with tempfile.TemporaryDirectory() as folder:
        maps = fit_noddi(*_as_image(signals), gradients, folder)
    return maps.ndi.ravel(), maps.odi.ravel(), None


def _force(signals: Array, gradients: Gradients, simulations: int) -> Maps:
    with tempfile.TemporaryDirectory() as folder:
        maps = force.fit_force(*_as_image(signals), gradients, folder, simulations=simulations)
    return maps.nd.ravel(), maps.dispersion.ravel(), maps.ndiqr.ravel()


_DIPYS: dict[bytes, Any] = {}


def _dipys(signals: Array, gradients: Gradients) -> Maps:
    """With DIPY's diffusivities, the best match instead of the posterior's mean."""
    from dipy.core.gradients import gradient_table
    from dipy.reconst.force import FORCEModel
    from dipy.sims import force as dipys

    table = gradient_table(gradients.bvals, bvecs=gradients.bvecs)
    key = gradients.bvals.tobytes() + gradients.bvecs.tobytes()
    if key not in _DIPYS:
        with force.seeded(0):
            drawn = dipys.generate_force_simulations(
                table, num_simulations=force.SIMULATIONS, compute_dti=False, verbose=False
            )
        _DIPYS.clear()
        _DIPYS[key] = FORCEModel(table, simulations=drawn)
    fit = _DIPYS[key].fit(np.maximum(signals, 0))
    density, dispersion, water = (
        np.asarray(getattr(fit, name), np.float32) for name in ("nd", "dispersion", "csf_fraction")
    )
    tissue = np.maximum(1 - water, 1e-3)
    return density / tissue, (dispersion - water) / tissue, None


def _measured(voxels: Voxels, maps: Maps, amico: Maps) -> dict[str, Any]:
    """Errors to the truth, or differences from AMICO where there is none."""
    row: dict[str, Any] = {}
    truths = amico if voxels.ndi is None else (voxels.ndi, voxels.odi)
    for tissue, there in voxels.tissues.items():
        for name, found, truth in zip(("ndi", "odi"), maps, truths, strict=False):
            error = (found - truth)[there]
            row |= {
                f"{name}_{tissue}_median": _round(np.median(found[there])),
                f"{name}_{tissue}_rmse": _round(np.sqrt(np.mean(np.square(error)))),
                f"{name}_{tissue}_bias": _round(error.mean()),
                f"{name}_{tissue}_correlation": _round(
                    np.corrcoef(found[there], truth[there])[0, 1]
                ),
            }
        if maps[2] is not None:
            row[f"iqr_{tissue}_median"] = _round(np.median(maps[2][there]))
            if voxels.ndi is not None:
                # Of a good posterior of no skew a half.
                within = np.abs(maps[0] - voxels.ndi) < maps[2] / 2
                row[f"iqr_{tissue}_holds_truth"] = _round(within[there].mean())
    return row


def _halves(voxels: Voxels, fit: Fit, whole: Maps) -> dict[str, Any]:
    """Scatter of NDI and ODI between fits of every other volume of each shell."""
    gradients, halves = voxels.gradients, []
    groups = [np.flatnonzero(gradients.b0), *(s.volumes for s in gradients.shells)]
    for part in range(2):
        volumes = np.sort(np.concatenate([group[part::2] for group in groups]))
        halves.append(fit(voxels.signals[:, volumes], gradients.select(volumes)))
    row = {}
    for index, name in enumerate(("ndi", "odi")):
        for tissue, there in voxels.tissues.items():
            apart = (halves[0][index] - halves[1][index])[there]
            # A quartile is 0.674 standard deviations away; two scatter by the root of two.
            scatter = np.median(np.abs(apart)) / 0.6745 / np.sqrt(2)
            row[f"{name}_{tissue}_scatter"] = _round(scatter)
            spread = np.subtract(*np.quantile(whole[index][there], [0.75, 0.25])) / 1.349
            row[f"{name}_{tissue}_scatter_of_spread"] = _round(scatter / spread)
    return row


def _round(value: float) -> float:
    return round(float(value), 4)


def _page(rows: list[dict[str, Any]]) -> str:
    names = [f"{m}_{t}" for m in ("ndi", "odi") for t in _TISSUES]
    heads = [f"{m}, {t}" for m in ("NDI", "ODI") for t in _TISSUES]
    head = ["series", "way", *heads, "a scheme, s", "10 000 voxels, s", "MiB"]
    body = [
        [
            row["series"], row["way"],
            *(f"{row[f'{n}_rmse']:.3f} ({row[f'{n}_bias']:+.3f}; {row[f'{n}_correlation']:.2f})"
              for n in names),
            f"{row['scheme_seconds']:.0f}", f"{row['seconds_per_10000']:.1f}",
            str(row["peak_mib"]),
        ]
        for row in rows
    ]  # fmt: skip
    real = [row for row in rows if "ndi_white_scatter" in row]
    halves = [
        [row["way"], *(f"{row[f'{n}_scatter']:.3f} ({row[f'{n}_scatter_of_spread']:.2f})"
                       for n in names)]
        for row in real
    ]  # fmt: skip
    ranges = [
        [row["series"], row["way"],
         *(f"{row[f'iqr_{t}_median']:.3f} ({row[f'iqr_{t}_holds_truth']:.2f})"
           for t in _TISSUES)]
        for row in rows if "iqr_white_holds_truth" in row
    ]  # fmt: skip
    lines = [
        "# Neurite density and dispersion by FORCE and by AMICO", "",
        "`python benchmarks/dwi_fits.py`. Root mean square of the error (mean error; correlation "
        "with the truth) in voxels of white and grey matter; on the real slices to AMICO, for "
        "nothing else is known there. Seconds of one processor: what a scheme takes once, and "
        "10 000 voxels after that. Research software, not for diagnosis.", "",
        *markdown(head, body, words=2),
        "Real slices: scatter between fits of two halves of the volumes, as a standard deviation "
        "(and its share of the spread over the tissue).", "",
        *markdown(["way", *heads], halves, words=1),
        "Interquartile range of FORCE's posterior of NDI, median (share of voxels whose truth is "
        "not farther from the mean than half of it; a half would be right).", "",
        *markdown(["series", "way", *_TISSUES], ranges, words=2),
    ]  # fmt: skip
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    main()
