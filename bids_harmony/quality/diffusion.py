"""What harmonization did to the maps and the signal of one diffusion series.

Both series are measured in the same voxels, so that a number changes because the map changed and
not because the tissue did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.maps import MAPS, SHOWN
from bids_harmony.exceptions import DataError
from bids_harmony.imaging.tissues import TISSUE_NAMES
from bids_harmony.quality.changes import finite_or_none

__all__ = [
    "angle_between",
    "diffusion_descriptions",
    "diffusion_tissues",
    "direction_row",
    "map_row",
    "signal_row",
]

WHITE_FA = 0.3
"""Above lies white matter; noise alone gives grey matter some 0.1 to 0.2."""
GREY_FA = 0.2
"""Below lies grey matter; what is between the two may be either, and counts as neither."""
WHITE_MD = (0.3e-3, 1.1e-3)
GREY_MD = (0.5e-3, 1.2e-3)
"""mm2/s; below is noise or air, above is CSF in a good part of the voxel."""
QUANTILES = {"p10": 0.1, "median": 0.5, "p90": 0.9}
STAGES = ("source", "harmonized")

_GREY, _WHITE, _CSF = (TISSUE_NAMES.index(name) + 1 for name in ("gm", "wm", "csf"))


def diffusion_tissues(fa: NDArray, md: NDArray, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Tissues by the tensor alone, where there is no segmentation of a T1w scan.

    White matter has FA above 0.3 and MD of 0.3 to 1.1e-3 mm2/s; grey matter FA below 0.2 and MD
    of 0.5 to 1.2e-3; CSF FA below 0.3 and MD above 1.2e-3. Anything else is left out. Crossing
    fibres of low FA are missed, and noisy series of few directions lend grey matter too much FA:
    good for comparing two maps in one set of voxels, not for volumetry.

    To compare two series, give the means of their maps. Voxels chosen by one series alone have
    values that noise happened to put past its threshold, and the other would seem to differ.

    Parameters
    ----------
    fa, md : (X, Y, Z) float
        MD in mm2/s.
    mask : (X, Y, Z) bool
        Where the tensor was fitted.

    Returns
    -------
    (X, Y, Z) uint8
        Labels as in `imaging.tissues.TissueMap`: 1 grey matter, 2 white matter, 3 CSF, 0 none.
    """
    labels = np.zeros(mask.shape, np.uint8)
    labels[mask & (fa < WHITE_FA) & (md > GREY_MD[1])] = _CSF
    labels[mask & (fa < GREY_FA) & (md > GREY_MD[0]) & (md <= GREY_MD[1])] = _GREY
    labels[mask & (fa > WHITE_FA) & (md > WHITE_MD[0]) & (md <= WHITE_MD[1])] = _WHITE
    return labels


def map_row(
    source: Mapping[str, NDArray], harmonized: Mapping[str, NDArray], tissues: NDArray
) -> dict[str, float | None]:
    """Quantiles of the maps in white and grey matter, before and after.

    Parameters
    ----------
    source, harmonized : mapping of parameter to (X, Y, Z) float
        Any of `maps.SHOWN`; others are passed over.
    tissues : (X, Y, Z) int
        As `diffusion_tissues` gives them, or any segmentation with these labels.

    Returns
    -------
    dict
        ``<parameter>_<wm|gm>_<p10|median|p90>_<source|harmonized>``; None where a map or a tissue
        is missing. Of FORCE only where there are maps: few runs ask for it.
    """
    row: dict[str, float | None] = {}
    for name in SHOWN:
        if MAPS[name].model == "force" and name not in source:
            continue
        for tissue, label in (("wm", _WHITE), ("gm", _GREY)):
            where = tissues == label
            for stage, maps in zip(STAGES, (source, harmonized), strict=True):
                levels: Iterable[float | None] = [None] * len(QUANTILES)
                if name in maps and maps[name].shape != tissues.shape:
                    raise _not_one_grid(tissues, maps[name])
                if name in maps and where.any():
                    levels = np.quantile(maps[name][where], list(QUANTILES.values()))
                for quantile, level in zip(QUANTILES, levels, strict=True):
                    row[f"{name}_{tissue}_{quantile}_{stage}"] = finite_or_none(level)
    return row


def angle_between(first: NDArray, second: NDArray) -> NDArray[np.float64]:
    """Angle between axes, whatever their sign.

    Parameters
    ----------
    first, second : (..., 3) float
        Vectors of any length, in one frame.

    Returns
    -------
    (...) float64
        0 to 90 degrees; NaN where a vector is zero.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    # Not the arc cosine, which loses half the digits where the two agree.
    across = np.linalg.norm(np.cross(a, b), axis=-1)
    along = np.abs(np.sum(a * b, axis=-1))
    angle = np.degrees(np.arctan2(across, along))
    return np.where((across == 0) & (along == 0), np.nan, angle)


def direction_row(source: NDArray, harmonized: NDArray, tissues: NDArray) -> dict:
    """How far the main diffusion direction turned inside white matter.

    Parameters
    ----------
    source, harmonized : (X, Y, Z, 3) float
        Main directions of the tensor.
    tissues : (X, Y, Z) int

    Returns
    -------
    dict
        ``v1_angle_wm_median_deg`` and ``v1_angle_wm_p95_deg``; None without white matter.
    """
    where = tissues == _WHITE
    angles = angle_between(source[where], harmonized[where])
    angles = angles[np.isfinite(angles)]
    levels = np.quantile(angles, [0.5, 0.95]) if angles.size else (None, None)
    return {
        "v1_angle_wm_median_deg": finite_or_none(levels[0]),
        "v1_angle_wm_p95_deg": finite_or_none(levels[1]),
    }


def signal_row(
    source: Iterable[NDArray],
    harmonized: Iterable[NDArray],
    source_b0: NDArray,
    harmonized_b0: NDArray,
    mask: NDArray[np.bool_],
    gradients: Gradients,
) -> dict[str, float | None]:
    """Checks of the signal: ratios that cannot be, negative values, attenuation of each shell.

    Parameters
    ----------
    source, harmonized : iterables of (X, Y, Z) float
        The volumes, such as `diffusion.series.Series.volumes` yields them; read once.
    source_b0, harmonized_b0 : (X, Y, Z) float
        Mean over the b=0 volumes.
    mask : (X, Y, Z) bool
        The brain; voxels without signal at b=0 before or after are left out.
    gradients : Gradients
        Of both series.

    Returns
    -------
    dict
        The keys that `diffusion_descriptions` describes. An attenuation is the median over voxels
        of the shell's mean S/S0.
    """
    where = mask & (source_b0 > 0) & (harmonized_b0 > 0)
    if not where.any():
        raise DataError("No voxel with signal at b=0 inside the mask", expected="a brain")
    row: dict[str, float | None] = {}
    weighted = int(np.count_nonzero(~gradients.b0))
    shell_of = np.full(len(gradients.bvals), -1)
    for index, shell in enumerate(gradients.shells):
        shell_of[shell.volumes] = index
    n = int(np.count_nonzero(where))
    levels = []
    for stage, volumes, b0 in (
        ("source", source, source_b0[where]),
        ("harmonized", harmonized, harmonized_b0[where]),
    ):
        above = negative = 0
        sums = np.zeros((len(gradients.shells), n))
        for volume, shell in zip(volumes, shell_of, strict=True):
            values = volume[where]
            negative += int(np.count_nonzero(values < 0))
            if shell >= 0:
                ratio = values / b0
                above += int(np.count_nonzero(ratio > 1))
                sums[shell] += ratio
        row[f"ratio_above_one_share_{stage}"] = above / (n * weighted)
        row[f"negative_share_{stage}"] = negative / (n * len(shell_of))
        counts = [len(shell.volumes) for shell in gradients.shells]
        levels.append(np.median(sums, axis=1) / counts)
    row["b0_ratio_median"] = float(np.median(harmonized_b0[where] / source_b0[where]))
    for shell, *pair in zip(gradients.shells, *levels, strict=True):
        for stage, level in zip(STAGES, pair, strict=True):
            row[f"attenuation_b{shell.nominal:g}_{stage}"] = float(level)
    return row


def diffusion_descriptions(row: Iterable[str]) -> dict[str, dict[str, str]]:
    """What the columns of this module's rows mean, for the JSON beside ``scans.tsv``.

    Parameters
    ----------
    row : iterable of str
        Keys of `map_row`, `direction_row` and `signal_row`.
    """
    return {key: _describe(key) for key in row}


_WORDS = {
    "wm": "white matter (by the tensors of both series, or a segmentation)",
    "gm": "grey matter (by the tensors of both series, or a segmentation)",
    "p10": "10th percentile",
    "median": "Median",
    "p90": "90th percentile",
    "p95": "95th percentile",
}
_STAGE_WORDS = {"source": "source series", "harmonized": "harmonized series"}


def _describe(key: str) -> dict[str, str]:
    parts = key.split("_")
    stage = _STAGE_WORDS.get(parts[-1], "")
    if key.startswith("v1_angle"):
        text = f"{_WORDS[parts[3]]} in white matter of the angle by which the main diffusion"
        return {"Description": f"{text} direction turned, sign-free", "Units": "degrees"}
    if key.startswith("ratio_above_one"):
        text = "Share of voxels and weighted volumes inside the brain with S/S0 above 1"
        return {"Description": f"{text}, {stage}", "Units": "1"}
    if key.startswith("negative_share"):
        text = "Share of voxels and volumes inside the brain with negative signal"
        return {"Description": f"{text}, {stage}", "Units": "1"}
    if key == "b0_ratio_median":
        text = "Median ratio of the mean b=0 signals inside the brain, harmonized over source"
        return {"Description": text, "Units": "1"}
    if key.startswith("attenuation_b"):
        text = f"Median inside the brain of the mean S/S0 at b={parts[1][1:]} s/mm2"
        return {"Description": f"{text}, {stage}", "Units": "1"}
    kind = MAPS[parts[0]]
    text = f"{_WORDS[parts[2]]} of the {kind.meaning.lower()} in {_WORDS[parts[1]]}"
    return {"Description": f"{text}, {stage}", "Units": kind.unit}


def _not_one_grid(first: NDArray, second: NDArray) -> DataError:
    return DataError(
        "Maps and tissues are not on one grid", expected=str(first.shape), got=str(second.shape)
    )
