"""The options of the command line, group by group; their defaults live in the settings records."""

from __future__ import annotations

import argparse
import re
from dataclasses import MISSING, fields
from math import ceil
from pathlib import Path
from typing import Any

from bids_harmony import settings
from bids_harmony.settings import Settings

__all__ = ["add_options", "parse_label", "parse_memory_mb", "shown_default"]

_MIB_PER_UNIT = {"K": 2**-10, "M": 1, "G": 2**10, "T": 2**20}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of every level; those of training are in `training_options`."""
    _add_selection(parser.add_argument_group("Which scans"))
    _add_sites(parser.add_argument_group("Sites"))
    _add_harmonization(parser.add_argument_group("Harmonization and output"))
    _add_resources(parser.add_argument_group("Resources"))
    _add_running(parser.add_argument_group("Running"))
    _add_reports(parser.add_argument_group("Reports"))


def _add_selection(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--participant-label",
        "--participant_label",
        dest="participant_labels",
        nargs="+",
        metavar="LABEL",
        type=lambda text: parse_label(text, "sub"),
        help="subjects, with or without sub- (default: all)",
    )
    group.add_argument(
        "--session-label",
        "--session_label",
        "--session-id",
        "--session_id",
        dest="session_labels",
        nargs="+",
        metavar="LABEL",
        type=lambda text: parse_label(text, "ses"),
        help="sessions, with or without ses- (default: all)",
    )
    group.add_argument(
        "--modalities",
        nargs="+",
        choices=settings.MODALITIES,
        metavar="KIND",
        help=f"of {', '.join(settings.MODALITIES)} (default: all that are found)",
    )
    group.add_argument(
        "--bids-filter-file",
        "--bids_filter_file",
        type=Path,
        metavar="JSON",
        help='PyBIDS filters per modality, such as {"t1w": {"acquisition": null}}; '
        'null: absent, "*": any',
    )
    group.add_argument(
        "-d",
        "--derivatives",
        nargs="+",
        type=_named_path,
        metavar="NAME=PATH",
        help="earlier derivatives whose brain masks may be used",
    )
    _flag(
        group,
        "skip_bids_validation",
        "--skip-bids-validation",
        help="also read files whose names BIDS does not allow (alias --skip-bids-validator)",
    )
    for alias in ("--skip_bids_validation", "--skip-bids-validator"):
        group.add_argument(
            alias, dest="skip_bids_validation", action="store_true", help=argparse.SUPPRESS
        )


def _add_sites(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--target-site", metavar="SITE", help="site whose look the scans shall take"
    )
    group.add_argument(
        "--target-image",
        dest="target_images",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="images that show the target look instead of a site's own scans; each named by its "
        "modality, as in my_T1w.nii.gz (then --target-site is only their name); a my_dwi.nii.gz "
        "has its .bval and .bvec beside it",
    )
    group.add_argument(
        "--bank-scans",
        type=int,
        metavar="N",
        help="at most so many scans show the look of a site which the model does not know "
        f"{shown_default('bank_scans')}",
    )
    group.add_argument(
        "--covariates",
        nargs="*",
        metavar="COLUMN",
        help="columns of participants.tsv and sessions.tsv in which sites may differ without that "
        "being the scanner's doing, as age sex group; none where nothing follows; auto: age and "
        "sex where they are known of everybody; tables of the group have them, too, as age, sex, "
        f"hand, group and diagnosis {shown_default('covariates')}",
    )
    group.add_argument(
        "--source-site",
        metavar="SITE",
        help="site of every selected scan, whatever the dataset says",
    )
    group.add_argument(
        "--site-map",
        type=Path,
        metavar="TSV",
        help="table with participant_id, optionally session_id, and site",
    )
    group.add_argument(
        "--site-means",
        choices=settings.SITE_MEANS,
        help="whether scanners that have one name (of an institution, or in a table) are a site "
        f"each, or one site {shown_default('site_means')}",
    )


def _add_harmonization(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--model",
        dest="model_dir",
        type=Path,
        metavar="FOLDER",
        help="model to use (default: OUTPUT_DIR/models, else the one in the package)",
    )
    group.add_argument(
        "--method",
        choices=settings.METHODS,
        metavar="NAME",
        help=f"of {', '.join(settings.METHODS)}; the same at both levels "
        f"{shown_default('method')}",
    )
    group.add_argument(
        "--output-spaces",
        nargs="+",
        choices=settings.OUTPUT_SPACES,
        metavar="SPACE",
        help=f"of {', '.join(settings.OUTPUT_SPACES)} {shown_default('output_spaces')}",
    )
    group.add_argument(
        "--output-layout",
        choices=settings.OUTPUT_LAYOUTS,
        help="raw: write as well a dataset with the names of the sources, which fMRIPrep, QSIPrep "
        f"and FreeSurfer read as raw data {shown_default('output_layout')}",
    )
    group.add_argument(
        "--on-ood",
        choices=settings.ON_OOD,
        help="what to do with a scan beyond the range of training (score above 2) or whose "
        "contrast would be lost: warn; leave it as it is; skip it; error; auto warns of the first "
        f"and leaves a scan as it is for the second {shown_default('on_ood')}",
    )
    _flag(group, "skull_strip", "--skull-strip", help="write the brain alone, zero outside")
    _flag(
        group,
        "n4",
        "--n4",
        help="correct the bias field before (takes away part of the site effect)",
    )
    group.add_argument(
        "--dwi-mode",
        choices=settings.DWI_MODES,
        help="diffusion series by rotation-invariant features of each shell, by the attenuation "
        f"of each shell, or volume by volume {shown_default('dwi_mode')}",
    )
    group.add_argument(
        "--dwi-fits",
        nargs="*",
        choices=settings.DWI_FITS,
        help="models fitted to diffusion series before and after; nothing after the option: none "
        f"{shown_default('dwi_fits')}",
    )
    group.add_argument(
        "--tensor-method",
        choices=settings.TENSOR_METHODS,
        help=f"weighted least squares, or robust and slow {shown_default('tensor_method')}",
    )
    group.add_argument(
        "--b0-threshold",
        type=float,
        metavar="B",
        help=f"b-value, s/mm2, up to which a volume counts as b=0 {shown_default('b0_threshold')}",
    )
    group.add_argument(
        "--voxel-mm",
        type=float,
        metavar="MM",
        help=f"spacing of the reference grid, mm {shown_default('voxel_mm')}",
    )


def _add_resources(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--nprocs",
        "--nthreads",
        "--n-cpus",
        "--n_cpus",
        "--ncpus",
        "--n_procs",
        dest="nprocs",
        type=int,
        metavar="N",
        help="processors to use (default: what this job may use: affinity, control group, SLURM)",
    )
    group.add_argument(
        "--omp-nthreads",
        "--omp_nthreads",
        type=int,
        metavar="N",
        help="threads per task (default: nprocs, at most 8)",
    )
    group.add_argument(
        "--mem",
        "--mem-mb",
        "--mem_mb",
        dest="memory_mb",
        type=parse_memory_mb,
        metavar="SIZE",
        help="memory to use, with unit K, M, G or T; a bare number is MB "
        "(default: what this job may use)",
    )
    group.add_argument(
        "--mem-gb",
        "--mem_gb",
        dest="memory_mb",
        type=lambda text: parse_memory_mb(text, bare="G"),
        metavar="SIZE",
        help="the same; a bare number is GB",
    )
    group.add_argument(
        "--device",
        metavar="{auto,cpu,cuda[:N]}",
        help=f"where the network runs {shown_default('device')}",
    )
    group.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="slices per network call (default: 4 on a processor, 32 on a graphics card)",
    )
    group.add_argument("--precision", choices=settings.PRECISIONS, help=shown_default("precision"))
    group.add_argument(
        "--use-plugin",
        "--nipype-plugin-file",
        dest="plugin_file",
        type=Path,
        metavar="YAML",
        help="Nipype plugin and its arguments",
    )


def _add_running(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-w",
        "--work-dir",
        "--work_dir",
        dest="work_dir",
        type=Path,
        metavar="FOLDER",
        help="folder of intermediate files (default: ./work)",
    )
    _flag(group, "clean_workdir", "--clean-workdir", help="empty the work folder first")
    group.add_argument(
        "--keep-workdir",
        choices=settings.KEEP_WORKDIR,
        help=f"keep intermediate files afterwards {shown_default('keep_workdir')}",
    )
    group.add_argument(
        "--config-file",
        type=Path,
        metavar="TOML",
        help="settings, such as logs/<run>/settings.toml of an earlier run, or one of "
        f"{', '.join(settings.SHIPPED_CONFIGS)}; the command line wins",
    )
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="show the plan (each scan, its site and why, outputs) and stop",
    )
    group.add_argument(
        "--write-slurm",
        type=Path,
        metavar="FOLDER",
        help="write scripts that run this on a SLURM cluster, one job per participant or session, "
        "and stop; the level train means training once before",
    )
    group.add_argument(
        "--random-seed",
        "--random_seed",
        type=int,
        metavar="N",
        help=f"seed of everything random {shown_default('random_seed')}",
    )
    _flag(
        group,
        "stop_on_first_crash",
        "--stop-on-first-crash",
        help="do not go on with the other scans",
    )
    _flag(
        group, "sloppy", "--sloppy", help="coarse registration for quick tests; never for results"
    )
    group.add_argument(
        "--debug",
        nargs="?",
        const="yes",
        choices=("yes", "no", "pdb"),
        metavar="pdb",
        help="tracebacks on the screen; with pdb, a debugger at the first crash",
    )
    group.add_argument(
        "-v", "--verbose", dest="verbosity", action="count", help="say more (-vv: Nipype as well)"
    )
    _flag(
        group,
        "anonymize_provenance",
        "--anonymize-provenance",
        help="no folder of this machine in logs/: <bids_dir>, <output_dir>, <work_dir>, or "
        "<path>/name",
    )
    _flag(
        group,
        "keep_header_extensions",
        "--keep-header-extensions",
        help="harmonized images keep extensions and texts of the source's header, which may tell "
        "of a person",
    )
    # Accepted because launchers of other BIDS Apps pass it; there is no telemetry to switch off.
    group.add_argument(
        "--notrack", action=_Nothing, nargs=0, help="accepted; nothing is ever tracked"
    )


def _add_reports(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--reports-only",
        action="store_true",
        help="make the pages of participants again from the output folder; harmonize nothing",
    )
    group.add_argument(
        "--boilerplate-only",
        "--boilerplate_only",
        action="store_true",
        help="write the methods text with its citations into logs/; harmonize nothing",
    )
    group.add_argument(
        "--report-output-level",
        choices=settings.REPORT_LEVELS,
        help=f"folder of the pages {shown_default('report_output_level')}",
    )
    group.add_argument(
        "--report-3d",
        type=Path,
        metavar="FOLDER",
        help="also write sub-<label>[_ses-<label>]_view.html, where before and after turn side by "
        "side in three dimensions; FOLDER has the viewer NiiVue, see `make niivue`",
    )


def parse_label(text: str, prefix: str) -> str:
    """A BIDS label without its prefix (``sub-01`` becomes ``01``).

    Raises
    ------
    argparse.ArgumentTypeError
        When it holds anything but letters and digits.
    """
    label = text.removeprefix(f"{prefix}-")
    if not re.fullmatch(r"[0-9a-zA-Z+]+", label):
        raise argparse.ArgumentTypeError(f"{text!r} is not a BIDS label (letters and digits only)")
    return label


def parse_memory_mb(text: str, *, bare: str = "M") -> int:
    """Memory in MB from a number with an optional unit.

    Parameters
    ----------
    text : str
        Such as ``8G``, ``8GB``, ``8GiB``, ``500000K`` or ``8000``.
    bare : str
        Unit of a number without one.

    Returns
    -------
    int
        MB (2**20 bytes), rounded up.

    Raises
    ------
    argparse.ArgumentTypeError
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMGT])?(?:i?B)?", text.strip(), re.IGNORECASE)
    size = ceil(float(match[1]) * _MIB_PER_UNIT[(match[2] or bare).upper()]) if match else 0
    if size <= 0:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a memory size (number with K, M, G or T)"
        )
    return size


def shown_default(name: str, record: type = Settings) -> str:
    """The default of an option as help shows it; its one home is the settings record.

    Parameters
    ----------
    name : str
        Field of the record.
    record : type
        `Settings` or `TrainingSettings`.

    Returns
    -------
    str
        Empty where there is none.
    """
    value = next(item.default for item in fields(record) if item.name == name)
    if value is MISSING or value is None:
        return ""
    return f"(default: {' '.join(value) if isinstance(value, tuple) else value})"


class _Nothing(argparse.Action):
    def __call__(self, *_: Any) -> None:
        """Accept the flag and forget it."""


def _flag(group: argparse._ArgumentGroup, dest: str, name: str, *, help: str) -> None:
    """An on/off option that can also be switched off again, against the settings file."""
    group.add_argument(name, dest=dest, action=argparse.BooleanOptionalAction, help=help)


def _named_path(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    return (name, Path(path)) if equals else (Path(text).name, Path(text))
