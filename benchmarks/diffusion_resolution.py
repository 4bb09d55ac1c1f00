"""Does it pay to blur a series where the target site is smoother? A small travelling cohort.

    python benchmarks/diffusion_resolution.py            about 6 minutes on one core

Five of the real-sized scanners with 32 directions a shell, three people of each site's own, two
people who visit all. The target is RS2, by far the smoothest: towards the others little or nothing
is blurred. Maps are fitted to every eighth voxel of white matter. Errors of FA, MD and of free
water's diffusivity are to what the target would have shown without noise; those of NDI and ODI to
the same fit (twin), and to the tissue itself. The mean b=0 is left as it is but for the blur: S/S0
does not feel the rest.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from functools import cache, lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from diffusion_cohort import TWIN_GAIN, Scan, bank_scans, keep_series, load_series
from diffusion_maps import MAPS, cubes_of, fit_maps, region_means, white_voxels
from measure import provenance
from tqdm import tqdm
from travelling_tables import markdown

from bids_harmony.diffusion.calibration import measure_series
from bids_harmony.diffusion.features import b0_volume
from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.io.atomic import write_atomically
from bids_harmony.methods.series import harmonize_series
from bids_harmony.phantom.anatomy import Anatomy, make_anatomy
from bids_harmony.phantom.cohort import draw_pose, place
from bids_harmony.sites.series_difference import blur_between
from bids_harmony.sites.series_profile import SeriesProfile
from lab.diffusion import acquire_series
from lab.diffusion_scanner import gradient_scheme
from lab.microstructure import Microstructure, make_microstructure, placed
from lab.real_sized_sites import NEURITE_T2_RATIO, REAL_SIZED_SITES

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
WORK = ROOT / "build" / "diffusion_resolution"
SHELLS = ((1000.0, 32), (2000.0, 32))
SITES = {
    site: replace(REAL_SIZED_SITES[site], shells=SHELLS)
    for site in ("RS1", "RS2", "RS4", "RS6", "RS7")
}
TARGETS, PEOPLE, TRAVELLING = ("RS2",), 3, 2
ERRORS = ("fa", "md", "ndi_twin", "odi_twin", "ndi", "odi", "water")
_PACKAGES = ("numpy", "scipy", "dipy", "dmri-amico")

Array = np.ndarray


def main() -> None:
    """Simulate, harmonize with and without the blur, fit, compare."""
    start = time.monotonic()
    simulate(WORK / "scans")
    looks = {site: _look(site) for site in tqdm(SITES, "looks", disable=None)}
    nan = (np.nan,) * 3
    alike = {
        site: replace(look, scans=tuple((k, replace(m, blur=nan)) for k, m in look.scans))
        for site, look in looks.items()
    }
    rows, added = [], []
    for target in SITES:
        for site in (s for s in SITES if s != target):
            found = blur_between(looks[site], looks[target]).round(2).tolist()
            true = SITES[target].blur_mm ** 2 - SITES[site].blur_mm ** 2
            added.append({"site": site, "target": target, "found": found, "true": round(true, 2)})
    for target in TARGETS:
        for way, known in (("no blur", alike), ("blur", looks)):
            rows.append(_row(target, way, known))
    record = {
        "name": "diffusion_resolution",
        "command": "python benchmarks/diffusion_resolution.py",
        "minutes": round((time.monotonic() - start) / 60, 1),
        "rows": rows,
        "blur": added,
    } | provenance(_PACKAGES)
    page = _page(record)
    print(page)
    text = json.dumps(record, indent=1) + "\n"
    write_atomically(RESULTS / "diffusion_resolution.json", text.encode())
    write_atomically(RESULTS / "diffusion_resolution.md", page.encode())


def simulate(folder: Path) -> None:
    """Scan everyone who has not been scanned yet, into a folder of ``.npz``."""
    folder.mkdir(parents=True, exist_ok=True)
    for site in tqdm(SITES, "scans", disable=None):
        number = int(site.removeprefix("RS"))
        for n in range(PEOPLE):
            seed = 8000 + 100 * number + n
            _scan(folder / f"b_{site}_B{n}.npz", site, site, seed, [8, n, number], 10 * seed)
        for n in range(TRAVELLING):
            pose, seed = [9, n, number], 9100 * (n + 1) + number
            _scan(folder / f"t_{site}_T{n}.npz", site, site, 9100 + n, pose, seed)
            for target in (t for t in TARGETS if t != site):
                path = folder / f"w{target}_{site}_T{n}.npz"
                _scan(path, site, target, 9100 + n, pose, seed + 7, noise=False)


def _scan(
    path: Path, site: str, by: str, person: int, pose: list[int], seed: int, *, noise: bool = True
) -> None:
    """One person on the grid and with the gradients of a site, by the scanner of it or another."""
    if path.is_file():
        return
    anatomy, truth = _person(person)
    scheme, where = gradient_scheme(SITES[site]), draw_pose(np.random.default_rng(pose))
    lying, affine = place(anatomy, SITES[site].voxel_mm, where)
    own = placed(truth, lying)
    series = acquire_series(lying, own, SITES[by], scheme, seed, noise, scan_field=noise)
    maps = {"fr": lying.fractions[:, lying.mask], "ndi": own.ndi[lying.mask]}
    maps |= {"odi": own.odi[lying.mask], "fwf": own.fwf[lying.mask]}
    more = {k: v.astype(np.float16) for k, v in maps.items()}
    voxels = series if noise else TWIN_GAIN * series
    keep_series(path, voxels, lying.mask, affine, where, scheme, **more)


@lru_cache(maxsize=2)
def _person(seed: int) -> tuple[Anatomy, Microstructure]:
    anatomy = make_anatomy(reference_grid(2.0), seed)
    return anatomy, replace(make_microstructure(anatomy), t2_ratio=NEURITE_T2_RATIO)


def _look(site: str) -> SeriesProfile:
    """What the people of a site show; the look of its mean b=0 has no part in S/S0."""
    found = []
    for scan in bank_scans(WORK / "scans", site):
        scale = robust_scale(b0_volume(scan.series, scan.gradients).data, scan.mask)
        measures = measure_series(scan.series, scan.gradients, scan.mask, scale)
        found.append((scan.label, measures))
    return SeriesProfile(site, tuple(found))


class ShellsAlone:
    """Knows too little of the mean b=0 of any site to change it."""

    voxel_mm = 2.0

    def profile(self, modality: str, site: str) -> Any:
        """A site of which no slice is known."""
        return SimpleNamespace(mask=np.zeros((1, 1, 1), bool))


def _row(target: str, way: str, looks: dict[str, SeriesProfile]) -> dict[str, Any]:
    """Errors, seconds and CoV over the sites."""
    errors: list[dict[str, float]] = []
    means: dict[tuple[int, int], list[dict[str, float]]] = {}
    sites = [s for s in SITES if s != target]
    visits = [(n, site) for n in range(TRAVELLING) for site in sites]
    for n, site in tqdm(visits, f"{target}, {way}", disable=None):
        scan = load_series(WORK / "scans" / f"t_{site}_T{n}.npz")
        begin = time.monotonic()
        voxels = harmonize_series(
            scan.series, scan.gradients, scan.brain, scan.world, ShellsAlone(),
            source=looks[site], target=looks[target], mode="rish",
        ).raw[scan.mask].astype(np.float32)  # fmt: skip
        seconds = time.monotonic() - begin
        white, water = _places(scan)
        fitted = fit_maps(scan, voxels, white, noddi=True)
        there = fit_maps(scan, voxels, water, noddi=False)
        own = fitted.maps | {"water": there.maps["md"]}
        own |= {"ndi_twin": own["ndi"], "odi_twin": own["odi"]}
        true = _truth(n, site, target)
        found = {k: float(np.sqrt(np.mean(np.square(own[k] - true[k])))) for k in ERRORS}
        errors.append(found | {"seconds": seconds})
        for row in region_means(fitted, cubes_of(scan, white), {}):
            means.setdefault((n, row["cube"]), []).append(row)
    seen = [rows for rows in means.values() if len(rows) == len(sites)]
    line: dict[str, Any] = {"target": target, "way": way}
    for key in MAPS:
        table = np.array([[row[key] for row in rows] for rows in seen])
        covs = 100 * table.std(1, ddof=1) / table.mean(1)
        line |= {f"cov_{key}": float(covs.mean()), f"covs_{key}": covs.round(3).tolist()}
    return line | {k: float(np.mean([e[k] for e in errors])) for k in (*ERRORS, "seconds")}


def _places(scan: Scan) -> tuple[Array, Array]:
    """Flat indices of white matter and of free water."""
    water = np.zeros(scan.mask.shape, bool)
    water[scan.mask] = scan.truth["fr"][2] > 0.95
    return white_voxels(scan.mask, scan.truth["fr"][1])[::2], np.flatnonzero(water)[::4]


@cache
def _truth(person: int, site: str, target: str) -> dict[str, Array]:
    twin = load_series(WORK / "scans" / f"w{target}_{site}_T{person}.npz")
    voxels, (white, water) = twin.voxels(), _places(twin)
    maps = fit_maps(twin, voxels, white, noddi=True).maps
    found = {"fa": maps["fa"], "md": maps["md"]}
    found |= {"ndi_twin": maps["ndi"], "odi_twin": maps["odi"]}
    place = np.searchsorted(np.flatnonzero(twin.mask), white)
    found |= {key: twin.truth[key][place] for key in ("ndi", "odi")}
    return found | {"water": fit_maps(twin, voxels, water, noddi=False).maps["md"]}


def _page(record: dict[str, Any]) -> str:
    heads = ["target", "way", *(f"CoV {key.upper()} %" for key in MAPS)]
    heads += [f"RMSE {key.replace('_', ' ')}" for key in ERRORS] + ["s"]
    body = [
        [row["target"], row["way"], *(f"{row[f'cov_{key}']:.2f}" for key in MAPS)]
        + [f"{row[key]:.4f}" for key in ERRORS]
        + [f"{row['seconds']:.1f}"]
        for row in record["rows"]
    ]
    blurs = [
        [
            b["site"],
            b["target"],
            " ".join(f"{v + 0.0:.2f}" for v in b["found"]),
            f"{b['true']:.2f}",
        ]
        for b in record["blur"]
    ]
    about = (__doc__ or "").split("\n\n")[2].strip()
    return "\n".join(
        [
            "# Diffusion: a blur where the target is smoother",
            "",
            f"`{record['command']}`, {record['minutes']} minutes.",
            about,
            "",
            *markdown(heads, body, words=2),
            "",
            "Variance added along R, A and S, mm^2, and the difference of the scanners' Gaussian",
            "point spreads, to which matrix and window of k-space add:",
            "",
            *markdown(["site", "target", "found", "true"], blurs, words=2),
            "",
        ]
    )


if __name__ == "__main__":
    main()
