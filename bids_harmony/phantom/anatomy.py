"""Individual brain anatomies drawn from the ICBM152 tissue maps that nilearn ships.

Every seed gives another person: smooth deformations move the tissue maps, a random field in logit
space gives each person folds of their own, and relaxation times vary between people and in space.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from bids_harmony.imaging.grid import ReferenceGrid
from bids_harmony.imaging.reference import reference_tissues

__all__ = [
    "TISSUES",
    "Anatomy",
    "Tissue",
    "deep_grey",
    "displaced_points",
    "fibre_directions",
    "individual_fractions",
    "make_anatomy",
    "relaxation_factor",
    "smooth_noise",
]

Array = np.ndarray


@dataclass(frozen=True)
class Tissue:
    """Relaxation of one tissue at 3 T: T1 and T2 in ms, proton density relative to CSF.

    `diffusivity` is along and across its fibres, in um2/ms.
    """

    name: str
    t1_ms: float
    t2_ms: float
    density: float
    diffusivity: tuple[float, float]


#: Wansapura et al. 1999 (J Magn Reson Imaging 9:531) for grey and white matter at 3 T; CSF
#: rounded. Diffusivities after Pierpaoli et al. 1996 (Radiology 201:637), rounded.
TISSUES = (
    Tissue("GM", 1331.0, 110.0, 0.82, (0.8, 0.8)),
    Tissue("WM", 832.0, 79.6, 0.70, (1.6, 0.35)),
    Tissue("CSF", 4000.0, 1500.0, 1.00, (3.0, 3.0)),
)


@dataclass(frozen=True)
class Anatomy:
    """What a scanner sees of one person, on a reference-space grid.

    Attributes
    ----------
    fractions : (3, X, Y, Z) float32
        Volume fractions of grey matter, white matter and CSF; they sum to 1 in the brain and 0
        outside it.
    t1_factor, t2_factor, density_factor : (X, Y, Z) float32
        Multiply the tissue's own relaxation times and proton density.
    mask : (X, Y, Z) bool
        The brain.
    grid : ReferenceGrid
        Affine and spacing of all arrays.
    seed : int
        The person.
    source : str
        Map or scan that the person was made of; people of one source look alike. Empty: the
        template.
    """

    fractions: Array
    t1_factor: Array
    t2_factor: Array
    density_factor: Array
    mask: Array
    grid: ReferenceGrid
    seed: int
    source: str = ""


def smooth_noise(rng: np.random.Generator, shape: tuple[int, ...], sigma: float) -> Array:
    """Draw a Gaussian random field of zero mean and unit variance.

    Parameters
    ----------
    rng : numpy.random.Generator
    shape : tuple of int
    sigma : float
        Standard deviation of the kernel that smooths white noise, in voxels.

    Returns
    -------
    ndarray of `shape`, float32
    """
    # The field is drawn on a coarser lattice: same statistics, a fraction of the time.
    step = max(1, int(sigma / 2))
    coarse = [int(np.ceil(n / step)) + 4 for n in shape]
    field = gaussian_filter(
        rng.standard_normal(coarse, dtype=np.float32), sigma / step, mode="wrap"
    )
    if step > 1:
        axes = [np.arange(n, dtype=np.float32) / step + 1.5 for n in shape]
        points = np.meshgrid(*axes, indexing="ij")
        field = map_coordinates(field, points, order=1, output=np.float32)
    else:
        field = field[tuple(slice(0, n) for n in shape)]
    return (field - field.mean()) / (field.std() + 1e-9)


def displaced_points(
    rng: np.random.Generator, grid: ReferenceGrid, affine: Array, deformation_mm: float
) -> Array:
    """Draw where each voxel of a person lies in the maps that the person is made of.

    Parameters
    ----------
    rng : numpy.random.Generator
    grid : ReferenceGrid
    affine : (3, 3) float
        Linear part, about the centre of the grid.
    deformation_mm : float
        Standard deviation of the coarse displacement (correlation length 22 mm); a fine one
        (7 mm) has a quarter of it.

    Returns
    -------
    (3, X, Y, Z) float32
        Voxel coordinates, as `scipy.ndimage.map_coordinates` takes them.
    """
    shape, step = grid.shape, grid.voxel_mm
    points = np.stack(np.meshgrid(*[np.arange(n, dtype=np.float32) for n in shape], indexing="ij"))
    centre = (np.array(shape, dtype=np.float32) - 1)[:, None, None, None] / 2
    points = centre + np.tensordot(affine.astype(np.float32), points - centre, axes=1)
    for sigma_mm, amplitude_mm in ((22.0, deformation_mm), (7.0, deformation_mm / 4)):
        for axis in range(3):
            points[axis] += amplitude_mm / step * smooth_noise(rng, shape, sigma_mm / step)
    return points


def individual_fractions(
    rng: np.random.Generator,
    maps: Array,
    grid: ReferenceGrid,
    *,
    sharpening: float,
    folding: float,
    atrophy: float,
) -> tuple[Array, Array]:
    """Give a person folds and a share of CSF of their own, by random fields in log-odds space.

    Parameters
    ----------
    rng : numpy.random.Generator
    maps : (3, X, Y, Z) float32
        Tissue maps, displaced already; their sum tells brain from background.
    grid : ReferenceGrid
    sharpening : float
        Multiplies the log-odds: 1 keeps the maps, more makes them crisper.
    folding : float
        Standard deviation of the field that is added to the log-odds (correlation length 3.5 mm).
    atrophy : float
        Standard deviation of the log-odds of CSF between people.

    Returns
    -------
    fractions : (3, X, Y, Z) float32
        Sum to 1 in the brain and 0 outside it.
    mask : (X, Y, Z) bool
    """
    brain = maps.sum(0)
    mask = brain > 0.5
    odds = sharpening * np.log(np.clip(maps / np.maximum(brain, 1e-6), 1e-3, 1.0))
    for tissue in range(3):
        odds[tissue] += folding * smooth_noise(rng, grid.shape, 3.5 / grid.voxel_mm)
    odds[2] += rng.normal(0.0, atrophy)
    odds -= odds.max(0)
    fractions = np.exp(odds)
    return (fractions / fractions.sum(0) * mask).astype(np.float32), mask


def relaxation_factor(rng: np.random.Generator, grid: ReferenceGrid, variation: float) -> Array:
    """Draw a positive factor that varies between people and, over 9 mm, in space.

    Parameters
    ----------
    rng : numpy.random.Generator
    grid : ReferenceGrid
    variation : float
        Standard deviation of the logarithm of either part.

    Returns
    -------
    (X, Y, Z) float
    """
    person = rng.normal(0.0, variation)
    return np.exp(person + variation * smooth_noise(rng, grid.shape, 9.0 / grid.voxel_mm))


def fibre_directions(anatomy: Anatomy) -> Array:
    """Draw the direction of a person's fibres: smooth over 15 mm, no atlas of real tracts.

    Parameters
    ----------
    anatomy : Anatomy

    Returns
    -------
    (3, X, Y, Z) float32
        Unit vectors along the axes of the grid.
    """
    rng = np.random.default_rng([anatomy.seed, 0xF1])
    grid = anatomy.grid
    field = np.stack([smooth_noise(rng, grid.shape, 15.0 / grid.voxel_mm) for _ in range(3)])
    return (field / np.maximum(np.linalg.norm(field, axis=0), 1e-6)).astype(np.float32)


def deep_grey(grid: ReferenceGrid) -> Array:
    """How deep in the brain a voxel lies: 1 at the basal ganglia, 0 at the cortex.

    Parameters
    ----------
    grid : ReferenceGrid

    Returns
    -------
    (X, Y, Z) float32
    """
    step = grid.voxel_mm
    world = [grid.affine[axis, 3] + step * np.arange(n) for axis, n in enumerate(grid.shape)]
    radius = sum(
        np.square((world[axis].reshape([-1 if a == axis else 1 for a in range(3)]) - c) / r)
        for axis, (c, r) in enumerate(((0.0, 30.0), (-8.0, 30.0), (4.0, 20.0)))
    )
    return np.exp(-0.5 * np.square(radius)).astype(np.float32)


def make_anatomy(
    grid: ReferenceGrid,
    seed: int,
    *,
    deformation_mm: float = 3.0,
    folding: float = 1.2,
    variation: float = 0.03,
) -> Anatomy:
    """Draw one person.

    Parameters
    ----------
    grid : ReferenceGrid
        Where the tissue maps are wanted (reference space, RAS+ mm).
    seed : int
        Identity of the person: the same seed gives the same bits.
    deformation_mm : float
        As in `displaced_points`.
    folding : float
        Standard deviation of the random field that is added to the tissue log-odds.
    variation : float
        Standard deviation of local relaxation and density factors; those of the whole person
        have the same.

    Returns
    -------
    Anatomy
    """
    rng = np.random.default_rng([seed, 0xA7])
    stretch = np.diag(rng.normal(1.0, 0.02, 3))
    points = displaced_points(rng, grid, stretch, deformation_mm)
    warped = np.stack(
        [
            map_coordinates(t, points, order=1, output=np.float32, prefilter=False)
            for t in reference_tissues(grid)
        ]
    )
    # The group average is blurred, a person is not.
    fractions, mask = individual_fractions(
        rng, warped, grid, sharpening=2.0, folding=folding, atrophy=0.4
    )
    # Deep grey matter holds iron: shorter T1 than the cortex (Stanisz et al. 2005).
    deep = deep_grey(grid) * fractions[0]
    t1, t2, density = (relaxation_factor(rng, grid, variation) for _ in range(3))
    return Anatomy(
        fractions=fractions,
        t1_factor=(t1 * (1 - 0.14 * deep)).astype(np.float32),
        t2_factor=(t2 * (1 - 0.18 * deep)).astype(np.float32),
        density_factor=density.astype(np.float32),
        mask=mask,
        grid=grid,
        seed=seed,
    )
