"""The levels participant and train: from selected scans to a derivative or a model."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_harmony.exceptions import BidsHarmonyError, DataError, ExitCode, OutOfRange
from bids_harmony.workflows.models import trained_folder
from bids_harmony.workflows.reports import write_pages
from bids_harmony.workflows.running import (
    clear_work,
    failed_status,
    prepare_scans,
    run_scans,
    write_status,
)
from bids_harmony.workflows.scan_models import models_of
from bids_harmony.workflows.status import ScanStatus, exit_code_of

if TYPE_CHECKING:
    from nipype.pipeline.engine import Workflow

    from bids_harmony.bids.scan import Scan
    from bids_harmony.settings import Settings
    from bids_harmony.workflows.model_record import Model

__all__ = ["run_participant", "run_train"]

logger = logging.getLogger(__name__)


def run_participant(settings: Settings, scans: Sequence[Scan], *, log_dir: Path) -> ExitCode:
    """Harmonize scans to the target site and write the derivative.

    A scan whose output was made from the same input, model and settings is skipped, also with an
    empty work folder. A scan that fails stops no other: where it is a T1w, the person's other
    scans go through another one or without. At the end, the page of every participant or session
    is written, and with ``--output-layout raw`` what the raw dataset lacks.

    Parameters
    ----------
    settings : Settings
        With a `target_site`.
    scans : sequence of Scan
    log_dir : Path
        ``logs/<run>``: crash files, and what became of every scan in ``status.json``.

    Returns
    -------
    ExitCode
        `DONE`; or the code of the failures if they are of one kind; or `UNSPECIFIED`.

    Raises
    ------
    MissingInput
        When there is no model.
    """
    from bids_harmony.bids.raw_layout import write_raw_layout
    from bids_harmony.workflows.anat import init_anat_harmonize_wf
    from bids_harmony.workflows.cohort import companion_of
    from bids_harmony.workflows.dwi import init_dwi_harmonize_wf
    from bids_harmony.workflows.precomputed import harmonization_hash

    target = str(settings.target_site)
    model_of = models_of(settings, scans, log_dir)
    statuses: dict[str, ScanStatus] = {}
    pending: dict[str, Model] = {}

    def hash_of(scan: Scan, t1w: Scan | None) -> str:
        own = model_of(scan)
        return harmonization_hash(
            scan, settings, target_site=target, model_sha256=own.identity, t1w=t1w
        )

    def is_finished(scan: Scan, t1w: Scan | None) -> bool:
        finished = _is_finished(scan, settings, target, hash_of(scan, t1w))
        if finished:
            logger.info(
                "%s: harmonized from the same input, model and settings before, skipping",
                scan.label,
            )
        return finished

    for scan in scans:
        try:
            if is_finished(scan, companion_of(scan, scans)):
                statuses[scan.label] = ScanStatus(scan.label, "skipped")
            else:
                pending[scan.label] = model_of(scan)
        except BidsHarmonyError as error:
            statuses[scan.label] = failed_status(scan, error)

    def init_scan_wf(scan: Scan, t1w: Scan | None) -> Workflow:
        common: dict[str, Any] = {
            "scan": scan,
            "settings": settings,
            "model": pending[scan.label],
            "target_site": target,
            "input_hash": hash_of(scan, t1w),
        }
        if scan.gradients:
            return init_dwi_harmonize_wf(**common)
        return init_anat_harmonize_wf(**common, t1w=t1w)

    work = [scan for scan in scans if scan.label in pending]
    done, _ = run_scans(
        settings, "participant_wf", work, scans, init_scan_wf, log_dir, is_finished=is_finished
    )
    statuses |= {label: _left_out(status, settings) for label, status in done.items()}
    written = [s for s in scans if _has_output(statuses[s.label])]
    _write_quality_rows(settings, written, target)
    write_status(log_dir, [statuses[scan.label] for scan in scans])
    write_pages(settings, log_dir)
    if settings.output_layout == "raw" and written:
        folder = write_raw_layout(settings, written, target)
        logger.info("The harmonized images as a raw dataset: %s", folder)
    clear_work(settings, "participant_wf", scans, statuses)
    return exit_code_of(statuses.values())


def _left_out(status: ScanStatus, settings: Settings) -> ScanStatus:
    """With ``--on-ood skip`` a scan out of range is no failure."""
    if settings.on_ood != "skip" or status.error != OutOfRange.__name__:
        return status
    logger.warning("%s is left out: %s", status.label, status.message)
    return replace(status, state="skipped", exit_code=0)


def _is_finished(scan: Scan, settings: Settings, target: str, wanted: str) -> bool:
    """Whether all of a scan's output is there: image, tables, brain mask and transform.

    The steps that write mask and transform may fail when that which writes the image does not.
    """
    from bids_harmony.bids.derivative import is_complete
    from bids_harmony.bids.naming import (
        change_paths,
        harmonized_path,
        mask_path,
        sidecar_path,
        table_paths,
        transform_path,
    )
    from bids_harmony.imaging.reference import REFERENCE

    output = settings.output_dir
    image = harmonized_path(output, scan, target)
    fits = (mask_path(output, scan), transform_path(output, scan, to=REFERENCE))
    if settings.write_change:
        change = change_paths(image)["change"]
        if not is_complete(sidecar_path(change), wanted):
            return False
    beside = [*fits, *map(sidecar_path, fits), *(table_paths(image) if scan.gradients else ())]
    return is_complete(sidecar_path(image), wanted) and all(p.is_file() for p in beside)


def _has_output(status: ScanStatus) -> bool:
    return status.state != "failed" and not status.error


def run_train(settings: Settings, scans: Sequence[Scan], *, log_dir: Path) -> ExitCode:
    """Prepare scans and fit the method to those that could be prepared; see `trained_folder`.

    Masks and transforms go into the derivative, where the participant level finds them.

    Parameters
    ----------
    settings : Settings
    scans : sequence of Scan
    log_dir : Path
        As for `run_participant`.

    Returns
    -------
    ExitCode
        As for `run_participant`. When some scans failed, a model was trained on the others.
    """
    from bids_harmony.training.fit import fit_method
    from bids_harmony.training.report import write_training_report

    ready, statuses = prepare_scans(settings, scans, scans, name="train_wf", log_dir=log_dir)
    write_status(log_dir, list(statuses.values()))
    if ready:
        logger.info("Training on %d of %d scans", len(ready), len(scans))
        folder = trained_folder(settings)
        try:
            made = fit_method(settings.method, ready, settings, folder)
        except DataError as error:
            code = exit_code_of(statuses.values())
            if code == ExitCode.DONE:
                raise
            # Too little is left because scans failed: why they did is the reason.
            logger.error("%s", error)
            return code
        logger.info(
            "Model: %s; what training did: %s", folder, write_training_report(folder, made)
        )
    clear_work(settings, "train_wf", scans, statuses)
    return exit_code_of(statuses.values())


def _write_quality_rows(settings: Settings, scans: Sequence[Scan], target: str) -> None:
    """Bring ``scans.tsv`` up to date from the sidecars, also after a run that was killed."""
    from bids_harmony.bids.derivative import write_scans_rows
    from bids_harmony.bids.naming import harmonized_path, sidecar_path
    from bids_harmony.quality.changes import DESCRIPTIONS
    from bids_harmony.quality.diffusion import diffusion_descriptions
    from bids_harmony.quality.series import SERIES_DESCRIPTIONS

    described: dict[str, Any] = {
        "source_site": {"Description": "Site where the source image was acquired"},
        "target_site": {"Description": "Site to which the image was harmonized"},
        **DESCRIPTIONS,
        **SERIES_DESCRIPTIONS,
    }
    # The two columns above say it; a table has no type for yes and no.
    del described["same_site"]
    units: dict[tuple[str, str | None], dict[Path, dict[str, Any]]] = {}
    for scan in scans:
        image = harmonized_path(settings.output_dir, scan, target)
        sidecar = json.loads(sidecar_path(image).read_text(encoding="utf-8"))
        fits = sidecar.get("DiffusionQuality", {})
        described |= diffusion_descriptions(fits)
        quality = sidecar.get("HarmonizationQuality", {}) | fits
        row = {"source_site": scan.site.site, "target_site": target, **quality}
        row.pop("same_site", None)
        units.setdefault((scan.subject, scan.session), {})[image] = row
    for (subject, session), rows in units.items():
        write_scans_rows(settings.output_dir, subject, session, rows, described)
