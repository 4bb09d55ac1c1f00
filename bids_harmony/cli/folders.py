"""Where a run may write: never into its input, and only where it can."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from bids_harmony.exceptions import BidsHarmonyError, CannotCreateOutput, MissingInput, TryAgain
from bids_harmony.settings import Settings

__all__ = ["check_folders", "check_output_links"]


def check_folders(settings: Settings) -> None:
    """Check the folders that options name; make output and work folder unless this is a dry run.

    Raises
    ------
    MissingInput
        When a folder to read from is not there.
    CannotCreateOutput
        When a folder lies in the input (anywhere but below ``derivatives/``), or cannot be made or
        written.
    TryAgain
        When the disk is full.
    """
    if settings.write_slurm:
        _check_outside(settings.write_slurm, settings.bids_dir, "--write-slurm")
    if settings.plan_page:
        _check_outside(settings.plan_page, settings.bids_dir, "--plan-page")
    for folder, option in ((settings.output_dir, "output_dir"), (settings.work_dir, "--work-dir")):
        _check_outside(folder, settings.bids_dir, option)
        # Scripts for a cluster may name folders that this machine does not have.
        if settings.write_slurm:
            continue
        if settings.dry_run:
            _check_could_be_written(folder, option)
        else:
            _check_writable(folder, option)
    for name, folder in settings.derivatives.items():
        if not folder.is_dir() and not settings.write_slurm:
            raise MissingInput(
                "The folder of derivatives does not exist", where=f"--derivatives {name}={folder}"
            )


def check_output_links(output_dir: Path, subjects: Iterable[str]) -> None:
    """Check that no folder of some subjects in the output is a link to somewhere else.

    Files are replaced and never written through, so that links of files (of an annex) do no harm.

    Parameters
    ----------
    output_dir : Path
    subjects : iterable of str
        Labels without prefix.

    Raises
    ------
    CannotCreateOutput
        When one is: what is behind it might be the input.
    """
    root = Path(os.path.realpath(output_dir))
    for subject in subjects:
        top = Path(output_dir) / f"sub-{subject}"
        for folder in (top, *top.glob("*/"), *top.glob("ses-*/*/")):
            real = Path(os.path.realpath(folder))
            if root not in real.parents:
                raise CannotCreateOutput(
                    "A folder leads out of the output folder",
                    where=str(folder),
                    got=f"a link to {real}",
                    hint="Remove the link, or choose another output folder.",
                )


def _check_outside(folder: Path, bids_dir: Path, option: str) -> None:
    """Links are followed: the input must be safe behind any name."""
    root, inside = Path(os.path.realpath(bids_dir)), Path(os.path.realpath(folder))
    if root != inside and root not in inside.parents:
        return
    below = inside.relative_to(root).parts
    if len(below) < 2 or below[0] != "derivatives":
        raise CannotCreateOutput(
            "The folder lies in the input, which is never written",
            where=f"{option} {folder}",
            expected=f"a folder outside {bids_dir}, or below {bids_dir}/derivatives/",
            hint=f"For example {bids_dir}/derivatives/bids_harmony.",
        )


def _check_could_be_written(folder: Path, option: str) -> None:
    """As `_check_writable`, but nothing is made: the nearest folder above that is there counts."""
    place = folder
    while not os.path.lexists(place):
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise _unwritable(
            CannotCreateOutput,
            folder,
            option,
            os.strerror(errno.EACCES if place.is_dir() else errno.ENOTDIR),
        )


def _check_writable(folder: Path, option: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        kind: type[BidsHarmonyError] = (
            TryAgain if error.errno in (errno.ENOSPC, errno.EDQUOT) else CannotCreateOutput
        )
        raise _unwritable(kind, folder, option, error.strerror or str(error)) from error


def _unwritable(
    kind: type[BidsHarmonyError], folder: Path, option: str, got: str
) -> BidsHarmonyError:
    return kind(
        "The folder cannot be made or written",
        where=f"{option} {folder}",
        got=got,
        hint="Choose another folder, or check its owner, permissions and free space.",
    )
