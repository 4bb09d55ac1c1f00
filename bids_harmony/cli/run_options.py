"""Options of how a run goes: what it may use, what it leaves behind, what it tells."""

from __future__ import annotations

import argparse
from pathlib import Path

from bids_harmony import settings
from bids_harmony.cli.option_values import Nothing, add_flag, parse_memory_mb, shown_default

__all__ = ["add_run_options"]


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of resources, running and reports."""
    _add_resources(parser.add_argument_group("Resources"))
    _add_running(parser.add_argument_group("Running"))
    _add_reports(parser.add_argument_group("Reports"))


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
    add_flag(group, "clean_workdir", "--clean-workdir", help="empty the work folder first")
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
    add_flag(
        group,
        "stop_on_first_crash",
        "--stop-on-first-crash",
        help="do not go on with the other scans",
    )
    add_flag(
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
    add_flag(
        group,
        "anonymize_provenance",
        "--anonymize-provenance",
        help="no folder of this machine in logs/: <bids_dir>, <output_dir>, <work_dir>, or "
        "<path>/name",
    )
    add_flag(
        group,
        "keep_header_extensions",
        "--keep-header-extensions",
        help="harmonized images keep extensions and texts of the source's header, which may tell "
        "of a person",
    )
    # Accepted because launchers of other BIDS Apps pass it; there is no telemetry to switch off.
    group.add_argument(
        "--notrack", action=Nothing, nargs=0, help="accepted; nothing is ever tracked"
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
