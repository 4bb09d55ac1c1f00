"""bval and bvec files: both layouts in, and every way in which they can be wrong refused."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from bids_harmony.diffusion.gradients import B0_THRESHOLD, Gradients
from bids_harmony.exceptions import DataError, MissingInput
from bids_harmony.io.nifti_file import read_content
from bids_harmony.io.remarks import remark

__all__ = ["read_gradients"]

_log = logging.getLogger(__name__)

LONGEST_RESCALE = 0.05
"""Directions whose length is off by up to this are made unit and b-values stay as they are, as FSL
has it; beyond, something else is meant. MRtrix3 would multiply b by the square of the length, and
so does DIPY's tensor up to 1 %, who refuses more; `diffusion_fits` tells in the sidecar."""
WORTH_SAYING = 0.01
"""Lengths off by more than this are reported; less is what rounding to a few digits leaves."""
LOWEST_SHELL = 200.0
"""s/mm2; a lowest b-value up to here is a b=0 volume by another name; an option is for it."""
MOST_BYTES = 4 * 2**20
"""Of a file; a thousand directions take 60 kB."""


def read_gradients(
    bval_file: str | os.PathLike[str],
    bvec_file: str | os.PathLike[str],
    n_volumes: int,
    *,
    b0_threshold: float = B0_THRESHOLD,
) -> Gradients:
    """Read the gradients of a series and check that they can be its own.

    Parameters
    ----------
    bval_file : path-like
        b-values in s/mm2, one line (FSL, BIDS) or one column.
    bvec_file : path-like
        Directions, 3 x N (FSL, BIDS) or N x 3; three volumes are read as 3 x N.
    n_volumes : int
        Volumes of the series.
    b0_threshold : float
        Up to this many s/mm2 a volume counts as b=0.

    Returns
    -------
    Gradients
        Directions of unit length; zero where a b=0 volume has none (zero, NaN, or no unit
        vector). Lengths that go with the root of b over several shells say the same as the
        b-values, and are made unit.

    Raises
    ------
    MissingInput
        One of the files is not there, or its content was not fetched.
    InputOutputError
        One of the files cannot be read, or is empty.
    DataError
        Not numbers; not as many as volumes; b-values that are negative or not finite, all b=0 or
        none b=0; at a weighted volume, a direction that is not finite, zero, or off unit length
        by more than 5 % for no reason that the b-values tell.
    """
    bval_file, bvec_file = Path(bval_file), Path(bvec_file)
    bvals = _read_bvals(bval_file, n_volumes)
    bvecs = _read_bvecs(bvec_file, n_volumes)
    _check_bvals(bvals, bvecs, str(bval_file), b0_threshold)
    unit, lengths = _unit_bvecs(bvecs, bvals, bvals <= b0_threshold, str(bvec_file))
    return Gradients(bvals, unit, b0_threshold, lengths)


def _read_table(path: Path, holds: str) -> np.ndarray:
    """Rows and columns of a text file of numbers."""
    if not path.exists() and not path.is_symlink():
        raise MissingInput(
            f"The {holds} of a diffusion series are missing",
            where=str(path),
            hint="Each *_dwi.nii.gz needs a .bval and a .bvec (BIDS lets one higher up serve).",
        )
    try:
        lines = read_content(path, most=MOST_BYTES).decode("utf-8-sig").splitlines()
        rows = [[float(word) for word in line.split()] for line in lines if line.strip()]
    except ValueError as error:  # of float and of decode
        raise DataError(
            f"The {holds} are not numbers",
            where=str(path),
            expected="numbers with white space between them",
            got=str(error),
        ) from error
    lengths = {len(row) for row in rows}
    if len(lengths) != 1:
        raise DataError(
            f"The lines of the {holds} differ in length" if rows else f"the {holds} are empty",
            where=str(path),
            expected="as many numbers in each line",
            got=", ".join(str(len(row)) for row in rows[:8]) or "no number",
        )
    return np.array(rows, dtype=np.float64)


def _read_bvals(path: Path, n_volumes: int) -> np.ndarray:
    table = _read_table(path, "b-values")
    if min(table.shape) != 1:
        raise DataError(
            "The b-values are neither one line nor one column",
            where=str(path),
            expected=f"1 x {n_volumes} numbers",
            got=f"{table.shape[0]} x {table.shape[1]}",
        )
    if table.size != n_volumes:
        raise _wrong_count("b-values", path, n_volumes, table.size)
    return table.reshape(-1)


def _read_bvecs(path: Path, n_volumes: int) -> np.ndarray:
    table = _read_table(path, "directions")
    if table.shape[0] == 3:
        found = table.T
    elif table.shape[1] == 3:
        remark(_log, str(path), "one direction a line instead of a column; read as such")
        found = table
    else:
        raise DataError(
            "The directions have no three components",
            where=str(path),
            expected=f"3 x {n_volumes} numbers",
            got=f"{table.shape[0]} x {table.shape[1]}",
        )
    if len(found) != n_volumes:
        raise _wrong_count("directions", path, n_volumes, len(found))
    return np.ascontiguousarray(found)


def _wrong_count(holds: str, path: Path, n_volumes: int, got: int) -> DataError:
    return DataError(
        f"The number of {holds} is not that of the volumes",
        where=str(path),
        expected=f"{n_volumes}, one a volume",
        got=str(got),
        hint="A trace or ADC volume that the scanner appended must be removed from the series."
        if got == n_volumes - 1
        else "The file may belong to another series.",
    )


def _check_bvals(bvals: np.ndarray, bvecs: np.ndarray, where: str, b0_threshold: float) -> None:
    for wrong, what in (
        (~np.isfinite(bvals), "b-values that are not finite"),
        (bvals < 0, "negative b-values"),
    ):
        if wrong.any():
            raise DataError(
                what, where=where, expected="0 and more s/mm2", got=_listed(bvals, wrong)
            )
    if (bvals <= b0_threshold).all():
        raise DataError(
            "No volume is diffusion-weighted",
            where=where,
            expected=f"some b-values above {b0_threshold:g} s/mm2",
            got=f"at most {bvals.max():g}",
            hint="b-values must be in s/mm2; a series of b=0 alone belongs into fmap/.",
        )
    if (bvals > b0_threshold).all():
        raise DataError(
            "No volume with b=0",
            where=where,
            expected=f"a b-value up to {b0_threshold:g} s/mm2",
            got=f"at least {bvals.min():g}",
            hint=_without_b0(bvals, bvecs),
        )


def _without_b0(bvals: np.ndarray, bvecs: np.ndarray) -> str:
    """What can be done about a series without b=0."""
    if bvals.min() <= LOWEST_SHELL:
        return (
            f"If the volumes at b={bvals.min():g} stand for b=0, run with "
            f"--b0-threshold {np.ceil(bvals.min()):g}."
        )
    still = np.flatnonzero((bvecs == 0).all(axis=1) | ~np.isfinite(bvecs).all(axis=1))
    if 0 < still.size < bvals.size:
        some = ", ".join(str(v) for v in still[:8]) + (" ..." if still.size > 8 else "")
        return (
            f"The bvec file has no direction for volume {some}: if that was measured without "
            "gradients, as GE scanners do under one b-value for all, write 0 for it into the bval "
            "file."
        )
    return "Signals are fitted relative to b=0; such a series cannot be used."


def _unit_bvecs(
    bvecs: np.ndarray, bvals: np.ndarray, b0: np.ndarray, where: str
) -> tuple[np.ndarray, tuple[float, float]]:
    """Directions made unit, zero at b=0 volumes that have none; shortest and longest before."""
    finite = np.isfinite(bvecs).all(axis=1)
    length = np.linalg.norm(np.where(finite[:, None], bvecs, 0.0), axis=1)
    for wrong, what, hint in (
        (~finite, "directions of weighted volumes that are not finite", ""),
        (length == 0, "directions of weighted volumes that are zero", _TRACE),
    ):
        if (wrong & ~b0).any():
            raise DataError(
                what,
                where=where,
                expected="unit vectors",
                got=_listed(length, wrong & ~b0) if hint else _listed(bvecs, wrong & ~b0),
                hint=hint,
            )
    near = np.abs(length - 1) <= LONGEST_RESCALE
    if near[~b0].all():
        off = np.abs(length - 1)[~b0].max()
        if off > WORTH_SAYING:
            remark(
                _log,
                where,
                "directions off unit length by up to %.1f %%; rescaled, b-values as they are",
                100 * off,
            )
    elif _root_of_b(length[~b0], bvals[~b0]):
        # Siemens and GE modulate the length for several shells under one b-value; whoever then
        # also wrote each volume's own b-value said the same twice.
        near = length > 0
        remark(
            _log,
            where,
            "lengths of the directions go with the root of the b-values, %.3g to %.3g; made unit, "
            "for the b-values have it already",
            length[~b0].min(),
            length[~b0].max(),
        )
    else:
        raise DataError(
            "directions that are not of unit length",
            where=where,
            expected=f"unit vectors, lengths within {LONGEST_RESCALE:.0%} of 1",
            got=_listed(length, ~near & ~b0),
            hint=_about_lengths(length[~b0], bvals[~b0]),
        )
    # Only where usable: what a b=0 volume has instead of a direction says nothing.
    usable = finite & near
    unit = np.zeros_like(bvecs)
    unit[usable] = bvecs[usable] / length[usable, None]
    return unit, (float(length[~b0].min()), float(length[~b0].max()))


def _root_of_b(length: np.ndarray, bvals: np.ndarray) -> bool:
    """Whether lengths are proportional to the root of b-values that differ by shell.

    With one shell any length would be, and could as well mean another b-value.
    """
    ratio = length / np.sqrt(bvals)
    several = bvals.max() > (1 + 4 * LONGEST_RESCALE) * bvals.min()
    return bool(several and np.ptp(ratio) <= 2 * LONGEST_RESCALE * np.median(ratio))


def _about_lengths(length: np.ndarray, bvals: np.ndarray) -> str:
    """What lengths off 1 may mean beside these b-values."""
    if np.ptp(length) <= 2 * LONGEST_RESCALE * np.median(length):
        return (
            "All are off by one factor: make them unit, after checking that the b-values are "
            "those that were measured (some converters write the weighting into the length)."
        )
    if np.ptp(bvals) <= 2 * LONGEST_RESCALE * bvals.max():
        return (
            "Some converters write the weighting into the length: if so, b of a volume is the "
            "highest b times the square of its length; write that into the b-values, and make the "
            "directions unit."
        )
    return "Neither unit nor proportional to the root of b: convert the series again."


_TRACE = "Trace or ADC volumes that the scanner appended must be removed from the series."


def _listed(values: np.ndarray, wrong: np.ndarray) -> str:
    """The first few wrong values with their volumes, counted from 0."""
    at = np.flatnonzero(wrong)
    some = "; ".join(
        f"volume {i}: {' '.join(f'{v:g}' for v in np.atleast_1d(values[i]))}" for i in at[:3]
    )
    return some if len(at) <= 3 else f"{some}; {len(at)} in all"
