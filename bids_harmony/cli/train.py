"""Level ``train``: fit the chosen method to the sites of this dataset."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from bids_harmony.bids.dataset import ScanSelection, find_scans
from bids_harmony.bids.dataset_files import write_dataset_files
from bids_harmony.cli.overview import warn_of_useless
from bids_harmony.cli.participant import find_target
from bids_harmony.cli.plan import format_plan, report_problems
from bids_harmony.cli.plan_page import write_plan
from bids_harmony.cli.problems import record_problems, report_end, report_plan, worst_code
from bids_harmony.exceptions import ExitCode, NothingSelected
from bids_harmony.methods.registry import REGISTRY
from bids_harmony.settings import Settings

__all__ = ["follow", "run"]

logger = logging.getLogger(__name__)


def run(settings: Settings, *, log_dir: Path | None = None) -> ExitCode:
    """Find scans and sites and train on them; with ``--dry-run`` only show the plan.

    Parameters
    ----------
    settings : Settings
    log_dir : Path, optional
        ``logs/<run>``; None in a dry run.

    Returns
    -------
    ExitCode
        `DONE` when the model was written and every selected scan could be used.
    """
    selection = warn_of_useless(settings, _without_series(find_scans(settings)))
    if REGISTRY[settings.method].target_at_training:
        settings = replace(settings, target_site=find_target(settings, selection))
    write_plan(settings, selection)
    if settings.dry_run:
        print(format_plan(settings, selection))
        report_plan(selection, done="used for training")
        return worst_code(ExitCode.DONE, selection.problems)
    report_problems(settings, selection)
    code = ExitCode.DONE
    if selection.scans and not (settings.stop_on_first_crash and selection.problems):
        from bids_harmony.workflows.base import run_train

        assert log_dir is not None  # only a dry run has none, and it ended above
        write_dataset_files(settings)
        code = ExitCode(run_train(settings, selection.scans, log_dir=log_dir))
    record_problems(log_dir, selection.problems)
    report_end(log_dir, done="prepared for training")
    return worst_code(code, selection.problems)


def _without_series(selection: ScanSelection) -> ScanSelection:
    """Leave diffusion series out: their sites are looked at when the participant level needs it.

    Raises
    ------
    NothingSelected
        There is nothing else.
    """
    scans = tuple(scan for scan in selection.scans if scan.modality != "dwi")
    problems = tuple(p for p in selection.problems if not p.label.endswith("_dwi"))
    if n_series := len(selection.scans) - len(scans):
        logger.info("%d diffusion series are left out: they need no training", n_series)
        if not scans and not problems:
            raise NothingSelected(
                "There is nothing to train on",
                expected="T1w, T2w or FLAIR scans",
                got=f"{n_series} diffusion series, which need no training",
                hint="Run the level participant.",
            )
    return replace(selection, scans=scans, problems=problems)


def follow(settings: Settings) -> ExitCode:
    """Train along with the first of the processes that ``torchrun`` started; it writes, not this.

    Parameters
    ----------
    settings : Settings

    Returns
    -------
    ExitCode
    """
    if not settings.dry_run:
        from bids_harmony.training.adapt import train_model

        train_model((), settings, settings.output_dir / "models")
    return ExitCode.DONE
