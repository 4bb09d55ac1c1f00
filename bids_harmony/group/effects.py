"""Site effects before and after, effects of people that should be kept, and who stands apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bids_harmony.exceptions import DataError
from bids_harmony.group.covariates import Covariates
from bids_harmony.group.measures import COMBAT, Measure
from bids_harmony.quality.combat import combat, leave_person_out
from bids_harmony.quality.confounding import Confounding, confounding
from bids_harmony.quality.effects_kept import EffectKept, effect_kept
from bids_harmony.quality.outliers import outliers
from bids_harmony.quality.reliability import IntraclassCorrelation, icc
from bids_harmony.quality.site_effect import SiteEffect, site_effect
from bids_harmony.quality.summary import STAGES

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = [
    "MeasureEffect",
    "KeptEffect",
    "Outlier",
    "Reliability",
    "add_combat",
    "confounded_covariates",
    "kept_effects",
    "reliabilities",
    "shared_covariates",
    "site_effects",
    "unusual_scans",
]

_FEWEST_OF_A_SITE = 2


@dataclass(frozen=True)
class MeasureEffect:
    """How much of one measure the site explains, by state."""

    measure: Measure
    effects: Mapping[str, SiteEffect]


@dataclass(frozen=True)
class KeptEffect:
    """What became of the effect of a covariate on a measure; `state` is harmonized or combat."""

    measure: Measure
    covariate: str
    state: str
    effect: EffectKept


@dataclass(frozen=True)
class Reliability:
    """Agreement of travelling subjects' measures between sites, by state.

    A state is left out where people do not differ in the measure: agreement is a share of their
    differences.
    """

    measure: Measure
    states: Mapping[str, IntraclassCorrelation]


@dataclass(frozen=True)
class Outlier:
    """A scan that stands apart from the others of its site after harmonization."""

    scan: str
    site: str
    measure: Measure
    score: float


def add_combat(
    table: DataFrame, measures: Sequence[Measure], covariates: Covariates
) -> tuple[DataFrame, str, str]:
    """Add what ComBat makes of the measures of the source, with covariates kept.

    Of people who were at several sites it is learnt on the others, where these suffice. Where
    people were scanned repeatedly at one site, each has a level of their own, which stays.

    Parameters
    ----------
    table : DataFrame
    measures : sequence of Measure
    covariates : mapping

    Returns
    -------
    table, statement, remark
        The table with columns ``<measure>_combat``; why there are none, else empty; and how it was
        learnt and which scans are without.
    """
    names = [f"{m.key}_source" for m in measures]
    values = table[names].to_numpy(np.float64)
    sites = table["site"].to_numpy()
    measured = np.isfinite(values).any(axis=1)
    told = _filled(covariates, len(table))
    known = measured & told
    counts = {site: int((sites[known] == site).sum()) for site in dict.fromkeys(sites)}
    several = [site for site, count in counts.items() if count >= _FEWEST_OF_A_SITE]
    if len(several) < 2:
        found = ", ".join(f"{site}: {count}" for site, count in counts.items())
        reason = f"ComBat needs two sites or more with two scans or more each; here {found}."
        return table, reason, ""
    known &= np.isin(sites, several)
    own = sites[known]
    people = table["participant_id"].to_numpy()[known]
    # Somebody's scans at one site tell a level of the person's own from a single scan's.
    repeated = len({*zip(people, own, strict=True)}) < len(own)
    travellers = [p for p in dict.fromkeys(people) if len(set(own[people == p])) > 1]
    try:
        adjusted = combat(
            values[known],
            own,
            covariates=_part(covariates, known),
            people=people if repeated else None,
        )
    except DataError as error:
        return table, str(error), ""
    others = leave_person_out(
        values[known],
        own,
        people,
        covariates=_part(covariates, known),
        only=travellers,
        own_levels=repeated,
    )
    left_out = np.isfinite(others).any(axis=1)
    adjusted[left_out] = others[left_out]
    table = table.copy()
    for column, measure in zip(adjusted.T, measures, strict=True):
        with_combat = np.full(len(table), np.nan)
        with_combat[known] = column
        table[f"{measure.key}_{COMBAT}"] = with_combat
    alone = [
        site for site in counts if site not in several and (sites[measured & told] == site).any()
    ]
    remark = [
        f"Of {len(set(people[left_out]))} of {len(travellers)} people who were at several sites, "
        "ComBat was learnt on the others."
        if travellers
        else "",
        "People who were scanned repeatedly have a level of their own, which stays."
        if repeated
        else "",
        f"A measure is missing in {n} of the scans, which count for the rest."
        if (n := int((~np.isfinite(values[known]).all(axis=1)).sum()))
        else "",
        f"A covariate is missing of {n} of the scans, which are left out."
        if (n := int((measured & ~told).sum()))
        else "",
        f"Sites of a single scan are left out: {', '.join(map(str, alone))}." if alone else "",
    ]
    return table, "", " ".join(text for text in remark if text)


def site_effects(
    table: DataFrame, measures: Sequence[Measure], covariates: Covariates
) -> tuple[list[MeasureEffect], str]:
    """Share of every measure's variance that the site explains.

    Covariates that cannot be told from the site are left out.

    Returns
    -------
    effects, statement
        Why there are none, else empty.
    """
    found: list[MeasureEffect] = []
    statement = ""
    for measure in measures:
        states = [s for s in (*STAGES, COMBAT) if f"{measure.key}_{s}" in table]
        # The same scans in all states, or the shares would not compare.
        values = table[[f"{measure.key}_{s}" for s in states]].to_numpy(np.float64)
        known = np.isfinite(values).all(axis=1)
        try:
            effects = {
                state: _one_effect(table, values[:, i], known, covariates)
                for i, state in enumerate(states)
            }
        except DataError as error:
            statement = str(error)
            continue
        found.append(MeasureEffect(measure, effects))
    return found, statement if not found else ""


def _one_effect(
    table: DataFrame, values: NDArray[np.float64], known: NDArray[np.bool_], covariates: Covariates
) -> SiteEffect:
    return site_effect(
        values[known],
        table["site"].to_numpy()[known],
        covariates=_part(covariates, known),
        people=table["participant_id"].to_numpy()[known],
    )


def confounded_covariates(table: DataFrame, covariates: Covariates) -> dict[str, Confounding]:
    """How closely each covariate goes with the site; one row per person and site."""
    first = ~table.duplicated(["participant_id", "site"]).to_numpy()
    sites = table["site"].to_numpy()[first]
    found = {}
    for name, values in covariates.items():
        try:
            found[name] = confounding(sites, np.asarray(values)[first])
        except DataError:
            # Too few values to say anything.
            continue
    return found


def shared_covariates(table: DataFrame, covariates: Covariates) -> Covariates:
    """Covariates that group people: numbers, and words of which some are said of two people.

    A remark that is another one of everybody is no more than a second name; held fixed it would
    leave nothing to compare.
    """
    people = table["participant_id"].to_numpy()
    return {
        name: values
        for name, values in covariates.items()
        if (column := np.asarray(values)).dtype.kind == "f"
        or any(len(set(people[column == word])) > 1 for word in set(column.tolist()) - {""})
    }


def kept_effects(
    table: DataFrame, measures: Sequence[Measure], covariates: Covariates
) -> list[KeptEffect]:
    """What became of the effect of every covariate on every measure, within sites."""
    found = []
    for name, values in covariates.items():
        column = np.asarray(values)
        for measure in measures:
            for state in (STAGES[1], COMBAT):
                if f"{measure.key}_{state}" not in table:
                    continue
                before, after = (
                    table[f"{measure.key}_{s}"].to_numpy(np.float64) for s in (STAGES[0], state)
                )
                known = np.isfinite(before) & np.isfinite(after) & _is_known(column)
                try:
                    effect = effect_kept(
                        column[known],
                        before[known],
                        after[known],
                        sites=list(table["site"].to_numpy()[known]),
                    )
                except DataError:
                    # Too few people, one value, or more than two words: nothing to estimate.
                    continue
                found.append(KeptEffect(measure, name, state, effect))
    return found


def reliabilities(table: DataFrame, measures: Sequence[Measure]) -> list[Reliability]:
    """Agreement between sites of people who were scanned at all of several sites."""
    found = []
    for measure in measures:
        states = {}
        for state in (*STAGES, COMBAT):
            if f"{measure.key}_{state}" not in table:
                continue
            wide = table.pivot_table(
                index="participant_id", columns="site", values=f"{measure.key}_{state}"
            )
            try:
                states[state] = icc(_travellers(wide))
            except DataError:
                # Nobody travelled, or all values are one.
                continue
        if states:
            found.append(Reliability(measure, states))
    return found


def _travellers(wide: DataFrame) -> NDArray[np.float64]:
    """People with more than one site, at the sites where most of them were."""
    several = wide[wide.notna().sum(axis=1) > 1]
    if several.empty:
        raise DataError("Nobody was scanned at two sites")
    common = several.notna().sum() == several.notna().sum().max()
    return np.asarray(several.loc[:, common].dropna(), dtype=np.float64)


def unusual_scans(table: DataFrame, measures: Sequence[Measure]) -> list[Outlier]:
    """Scans that stand apart from the others of their site after harmonization."""
    found = []
    for measure in measures:
        values = table[f"{measure.key}_{STAGES[1]}"].to_numpy(np.float64)
        known = np.isfinite(values)
        if known.sum() < 3:
            continue
        stands = outliers(values[known], table["site"].to_numpy()[known])
        rows = table[known]
        found += [
            Outlier(
                str(rows["scan"].iloc[i]),
                str(rows["site"].iloc[i]),
                measure,
                float(stands.scores[i]),
            )
            for i in np.flatnonzero(stands.flagged)
        ]
    return sorted(found, key=lambda o: -abs(o.score))


def _part(covariates: Covariates, rows: NDArray[np.bool_]) -> dict[str, NDArray]:
    return {name: np.asarray(values)[rows] for name, values in covariates.items()}


def _filled(covariates: Covariates, n: int) -> NDArray[np.bool_]:
    known = np.ones(n, dtype=bool)
    for values in covariates.values():
        known &= _is_known(np.asarray(values))
    return known


def _is_known(values: NDArray) -> NDArray[np.bool_]:
    return np.isfinite(values) if values.dtype.kind == "f" else values != ""
