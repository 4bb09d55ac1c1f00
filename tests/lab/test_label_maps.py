"""Label maps become people: every label in its tissue, and a brain closed over its sulci."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.people import AS_IT_IS, draw_person
from bids_harmony.phantom.scanner import SITES, acquire, without_fields
from lab.label_maps import (
    LabelMap,
    align_labels,
    brain_tissues,
    labels_to_maps,
    read_label_map,
)

GRID = reference_grid(4.0)
CENTRE = np.array([0.0, -18.0, 10.0])
CLEAN = replace(without_fields(SITES["COI"]), noise=0.0, sharpness_mm=0.0)


def head(*, fluid=True) -> LabelMap:
    """Nested ellipsoids at the template's place: skull, CSF, cortex, white matter, nuclei."""
    step = 3.0
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = CENTRE - step * np.array([30, 35, 30])
    axes = [affine[k, 3] + step * np.arange(n) - CENTRE[k] for k, n in enumerate((61, 71, 61))]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    radius = np.sqrt((x / 62) ** 2 + (y / 80) ** 2 + (z / 60) ** 2)
    data = np.zeros(radius.shape, np.int32)
    for limit, left, right in ((1.3, 515, 515), (1.15, 24, 24), (1.0, 3, 42), (0.8, 2, 41)):
        if not fluid and left == 24:
            continue
        data[radius < limit] = left
        data[(radius < limit) & (x > 0)] = right
    data[(np.abs(y) < 20) & (np.hypot(x, z) < 10)] = 4
    for label, place in ((10, -30.0), (13, 30.0)):
        data[np.hypot(np.hypot(x - place, y), z) < 11] = label
    data[(np.abs(x) < 3) & (z > 42) & (radius < 1.0)] = 24 if fluid else 0  # a fissure
    return LabelMap(data, affine, "sphere")


@pytest.fixture(scope="module")
def maps():
    return labels_to_maps(head(), GRID, world=np.eye(4))


def voxel(x, y, z):
    point = np.linalg.inv(GRID.affine) @ [*np.add(CENTRE, [x, y, z]), 1.0]
    return tuple(np.rint(point[:3]).astype(int))


def test_labels_land_in_the_right_tissue(maps):
    for place, tissue in (
        ((0, -50, 0), 1),  # white matter
        ((0, 70, 0), 0),  # cortex
        ((0, 0, 0), 2),  # ventricle
        ((-30, 0, 0), 0),  # thalamus
        ((30, 0, 0), 0),  # pallidum
    ):
        assert maps.fractions[(tissue, *voxel(*place))] > 0.9, place


def test_fractions_sum_to_one_in_the_brain_and_the_skull_is_outside(maps):
    total = maps.fractions.sum(0)
    inside = total > 0
    assert np.allclose(total[inside], 1, atol=1e-5)
    assert total[voxel(0, -90, 0)] == 0  # CSF beyond the shell
    assert total[voxel(75, 0, 0)] == 0


def test_the_pallidum_relaxes_fastest_and_the_cortex_as_the_table_says(maps):
    pallidum, thalamus, cortex = voxel(30, 0, 0), voxel(-30, 0, 0), voxel(0, 70, 0)
    for factor in (maps.t1_factor, maps.t2_factor):
        assert factor[pallidum] < factor[thalamus] < factor[cortex] == 1
    assert maps.t2_factor[pallidum] == pytest.approx(14.4 / 25.8, abs=0.03)  # Gelman 1999


@pytest.mark.parametrize("fluid", [True, False])
def test_fissures_and_a_thin_shell_are_fluid_whether_or_not_the_map_says_so(fluid):
    label_map = head(fluid=fluid)
    tissue = brain_tissues(label_map)
    where = np.linalg.inv(label_map.affine) @ [*np.add(CENTRE, [0, 0, 54]), 1.0]
    assert tissue[tuple(np.rint(where[:3]).astype(int))] == 3
    litres = (tissue > 0).sum() * 27e-6
    full = 4 / 3 * np.pi * 62 * 80 * 60 / 1e6
    assert full * 0.98 < litres < full * 1.15


def test_people_of_a_label_map_are_repeatable_and_seeds_differ():
    one, again, other = (
        draw_person(labels_to_maps(head(), GRID, world=np.eye(4)), seed) for seed in (1, 1, 2)
    )
    assert np.array_equal(one.fractions, again.fractions)
    assert not np.array_equal(one.fractions, other.fractions)
    assert (one.seed, one.source) == (1, "sphere")


def test_scanners_see_the_tissues_in_order(maps):
    person = draw_person(maps, 0, AS_IT_IS)
    for modality, order in (("T1w", (2, 0, 1)), ("T2w", (1, 0, 2))):
        image = acquire(person, CLEAN, modality, scan_seed=0)
        means = [image[person.fractions[k] > 0.9].mean() for k in order]
        assert means[0] < means[1] < means[2]


def test_a_turned_head_is_found_by_registration():
    label_map = head()
    shifted = label_map.affine.copy()
    shifted[:3, 3] += [12.0, -9.0, 30.0]
    world = align_labels(replace(label_map, affine=shifted), sloppy=True)
    moved = world @ [*np.add(CENTRE, [12.0, -9.0, 30.0]), 1.0]
    assert np.linalg.norm(moved[:3] - CENTRE) < 12


def test_reading_cuts_to_the_brain_and_keeps_places(tmp_path):
    label_map = head()
    image = nib.Nifti1Image(label_map.data.astype(np.int16), label_map.affine)
    nib.save(image, tmp_path / "someone_dseg.nii.gz")
    read = read_label_map(tmp_path / "someone_dseg.nii.gz")
    assert read.name == "someone_dseg" and read.data.size < label_map.data.size
    for one in (read, label_map):
        pallidum = one.affine @ [*np.argwhere(one.data == 13).mean(0), 1.0]
        assert np.allclose(pallidum[:3], np.add(CENTRE, [30, 0, 0]), atol=1.6)


@pytest.mark.parametrize(
    ("labels", "said"), [([0, 1, 2.5], "not a label map"), ([0, 1, 6], "without cortex")]
)
def test_what_is_no_label_map_of_a_brain_is_refused(tmp_path, labels, said):
    data = np.resize(np.array(labels, np.float32), (12, 12, 12))
    nib.save(nib.Nifti1Image(data, np.diag([3, 3, 3, 1])), tmp_path / "x.nii.gz")
    with pytest.raises(ImageError, match=said):
        read_label_map(tmp_path / "x.nii.gz")


@pytest.mark.parametrize("number", ["03", "05"])
def test_real_label_maps_have_plausible_volumes(shared_data, number):
    whole = read_label_map(shared_data / "labels" / f"anat-{number}_dseg.nii.gz")
    # Every second voxel: an eighth of the time.
    label_map = LabelMap(
        whole.data[::2, ::2, ::2], whole.affine @ np.diag([2, 2, 2, 1]), whole.name
    )
    world = align_labels(label_map, sloppy=True)
    person = draw_person(labels_to_maps(label_map, GRID, world=world), 1)
    shares = person.fractions[:, person.mask].mean(axis=1)
    assert 1.5 < person.mask.sum() * 64e-6 < 2.3
    assert 0.38 < shares[0] < 0.6 and 0.25 < shares[1] < 0.45 and 0.1 < shares[2] < 0.35
