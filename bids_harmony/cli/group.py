"""Level ``group``: the page of the whole cohort."""

from __future__ import annotations

import logging
from pathlib import Path

from bids_harmony.exceptions import ExitCode
from bids_harmony.settings import Settings

__all__ = ["run"]

logger = logging.getLogger(__name__)


def run(settings: Settings, *, log_dir: Path | None = None) -> ExitCode:
    """Measure what participants wrote; what is missing is said, and spoils nothing.

    Parameters
    ----------
    settings : Settings
    log_dir : Path, optional
        ``logs/<run>``; None in a dry run, which only counts what there is.

    Returns
    -------
    ExitCode
    """
    if settings.dry_run:
        return _count(settings)
    from bids_harmony.bids.dataset_files import write_dataset_files
    from bids_harmony.workflows.group import run_group

    write_dataset_files(settings)
    run_group(settings)
    return ExitCode.DONE


def _count(settings: Settings) -> ExitCode:
    from bids_harmony.bids.covariates import check_covariates
    from bids_harmony.group.covariates import read_covariates
    from bids_harmony.group.outputs import per_page
    from bids_harmony.workflows.group import choose_outputs

    outputs, missing, decided = choose_outputs(settings)
    # What cannot be read is said now.
    people = [(output.participant, output.session) for output in outputs]
    check_covariates(settings.bids_dir, people, settings.covariates)
    read_covariates(settings.bids_dir, outputs, settings.covariates)
    for (suffix, target), own in per_page(outputs).items():
        sites = sorted({output.site for output in own})
        print(f"{suffix} to {target}: {len(own)} scans of {', '.join(sites)}")
    for one in decided:
        print(f"{one.scan}, as was decided: {one.words}")
    for row in missing:
        print(f"{row.label}: {row.reason}")
    print("This was a dry run; nothing was written.")
    return ExitCode.DONE
