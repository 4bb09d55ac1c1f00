"""The level ``group``: what participants left, measured across sites, as tables and one page.

No graph: everything is read from small files, and what takes time (travelling subjects) is one
loop.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_harmony.bids.decisions import KEEP, about_no_scan, excluded_scans, read_decisions
from bids_harmony.exceptions import NothingSelected

if TYPE_CHECKING:
    from bids_harmony.bids.decisions import Decision
    from bids_harmony.group.chapter import Chapter
    from bids_harmony.group.outputs import Missing, Output
    from bids_harmony.settings import Settings

__all__ = ["choose_outputs", "run_group"]

logger = logging.getLogger(__name__)


def run_group(settings: Settings) -> Path:
    """Write ``group_<suffix>.tsv`` with its dictionary, ``group.json`` and ``group.html``.

    Parameters
    ----------
    settings : Settings
        Select as for `choose_outputs`.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    BidsHarmonyError
        As `choose_outputs`.
    """
    from bids_harmony.bids.covariates import check_covariates
    from bids_harmony.bids.derivative import write_json
    from bids_harmony.group.chapter import make_chapter
    from bids_harmony.group.covariates import read_covariates
    from bids_harmony.group.outputs import per_page
    from bids_harmony.reports.group import write_group_page

    outputs, missing, decided = choose_outputs(settings)
    for one in decided:
        logger.info("%s, as was decided: %s", one.scan, one.words)
    for row in missing:
        logger.warning("%s is not in the group page: %s", row.label, row.reason)
    people = [(output.participant, output.session) for output in outputs]
    check_covariates(settings.bids_dir, people, settings.covariates)
    chapters = []
    for (suffix, target), own in per_page(outputs).items():
        logger.info("%s to %s: %d scans", suffix, target, len(own))
        covariates = read_covariates(settings.bids_dir, own, settings.covariates)
        chapters.append(make_chapter(own, covariates, seed=settings.random_seed))
    _write_tables(settings.output_dir, chapters)
    write_json(
        settings.output_dir / "group.json",
        {
            "chapters": [chapter.record() for chapter in chapters],
            "missing": [{"label": row.label, "reason": row.reason} for row in missing],
            "decisions": [asdict(one) for one in decided],
        },
    )
    page = write_group_page(settings.output_dir, chapters, missing, decided)
    for chapter in chapters:
        logger.info("%s to %s: %s", chapter.suffix, chapter.target, chapter.verdict)
    logger.info("Group page: %s", page)
    return page


def choose_outputs(
    settings: Settings,
) -> tuple[list[Output], list[Missing], list[Decision]]:
    """What the page is made of: outputs that are selected and that nobody excluded.

    Decisions about scans that there are not are told in the log.

    Parameters
    ----------
    settings : Settings
        ``participant_labels``, ``modalities`` and ``target_site`` select; all by default.

    Returns
    -------
    outputs, missing
        As `group.outputs.find_outputs`.
    decided
        Decisions about selected scans, but those to keep one.

    Raises
    ------
    NothingSelected
        When the output folder holds nothing of them.
    DataError, MissingInput, InputOutputError
        As `bids.decisions.read_decisions`.
    """
    from bids_harmony.group.outputs import find_outputs
    from bids_harmony.sites.names import same_site

    outputs, missing = find_outputs(
        settings.output_dir, settings.bids_dir, settings.participant_labels
    )
    decisions = read_decisions(settings.output_dir)
    for text in about_no_scan(settings.bids_dir, settings.output_dir):
        logger.warning("%s", text)
    asked = settings.target_site
    outputs = [
        o
        for o in outputs
        if (not settings.modalities or o.scan.modality in settings.modalities)
        and (not asked or same_site(o.target, asked))
    ]
    decided = [
        one
        for label in dict.fromkeys(o.label for o in outputs)
        if (one := decisions.get(label)) and one.decision != KEEP
    ]
    excluded = excluded_scans(settings.output_dir).keys() & {o.label for o in outputs}
    outputs = [output for output in outputs if output.label not in excluded]
    if not outputs:
        raise NothingSelected(
            "There is no harmonized image to make a group page of",
            where=str(settings.output_dir),
            expected="outputs of the participant level",
            hint="Run the participant level first, or select other participants, modalities or "
            "another target site."
            + (f" {len(excluded)} were excluded by decision." if excluded else ""),
        )
    return outputs, missing, decided


def _write_tables(output_dir: Path, chapters: Sequence[Chapter]) -> None:
    """One table for each suffix; scans harmonized to several sites have several rows."""
    import pandas as pd

    from bids_harmony.bids.derivative import write_json, write_text
    from bids_harmony.group.measures import describe_columns

    for suffix in dict.fromkeys(chapter.suffix for chapter in chapters):
        own = [chapter for chapter in chapters if chapter.suffix == suffix]
        table = pd.concat([chapter.table for chapter in own], ignore_index=True)
        described: dict[str, Any] = {}
        for chapter in own:
            described |= describe_columns(
                chapter.measures, chapter.covariates, _quality_columns(chapter.outputs)
            )
        path = output_dir / f"group_{suffix}.tsv"
        text = table.to_csv(sep="\t", index=False, na_rep="n/a", float_format="%.6g")
        write_text(path, text)
        write_json(
            path.with_suffix(".json"),
            {name: described[name] for name in table.columns if name in described},
        )


def _quality_columns(outputs: Sequence[Output]) -> Mapping[str, Any]:
    """Descriptions of the quality numbers, as the scans' own tables have them."""
    from bids_harmony.quality.changes import DESCRIPTIONS
    from bids_harmony.quality.series import SERIES_DESCRIPTIONS

    series = outputs[0].scan.modality == "dwi"
    return SERIES_DESCRIPTIONS if series else DESCRIPTIONS
