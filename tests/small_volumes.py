"""Small phantoms whose left and right cannot be mistaken."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from nibabel import orientations

from bids_harmony.imaging.reference import reference_grid, reference_mask, reference_t1w
from bids_harmony.imaging.volume import Volume, from_image


@pytest.fixture(scope="session")
def lopsided() -> tuple[np.ndarray, np.ndarray]:
    """RAS+ array, brightest at the right, anterior, superior corner; 1x1x3 mm affine."""
    x, y, z = np.meshgrid(*[np.arange(n) for n in (12, 14, 6)], indexing="ij")
    data = 100 + 3 * x + 40 * y + 600 * z + 17 * ((x > 8) & (y > 9))
    affine = np.diag([1.0, 1.0, 3.0, 1.0])
    affine[:3, 3] = [-5.5, -7.0, -8.0]
    return data.astype(np.int16), affine


@pytest.fixture(scope="session")
def oriented(lopsided):
    """Function that stores `lopsided` in any of the 48 orientations, as an int16 image."""
    data, affine = lopsided

    def store(codes: str, tilt: np.ndarray | None = None) -> nib.Nifti1Image:
        to_codes = orientations.ornt_transform(
            orientations.axcodes2ornt("RAS"), orientations.axcodes2ornt(tuple(codes))
        )
        stored = orientations.apply_orientation(data, to_codes)
        stored_affine = affine @ orientations.inv_ornt_aff(to_codes, data.shape)
        image = nib.Nifti1Image(stored, (np.eye(4) if tilt is None else tilt) @ stored_affine)
        image.header.set_xyzt_units("mm", "sec")
        image.header["descrip"] = b"a phantom"
        return image

    return store


def rigid(degrees: tuple[float, float, float], shift: tuple[float, float, float]) -> np.ndarray:
    """Rotation about x, y, z and a translation in mm, as a world matrix."""
    world = np.eye(4)
    for axis, angle in enumerate(np.deg2rad(degrees)):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        turn = np.eye(4)
        turn[first, first] = turn[second, second] = np.cos(angle)
        turn[second, first] = np.sin(angle)
        turn[first, second] = -turn[second, first]
        world = turn @ world
    world[:3, 3] = shift
    return world


@pytest.fixture(scope="session")
def brain_at_2mm() -> tuple[Volume, np.ndarray]:
    """Skull-stripped template at 2 mm with a dark lesion on its left, and its mask."""
    grid = reference_grid(2.0)
    data, mask = 1000 * reference_t1w(grid), reference_mask(grid)
    left = [int(n) for n in np.linalg.inv(grid.affine)[:3] @ [-30.0, -10.0, 30.0, 1.0]]
    data[left[0] - 4 : left[0] + 4, left[1] - 4 : left[1] + 4, left[2] - 4 : left[2] + 4] = 100
    image = nib.Nifti1Image(np.where(mask, data, 0).astype(np.int16), grid.affine)
    return from_image(image), mask
