"""NODDI maps (Zhang et al., NeuroImage 2012) by AMICO (Daducci et al., NeuroImage 2015)."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.tensor import tensor_volumes
from bids_harmony.diffusion.voxels import fittable_voxels, measured_signals
from bids_harmony.exceptions import DataError, MissingProgram, from_system

__all__ = ["NODDI_PARAMETERS", "NoddiMaps", "fit_noddi", "noddi_installed", "noddi_possible"]

_log = logging.getLogger(__name__)

LEAST_SHELLS = 2
LEAST_DIRECTIONS = 6
"""A shell counts when it has so many volumes; the model's authors ask for 30 and more."""
HARMONICS, DIRECTIONS = 12, 500
"""Order and number of directions of AMICO's kernels: its defaults."""
NODDI_PARAMETERS = {"ParallelDiffusivity": 1.7e-3, "IsotropicDiffusivity": 3.0e-3}
"""mm2/s; AMICO's defaults for living tissue."""
LOST_BESIDE = 0.1
"""Of the b=0 signal: a zero among signals of a shell whose median is higher was not measured;
among darker ones it may be what is left of water."""
VOXELS_AT_ONCE = 10_000
"""Bounds the memory (100 volumes: some 30 MB); one axis of a NIfTI-1 file holds up to 32 767."""


@dataclass(frozen=True, eq=False)
class NoddiMaps:
    """Maps of a NODDI fit, 0 to 1; 0 where nothing was fitted.

    Attributes
    ----------
    ndi : ndarray (X, Y, Z) float32
        Neurite density index (intra-cellular volume fraction, `icvf`).
    odi : ndarray (X, Y, Z) float32
        Orientation dispersion index (`od`).
    fwf : ndarray (X, Y, Z) float32
        Free water fraction (isotropic volume fraction, `isovf`).
    fitted : ndarray (X, Y, Z) bool
        Where.
    incomplete : int
        Fitted voxels of which nothing was measured in some volumes.
    """

    ndi: np.ndarray
    odi: np.ndarray
    fwf: np.ndarray
    fitted: np.ndarray
    incomplete: int


def noddi_possible(gradients: Gradients, model: str = "NODDI") -> tuple[bool, str]:
    """Whether a scheme can carry NODDI; says nothing about whether AMICO is installed.

    Parameters
    ----------
    gradients : Gradients
    model : str
        What words call it: other models of neurites need the same.

    Returns
    -------
    possible : bool
        Two shells and more of at least six volumes each.
    reason : str
        Why, in words for a log or a report.
    """
    shells = [s for s in gradients.shells if len(s.volumes) >= LEAST_DIRECTIONS]
    found = ", ".join(f"b={s.nominal:.0f} ({len(s.volumes)} volumes)" for s in gradients.shells)
    if len(shells) >= LEAST_SHELLS:
        return True, f"{len(shells)} non-zero shells: {found}"
    return False, (
        f"{model} needs {LEAST_SHELLS} non-zero shells of at least {LEAST_DIRECTIONS} volumes; "
        f"this scheme has {found or 'none'}"
    )


def noddi_installed() -> bool:
    """Whether AMICO is there, an optional dependency."""
    return find_spec("amico") is not None


def fit_noddi(
    data: np.ndarray,
    mask: np.ndarray,
    gradients: Gradients,
    work_dir: str | os.PathLike[str],
) -> NoddiMaps:
    """Fit NODDI to each voxel inside the mask whose mean b=0 signal is positive.

    Parameters
    ----------
    data : ndarray (X, Y, Z, N) float32
        Series, in any unit; negative signals count as 0. AMICO needs every volume of a voxel: one
        that was not measured (`voxels.measured_signals`) is given the mean of the others at b=0,
        or of its shell where that is bright.
    mask : ndarray (X, Y, Z) bool
        Brain.
    gradients : Gradients
        Of the N volumes. Within a shell the volumes' b-values are replaced by their median,
        rounded to 1 s/mm2: AMICO takes each distinct number for a shell.
    work_dir : path-like
        An existing folder; what AMICO needs on disk lies in a temporary folder inside. Kernels
        are made once for a scheme and process.

    Returns
    -------
    NoddiMaps
        With AMICO's defaults for living tissue: parallel diffusivity 1.7e-3 mm2/s, free water
        3.0e-3 mm2/s.

    Raises
    ------
    DataError
        The scheme has fewer than two shells, arrays do not go together, or AMICO gave up.
    ImageError
        No voxel can be fitted.
    MissingProgram
        AMICO is not installed.
    TryAgain
        There is no memory to load it.
    """
    possible, reason = noddi_possible(gradients)
    if not possible:
        raise DataError("NODDI cannot be fitted", expected="a multi-shell series", got=reason)
    # AMICO starts from the tensor of all volumes; without one its directions would be noise.
    tensor_volumes(gradients, highest_b=np.inf)
    fitted = fittable_voxels(data, mask, gradients)
    amico = import_amico()
    say_licence()

    where = np.argwhere(fitted)
    # AMICO squeezes arrays and fails on a single voxel: parts of equal size leave none over, and
    # one alone is fitted twice.
    alone = len(where) == 1
    if alone:
        where = np.repeat(where, 2, axis=0)
    n_parts = -(-len(where) // max(2, VOXELS_AT_ONCE))
    parts = np.array_split(where, n_parts)
    maps = np.zeros((*fitted.shape, 3), np.float32)
    incomplete = 0
    with tempfile.TemporaryDirectory(prefix="amico-", dir=work_dir) as folder:
        with _amico_session(amico, folder):
            scheme = _Scheme(_scheme_text(gradients), folder)
            evaluation = _evaluation(amico, scheme)
            for part in parts:
                at = tuple(part.T)
                signals, lost = completed(data[at], gradients)
                incomplete += lost
                _load_voxels(evaluation, signals, folder)
                evaluation.model.scheme = evaluation.scheme
                evaluation.KERNELS, evaluation.htable = kernels(scheme)
                evaluation.fit()
                order = [evaluation.model.maps_name.index(n) for n in ("NDI", "ODI", "FWF")]
                maps[at] = evaluation.RESULTS["MAPs"][:, 0, 0][:, order]
    _log.info("NODDI in %d voxels; %s", 1 if alone else len(where), reason)
    ndi, odi, fwf = (np.ascontiguousarray(maps[..., i]) for i in range(3))
    return NoddiMaps(ndi, odi, fwf, fitted, 1 if alone and incomplete else incomplete)


def completed(signals: np.ndarray, gradients: Gradients) -> tuple[np.ndarray, int]:
    """Signals (V, N) with means for what was not measured, and the number of such voxels."""
    measured = measured_signals(signals, gradients)
    if measured.all():
        return signals, 0
    known = np.where(measured, signals, np.float32(0))
    b0 = np.flatnonzero(gradients.b0)
    bright = LOST_BESIDE * known[:, b0].max(axis=1)
    completed = np.where(np.isfinite(signals), signals, np.float32(0))
    lost = np.zeros(len(signals), bool)
    for volumes in (b0, *(s.volumes for s in gradients.shells)):
        own, there = known[:, volumes], measured[:, volumes]
        gap = ~there & (np.median(own, axis=1) > bright)[:, None] if volumes is not b0 else ~there
        mean = own.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
        completed[:, volumes] = np.where(gap, mean[:, None], completed[:, volumes])
        lost |= gap.any(axis=1)
    return completed, int(np.count_nonzero(lost))


@dataclass(frozen=True)
class _Scheme:
    """AMICO's text of a scheme, and a folder to work in, which makes no difference."""

    text: str
    folder: str = field(compare=False)


@lru_cache(maxsize=1)
def kernels(scheme: _Scheme) -> tuple[Any, Any]:
    """Responses of the model's compartments, and AMICO's table of directions.

    Built once for a scheme in each process: the series before and after harmonization share it.
    Kept in memory, for what lies in a folder AMICO would take for any other scheme as well.
    """
    amico = import_amico()
    # Not amico.setup(): that computes, in minutes, what other numbers of directions need.
    amico.lut.precompute_rotation_matrices(HARMONICS, DIRECTIONS)
    evaluation = _evaluation(amico, scheme)
    _load_voxels(evaluation, np.ones((2, scheme.text.count("\n") - 1)), scheme.folder)
    evaluation.generate_kernels(regenerate=True, lmax=HARMONICS, ndirs=DIRECTIONS)
    evaluation.load_kernels()
    return evaluation.KERNELS, evaluation.htable


def _evaluation(amico: Any, scheme: _Scheme) -> Any:
    """AMICO's session on a scheme, in its folder, with one thread."""
    Path(scheme.folder, "scheme.txt").write_text(scheme.text)
    evaluation = amico.Evaluation(scheme.folder, ".")
    evaluation.set_config("nthreads", 1)
    evaluation.set_config("BLAS_nthreads", 1)
    evaluation.set_config("lmax", HARMONICS)
    evaluation.set_config("ndirs", DIRECTIONS)
    evaluation.set_model("NODDI")
    return evaluation


def import_amico() -> Any:
    try:
        with _logger_class_kept():
            # Before AMICO, which imports it: loggers made by its other imports are plain then.
            import_module("dicelib.ui")
        import amico
        import amico.lut
    except ImportError as error:
        # There, but no memory was left to load it.
        if reason := from_system(error):
            raise reason from error
        raise MissingProgram(
            "AMICO, which fits NODDI, is not installed",
            where="dmri-amico",
            got=str(error),
            hint="Run `pip install bids_harmony[noddi]`; its licence allows research only.",
        ) from error
    return amico


@contextlib.contextmanager
def _logger_class_kept() -> Iterator[None]:
    """dicelib makes its own class of loggers everybody's, and that ends the process at `error`."""
    kept = logging.getLoggerClass()
    try:
        yield
    finally:
        logging.setLoggerClass(kept)


@lru_cache(maxsize=1)
def say_licence() -> None:
    """Once in each process."""
    _log.warning(
        "NODDI is fitted by AMICO (Daducci et al., NeuroImage 2015), whose licence allows "
        "research and education only; cite it with the results."
    )


@contextlib.contextmanager
def _amico_session(amico: Any, folder: str) -> Iterator[None]:
    """AMICO with its files in one folder, its words in the log, its exits turned into errors."""
    # It takes the folder from DIPY, which reads DIPY_HOME once, when it is first imported, and
    # falls back on a home that a container may not let anyone write to.
    home, verbose = amico.lut.dipy_home, amico.get_verbose()
    words = io.StringIO()
    try:
        amico.lut.dipy_home = folder
        amico.set_verbose(1)
        with contextlib.redirect_stdout(words):
            yield
    except SystemExit as error:
        raise DataError(
            "AMICO could not fit NODDI", got=words.getvalue().strip() or f"exit {error.code}"
        ) from error
    finally:
        amico.lut.dipy_home = home
        amico.set_verbose(verbose)
        if words.getvalue().strip():
            _log.info("AMICO: %s", words.getvalue().strip())


def _scheme_text(gradients: Gradients) -> str:
    """Directions and b-values in AMICO's own form, one value for each shell."""
    bvals = np.zeros_like(gradients.bvals)
    for shell in gradients.shells:
        bvals[shell.volumes] = round(shell.b)
    text = io.StringIO()
    np.savetxt(
        text,
        np.column_stack([gradients.bvecs, bvals]),
        fmt="%.17g",
        header="VERSION: BVECTOR",
        comments="",
    )
    return text.getvalue()


def _load_voxels(evaluation: Any, signals: np.ndarray, folder: str) -> None:
    """Give AMICO a list of voxels as an image, which is what it reads."""
    packed = np.ascontiguousarray(signals, dtype=np.float32)[:, None, None, :]
    nib.save(nib.Nifti1Image(packed, np.eye(4)), Path(folder, "voxels.nii"))
    evaluation.load_data("voxels.nii", "scheme.txt", b0_thr=0)
