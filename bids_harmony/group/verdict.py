"""What a page says at its top: a few questions, each answered by numbers that stand below it.

A harmonizer that destroys images makes sites alike as well, so that the questions about detail,
people and controls count as much as those about sites.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from bids_harmony.group.effects import KeptEffect, MeasureEffect
from bids_harmony.group.probe import Probe
from bids_harmony.group.travelling import TravellingRow
from bids_harmony.quality.summary import STAGES

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Answer", "answers", "overall"]

SOURCE, HARMONIZED = STAGES
#: log10 of energy: a quarter of the finest detail's energy gone below both source and target.
_DETAIL_LOST = 0.125
_SIGNIFICANT = 0.05
#: Of the spread between people of one site; the scanners of 17 sites differ by a factor of two
#: from their median (`benchmarks/results/contrast_law.md`).
_LEVELLED = 0.5
_FEWEST_DEGREES = 4


@dataclass(frozen=True)
class Answer:
    """A question, its answer, and the numbers behind it."""

    question: str
    answer: Literal["yes", "no", "cannot tell"]
    words: str


def answers(
    effects: Sequence[MeasureEffect],
    probes: Sequence[Probe],
    kept: Sequence[KeptEffect],
    travelling: Sequence[TravellingRow],
    table: DataFrame,
) -> list[Answer]:
    """Answer what can be answered of one suffix and target.

    Parameters
    ----------
    effects, probes, kept, travelling
        As the modules of this package make them; empty where nothing can be said.
    table : DataFrame
        Of `measures.table_of`.
    """
    return [
        _sites_alike(effects),
        _probe_fooled(probes),
        *([_detail_kept(table)] if f"detail_{SOURCE}" in table else []),
        _people_kept(kept),
        *([_people_differ(table)] if f"gm_wm_{SOURCE}" in table else []),
        *([_closer_to_target(travelling)] if travelling else []),
    ]


def overall(found: Sequence[Answer]) -> str:
    """One sentence."""
    said = {answer.answer for answer in found}
    if "no" in said:
        failed = "; ".join(a.question.rstrip("?").lower() for a in found if a.answer == "no")
        return f"Harmonization did not pass here. Answered with no: {failed}."
    if "yes" in said:
        return "Harmonization passed every question that this cohort can answer."
    return "This cohort is too small to say anything."


def _sites_alike(effects: Sequence[MeasureEffect]) -> Answer:
    question = "Is less of the variance between scans due to the site?"
    if not effects:
        return Answer(question, "cannot tell", "Too few scans or sites.")
    before, after = (
        np.array([e.effects[state].share for e in effects]) for state in (SOURCE, HARMONIZED)
    )
    there = sum(e.effects[SOURCE].p < _SIGNIFICANT / len(effects) for e in effects)
    left = sum(e.effects[HARMONIZED].p < _SIGNIFICANT / len(effects) for e in effects)
    words = (
        f"Mean share of the variance that the site explains: {before.mean():.3f} before, "
        f"{after.mean():.3f} after. Measures with a site effect (p below "
        f"{_SIGNIFICANT}, corrected for {len(effects)}): {there} before, {left} after."
    )
    if not there and not left:
        return Answer(question, "cannot tell", f"There was no site effect to begin with. {words}")
    better = after.mean() < before.mean() and left <= there
    return Answer(question, "yes" if better else "no", words)


def _probe_fooled(probes: Sequence[Probe]) -> Answer:
    question = "Is it harder for a retrained classifier to tell the site?"
    by_name: Mapping[str, Probe] = {probe.shown: probe for probe in probes}
    before = by_name.get("preprocessed only") or by_name.get(SOURCE)
    after = by_name.get(HARMONIZED)
    if before is None or after is None:
        return Answer(question, "cannot tell", "Too few scans or sites.")
    a, b = after.result, before.result
    words = (
        f"Balanced accuracy {b.balanced_accuracy:.2f} before, {a.balanced_accuracy:.2f} after "
        f"(95 % interval {a.low:.2f} to {a.high:.2f}); chance is {a.chance:.2f}."
    )
    if b.low <= b.chance:
        return Answer(question, "cannot tell", f"It was no better than chance before. {words}")
    # The interval of either must lie beyond the other's value: small cohorts say nothing.
    if a.high < b.balanced_accuracy:
        return Answer(question, "yes", words)
    return Answer(question, "no" if a.low > b.balanced_accuracy else "cannot tell", words)


def _detail_kept(table: DataFrame) -> Answer:
    question = "Is fine detail kept?"
    own = table[table["site"] != table["target_site"]]
    at_target = table[table["site"] == table["target_site"]][f"detail_{SOURCE}"].dropna()
    before, after = (own[f"detail_{state}"] for state in STAGES)
    if not (before.notna() & after.notna()).any():
        return Answer(question, "cannot tell", "No scan of another site has a summary.")
    # Denoising down to what the target shows is wanted; beyond both, it is blurring.
    goal = float(at_target.median()) if len(at_target) else np.inf
    lost = np.minimum(before, goal) - after
    share = float((lost > _DETAIL_LOST).mean())
    words = (
        f"Energy of the finest detail, log10: {before.median():.2f} before, {after.median():.2f} "
        f"after{f', {goal:.2f} at the target' if len(at_target) else ''}. "
        f"{share:.0%} of scans lost more than {1 - 10**-_DETAIL_LOST:.0%} of it below both."
    )
    return Answer(question, "no" if share > 0.5 else "yes", words)


def _people_kept(kept: Sequence[KeptEffect]) -> Answer:
    question = "Are effects of age, sex and group kept?"
    own = [k for k in kept if k.state == HARMONIZED]
    there = [k for k in own if k.effect.p_before < _SIGNIFICANT / max(1, len(own))]
    if not there:
        words = (
            "No covariate has an effect on any measure before harmonization that could be lost."
        )
        return Answer(
            question, "cannot tell", words if own else "No covariates, or too few scans."
        )
    lost = [k for k in there if not k.effect.low <= 1 <= k.effect.high]
    words = f"{len(there) - len(lost)} of {len(there)} effects are kept within their interval."
    if lost:
        told = ", ".join(
            f"{k.covariate} on {k.measure.name} (ratio {k.effect.ratio:.2f}, "
            f"{k.effect.low:.2f} to {k.effect.high:.2f})"
            for k in lost
        )
        words += f" Not: {told}."
    return Answer(question, "no" if lost else "yes", words)


def _people_differ(table: DataFrame) -> Answer:
    """Spread between people within sites, of a contrast that is free of gain."""
    question = "Do people of one site still differ from each other?"
    own = table[table["site"] != table["target_site"]]
    logs = np.log(own[[f"gm_wm_{state}" for state in STAGES]].where(lambda t: t > 0)).dropna()
    sites = own.loc[logs.index, "site"]
    within = logs - logs.groupby(sites).transform("mean")
    degrees = len(logs) - sites.nunique()
    if degrees < _FEWEST_DEGREES:
        return Answer(question, "cannot tell", "Too few scans of other sites than the target.")
    before, after = np.sqrt(np.square(within).sum().to_numpy() / degrees)
    words = (
        f"Contrast of grey to white matter varies by {before:.1%} between scans of one site "
        f"before and {after:.1%} after. A site of stronger contrast shows larger differences: the "
        "two need not be equal"
    )
    if after < _LEVELLED * before:
        return Answer(question, "no", f"{words}; this much less means that people were levelled.")
    return Answer(question, "yes", f"{words}.")


def _closer_to_target(rows: Sequence[TravellingRow]) -> Answer:
    question = "Do travelling subjects' scans come closer to their own scan at the target?"
    errors = {
        state: np.array([row.rmse for row in rows if row.state == state]) for state in STAGES
    }
    if not errors[SOURCE].size:
        return Answer(question, "cannot tell", "Nobody was scanned at the target and elsewhere.")
    nearer = int((errors[HARMONIZED] < errors[SOURCE]).sum())
    words = (
        f"Mean error {errors[SOURCE].mean():.3f} before, {errors[HARMONIZED].mean():.3f} after; "
        f"{nearer} of {errors[SOURCE].size} scans came closer."
    )
    better = errors[HARMONIZED].mean() < errors[SOURCE].mean()
    return Answer(question, "yes" if better else "no", words)
