"""How far a scan is from everything that a model was trained on.

A scan's encoder code is compared with those of the simulated scans of training: Mahalanobis
distance in their first principal components, plus what lies outside them (probabilistic principal
components, Tipping and Bishop 1999). The distance is divided by one that 1 % of the training's own
scans exceed when they are left out, so that 1 is the border of the range.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save
from scipy.ndimage import zoom

from bids_harmony.exceptions import BidsHarmonyError, DataError
from bids_harmony.io.atomic import write_with_folder
from bids_harmony.io.reading import MOST_TENSORS, read_bytes
from bids_harmony.sites.measured_scan import CODE_STEP, encode_heights

if TYPE_CHECKING:
    from bids_harmony.model.encoder import Encoder

__all__ = [
    "RANGE_FILE",
    "RANGE_MM",
    "UNUSUAL",
    "TrainingRange",
    "fit_range",
    "mean_code",
    "read_ranges",
    "scan_code",
    "write_ranges",
]

Array = np.ndarray

RANGE_FILE = "range.safetensors"
#: Scores above this are worth a warning: real scans of six scanners have 0.9 to 1.4
#: (`benchmarks/multivendor.py`), as simulations lack something of every one of them.
UNUSUAL = 2.0
#: Codes depend on the size of a voxel: all are compared at this spacing, mm.
RANGE_MM = 2.0
_COMPONENTS = 12
_FOLDS = 5
_BORDER = 0.99
_LEAST_BRAIN = 0.05


@dataclass(frozen=True, eq=False)
class TrainingRange:
    """Where the codes of training scans of one modality lie.

    Attributes
    ----------
    mean : (K,) float64
    basis : (C, K) float64
        Principal directions, rows of unit length.
    variances : (C,) float64
        Along them.
    rest : float
        Mean variance along each of the other K - C directions.
    limit : float
        Distance at the border.
    """

    mean: Array
    basis: Array
    variances: Array
    rest: float
    limit: float

    def components(self, code: Array) -> Array:
        """Standard scores of a code, (K,), along the principal directions, (C,)."""
        centred = np.asarray(code, dtype=np.float64) - self.mean
        return np.asarray(self.basis @ centred / np.sqrt(self.variances))

    def distance(self, code: Array) -> float:
        """Root mean squared standardized deviation of a code, (K,)."""
        centred = np.asarray(code, dtype=np.float64) - self.mean
        inside = self.basis @ centred
        outside = max(float(centred @ centred - inside @ inside), 0.0)
        return float(np.sqrt((inside**2 / self.variances).sum() + outside / self.rest))

    def score(self, code: Array) -> float:
        """Distance in units of the border's: above 1 is outside the range."""
        return self.distance(code) / self.limit


def mean_code(codes: Array, brain: Array) -> Array:
    """Mean over the heights with brain.

    Parameters
    ----------
    codes : (bins, K) float32
        As `measured_scan.encode_heights` gives them.
    brain : (X, Y, Z) bool

    Returns
    -------
    (K,) float32
    """
    share = brain.mean(axis=(0, 1))
    tall = [
        share[k : k + CODE_STEP].mean() >= _LEAST_BRAIN
        for k in range(0, len(share), CODE_STEP)
    ]  # fmt: skip
    return codes[np.array(tall)].mean(axis=0)


def scan_code(data: Array, mask: Array, voxel_mm: float, encoder: Encoder) -> Array:
    """Code of a prepared scan, (K,) float32.

    Parameters
    ----------
    data : (X, Y, Z) float32
        Scaled, on a reference grid, 0 outside the mask.
    mask : (X, Y, Z) bool
    voxel_mm : float
    encoder : Encoder
    """
    factor = voxel_mm / RANGE_MM
    if factor != 1:
        data = zoom(data, factor, order=1, grid_mode=True, mode="nearest")
        mask = zoom(mask.astype(np.float32), factor, order=1, grid_mode=True, mode="nearest") > 0.5
    return mean_code(encode_heights(data.astype(np.float32), encoder), mask)


def fit_range(codes: Array) -> TrainingRange:
    """Describe where codes lie.

    Parameters
    ----------
    codes : (n, K) float
        Of training scans of one modality, n at least 20.
    """
    codes = np.asarray(codes, dtype=np.float64)
    fold = np.random.default_rng(0).permutation(len(codes)) % _FOLDS
    left_out = [
        _describe(codes[fold != k]).distance(code)
        for k in range(_FOLDS)
        for code in codes[fold == k]
    ]  # fmt: skip
    found = _describe(codes)
    return replace(found, limit=float(np.quantile(left_out, _BORDER)))


def _describe(codes: Array) -> TrainingRange:
    mean = codes.mean(axis=0)
    _, singular, basis = np.linalg.svd(codes - mean, full_matrices=False)
    variances = singular**2 / (len(codes) - 1)
    count = min(_COMPONENTS, len(codes) // 4)
    rest = variances[count:].sum() / max(1, codes.shape[1] - count)
    # A channel that never fires has no variance; a scan in which it does is far, not at infinity.
    rest = max(float(rest), 1e-9)
    return TrainingRange(mean, basis[:count], variances[:count] + rest, rest, 1.0)


def write_ranges(folder: Path, ranges: Mapping[str, TrainingRange]) -> None:
    """Write the ranges of a model's modalities into its folder."""
    tensors = {
        f"{modality}.{name}": np.ascontiguousarray(getattr(found, name), dtype=np.float64)
        for modality, found in sorted(ranges.items())
        for name in TrainingRange.__dataclass_fields__
    }
    write_with_folder(Path(folder) / RANGE_FILE, save(tensors))


def read_ranges(folder: Path) -> dict[str, TrainingRange]:
    """Read the ranges of a model by modality; empty where a model has none.

    Raises
    ------
    DataError
        The file is damaged.
    """
    path = Path(folder) / RANGE_FILE
    if not path.is_file():
        return {}
    try:
        tensors = load(read_bytes(path, most=MOST_TENSORS, holds="training range"))
        return {
            modality: TrainingRange(
                mean=tensors[f"{modality}.mean"],
                basis=tensors[f"{modality}.basis"],
                variances=tensors[f"{modality}.variances"],
                rest=tensors[f"{modality}.rest"].item(),
                limit=tensors[f"{modality}.limit"].item(),
            )
            for modality in sorted({key.partition(".")[0] for key in tensors})
        }
    except BidsHarmonyError:
        raise
    except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise DataError(
            "The training range of a model cannot be read",
            where=str(path),
            got=f"{type(error).__name__}: {error}",
            hint="The file is damaged: copy the folder again.",
        ) from error
