"""Ground truth of a person's neurites: density, dispersion, free water, fibres and crossings.

Values are those of NODDI (Zhang et al. 2012, NeuroImage 61:1000), drawn so that they are smooth,
differ between people and stay within what is seen in adults.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import affine_transform

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.phantom.anatomy import Anatomy, fibre_directions, smooth_noise

__all__ = ["REFERENCE_AGE", "Microstructure", "concentration", "make_microstructure", "placed"]

Array = np.ndarray

#: Years at which the age effect is nought.
REFERENCE_AGE = 45.0

#: Middle and half range of NDI and ODI in grey and white matter. A part of the half range is the
#: person's own level, the rest varies in space.
NDI = ((0.375, 0.070), (0.600, 0.070))
ODI = ((0.600, 0.090), (0.200, 0.090))
PERSON_PART = 0.3

#: Correlation length of all fields but the fibres' own.
SMOOTH_MM = 12.0

#: Part of the white matter where fibres cross, and the share of the second population there.
CROSSING_PART = 1 / 3
SECOND_SHARE = (0.25, 0.45)

#: Middle and half range of the angle between crossing fibres, in degrees.
CROSSING_DEG = (75.0, 15.0)


@dataclass(frozen=True, eq=False)
class Microstructure:
    """What diffusion would ideally measure of one person.

    Attributes
    ----------
    ndi : (X, Y, Z) float32
        Neurite density: intra-neurite fraction of the tissue (all that is not free water).
    odi : (X, Y, Z) float32
        Orientation dispersion, 0 (parallel) to 1 (isotropic), of each population.
    fwf : (X, Y, Z) float32
        Volume fraction of free water; 0 outside the brain.
    fibres : (2, 3, X, Y, Z) float32
        Mean direction of either population, unit vectors along the axes of the grid.
    second_share : (X, Y, Z) float32
        Share of the tissue that belongs to the second population; at most a half, 0 where fibres
        do not cross.
    grid : ReferenceGrid
        Of all arrays. NDI, ODI and fibres have values outside the brain too: smooth maps can be
        resampled.
    t2_ratio : float
        T2 within neurites over that between them; 1: echo times do not change NDI.
    """

    ndi: Array
    odi: Array
    fwf: Array
    fibres: Array
    second_share: Array
    grid: ReferenceGrid
    t2_ratio: float = 1.0


def concentration(odi: Array) -> Array:
    """Concentration of the Watson distribution that has a dispersion index (Zhang et al. 2012).

    Parameters
    ----------
    odi : array_like of float
        Above 0, at most 1.

    Returns
    -------
    ndarray of float
        kappa, where odi = 2 / pi arctan(1 / kappa).
    """
    return 1 / np.tan(np.pi / 2 * np.asarray(odi))


def make_microstructure(
    anatomy: Anatomy, *, age: float = REFERENCE_AGE, ndi_per_year: float = -0.001
) -> Microstructure:
    """Draw the microstructure of a person.

    Parameters
    ----------
    anatomy : Anatomy
        Its seed is the identity of the person, its fractions say where tissues are.
    age : float
        Years.
    ndi_per_year : float
        What is added to NDI of white matter for each year beyond `REFERENCE_AGE`; neurite density
        falls in later life (Cox et al. 2016, Nat Commun 7:13629).

    Returns
    -------
    Microstructure
        White matter has NDI 0.53 to 0.67 before the age effect and ODI 0.11 to 0.29, grey matter
        0.3 to 0.45 and 0.51 to 0.69; voxels of both have the mean by volume.
    """
    rng = np.random.default_rng([anatomy.seed, 0xD2])
    grid = anatomy.grid

    def field() -> Array:
        return smooth_noise(rng, grid.shape, SMOOTH_MM / grid.voxel_mm)

    def level(middle: float, half_range: float) -> Array:
        own = PERSON_PART * rng.uniform(-1, 1)
        return middle + half_range * (own + (1 - PERSON_PART) * np.tanh(field()))

    grey, white, water = anatomy.fractions
    # Outside the brain, grey matter's values: they vary smoothly there too.
    white_part = white / np.maximum(grey + white, 1e-6)

    def blend(ranges: tuple[tuple[float, float], ...], white_shift: float = 0.0) -> Array:
        of_grey, of_white = (level(*r) for r in ranges)
        return of_grey + white_part * (of_white + white_shift - of_grey)

    ndi = blend(NDI, ndi_per_year * (age - REFERENCE_AGE))
    odi = blend(ODI)
    first = fibre_directions(anatomy)
    share, second = _crossing(white, first, [field() for _ in range(5)])
    return Microstructure(
        ndi=ndi.astype(np.float32),
        odi=odi.astype(np.float32),
        fwf=water.astype(np.float32),
        fibres=np.stack([first, second]),
        second_share=share,
        grid=grid,
    )


def _crossing(white: Array, first: Array, fields: list[Array]) -> tuple[Array, Array]:
    """Share and direction of the second population, from five random fields."""
    where, bend, *towards = fields
    inside = white > 0.5
    share = np.zeros(white.shape, dtype=np.float32)
    if inside.any():
        excess = where - np.quantile(where[inside], 1 - CROSSING_PART)
        low, high = SECOND_SHARE
        share = np.where(inside & (excess > 0), low + (high - low) * np.tanh(excess), 0)
    across = np.stack(towards)
    across -= (across * first).sum(0) * first
    across /= np.maximum(np.linalg.norm(across, axis=0), 1e-6)
    middle, half_range = CROSSING_DEG
    angle = np.deg2rad(middle + half_range * np.tanh(bend))
    second = np.cos(angle) * first + np.sin(angle) * across
    return share.astype(np.float32), second.astype(np.float32)


def placed(truth: Microstructure, person: Anatomy) -> Microstructure:
    """Take a person's microstructure along into a scanner.

    Parameters
    ----------
    truth : Microstructure
        On the grid that the person was made on.
    person : Anatomy
        The person as `cohort.place` put them: its grid leads to the space of `truth`.

    Returns
    -------
    Microstructure
        On the grid of `person`, fibres along its axes.
    """
    old, new = truth.grid, person.grid
    to_voxel = np.linalg.inv(old.affine) @ new.affine

    def move(data: Array) -> Array:
        return affine_transform(
            data, to_voxel[:3, :3], to_voxel[:3, 3], new.shape, np.float32, order=1, mode="nearest"
        )

    # Axes of the old grid to world to axes of the new one.
    turn = (_axes(new).T @ _axes(old)).astype(np.float32)
    fibres = np.stack([[move(part) for part in fibre] for fibre in truth.fibres])
    fibres = np.einsum("ij,pjxyz->pixyz", turn, fibres)
    fibres /= np.maximum(np.linalg.norm(fibres, axis=1, keepdims=True), 1e-6)
    return Microstructure(
        ndi=move(truth.ndi),
        odi=move(truth.odi),
        fwf=person.fractions[2],
        fibres=fibres.astype(np.float32),
        second_share=move(truth.second_share),
        grid=new,
        t2_ratio=truth.t2_ratio,
    )


def _axes(grid: ReferenceGrid) -> Array:
    """Unit vectors of a grid's axes in its world, one a column."""
    return grid.affine[:3, :3] / np.linalg.norm(grid.affine[:3, :3], axis=0)
