"""Everything that is measured of one suffix and one target: a chapter of the group page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bids_harmony.group.covariates import Covariates
from bids_harmony.group.effects import (
    KeptEffect,
    MeasureEffect,
    Outlier,
    Reliability,
    add_combat,
    confounded_covariates,
    kept_effects,
    reliabilities,
    shared_covariates,
    site_effects,
    unusual_scans,
)
from bids_harmony.group.measures import Measure, measures_of, table_of
from bids_harmony.group.needed import PeopleNeeded, people_needed
from bids_harmony.group.outputs import Output
from bids_harmony.group.probe import Probe, probe_sites
from bids_harmony.group.regions import RegionVariation, region_variations
from bids_harmony.group.travelling import TravellingRow, travelling_rows
from bids_harmony.group.verdict import Answer, answers, overall
from bids_harmony.quality.confounding import Confounding

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["Chapter", "make_chapter"]


@dataclass(frozen=True, eq=False)
class Chapter:
    """What is known of one suffix and target.

    Attributes
    ----------
    suffix, target : str
    outputs : sequence of Output
    table : DataFrame
        One row per scan.
    measures : sequence of Measure
    covariates : mapping
        Those of this chapter's scans.
    answers : sequence of Answer
    effects, kept, probes, regions, travelling, reliabilities, outliers
        Rows of its tables.
    confounded : mapping of covariate to Confounding
    statements : mapping of table to str
        Why a table is empty; ``combat_learnt`` tells on whom ComBat was learnt.
    needed : sequence of PeopleNeeded
        How many people would show a small effect.
    """

    suffix: str
    target: str
    outputs: Sequence[Output]
    table: DataFrame
    measures: Sequence[Measure]
    covariates: Covariates
    answers: Sequence[Answer]
    effects: Sequence[MeasureEffect]
    kept: Sequence[KeptEffect]
    probes: Sequence[Probe]
    regions: Sequence[RegionVariation]
    travelling: Sequence[TravellingRow]
    reliabilities: Sequence[Reliability]
    outliers: Sequence[Outlier]
    confounded: Mapping[str, Confounding]
    statements: Mapping[str, str]
    needed: Sequence[PeopleNeeded] = ()

    @property
    def verdict(self) -> str:
        """One sentence over all answers."""
        return overall(self.answers)

    def record(self) -> dict[str, Any]:
        """All results as JSON takes them; what is not a number is null."""
        own: dict[str, Any] = {
            "suffix": self.suffix,
            "target": self.target,
            "scans": len(self.outputs),
            "verdict": self.verdict,
            "answers": [asdict(answer) for answer in self.answers],
            "site_effects": [
                {"measure": e.measure.key, "state": state} | asdict(effect)
                for e in self.effects
                for state, effect in e.effects.items()
            ],
            "people_per_site": [
                {"measure": n.measure.key, "state": state, "people": people, "sites": n.n_sites}
                for n in self.needed
                for state, people in n.states.items()
            ],
            "effects_kept": [
                {"measure": k.measure.key, "covariate": k.covariate, "state": k.state}
                | asdict(k.effect)
                for k in self.kept
            ],
            "confounding": {name: asdict(c) for name, c in self.confounded.items()},
            "probe": [{"shown": p.shown} | asdict(p.result) for p in self.probes],
            "regions": [asdict(region) for region in self.regions],
            "travelling": [asdict(row) for row in self.travelling],
            "reliability": [
                {"measure": r.measure.key, "state": state} | asdict(value)
                for r in self.reliabilities
                for state, value in r.states.items()
            ],
            "outliers": [
                {"scan": o.scan, "site": o.site, "measure": o.measure.key, "score": o.score}
                for o in self.outliers
            ],
            "statements": dict(self.statements),
        }
        return {name: _plain(value) for name, value in own.items()}


def make_chapter(outputs: Sequence[Output], covariates: Covariates, *, seed: int) -> Chapter:
    """Measure one suffix and target.

    Parameters
    ----------
    outputs : sequence of Output
        Of one suffix and target.
    covariates : mapping
        One value per output.
    seed : int
        Of the classifier's folds.
    """
    measures = measures_of(outputs)
    table = table_of(outputs, covariates)
    measures = tuple(m for m in measures if f"{m.key}_source" in table)
    confounded = confounded_covariates(table, covariates)
    # What cannot be told from the site is no help in finding the site's effect.
    apart = {
        name: values
        for name, values in shared_covariates(table, covariates).items()
        if name in confounded and not confounded[name].confounded
    }
    no_combat = combat_remark = ""
    if measures:
        table, no_combat, combat_remark = add_combat(table, measures, apart)
    effects, no_effects = site_effects(table, measures, apart)
    probes, no_probe = probe_sites(outputs, seed=seed)
    kept = kept_effects(table, measures, covariates)
    series = outputs[0].scan.modality == "dwi"
    travelling = [] if series else travelling_rows(outputs)
    statements = {
        "combat": no_combat,
        "combat_learnt": combat_remark,
        "site_effects": no_effects,
        "probe": no_probe,
    }
    return Chapter(
        suffix=outputs[0].scan.modality,
        target=outputs[0].target,
        outputs=outputs,
        table=table,
        measures=measures,
        covariates=covariates,
        answers=answers(effects, probes, kept, travelling, table),
        effects=effects,
        kept=kept,
        probes=probes,
        regions=region_variations(outputs) if series else [],
        travelling=travelling,
        reliabilities=reliabilities(table, measures),
        outliers=unusual_scans(table, measures),
        confounded=confounded,
        needed=people_needed(effects),
        statements={name: text for name, text in statements.items() if text},
    )


def _plain(value: Any) -> Any:
    """Numbers of Python, None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
