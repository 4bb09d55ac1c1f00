"""The options of the command line, group by group; their defaults live in the settings records."""

from __future__ import annotations

import argparse
import re
from dataclasses import MISSING, fields
from math import ceil
from pathlib import Path
from typing import Any

from bids_harmony import settings
from bids_harmony.settings import Settings, TrainingSettings
from bids_harmony.settings_training import (
    AAN_MODES,
    ART_TARGETS,
    ENCODERS,
    RECURSIONS,
    TRAINING_PRECISIONS,
)

__all__ = ["TRAINING", "add_options", "parse_label", "parse_memory_mb"]

TRAINING = "training."  # Prefix of the training options in the parser's result.
_MIB_PER_UNIT = {"K": 2**-10, "M": 1, "G": 2**10, "T": 2**20}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add every option to the parser."""
    _add_selection(parser.add_argument_group("Which scans"))
    _add_sites(parser.add_argument_group("Sites"))
    _add_harmonization(parser.add_argument_group("Harmonization and output"))
    _add_resources(parser.add_argument_group("Resources"))
    _add_running(parser.add_argument_group("Running"))
    _add_training(parser.add_argument_group("Training (level train)"))


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
        "modality, as in my_T1w.nii.gz (then --target-site is only their name)",
    )
    group.add_argument(
        "--bank-scans",
        type=int,
        metavar="N",
        help="scans that show the look of a site which the model does not know "
        f"{_default('bank_scans')}",
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
        help=f"of {', '.join(settings.METHODS)}; the same at both levels {_default('method')}",
    )
    group.add_argument(
        "--output-spaces",
        nargs="+",
        choices=settings.OUTPUT_SPACES,
        metavar="SPACE",
        help=f"of {', '.join(settings.OUTPUT_SPACES)} {_default('output_spaces')}",
    )
    group.add_argument(
        "--on-ood",
        choices=settings.ON_OOD,
        help="what to do with a scan beyond the range of training (score above 1) "
        f"{_default('on_ood')}",
    )
    _flag(group, "skull_strip", "--skull-strip", help="write the brain alone, zero outside")
    _flag(
        group,
        "n4",
        "--n4",
        help="correct the bias field before (takes away part of the site effect)",
    )
    group.add_argument(
        "--voxel-mm",
        type=float,
        metavar="MM",
        help=f"spacing of the reference grid, mm {_default('voxel_mm')}",
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
        help=f"where the network runs {_default('device')}",
    )
    group.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help=f"slices per network call {_default('batch_size')}",
    )
    group.add_argument("--precision", choices=settings.PRECISIONS, help=_default("precision"))
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
        help=f"keep intermediate files afterwards {_default('keep_workdir')}",
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
        "--random-seed",
        "--random_seed",
        type=int,
        metavar="N",
        help=f"seed of everything random {_default('random_seed')}",
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
    # Accepted because launchers of other BIDS Apps pass it; there is no telemetry to switch off.
    group.add_argument(
        "--notrack", action=_Nothing, nargs=0, help="accepted; nothing is ever tracked"
    )


def _add_training(group: argparse._ArgumentGroup) -> None:
    def add(flag: str, name: str, text: str, **options: Any) -> None:
        group.add_argument(
            flag,
            dest=TRAINING + name,
            help=f"{text} {_default(name, TrainingSettings)}",
            **options,
        )

    add("--preset", "preset", "network preset", metavar="NAME")
    add(
        "--relative",
        "relative",
        "modulate by the prediction for the target minus that for the source",
        action=argparse.BooleanOptionalAction,
    )
    add("--aan", "aan", "statistics that are modulated", choices=AAN_MODES)
    add("--grid", "grid", "modulation varies over so many cells a side", type=int, metavar="N")
    add("--recursion", "recursion", "form of the flow's way back", choices=RECURSIONS)
    add(
        "--start",
        "start",
        "begin with the shipped weights, where they fit the preset",
        action=argparse.BooleanOptionalAction,
    )
    add("--twin-steps", "twin_steps", "steps on synthetic twins", type=int, metavar="N")
    add(
        "--train-minutes",
        "train_minutes",
        "stop the twins after so many minutes, 0: never",
        type=float,
        metavar="MIN",
    )
    add("--twin-people", "twin_people", "simulated people", type=int, metavar="N")
    add("--twin-scanners", "twin_scanners", "simulated scanners", type=int, metavar="N")
    add(
        "--twin-learning-rate",
        "twin_learning_rate",
        "step size of Adam on twins",
        type=float,
        metavar="X",
    )
    add(
        "--adapt-steps",
        "adapt_steps",
        "steps of adaptation to this dataset's sites",
        type=int,
        metavar="N",
    )
    add("--epochs", "epochs", "the same in epochs, where above 0", type=int, metavar="N")
    add("--train-batch", "batch", "slices per step", type=int, metavar="N")
    add("--accumulate", "accumulate", "parts of a batch, to save memory", type=int, metavar="N")
    add(
        "--train-precision",
        "precision",
        "of convolutions in training",
        choices=TRAINING_PRECISIONS,
    )
    add(
        "--patience",
        "patience",
        "stop after so many validations without a better one, 0: never",
        type=int,
        metavar="N",
    )
    add("--learning-rate", "learning_rate", "step size, adaptation", type=float, metavar="X")
    add(
        "--lambda-ac",
        "lambda_ac",
        "weight of the anatomical consistency loss",
        type=float,
        metavar="X",
    )
    add(
        "--lambda-art",
        "lambda_art",
        "weight of the artefact consistency loss",
        type=float,
        metavar="X",
    )
    add(
        "--keep", "keep", "share of encoder channels in the artefact loss", type=float, metavar="X"
    )
    add(
        "--art-target",
        "art_target",
        "what the artefact loss compares with: a slice or the mean of its site",
        choices=ART_TARGETS,
    )
    add(
        "--identity-weight",
        "identity_weight",
        "weight of the change of same-site pairs",
        type=float,
        metavar="X",
    )
    add("--encoder", "encoder", "encoder of site codes", choices=ENCODERS)
    add("--encoder-file", "encoder_file", "weights of the vgg encoder", type=Path, metavar="FILE")
    add(
        "--bank-size",
        "bank_size",
        "scans per site and modality behind a bank",
        type=int,
        metavar="N",
    )
    add("--cgan-epochs", "cgan_epochs", "constant, then as many falling", type=int, metavar="N")
    add("--simix-epochs", "simix_epochs", "constant, then as many falling", type=int, metavar="N")
    add(
        "--paired-steps",
        "paired_steps",
        "bound on the steps of cgan and simix, 0: none",
        type=int,
        metavar="N",
    )
    add("--paired-width", "paired_width", "filters of cgan and simix", type=int, metavar="N")
    add(
        "--paired-per-site",
        "paired_per_site",
        "one network of cgan or simix per source site",
        action=argparse.BooleanOptionalAction,
    )
    add("--simix-mixing", "simix_mixing", "largest share of the target", type=float, metavar="A")
    add("--ssimh-corner", "ssimh_corner", "frequencies of the target", type=int, metavar="B")
    add(
        "--resume",
        "resume",
        "go on from the last checkpoint",
        action=argparse.BooleanOptionalAction,
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


class _Nothing(argparse.Action):
    def __call__(self, *_: Any) -> None:
        """Accept the flag and forget it."""


def _flag(group: argparse._ArgumentGroup, dest: str, name: str, *, help: str) -> None:
    """An on/off option that can also be switched off again, against the settings file."""
    group.add_argument(name, dest=dest, action=argparse.BooleanOptionalAction, help=help)


def _named_path(text: str) -> tuple[str, Path]:
    name, equals, path = text.partition("=")
    return (name, Path(path)) if equals else (Path(text).name, Path(text))


def _default(name: str, record: type = Settings) -> str:
    """The default as help shows it; its one home is the settings record."""
    value = next(item.default for item in fields(record) if item.name == name)
    if value is MISSING or value is None:
        return ""
    return f"(default: {' '.join(value) if isinstance(value, tuple) else value})"
