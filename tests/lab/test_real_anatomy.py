"""Real scans become people: tissues and texture of the scan, without its noise and field."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.exceptions import ImageError
from bids_harmony.imaging.mask import BrainMask, brain_mask
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.registration import register_to_reference
from bids_harmony.imaging.volume import from_image, read_volume
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.people import AS_IT_IS, draw_person
from bids_harmony.phantom.scanner import SITES, acquire, without_fields
from lab.real_anatomy import denoised, scan_to_maps

GRID = reference_grid(4.0)
SCANNER = replace(SITES["COI"], bias_log_sd=0.15, noise=0.03, sharpness_mm=0.0)
WORLD = np.eye(4)


def spot(person):
    """A place in pure white matter."""
    inside = np.argwhere(person.fractions[1] > 0.97)
    return tuple(inside[len(inside) // 2])


@pytest.fixture(scope="module")
def person():
    plain = make_anatomy(GRID, 4, variation=0)
    t1 = plain.t1_factor.copy()
    x, y, z = spot(plain)
    t1[x - 1 : x + 2, y - 1 : y + 2, z - 1 : z + 2] *= 0.85
    return replace(plain, t1_factor=t1)


@pytest.fixture(scope="module")
def scan(person):
    data = acquire(person, SCANNER, "T1w", scan_seed=2)
    return from_image(nib.Nifti1Image(data, GRID.affine)), BrainMask(person.mask, "given")


@pytest.fixture(scope="module")
def maps(scan):
    return scan_to_maps(*scan, WORLD, GRID, name="someone")


def test_denoising_brings_the_scan_nearer_to_its_noise_free_twin(person):
    # Without a field: the twin shares the scan's.
    scanner = replace(without_fields(SCANNER), noise=0.08)
    noisy, clean = (
        acquire(person, scanner, "T1w", scan_seed=1, noise=noise) for noise in (True, False)
    )
    volume = from_image(nib.Nifti1Image(noisy, GRID.affine))
    result = denoised(volume, BrainMask(person.mask, "given")).data
    before, after = (np.abs(d - clean)[person.mask].mean() for d in (noisy, result))
    assert after < before
    assert not result[~person.mask].any()


def test_tissues_of_the_scan_are_those_of_the_person(person, maps):
    inside = person.mask
    truth, found = person.fractions.argmax(0)[inside], maps.fractions.argmax(0)[inside]
    assert np.mean(truth == found) > 0.88
    shares = [f[:, inside].mean(axis=1) for f in (person.fractions, maps.fractions)]
    assert np.abs(shares[0] - shares[1]).max() < 0.06
    assert np.allclose(maps.fractions.sum(0)[inside], 1, atol=1e-5)
    assert not maps.fractions[:, ~inside].any()
    assert maps.name == "someone"


def test_texture_becomes_a_bounded_local_factor(person, maps):
    here = spot(person)
    surround = person.fractions[1] > 0.97
    # A spot of shorter T1 is brighter in the scan, and stays one of shorter T1.
    assert maps.t1_factor[here] < np.median(maps.t1_factor[surround]) - 0.02
    assert maps.density_factor[here] > 1
    for factor in (maps.t1_factor, maps.density_factor):
        assert factor.min() >= 0.8 and factor.max() <= 1.25
        assert np.all(factor[~person.mask] == 1)


def test_the_person_of_a_scan_is_repeatable_and_scanners_see_the_scan_again(scan, maps):
    one = draw_person(scan_to_maps(*scan, WORLD, GRID), 1, AS_IT_IS)
    again = draw_person(maps, 1, AS_IT_IS)
    assert np.array_equal(one.fractions, again.fractions)
    assert np.array_equal(one.t1_factor, again.t1_factor)
    image = acquire(one, SCANNER, "T1w", scan_seed=0, noise=False, scan_field=False)
    both = one.mask & scan[1].data
    assert np.corrcoef(image[both], scan[0].data[both])[0, 1] > 0.9
    image = acquire(one, without_fields(SCANNER), "T2w", scan_seed=0, noise=False)
    grey, white, csf = (image[f > 0.9].mean() for f in one.fractions)
    assert white < grey < csf


def test_an_image_without_three_tissues_is_refused(person):
    rng = np.random.default_rng(0)
    data = np.where(person.mask, 1000.0, 0.0) + person.mask * rng.normal(0, 1e-3, GRID.shape)
    data[spot(person)] = 1.0
    volume = from_image(nib.Nifti1Image(data.astype(np.float32), GRID.affine))
    with pytest.raises(ImageError, match="three tissues"):
        scan_to_maps(volume, BrainMask(person.mask, "given"), WORLD, GRID)


def test_a_real_scan_has_plausible_volumes(shared_data):
    volume = read_volume(shared_data / "multivendor/sub-ge01/anat/sub-ge01_T1w.nii.gz")
    mask = brain_mask(volume)
    world = register_to_reference(volume, mask, modality="T1w", sloppy=True).world
    maps = scan_to_maps(volume, mask, world, GRID)
    shares = maps.fractions[:, maps.fractions.sum(0) > 0].mean(axis=1)
    assert 0.35 < shares[0] < 0.6 and 0.25 < shares[1] < 0.5 and 0.05 < shares[2] < 0.35
