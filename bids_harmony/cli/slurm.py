"""``--write-slurm``: scripts that run this dataset on a cluster, one array task per participant.

The level on the command line says where the chain begins: ``participant`` means participants and
then the group, ``train`` means training once before them. The package carries a model, so that
``participant`` is the usual one.
"""

from __future__ import annotations

import logging
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bids_harmony.bids.dataset import ScanSelection, find_scans
from bids_harmony.bids.derivative import write_text
from bids_harmony.bids.scan import Scan
from bids_harmony.cli.known_sites import model_sites
from bids_harmony.cli.participant import find_target, look_ahead
from bids_harmony.cli.plan import report_problems
from bids_harmony.cli.problems import worst_code
from bids_harmony.exceptions import ExitCode, UsageError
from bids_harmony.settings import Settings
from bids_harmony.sites.names import same_site

if TYPE_CHECKING:
    from bids_harmony.workflows.estimate import Resources

__all__ = ["Chain", "Unit", "cluster_settings", "render", "run", "units_of"]

logger = logging.getLogger(__name__)

_TEMPLATES = Path(__file__).resolve().parents[1] / "data" / "slurm"
# Written once; then they belong to the user.
_USERS_OWN = ("cluster.sh",)
# Fields of the settings that the scripts say themselves, or that belong to this machine.
_SAID_BY_SCRIPTS = (
    "bids_dir", "output_dir", "analysis_level", "work_dir", "write_slurm", "dry_run", "plan_page",
    "nprocs", "omp_nthreads", "memory_mb",
)  # fmt: skip


@dataclass(frozen=True)
class Unit:
    """What one array task works on: a session, or a participant (``session`` None)."""

    subject: str
    session: str | None
    scans: tuple[Scan, ...] = ()

    @property
    def line(self) -> str:
        """Its line in ``participants.txt``."""
        return f"sub-{self.subject}" + (f" ses-{self.session}" if self.session else "")


@dataclass(frozen=True)
class Chain:
    """All that the scripts say.

    Attributes
    ----------
    folder : Path
        Where the scripts lie; jobs must see it there.
    bids_dir, output_dir, work : Path
    units : tuple of Unit
    participant, group : Resources
    train : Resources, optional
        None where nothing is trained.
    gpus : int
        Graphics cards per job unless ``cluster.sh`` says otherwise.
    python : str
        Interpreter that runs the program.
    settings : str
        All other options, as TOML.
    """

    folder: Path
    bids_dir: Path
    output_dir: Path
    work: Path
    units: tuple[Unit, ...]
    participant: Resources
    group: Resources
    train: Resources | None
    gpus: int
    python: str
    settings: str


def run(settings: Settings, asked: Mapping[str, Any]) -> ExitCode:
    """Write the scripts for the selected scans; harmonize nothing.

    Parameters
    ----------
    settings : Settings
        With `write_slurm`.
    asked : mapping
        Fields that command line and settings file name: what was not asked for is estimated.

    Returns
    -------
    ExitCode
        `DONE`, also when some scans cannot be used: the log tells the same of them as the dry run,
        and they get no job. When none can be used, the code of the dry run.

    Raises
    ------
    UsageError
        At a level that is not run per participant.
    SiteError
        When the target site does not exist.
    """
    if settings.analysis_level not in ("participant", "train"):
        raise UsageError(
            "Scripts are written for a chain that begins with participants or with training",
            where="--write-slurm",
            expected="the level participant or train",
            got=settings.analysis_level,
            hint="The group is always the last of the chain.",
        )
    trained = model_sites(settings)
    if settings.analysis_level == "participant":
        settings, _, selection = look_ahead(settings)
    else:
        # What the model will know of is not there yet.
        selection = find_scans(settings, known_sites=trained)
        settings = replace(settings, target_site=find_target(settings, selection, trained))
    report_problems(settings, selection)
    if not selection.scans:
        logger.error("No scan can be used, and no script is written.")
        return worst_code(ExitCode.DONE, selection.problems) or ExitCode.NOTHING_SELECTED
    chain = _plan(settings, selection, asked, trained)
    for name, text in render(chain).items():
        path = chain.folder / name
        if not (name in _USERS_OWN and path.exists()):
            write_text(path, text)
    logger.info(
        "%d jobs of %d processors, %d MiB and at most %d minutes. Look through %s, then run: %s",
        len(chain.units),
        chain.participant.cpus,
        chain.participant.memory_mb,
        chain.participant.minutes,
        chain.folder / "cluster.sh",
        shlex.join(["bash", str(chain.folder / "submit.sh")]),
    )
    return ExitCode.DONE


def units_of(scans: Sequence[Scan]) -> tuple[Unit, ...]:
    """Divide scans among jobs: one per session, where sessions do not need each other.

    A person who has a scan in one session that goes to the reference through the T1w of another is
    one job; else its result would depend on how the work was divided. So is one whose sessions
    share a space, which would be found once in each job.
    """
    from bids_harmony.workflows.cohort import companion_of

    people: dict[str, list[Scan]] = {}
    for scan in scans:
        people.setdefault(scan.subject, []).append(scan)
    units = []
    for subject, own in people.items():
        companions = ((scan, companion_of(scan, own)) for scan in own)
        apart = all(scan.session and not scan.together for scan in own) and all(
            t1w is None or t1w.session == scan.session for scan, t1w in companions
        )
        for session in dict.fromkeys(scan.session if apart else None for scan in own):
            part = tuple(s for s in own if not apart or s.session == session)
            units.append(Unit(subject, session, part))
    return tuple(units)


def cluster_settings(settings: Settings, asked: Mapping[str, Any]) -> str:
    """Options of every job as the text of a settings file.

    Processors, memory and folders are said by the scripts; threads per task only where asked for.
    """
    import tomli_w

    record = settings.to_dict()
    for name in _SAID_BY_SCRIPTS:
        record.pop(name, None)
    if asked.get("omp_nthreads"):
        record["omp_nthreads"] = asked["omp_nthreads"]
    return tomli_w.dumps(record)


def render(chain: Chain) -> dict[str, str]:
    """The files of a chain by name."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.filters["quote"] = lambda value: shlex.quote(str(value))
    names = ["cluster.sh", "submit.sh", "participant.sbatch", "group.sbatch"]
    if chain.train:
        names.append("train.sbatch")
    files = {
        name: environment.get_template(f"{name}.j2").render(vars(chain)) for name in sorted(names)
    }
    files["participants.txt"] = "".join(f"{unit.line}\n" for unit in chain.units)
    files["settings.toml"] = chain.settings
    return files


def _plan(
    settings: Settings, selection: ScanSelection, asked: Mapping[str, Any], trained: Sequence[str]
) -> Chain:
    from bids_harmony.workflows.estimate import group_needs, participant_needs, train_needs

    # 0 asks for what a machine allows, and is as good as nothing here.
    limits = {
        "cpus": asked.get("nprocs") or None,
        "memory_mb": asked.get("memory_mb") or None,
    }
    if limits["cpus"] is None and asked.get("omp_nthreads"):
        limits["cpus"] = asked["omp_nthreads"]
    units = units_of(selection.scans)
    scans = [scan for scan in selection.scans if scan.modality != "dwi"]
    return Chain(
        folder=Path(os.path.abspath(str(settings.write_slurm))),
        bids_dir=settings.bids_dir,
        output_dir=settings.output_dir,
        work=settings.work_dir,
        units=units,
        participant=participant_needs(
            [unit.scans for unit in units],
            settings,
            unknown=_unknown(settings, selection.scans, trained),
            **limits,
        ),
        group=group_needs(len(selection.scans)),
        train=train_needs(scans, settings, **limits)
        if settings.analysis_level == "train"
        else None,
        gpus=1 if settings.device.startswith("cuda") else 0,
        python=sys.executable,
        settings=cluster_settings(settings, asked),
    )


def _unknown(settings: Settings, scans: Sequence[Scan], trained: Sequence[str]) -> int:
    """How many sites, each in one modality, must be looked at before scans can be harmonized."""
    if settings.analysis_level == "train":
        return 0
    target = str(settings.target_site)
    wanted = {(site, s.modality) for s in scans for site in (target, s.site.site)}
    return sum(not any(same_site(site, known) for known in trained) for site, _ in wanted)
