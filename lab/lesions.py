"""Does harmonization keep a lesion that no training scan had?

A lesion is a ball with a soft edge, in white matter. Its contrast is
``(mean of the lesion - mean of the ring) / mean of the ring``, the ring being white matter round
it: a receive field cancels to first order. Research software, not for diagnosis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bids_harmony.exceptions import DataError

__all__ = [
    "Lesion",
    "LesionContrast",
    "contrast_kept",
    "insert_lesion",
    "lesion_contrast",
    "place_lesion",
]

_EDGE_MM = 2.0  # width over which the lesion fades
_GAP_MM = 1.0  # between lesion and ring
_RING_MM = 4.0
_MAPPED_VOXELS = 100_000


@dataclass(frozen=True, eq=False)
class Lesion:
    """Where a lesion is.

    Attributes
    ----------
    profile : (X, Y, Z) float32
        1 in the lesion, 0 outside, a raised cosine between. Multiply it into relaxation times to
        put one lesion into a simulated person whom several scanners see.
    core : (X, Y, Z) bool
        Where the profile is 1: the voxels whose contrast is measured.
    ring : (X, Y, Z) bool
        White matter round the lesion, free of it.
    centre : (3,) int
        Voxel.
    """

    profile: NDArray[np.float32]
    core: NDArray[np.bool_]
    ring: NDArray[np.bool_]
    centre: tuple[int, int, int]


@dataclass(frozen=True)
class LesionContrast:
    """What became of a lesion's contrast; all are fractions.

    Attributes
    ----------
    source, output : float
        Before and after harmonization.
    mapped : float
        What the method's own intensity map, as healthy tissue shows it, makes of the lesion.
    kept : float
        ``output / mapped``: 1 if the lesion is treated as its intensities are anywhere else, 0 if
        it was erased, above 1 if it was overdone.
    change : float
        ``(output - source) / source``.
    twin : float or None
        In the target's own image of the same head with the same lesion.
    against_twin : float or None
        ``(output - twin) / twin``.
    """

    source: float
    output: float
    mapped: float
    kept: float
    change: float
    twin: float | None = None
    against_twin: float | None = None


def place_lesion(
    white_matter: NDArray[np.bool_], voxel_mm: float, *, radius_mm: float = 5.0, seed: int
) -> Lesion:
    """Find a place for a lesion deep in white matter.

    Parameters
    ----------
    white_matter : (X, Y, Z) bool
    voxel_mm : float
    radius_mm : float
        To the middle of the soft edge (2 mm wide).
    seed : int
        Draws among the voxels that are deep enough for the whole lesion; if there are none, among
        the deepest ones.

    Returns
    -------
    Lesion

    Raises
    ------
    DataError
        If there is no white matter, or none left for a ring.
    """
    from scipy.ndimage import distance_transform_edt

    white = np.asarray(white_matter, dtype=bool)
    if not white.any():
        raise DataError("No white matter to put a lesion in", expected="at least one voxel")
    depth = distance_transform_edt(np.pad(white, 1), voxel_mm)[1:-1, 1:-1, 1:-1]
    deep = min(radius_mm + _EDGE_MM / 2, float(depth.max()))
    places = np.argwhere(depth >= deep)
    rng = np.random.default_rng([seed, 0x1E])
    x, y, z = (int(i) for i in places[rng.integers(len(places))])
    index = np.indices(white.shape, dtype=np.float32) - np.reshape([x, y, z], (3, 1, 1, 1))
    distance = voxel_mm * np.sqrt(np.square(index).sum(axis=0))
    fade = np.clip((distance - radius_mm) / _EDGE_MM + 0.5, 0, 1)
    profile = (0.5 * (1 + np.cos(np.pi * fade))).astype(np.float32)
    inner = radius_mm + _EDGE_MM / 2 + _GAP_MM
    ring = white & (distance > inner) & (distance <= inner + max(_RING_MM, voxel_mm))
    if not ring.any():
        raise DataError("No white matter round the lesion to compare with", got="an empty ring")
    # The voxel at the centre is core at any voxel size.
    return Lesion(profile, (fade <= 0) | (distance == 0), ring, (x, y, z))


def insert_lesion(data: NDArray, lesion: Lesion, contrast: float) -> NDArray[np.float32]:
    """Add a lesion to a scan; noise and texture stay as they are.

    Parameters
    ----------
    data : (X, Y, Z) float
        Any unit.
    lesion : Lesion
        On the grid of the scan.
    contrast : float
        Change relative to the mean of the ring; negative is darker.

    Returns
    -------
    (X, Y, Z) float32
        Never below 0.

    Raises
    ------
    DataError
        If shapes differ.
    """
    if data.shape != lesion.profile.shape:
        raise DataError(
            "The lesion is on another grid",
            expected=str(data.shape),
            got=str(lesion.profile.shape),
        )
    level = float(data[lesion.ring].mean(dtype=np.float64))
    changed = data.astype(np.float32) + np.float32(contrast * level) * lesion.profile
    return np.where(lesion.profile > 0, np.maximum(changed, 0), data).astype(np.float32)


def lesion_contrast(
    data: NDArray, lesion_mask: NDArray[np.bool_], ring_mask: NDArray[np.bool_]
) -> float:
    """Contrast of a lesion to the white matter round it.

    Parameters
    ----------
    data : (X, Y, Z) float
    lesion_mask, ring_mask : (X, Y, Z) bool

    Returns
    -------
    float
        ``(mean of the lesion - mean of the ring) / mean of the ring``.

    Raises
    ------
    DataError
        If a mask is empty or the ring has no signal.
    """
    if not (lesion_mask.any() and ring_mask.any()):
        raise DataError("Lesion and ring must have voxels", got="an empty mask")
    ring = float(data[ring_mask].mean(dtype=np.float64))
    if not ring > 0:
        raise DataError("The ring round the lesion has no signal", got=f"{ring:g}")
    return float(data[lesion_mask].mean(dtype=np.float64)) / ring - 1


def contrast_kept(
    source: NDArray,
    output: NDArray,
    lesion: Lesion,
    mask: NDArray[np.bool_],
    twin: NDArray | None = None,
) -> LesionContrast:
    """Compare a lesion's contrast before and after harmonization, and with what it should be.

    A change of contrast is no error by itself: another site has other contrasts. So the monotone
    map from source to output intensities that fits healthy tissue best (isotonic regression,
    Barlow et al. 1972) is applied to the lesioned source, and the lesion's contrast in it is what
    a method gives that treats the lesion as it treats these intensities elsewhere.

    Parameters
    ----------
    source : (X, Y, Z) float
        With the lesion.
    output : (X, Y, Z) float
        The same harmonized; any unit.
    lesion : Lesion
    mask : (X, Y, Z) bool
        The brain.
    twin : (X, Y, Z) float, optional
        The target's image of the same head with the same lesion; any unit.

    Returns
    -------
    LesionContrast

    Raises
    ------
    DataError
        If there is no lesion in the source to keep, or the map erases it by itself.
    """
    from sklearn.isotonic import IsotonicRegression

    healthy = np.flatnonzero(mask & (lesion.profile == 0))
    healthy = healthy[:: max(1, healthy.size // _MAPPED_VOXELS)]
    intensity_map = IsotonicRegression(increasing=True, out_of_bounds="clip")
    intensity_map.fit(source.ravel()[healthy], output.ravel()[healthy])
    near = lesion.core | lesion.ring
    mapped = np.zeros(source.shape)
    mapped[near] = intensity_map.predict(source[near])
    before, after, expected = (
        lesion_contrast(image, lesion.core, lesion.ring) for image in (source, output, mapped)
    )
    if before == 0 or expected == 0:
        raise DataError(
            "There is no lesion whose contrast could be kept",
            expected="another mean in the lesion than in the ring",
            got=f"contrast {before:g} in the source, {expected:g} after the intensity map",
        )
    goal = None if twin is None else lesion_contrast(twin, lesion.core, lesion.ring)
    return LesionContrast(
        source=before,
        output=after,
        mapped=expected,
        kept=after / expected,
        change=(after - before) / before,
        twin=goal,
        against_twin=(after - goal) / goal if goal else None,
    )
