"""From selected scans to a derivative or a model: build the graph, run it, close the books."""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_harmony.exceptions import BidsHarmonyError, ExitCode, MissingInput, SiteError
from bids_harmony.interfaces.base import Failure
from bids_harmony.settings import METHODS
from bids_harmony.workflows.status import ScanStatus, exit_code_of, status_of_scan

if TYPE_CHECKING:
    from nipype.pipeline.engine import Workflow

    from bids_harmony.bids.dataset import Scan
    from bids_harmony.settings import Settings
    from bids_harmony.workflows.anat import Model
    from bids_harmony.workflows.execution import NodeRecord

__all__ = ["model_folder", "run_participant", "run_train", "trained_folder"]

logger = logging.getLogger(__name__)


def run_participant(
    settings: Settings, scans: Sequence[Scan], *, log_dir: Path | None = None
) -> ExitCode:
    """Harmonize scans to the target site and write the derivative.

    A scan whose output was made from the same input, model and settings is skipped, also with an
    empty work folder. A scan that fails stops no other, but for those that need it (a T2w its
    T1w).

    Parameters
    ----------
    settings : Settings
        With a `target_site`.
    scans : sequence of Scan
    log_dir : Path, optional
        ``logs/<run>``: crash files, and what became of every scan in ``status.json``. By default a
        new folder.

    Returns
    -------
    ExitCode
        `DONE`; or the code of the failures if they are of one kind; or `UNSPECIFIED`.

    Raises
    ------
    MissingInput
        When there is no model.
    """
    from bids_harmony.bids.derivative import is_complete
    from bids_harmony.bids.naming import harmonized_path, sidecar_path
    from bids_harmony.workflows.anat import init_anat_harmonize_wf
    from bids_harmony.workflows.cohort import companion_of
    from bids_harmony.workflows.precomputed import harmonization_hash

    target = str(settings.target_site)
    model, targets_of_modality = _load_model(settings)
    statuses: dict[str, ScanStatus] = {}
    pending: dict[str, str] = {}
    for scan in scans:
        try:
            _check_target(scan, target, targets_of_modality)
            wanted = harmonization_hash(
                scan,
                settings,
                target_site=target,
                model_sha256=model.sha256,
                t1w=companion_of(scan, scans),
            )
        except BidsHarmonyError as error:
            statuses[scan.label] = _failed(scan, error)
            continue
        if is_complete(sidecar_path(harmonized_path(settings.output_dir, scan, target)), wanted):
            logger.info(
                "%s: harmonized from the same input, model and settings before, skipping",
                scan.label,
            )
            statuses[scan.label] = ScanStatus(scan.label, "skipped")
        else:
            pending[scan.label] = wanted

    def init_scan_wf(scan: Scan) -> Workflow:
        return init_anat_harmonize_wf(
            scan=scan,
            settings=settings,
            model=model,
            target_site=target,
            input_hash=pending[scan.label],
        )

    work = [scan for scan in scans if scan.label in pending]
    log_dir = log_dir or _new_log_folder(settings)
    done, _ = _run_scans(settings, "participant_wf", work, scans, init_scan_wf, log_dir)
    statuses |= done
    _write_quality_rows(
        settings, [s for s in scans if statuses[s.label].state != "failed"], target
    )
    _write_status(log_dir, [statuses[scan.label] for scan in scans])
    _clear_work(settings, "participant_wf", scans, statuses)
    return exit_code_of(statuses.values())


def run_train(
    settings: Settings, scans: Sequence[Scan], *, log_dir: Path | None = None
) -> ExitCode:
    """Prepare scans and fit the method to those that could be prepared; see `trained_folder`.

    Masks and transforms go into the derivative, where the participant level finds them.

    Parameters
    ----------
    settings : Settings
    scans : sequence of Scan
    log_dir : Path, optional
        As for `run_participant`.

    Returns
    -------
    ExitCode
        As for `run_participant`. When some scans failed, a model was trained on the others.
    """
    from bids_harmony.training.fit import fit_method
    from bids_harmony.training.training_scans import TrainingScan
    from bids_harmony.workflows.anat import init_anat_train_wf

    def init_scan_wf(scan: Scan) -> Workflow:
        return init_anat_train_wf(scan=scan, settings=settings)

    log_dir = log_dir or _new_log_folder(settings)
    statuses, records = _run_scans(settings, "train_wf", scans, scans, init_scan_wf, log_dir)
    _write_status(log_dir, list(statuses.values()))
    ready = []
    for scan in scans:
        if statuses[scan.label].state == "done":
            prepared = (
                _node(records, settings, "train_wf", scan, "prepare").folder / "prepared.npz"
            )
            ready.append(
                TrainingScan(scan.label, scan.subject, scan.modality, scan.site.site, prepared)
            )
    if ready:
        logger.info("Training on %d of %d scans", len(ready), len(scans))
        fit_method(settings.method, ready, settings, trained_folder(settings))
    _clear_work(settings, "train_wf", scans, statuses)
    return exit_code_of(statuses.values())


def trained_folder(settings: Settings) -> Path:
    """Where the level train writes: ``OUT/models``, or a folder in it named after another method.

    One method's training leaves the model of another alone.
    """
    models = settings.output_dir / "models"
    return models if settings.method == METHODS[0] else models / settings.method


def model_folder(settings: Settings) -> Path:
    """Folder of the model: ``--model``, else ``OUT/models``, else the one shipped in the package.

    The method's own folder in ``OUT/models`` comes before it. A method that is not trained makes
    do with the site banks of ``OUT/models``.

    Raises
    ------
    MissingInput
        When none of them holds a ``model.json``.
    """
    trained = settings.output_dir / "models"
    own = trained_folder(settings)
    places = (
        [settings.model_dir] if settings.model_dir else [own, trained, _package_data() / "model"]
    )
    for place in dict.fromkeys(places):
        if (place / "model.json").is_file():
            return place
    raise MissingInput(
        "There is no model",
        where=", ".join(str(place) for place in dict.fromkeys(places)),
        expected="a folder with model.json",
        hint="Run the level `train` on this dataset first, or name a model with --model.",
    )


def _package_data() -> Path:
    import bids_harmony

    return Path(str(bids_harmony.__file__)).parent / "data"


def _load_model(settings: Settings) -> tuple[Model, Callable[[str], Sequence[str]]]:
    """The model's record for the graph, and what gives its target sites by modality."""
    from bids_harmony.harmonizers import load_harmonizer
    from bids_harmony.resources import resolve_device
    from bids_harmony.workflows.anat import Model

    folder = model_folder(settings)
    device = str(resolve_device(settings.device))
    # On the processor: this process only asks, its workers compute.
    harmonizer = load_harmonizer(
        settings.method, folder, device="cpu", batch_size=settings.batch_size
    )
    version = str(getattr(harmonizer, "version", ""))
    name = str(getattr(harmonizer, "name", settings.method))
    model = Model(settings.method, folder, harmonizer.sha256, device, name, version)
    return model, harmonizer.targets


def _check_target(
    scan: Scan, target: str, targets_of_modality: Callable[[str], Sequence[str]]
) -> None:
    sites = targets_of_modality(scan.modality)
    if target not in sites:
        raise SiteError(
            f"The model does not know the target site's {scan.modality} images",
            where=scan.label,
            expected="one of " + (", ".join(sites) or "no sites at all"),
            got=target,
            hint="Run the level `train` with scans of that site and modality.",
        )


def _run_scans(
    settings: Settings,
    name: str,
    work: Sequence[Scan],
    scans: Sequence[Scan],
    init_scan_wf: Callable[[Scan], Workflow],
    log_dir: Path,
) -> tuple[dict[str, ScanStatus], dict[str, NodeRecord]]:
    """Build and run the graph of some scans; what became of each scan and of each node."""
    from bids_harmony.workflows.cohort import companion_of, init_cohort_wf, scan_folder
    from bids_harmony.workflows.execution import run_graph
    from bids_harmony.workflows.precomputed import anatomy_hash

    statuses: dict[str, ScanStatus] = {}
    readable = []
    for scan in work:
        try:
            anatomy_hash(scan, settings, t1w=companion_of(scan, scans))
            readable.append(scan)
        except BidsHarmonyError as error:
            statuses[scan.label] = _failed(scan, error)
        if settings.clean_workdir:
            shutil.rmtree(scan_folder(settings, name, scan), ignore_errors=True)
    if not readable:
        return statuses, {}
    workflow = init_cohort_wf(
        settings=settings, work=readable, scans=scans, init_scan_wf=init_scan_wf, name=name
    )
    records = run_graph(workflow, settings, log_dir=log_dir)
    for scan in readable:
        status = status_of_scan(scan, records.values(), needs=companion_of(scan, scans))
        if status.state == "failed":
            logger.error("%s failed: %s", scan.label, status.message)
        statuses[scan.label] = status
    return statuses, records


def _failed(scan: Scan, error: BidsHarmonyError) -> ScanStatus:
    logger.error("%s failed: %s", scan.label, error)
    failure = Failure.of(error)
    return ScanStatus(scan.label, "failed", failure.error, failure.message, failure.exit_code)


def _node(
    records: dict[str, NodeRecord], settings: Settings, name: str, scan: Scan, node: str
) -> NodeRecord:
    from bids_harmony.workflows.cohort import scan_folder

    folder = scan_folder(settings, name, scan)
    return next(
        r for r in records.values() if folder in r.folder.parents and r.folder.name == node
    )


def _write_quality_rows(settings: Settings, scans: Sequence[Scan], target: str) -> None:
    """Bring ``scans.tsv`` up to date from the sidecars, also after a run that was killed."""
    from bids_harmony.bids.derivative import write_scans_rows
    from bids_harmony.bids.naming import harmonized_path, sidecar_path
    from bids_harmony.quality.changes import DESCRIPTIONS

    described: dict[str, Any] = {
        "source_site": {"Description": "Site where the source image was acquired"},
        "target_site": {"Description": "Site whose look the image has taken"},
        **DESCRIPTIONS,
    }
    # The two columns above say it; a table has no type for yes and no.
    del described["same_site"]
    units: dict[tuple[str, str | None], dict[Path, dict[str, Any]]] = {}
    for scan in scans:
        image = harmonized_path(settings.output_dir, scan, target)
        quality = json.loads(sidecar_path(image).read_text(encoding="utf-8")).get(
            "HarmonizationQuality", {}
        )
        row = {"source_site": scan.site.site, "target_site": target, **quality}
        row.pop("same_site", None)
        units.setdefault((scan.subject, scan.session), {})[image] = row
    for (subject, session), rows in units.items():
        write_scans_rows(settings.output_dir, subject, session, rows, described)


def _new_log_folder(settings: Settings) -> Path:
    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{os.urandom(4).hex()}"
    return settings.output_dir / "logs" / run_id


def _write_status(log_dir: Path, statuses: Sequence[ScanStatus]) -> None:
    """Add the scans to the run's ``status.json``, which may hold the run's own state."""
    from bids_harmony.bids.derivative import write_json

    path = log_dir / "status.json"
    record = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    write_json(path, record | {"scans": {status.label: status.to_dict() for status in statuses}})


def _clear_work(
    settings: Settings, name: str, scans: Sequence[Scan], statuses: dict[str, ScanStatus]
) -> None:
    """Remove the work folders that nobody needs any more."""
    from bids_harmony.workflows.cohort import scan_folder

    if settings.keep_workdir == "always":
        return
    for scan in scans:
        if settings.keep_workdir == "never" or statuses[scan.label].state != "failed":
            shutil.rmtree(scan_folder(settings, name, scan), ignore_errors=True)
