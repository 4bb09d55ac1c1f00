"""Neurite density and dispersion by FORCE (Shah et al. 2025, doi 10.21203/rs.3.rs-8151109), which
DIPY carries: signals of many simulated mixtures of tissue, and for each voxel those most alike."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.noddi import completed, noddi_possible
from bids_harmony.diffusion.voxels import fittable_voxels
from bids_harmony.exceptions import DataError, MissingProgram

__all__ = ["FORCE_PARAMETERS", "ForceMaps", "Scheme", "fit_force", "force_installed"]
__all__ += ["library_of", "seeded"]

_log = logging.getLogger(__name__)

SIMULATIONS, NEIGHBOURS = 50_000, 50
"""Errors of density in white matter are 0.049, 0.042 and 0.038 with 20, 50 and 100 thousand, of
which a thousand take 0.7 s (benchmarks/dwi_fits.py)."""
PENALTY, SHARPNESS = 1e-5, 2000.0
"""What a fibre more costs, and the posterior's inverse temperature: DIPY's defaults."""
DIFFUSIVITIES: dict[str, Any] = {
    "wm_d_par_range": 1.7e-3,
    "wm_d_perp_range": (0.3e-3, 1.5e-3),
    "gm_d_iso_range": (0.7e-3, 1.2e-3),
    "csf_d": 3.0e-3,
}
"""mm2/s. Along neurites NODDI's, and tortuosity across (the second is not used then): with DIPY's
2 to 3e-3 density came out 0.1 above NODDI's, simulated and real."""
VOXELS_AT_ONCE = 2_000
"""Bounds the memory; a fixed number, for the last bits of products depend on it."""

FORCE_PARAMETERS = {
    "Neighbors": NEIGHBOURS,
    "ParallelDiffusivity": DIFFUSIVITIES["wm_d_par_range"],
    "GrayMatterDiffusivity": list(DIFFUSIVITIES["gm_d_iso_range"]),
    "IsotropicDiffusivity": DIFFUSIVITIES["csf_d"],
    "Tortuosity": True,
    "Estimate": "mean of the posterior over the neighbors",
}


@dataclass(frozen=True, eq=False)
class ForceMaps:
    """Maps of a FORCE fit, 0 to 1; 0 where nothing was fitted.

    Each has the interquartile range of its posterior beside it, in its own unit.

    Attributes
    ----------
    nd, ndiqr : ndarray (X, Y, Z) float32
        Neurite density: intra-neurite fraction of the tissue, all that is not free water.
    dispersion, dispersioniqr : ndarray (X, Y, Z) float32
        Orientation dispersion of the tissue: of its fibres, and 1 of what has none.
    csffraction, csffractioniqr : ndarray (X, Y, Z) float32
        Free water.
    fitted : ndarray (X, Y, Z) bool
        Where.
    incomplete : int
        Fitted voxels of which nothing was measured in some volumes.
    """

    nd: np.ndarray
    ndiqr: np.ndarray
    dispersion: np.ndarray
    dispersioniqr: np.ndarray
    csffraction: np.ndarray
    csffractioniqr: np.ndarray
    fitted: np.ndarray
    incomplete: int


@dataclass(frozen=True, eq=False)
class Library:
    """Simulated mixtures.

    Attributes
    ----------
    index : dipy.reconst.force.SignalIndex
        Of their signals, of length 1.
    penalty : ndarray (L,) float32
        Of their numbers of fibres.
    values : dict of str to ndarray (L,) float32
        What is sought, by parameter.
    """

    index: Any
    penalty: np.ndarray
    values: dict[str, np.ndarray]


def force_installed() -> bool:
    """Whether DIPY has it: from 1.12 on."""
    return find_spec("dipy.reconst.force") is not None


def fit_force(
    data: np.ndarray,
    mask: np.ndarray,
    gradients: Gradients,
    work_dir: str | os.PathLike[str],
    *,
    simulations: int = SIMULATIONS,
    seed: int = 0,
) -> ForceMaps:
    """Fit FORCE to each voxel inside the mask whose mean b=0 signal is positive.

    Parameters
    ----------
    data : ndarray (X, Y, Z, N) float32
        Series, in any unit; negative signals count as 0. What was not measured is completed as
        for NODDI (`noddi.completed`).
    mask : ndarray (X, Y, Z) bool
        Brain.
    gradients : Gradients
        Of the N volumes. Signals are simulated for them once for a scheme and process.
    work_dir : path-like
        An existing folder; what DIPY needs on disk lies in a temporary folder inside.
    simulations : int
        Mixtures that voxels are compared with; fewer are faster and coarser.
    seed : int
        Draws them.

    Returns
    -------
    ForceMaps
        The same for any number of threads and processes.

    Raises
    ------
    DataError
        The scheme has fewer than two shells, or arrays do not go together.
    ImageError
        No voxel can be fitted.
    MissingProgram
        DIPY is too old.
    """
    possible, reason = noddi_possible(gradients, "FORCE")
    if not possible:
        raise DataError("FORCE cannot be fitted", expected="a multi-shell series", got=reason)
    fitted = fittable_voxels(data, mask, gradients)
    if not force_installed():
        raise MissingProgram(
            "DIPY has no FORCE", where="dipy", expected="1.12 or later",
            hint="Run `pip install 'dipy>=1.12'`, or leave force out of --dwi-fits.",
        )  # fmt: skip
    where = np.argwhere(fitted)
    maps = np.zeros((*fitted.shape, 6), np.float32)
    incomplete = 0
    # DIPY's products are SciPy's: sums of several threads depend on their number.
    with threadpool_limits(limits=1):
        bvals, bvecs = gradients.bvals.tobytes(), gradients.bvecs.tobytes()
        library = library_of(Scheme(bvals, bvecs, simulations, seed, work_dir))
        for start in range(0, len(where), VOXELS_AT_ONCE):
            at = tuple(where[start : start + VOXELS_AT_ONCE].T)
            signals, lost = completed(data[at], gradients)
            incomplete += lost
            maps[at] = _posterior(np.maximum(signals, 0), library)
    _log.info("FORCE in %d voxels; %s", len(where), reason)
    nd, ndiqr, dispersion, dispersioniqr, water, wateriqr = (
        np.ascontiguousarray(maps[..., i]) for i in range(6)
    )
    return ForceMaps(nd, ndiqr, dispersion, dispersioniqr, water, wateriqr, fitted, incomplete)


def _posterior(signals: np.ndarray, library: Library) -> np.ndarray:
    """Mean and interquartile range of each parameter, (V, 6) float32."""
    from dipy.reconst.force import (
        compute_microstructure_uncertainty_ambiguity,
        normalize_signals,
        softmax_stable,
    )

    alike, neighbours = library.index.search(normalize_signals(signals), NEIGHBOURS)
    weights = softmax_stable(SHARPNESS * (alike - library.penalty[neighbours]))
    columns = []
    for values in library.values.values():
        near = values[neighbours]
        spread, _ = compute_microstructure_uncertainty_ambiguity(near, weights, 1.0)
        columns += [np.sum(weights * near, axis=1), spread]
    return np.stack(columns, axis=1).astype(np.float32)


@dataclass(frozen=True)
class Scheme:
    """Gradients to simulate, and a folder to work in, which makes no difference."""

    bvals: bytes
    bvecs: bytes
    simulations: int
    seed: int
    folder: str | os.PathLike[str] = field(compare=False)


@lru_cache(maxsize=1)
def library_of(scheme: Scheme) -> Library:
    """Simulate a scheme; the series before and after harmonization share it."""
    from dipy.core.gradients import gradient_table
    from dipy.reconst.force import create_signal_index, normalize_signals
    from dipy.sims import force

    bvecs = np.frombuffer(scheme.bvecs).reshape(-1, 3)
    table = gradient_table(np.frombuffer(scheme.bvals), bvecs=bvecs)
    with (
        tempfile.TemporaryDirectory(prefix="force-", dir=scheme.folder) as folder,
        seeded(scheme.seed),
    ):
        drawn = force.generate_force_simulations(
            table,
            num_simulations=scheme.simulations,
            output_dir=folder,
            tortuosity=True,
            diffusivity_config=DIFFUSIVITIES,
            compute_dti=False,
            verbose=False,
        )
    water = drawn["csf_fraction"]
    tissue = np.maximum(1 - water, np.float32(1e-3))
    return Library(
        index=create_signal_index(normalize_signals(drawn["signals"])),
        penalty=np.float32(PENALTY) * drawn["num_fibers"],
        values={
            "nd": drawn["nd"] / tissue,
            # DIPY's is of the whole voxel, where water counts as 1.
            "dispersion": (drawn["dispersion"] - water) / tissue,
            "csffraction": water,
        },
    )


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draws of DIPY's simulations from a seed, and NumPy's own generator as it was afterwards.

    DIPY seeds it by process and clock, whatever it was before: maps would differ from run to run.
    """
    from dipy.sims import force

    # It draws from this generator alone.
    kept, state = force.init_worker, np.random.get_state()  # noqa: NPY002
    try:
        force.init_worker = lambda base_seed=None: np.random.seed(seed % 2**32)  # noqa: NPY002
        yield
    finally:
        force.init_worker = kept
        np.random.set_state(state)  # noqa: NPY002
