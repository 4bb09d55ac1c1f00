"""How much of the variance of one measure is due to the site?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bids_harmony.exceptions import DataError
from bids_harmony.quality.design import (
    as_column,
    centred,
    covariate_columns,
    indicator_columns,
    known,
    numbers,
    separate_sites,
)

__all__ = ["SiteEffect", "site_effect"]

#: Left of the squares of the values after a fit, relative to them: rounding.
_ROUNDING = 1e-24
#: Noncentrality up to which SciPy's distribution gives numbers.
_LARGEST = 1e8


@dataclass(frozen=True)
class SiteEffect:
    """Share of the variance of one measure that sites explain.

    Attributes
    ----------
    share : float
        Partial omega squared, from 0 to 1; corrected for what sites explain by chance.
    low, high : float
        95 % confidence interval of partial eta squared in the population, which `share`
        estimates. Each end leaves 2.5 %, so that it holds 0 unless p < 0.025.
    p, f : float
        Of the F test that all sites are alike.
    df_sites, df_error : int
        Degrees of freedom of `f`.
    n_scans, n_sites : int
        That entered.
    n_left_out : int
        Scans that did not: a value or covariate is missing, they are alone at their site, or
        their person was at one site only where people are compared with themselves.
    within_people : bool
        Whether people are compared with themselves at other sites.
    """

    share: float
    low: float
    high: float
    p: float
    f: float
    df_sites: int
    df_error: int
    n_scans: int
    n_sites: int
    n_left_out: int
    within_people: bool


def site_effect(
    values: ArrayLike,
    sites: ArrayLike,
    *,
    covariates: Mapping[str, ArrayLike] | None = None,
    people: ArrayLike | None = None,
) -> SiteEffect:
    """Share of the variance of one measure that the site explains, beside covariates.

    With F of df1 and df2 degrees of freedom for the sites, over N rows, partial omega squared is
    df1 (F - 1) / (df1 (F - 1) + N), and 0 where that is negative (Olejnik & Algina, Psychol
    Methods 8:434, 2003). The interval is that of lambda / (lambda + N), with the noncentralities
    lambda for which F lies at the 97.5th and the 2.5th percentile (Steiger, Psychol Methods
    9:164, 2004).

    A row is a scan, or the mean of the scans of one person at one site: rescans do not make a
    site better known than its people do. Where half of the people or more were at several sites
    and together they link all sites, each is compared with themselves (a fixed effect of the
    person); otherwise people are compared with each other, which is on the safe side for the few
    who were at several sites.

    Parameters
    ----------
    values : (N,) numbers
        Of each scan, any unit; missing where not finite.
    sites : (N,) words
        Of each scan.
    covariates : mapping of name to (N,) numbers or words, optional
        Held fixed. Words become indicators. ``n/a``, None and NaN are missing.
    people : (N,) words, optional
        Of each scan.

    Returns
    -------
    SiteEffect

    Raises
    ------
    DataError
        Lengths differ, fewer than two sites with two rows, fewer rows than the model needs, or
        sites that a covariate tells apart.
    """
    from scipy.stats import f as f_distribution

    columns: dict[str, Any] = {"values": values, "sites": sites}
    columns |= {} if people is None else {"people": people}
    rows, names, n_all = _rows(columns, dict(covariates or {}))
    rows, within = _compared(rows)
    blocks = np.unique(rows["person"], return_inverse=True)[1] if within else _one_block(rows)
    site_names, sites_of = indicator_columns(rows["site"])
    own = {k: centred(rows[v].to_numpy(np.float64), blocks) for k, v in names.items()}
    of_covariates, of_sites = separate_sites(centred(sites_of, blocks), own)
    df_sites = of_sites.shape[1]
    df_error = len(rows) - int(blocks.max()) - 1 - of_covariates.shape[1] - df_sites
    if df_error < 1:
        raise DataError(
            "Too few scans for the effect of the site",
            expected=f"{1 - df_error} more",
            got=f"{len(rows)} of {len(site_names)} sites",
        )
    y = rows["value"].to_numpy(np.float64)
    left = centred(y[:, None], blocks)[:, 0]
    left = left - of_covariates @ (of_covariates.T @ left)
    explained = float(np.sum((of_sites.T @ left) ** 2))
    error = max(float(left @ left) - explained, 0.0)
    least = _ROUNDING * float(y @ y)
    if float(left @ left) <= least:
        share, low, high, p, f = 0.0, 0.0, 0.0, 1.0, 0.0
    elif error <= least:
        share, low, high, p, f = 1.0, 1.0, 1.0, 0.0, float("inf")
    else:
        f = explained / df_sites / (error / df_error)
        p = float(f_distribution.sf(f, df_sites, df_error))
        above = max(df_sites * (f - 1), 0.0)
        share = above / (above + len(rows))
        low, high = _interval(f, df_sites, df_error, len(rows))
    n_scans = int(rows["scans"].sum())
    return SiteEffect(
        share=share, low=low, high=high, p=p, f=f, df_sites=df_sites, df_error=df_error,
        n_scans=n_scans, n_sites=len(site_names), n_left_out=n_all - n_scans,
        within_people=within,
    )  # fmt: skip


def _rows(
    columns: dict[str, Any], covariates: dict[str, Any]
) -> tuple[Any, dict[str, list[str]], int]:
    """Table of rows that enter, names of each covariate's columns, and the number of scans."""
    import pandas as pd

    columns, covariates = (
        {k: as_column(v) for k, v in table.items()} for table in (columns, covariates)
    )
    lengths = {k: len(v) for k, v in (columns | covariates).items()}
    if len(set(lengths.values())) > 1:
        raise DataError(
            "Every scan needs a value, a site and its covariates",
            expected="columns of one length",
            got=", ".join(f"{k}: {n}" for k, n in lengths.items()),
        )
    keep = np.all([known(c) for c in (*columns.values(), *covariates.values())], axis=0)
    measured = numbers(columns["values"])
    if measured is None:
        raise DataError("Values must be numbers", where="values")
    chosen = {k: v[keep] for k, v in columns.items()}
    rows = pd.DataFrame({"value": measured[keep], "site": [str(s) for s in chosen["sites"]]})
    people = [str(p) for p in chosen.get("people", ())]
    # Of one person alone every scan counts: the person is the intercept.
    rows["person"] = people if len(set(people)) > 1 else np.arange(len(rows))
    rows["scans"] = 1
    names: dict[str, list[str]] = {}
    for name, column in covariates.items():
        own = covariate_columns(column[keep])
        names[name] = [f"{name} {k}" for k in range(own.shape[1])]
        rows[names[name]] = own
    if rows.duplicated(["person", "site"]).any():
        how = {c: "sum" if c == "scans" else "mean" for c in rows if c not in ("person", "site")}
        rows = rows.groupby(["person", "site"], as_index=False).agg(how)
    size = rows.groupby("site")["value"].transform("size")
    if rows.loc[size > 1, "site"].nunique() < 2:
        counts = rows["site"].value_counts().sort_index()
        raise DataError(
            "Too few scans for the effect of the site",
            expected="two sites or more with two scans or more each, of several people",
            got=", ".join(f"{s}: {n}" for s, n in counts.items()) or "none",
        )
    return rows[size > 1], names, len(keep)


def _compared(rows: Any) -> tuple[Any, bool]:
    """Rows of people who are compared with themselves and True, or all rows and False."""
    at = rows.groupby("person")["site"].transform("nunique")
    travelling = rows[at > 1]
    if travelling["person"].nunique() * 2 < rows["person"].nunique():
        return rows, False
    if travelling["site"].nunique() < rows["site"].nunique():
        return rows, False
    blocks = np.unique(travelling["person"], return_inverse=True)[1]
    try:
        separate_sites(centred(indicator_columns(travelling["site"])[1], blocks), {})
    except DataError:  # nobody links some sites to the others
        return rows, False
    return travelling, True


def _one_block(rows: Any) -> NDArray[np.intp]:
    return np.zeros(len(rows), dtype=np.intp)


def _interval(f: float, df_sites: int, df_error: int, n: int) -> tuple[float, float]:
    """95 % interval of partial eta squared from the noncentral F distribution."""
    from scipy.optimize import brentq
    from scipy.stats import chi2, ncf
    from scipy.stats import f as central

    ends = []
    for quantile in (0.975, 0.025):
        if df_sites * f > _LARGEST:
            # There the numerator scatters little beside its size; the denominator is left.
            noncentrality = df_sites * f * float(chi2.isf(quantile, df_error)) / df_error
            ends.append(noncentrality / (noncentrality + n))
            continue
        noncentrality = 0.0
        if central.cdf(f, df_sites, df_error) > quantile:
            top = df_sites * f + 1.0
            while ncf.cdf(f, df_sites, df_error, top) > quantile:
                top *= 2

            def excess(value: float, quantile: float = quantile) -> float:
                return float(ncf.cdf(f, df_sites, df_error, value)) - quantile

            noncentrality = float(brentq(excess, 1e-12, top))
        ends.append(noncentrality / (noncentrality + n))
    return ends[0], ends[1]
