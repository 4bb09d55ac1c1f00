"""What real scanners show: tables of measures, and draws from distributions fitted to them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import norm, rankdata, spearmanr

from bids_harmony.quality.image_quality import QUALITY_MEASURES

__all__ = ["real_t1w", "real_t2w", "t1w_targets", "t2w_targets"]

Array = np.ndarray

_DRAWS = 400
#: Share of scanners at any field strength from 0.05 to 7 T, and at 1 T.
_ANY_FIELD, _ONE_TESLA, _FIELDS = 0.04, 0.01, (0.05, 7.0)
#: Contrasts outside are of scans whose tissues were taken for one another.
_T2W_LIMITS = ((0.1, 0.65), (0.2, 1.6))
#: Of the two contrasts between models.
_T2W_TOGETHER = 0.8
#: Of a scanner's noise and width, in T1w and T2w: assumed, no table tells it.
_ALIKE = 0.5
_FEWEST = 8


def _measures(table: Any) -> Any:
    import pandas as pd

    found = pd.DataFrame(
        {
            "log_gm_wm": np.log(table.summary_gm_median / table.summary_wm_median),
            "log_csf_wm": np.log(table.summary_csf_median / table.summary_wm_median),
            "noise": table.summary_wm_mad / table.summary_wm_median,
            "bias_range": table.inu_range / table.inu_med,
            "fwhm": table.fwhm_avg,
        }
    )
    assert tuple(found.columns) == QUALITY_MEASURES
    return found


def real_t1w(folder: Path) -> tuple[Array, Array]:
    """Measures of one man, one row a protocol (the median of its repeats), and field strengths."""
    import pandas as pd

    table = pd.read_csv(folder / "iqm_travelling" / "fthp_one_man_557_T1w_mriqc.csv")
    by = table.geometry_group
    measures = _measures(table).groupby(by).median()
    return measures.to_numpy(), table.groupby(by).fieldStrength.first().to_numpy()


def real_t2w(folder: Path) -> tuple[Array, Array]:
    """Grey matter and CSF over white matter, noise and width of three-dimensional T2w scans.

    One row a model of scanner: one man on three, and those of MRIQC's public collection that did
    eight scans or more. Nan are contrasts of models whose tissues were taken for one another (GE:
    white matter would be brighter than CSF). The second array has the rows of the collection.
    """
    import pandas as pd

    man = pd.read_csv(folder / "iqm_travelling" / "hcph_one_man_3scanners_T2w_mriqc.csv")
    rows = list(_measures(man).groupby(man.scanner).median().to_numpy())
    web = pd.read_csv(folder / "iqm_multisite" / "mriqc_webapi_T2w.csv")
    web = web[web["bids_meta.MRAcquisitionType"] == "3D"]
    maker = web["bids_meta.Manufacturer"]
    by = _measures(web).groupby([maker, web["bids_meta.ManufacturersModelName"]])
    for (vendor, _), own in by:
        if len(own) < _FEWEST:
            continue
        row = own.median().to_numpy().copy()
        if vendor.startswith("GE"):
            row[:2] = np.nan
        rows.append(row)
    return np.delete(np.array(rows), 3, axis=1), np.arange(3, len(rows))


def t1w_targets(
    real: Array, field: Array, count: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draw measures, (N, 5), and field strengths, (N,).

    Normal scores of the measures are a mixture of two normal distributions, those of 1.5 and of
    3 T; the quantiles of the whole are those of the table. Of many draws the one is taken whose
    rank correlations are nearest to the table's.
    """
    scores = norm.ppf(rankdata(real, axis=0) / (len(real) + 1))
    at_three = field == 3.0
    three = round(count * at_three.sum() / np.isfinite(field).sum())
    wanted = spearmanr(real).statistic
    best, least = np.empty(0), np.inf
    for _ in range(_DRAWS):
        parts = [
            rng.multivariate_normal(scores[own].mean(axis=0), np.cov(scores[own].T), size)
            for own, size in ((~at_three, count - three), (at_three, three))
        ]
        drawn = np.vstack(parts)
        off = float(np.abs(spearmanr(drawn).statistic - wanted).max())
        if off < least:
            best, least = drawn, off
    shares = (rankdata(best, axis=0) - 0.5) / count
    measures = np.array([np.quantile(r, s) for r, s in zip(real.T, shares.T, strict=True)]).T
    tesla = np.where(np.arange(count) < count - three, 1.5, 3.0)
    few = rng.permutation(count)[: round((_ANY_FIELD + _ONE_TESLA) * count)]
    one = round(_ONE_TESLA * count)
    tesla[few[:one]] = 1.0
    tesla[few[one:]] = np.geomspace(*_FIELDS, len(few) - one)
    return measures, tesla


def t2w_targets(folder: Path, t1w: Array, rng: np.random.Generator) -> Array:
    """Draw contrasts, noise and width of T2w scans, (N, 4): normal, the last two in logarithms."""
    real, _ = real_t2w(folder)
    real[:, 2:] = np.log(real[:, 2:])
    mean, spread = np.nanmean(real, axis=0), np.nanstd(real, axis=0, ddof=1)
    shares = (rankdata(t1w, axis=0) - 0.5) / len(t1w)
    own = rng.standard_normal((len(t1w), 4))
    own[:, 1] = _T2W_TOGETHER * own[:, 0] + np.sqrt(1 - _T2W_TOGETHER**2) * own[:, 1]
    for column, measure in ((2, 2), (3, 4)):
        own[:, column] = (
            _ALIKE * norm.ppf(shares[:, measure]) + np.sqrt(1 - _ALIKE**2) * own[:, column]
        )
    drawn = mean + spread * own
    drawn[:, 2:] = np.exp(drawn[:, 2:])
    for column, limits in enumerate(_T2W_LIMITS):
        drawn[:, column] = np.clip(drawn[:, column], *limits)
    return drawn
