"""Structure by structure: how far intensities spread between simulated scanners and real ones.

ON-Harmony's table holds the mean T1w intensity of FreeSurfer's structures, white matter being
110, of ten people on six 3 T scanners. Here a person made of a label map in FreeSurfer's numbers
is scanned by simulated scanners of that kind (3 T, MPRAGE, vendor's correction on). A structure is
a mixture of grey and white matter (of grey matter and CSF), by as much as gives its mean
intensity; what is compared is how it spreads. The label maps are real people's and stay where they
are.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scanner_draw import contrasts
from scipy.ndimage import binary_erosion, gaussian_filter, zoom

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.phantom.anatomy import TISSUES, Anatomy
from bids_harmony.phantom.real_scanners import real_scanner, scanner_rows
from bids_harmony.phantom.scanner import Scanner, acquire
from bids_harmony.quality.image_quality import smooth_field

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from lab.label_maps import read_label_map

__all__ = ["structures"]

#: FreeSurfer's numbers of what stands in the table and in the label maps.
_NUMBERS = {
    "Lateral-Ventricle": (4, 43), "Inf-Lat-Vent": (5, 44), "Cerebellum-White-Matter": (7, 46),
    "Cerebellum-Cortex": (8, 47), "Thalamus": (10, 49), "Caudate": (11, 50), "Putamen": (12, 51),
    "Pallidum": (13, 52), "3rd-Ventricle": (14,), "4th-Ventricle": (15,), "Brain-Stem": (16,),
    "Hippocampus": (17, 53), "Amygdala": (18, 54), "CSF": (24,), "Accumbens-area": (26, 58),
    "VentralDC": (28, 60), "choroid-plexus": (31, 63), "Optic-Chiasm": (85,),
    "WM-hypointensities": (77,), "CC_Posterior": (251,), "CC_Mid_Posterior": (252,),
    "CC_Central": (253,), "CC_Mid_Anterior": (254,), "CC_Anterior": (255,),
}  # fmt: skip
_WHITE, _CORTEX = (2, 41), (3, 42)
_VOXEL_MM = 1.5
_FEWEST = 20
#: FreeSurfer sets these to one value each, near and far; so far does a control point reach, mm.
_CONTROL, _EVEN_MM = (2, 41, 7, 46, 16), 12.0
_FACTOR = 1.5
_SEED = 1_000

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class _Person:
    anatomy: Anatomy
    labels: Array


def structures(tables: Path, labels: Path) -> dict[str, Any]:
    """Compare spreads between scanners: rows by structure, and how many are within the factor."""
    level, spread = _real(tables)
    scanners = [
        s for s in map(real_scanner, range(_SEED, _SEED + len(scanner_rows()))) if _like_those(s)
    ]
    person = _person(sorted(labels.glob("*_dseg.nii.gz"))[0], level, scanners)
    logs = np.array([_intensities(person, s, i, list(level)) for i, s in enumerate(scanners)])
    rows = []
    for column, name in enumerate(level):
        own = logs[:, column]
        if not np.isfinite(own).all() or set(_numbers(name)) <= set(_CONTROL):
            continue
        ratio = float(own.std(ddof=1) / spread[name])
        rows.append(
            {
                "structure": name,
                "real_sd": round(spread[name], 4),
                "simulated_sd": round(float(own.std(ddof=1)), 4),
                "ratio": round(ratio, 2),
                "within": bool(1 / _FACTOR <= ratio <= _FACTOR),
            }
        )
    within = sum(row["within"] for row in rows)
    ratios = [row["ratio"] for row in rows]
    return {
        "simulated_scanners": len(scanners),
        "real_scanners": 6,
        "within": within,
        "of": len(rows),
        "median_ratio": round(float(np.median(ratios)), 2),
        "rows": rows,
    }


def _like_those(scanner: Scanner) -> bool:
    """3 T, MPRAGE, and the field evened out by the vendor ("NORM"), as all six have it."""
    assert scanner.effects is not None
    prepared = scanner.sequences["T1w"].kind == "mprage"
    return scanner.field_tesla == 3.0 and prepared and scanner.effects.bias_correction > 0


def _real(folder: Path) -> tuple[dict[str, float], dict[str, float]]:
    """Mean and spread between scanners of the logarithm of intensity over white matter."""
    import pandas as pd

    table = pd.read_csv(folder / "onharmony" / "phaseA_aseg_volume_and_intensity.csv")
    table = table[table.norm_mean > 0]
    value = np.log(table.norm_mean / 110)
    by = value.groupby([table.structure, table.subject, table.scanner_code]).mean().unstack()
    # Everyone on every scanner, or not at all.
    by = by.dropna()
    by = by[by.groupby("structure").transform("size") >= _FEWEST / 4]
    scanners = by.sub(by.mean(axis=1), axis=0).groupby("structure").mean()
    means = by.mean(axis=1).groupby("structure").mean()
    return means.to_dict(), scanners.std(axis=1, ddof=1).to_dict()


def _numbers(name: str) -> tuple[int, ...]:
    side, _, rest = name.partition("-")
    if side in ("Left", "Right") and rest in _NUMBERS:
        numbers = _NUMBERS[rest]
        return (numbers[side == "Right"],) if len(numbers) == 2 else ()
    return _NUMBERS.get(name, ())


def _person(file: Path, level: dict[str, float], scanners: list[Scanner]) -> _Person:
    """Tissue fractions on a coarser grid, edges softened; every structure its own mixture."""
    labels = read_label_map(file).data
    tissues = np.zeros((3, *labels.shape), np.float32)
    tissues[1][np.isin(labels, _WHITE)] = 1
    tissues[0][np.isin(labels, (*_CORTEX, *range(1000, 3000)))] = 1
    # Level of pure tissues on the mean scanner.
    pure = np.exp(np.mean([np.insert(contrasts(s, "T1w"), 1, 0.0) for s in scanners], axis=0))
    for name, log in level.items():
        inside = np.isin(labels, _numbers(name))
        if inside.any():
            for tissue, share in enumerate(_mixture(float(np.exp(log)), pure)):
                tissues[tissue][inside] = share
    factor = 1.0 / _VOXEL_MM
    soft = np.stack([zoom(gaussian_filter(t, 0.5), factor, order=1) for t in tissues])
    total = soft.sum(0)
    mask = total > 0.5
    fractions = (soft / np.maximum(total, 1e-6) * mask).astype(np.float32)
    shape = mask.shape
    grid = ReferenceGrid(
        name="labels", affine=np.diag([_VOXEL_MM] * 3 + [1.0]), shape=shape, voxel_mm=_VOXEL_MM
    )
    ones = np.ones(shape, np.float32)
    anatomy = Anatomy(fractions, ones, ones, ones, mask, grid, seed=0, source=file.name)
    return _Person(anatomy, zoom(labels, factor, order=0))


def _mixture(wanted: float, pure: Array) -> tuple[float, float, float]:
    """Shares of grey and white matter, or of grey matter and CSF, of such a signal."""
    grey, white, csf = pure
    if wanted >= grey:
        share = float(np.clip((wanted - grey) / (white - grey), 0, 1))
        return 1 - share, share, 0.0
    share = float(np.clip((grey - wanted) / (grey - csf), 0, 1))
    return 1 - share, 0.0, share


def _intensities(person: _Person, scanner: Scanner, seed: int, names: list[str]) -> list[float]:
    data = acquire(person.anatomy, scanner, "T1w", scan_seed=seed)
    data = data / smooth_field(data, person.anatomy.mask, _VOXEL_MM)
    even = data / np.maximum(_white_around(data, person, scanner), 1e-6)
    found = []
    for name in names:
        inside = np.isin(person.labels, _numbers(name)) & person.anatomy.mask
        few = int(inside.sum()) < _FEWEST
        found.append(np.nan if few else float(np.log(max(even[inside].mean(), 1e-3))))
    return found


def _white_around(data: Array, person: _Person, scanner: Scanner) -> Array:
    """White matter's intensity near every voxel, as FreeSurfer makes it even by control points."""
    anatomy = person.anatomy
    points = binary_erosion(np.isin(person.labels, _CONTROL) & anatomy.mask)
    signals = [scanner.signal_of(tissue, "T1w") for tissue in TISSUES]
    shown = np.tensordot(np.array(signals) / signals[1], anatomy.fractions, axes=1)
    flat = np.where(points, data / np.maximum(shown**scanner.gamma, 0.1), 0)
    sigma = _EVEN_MM / _VOXEL_MM
    # Far from all points, their median counts.
    level = float(np.median(flat[points]))
    seen = gaussian_filter(points.astype(np.float32), sigma) + 1e-4
    return (gaussian_filter(flat, sigma) + 1e-4 * level) / seen
