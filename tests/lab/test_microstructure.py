"""The truth of diffusion: values as in adults, smooth, and a person's own wherever they lie."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import fibre_directions, make_anatomy
from bids_harmony.phantom.cohort import place
from lab.microstructure import concentration, make_microstructure, placed

GRID = reference_grid(4.0)


@pytest.fixture(scope="module")
def person():
    return make_anatomy(GRID, 6)


@pytest.fixture(scope="module")
def truth(person):
    return make_microstructure(person)


def test_values_are_those_of_adults(person, truth):
    for tissue, ndi, odi in ((0, (0.3, 0.45), (0.5, 0.7)), (1, (0.5, 0.7), (0.1, 0.3))):
        pure = (person.fractions[tissue] > 0.97) & (person.fractions[1 - tissue] < 0.005)
        assert pure.sum() > 100
        for values, (low, high) in ((truth.ndi[pure], ndi), (truth.odi[pure], odi)):
            assert low <= values.min() and values.max() <= high
            assert np.ptp(values) > 0.3 * (high - low)
    assert np.array_equal(truth.fwf, person.fractions[2])


def test_a_voxel_of_both_tissues_has_the_mean_by_volume(person, truth):
    grey, white, _ = person.fractions
    mixed = (np.abs(grey - white) < 0.1) & (grey > 0.4)
    assert 0.42 < truth.ndi[mixed].mean() < 0.56
    assert 0.32 < truth.odi[mixed].mean() < 0.48


def test_white_matter_loses_density_with_the_known_slope_and_nothing_else_changes(person, truth):
    old = make_microstructure(person, age=75, ndi_per_year=-0.002)
    _, white, water = person.fractions
    change = (old.ndi - truth.ndi)[person.mask & (water < 0.99)]
    part = (white / np.maximum(1 - water, 1e-6))[person.mask & (water < 0.99)]
    assert np.allclose(change, -0.06 * part, atol=1e-5)
    for name in ("odi", "fwf", "fibres", "second_share"):
        assert np.array_equal(getattr(old, name), getattr(truth, name))


def test_fibres_cross_in_a_third_of_the_white_matter_at_wide_angles(person, truth):
    white = person.fractions[1] > 0.5
    crossing = truth.second_share > 0
    assert not crossing[~white].any()
    assert abs(crossing[white].mean() - 1 / 3) < 0.01
    assert 0.25 <= truth.second_share[crossing].min() and truth.second_share.max() <= 0.45
    cosine = (truth.fibres[0] * truth.fibres[1]).sum(0)[person.mask]
    assert np.allclose(np.linalg.norm(truth.fibres, axis=1), 1, atol=1e-4)
    assert np.degrees(np.arccos(np.abs(cosine))).min() > 59
    assert np.array_equal(truth.fibres[0], fibre_directions(person))


def test_people_differ_and_the_same_person_does_not(person, truth):
    again, other = make_microstructure(person), make_microstructure(make_anatomy(GRID, 7))
    for name in ("ndi", "odi", "fibres", "second_share"):
        assert np.array_equal(getattr(truth, name), getattr(again, name))
        assert not np.array_equal(getattr(truth, name), getattr(other, name))


def test_maps_are_smooth_within_a_tissue(person, truth):
    pure = (person.fractions[1] > 0.97) & (person.fractions[0] < 0.005)
    both = pure[1:] & pure[:-1]
    step = np.abs(np.diff(truth.ndi, axis=0))[both]
    assert np.median(step) < 0.25 * truth.ndi[pure].std()


def test_concentration_follows_the_definition_of_dispersion():
    assert np.allclose(2 / np.pi * np.arctan(1 / concentration([0.1, 0.5, 0.9])), [0.1, 0.5, 0.9])


def test_fibres_turn_with_the_head(person, truth):
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_euler("z", 90, degrees=True).as_matrix()
    # The centre of the grid stays where it is.
    centre = GRID.affine[:3, 3] + (np.array(GRID.shape) - 1) / 2 * GRID.voxel_mm
    pose[:3, 3] = centre - pose[:3, :3] @ centre
    moved, affine = place(person, (4.0, 4.0, 4.0), pose)
    found = placed(truth, moved)
    assert np.array_equal(found.fwf, moved.fractions[2])
    deep = np.argwhere((moved.fractions[1] > 0.9) & (found.second_share > 0))[::7]
    assert len(deep) > 20
    cosines, changes = [], []
    for voxel in deep:
        world = affine[:3, :3] @ voxel + affine[:3, 3]
        before = np.linalg.inv(pose) @ [*world, 1]
        old = np.rint(np.linalg.inv(GRID.affine) @ before).astype(int)[:3]
        # A quarter turn about z takes x to y and y to minus x.
        for k in range(2):
            x, y, z = truth.fibres[k][(slice(None), *old)]
            cosines.append([-y, x, z] @ found.fibres[k][(slice(None), *voxel)])
        changes.append(abs(truth.ndi[tuple(old)] - found.ndi[tuple(voxel)]))
    # Voxels of the two grids may be half a voxel apart.
    assert np.quantile(cosines, 0.25) > 0.9
    assert np.median(changes) < 0.03
