import numpy as np
import pytest

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import fibre_directions, make_anatomy
from bids_harmony.phantom.pathology import T1_TIMES, T2_TIMES, with_lesions
from bids_harmony.phantom.random_scanner import random_scanner
from bids_harmony.phantom.scanner import acquire


@pytest.fixture(scope="module")
def person():
    return make_anatomy(reference_grid(4.0), 3)


def test_lesions_lengthen_relaxation_in_white_matter_only_a_little_of_it(person):
    sick = with_lesions(person, 5)
    changed = sick.t1_factor > 1.05 * person.t1_factor
    assert 0 < changed.sum() < 0.1 * person.mask.sum()
    assert np.average(person.fractions[1][changed]) > 0.4
    assert (sick.t1_factor >= person.t1_factor).all()
    assert (sick.t2_factor >= person.t2_factor).all()
    assert np.array_equal(sick.fractions, person.fractions)
    # Lesions may overlap, once or twice.
    assert (sick.t1_factor / person.t1_factor).max() < T1_TIMES[1] ** 2
    assert (sick.t2_factor / person.t2_factor).max() < T2_TIMES[1] ** 2


def test_the_same_seed_gives_the_same_lesions_and_the_person_stays(person):
    before = person.t1_factor.copy()
    first, again, other = (with_lesions(person, seed) for seed in (5, 5, 6))
    assert np.array_equal(first.t1_factor, again.t1_factor)
    assert not np.array_equal(first.t1_factor, other.t1_factor)
    assert np.array_equal(person.t1_factor, before)


def test_a_lesion_is_bright_in_t2w_and_dark_in_t1w(person):
    sick = with_lesions(person, 5)
    scanner = next(
        s for s in map(random_scanner, range(50)) if s.sequences["T1w"].kind == "mprage"
    )
    lesion = (sick.t2_factor > 1.3 * person.t2_factor) & (person.fractions[1] > 0.8)
    for modality, sign in (("T1w", -1), ("T2w", 1)):
        healthy, seen = (
            acquire(p, scanner, modality, scan_seed=1, noise=False) for p in (person, sick)
        )
        assert (sign * (seen - healthy)[lesion]).mean() > 0


def test_fibres_are_smooth_unit_vectors(person):
    fibres = fibre_directions(person)
    assert np.allclose(np.linalg.norm(fibres, axis=0), 1, atol=1e-5)
    cosine = (fibres[:, 1:] * fibres[:, :-1]).sum(0)
    assert np.median(cosine) > 0.9


def test_diffusion_weighting_darkens_csf_most_and_sees_the_direction(person):
    scanner = random_scanner(4)
    first, other, plain = (
        acquire(person, scanner, modality, scan_seed=seed, noise=False, scan_field=False)
        for modality, seed in (("dwi", 1), ("dwi", 2), ("b0", 1))
    )
    pure = person.fractions > 0.95
    left = [float(np.median(first[p] / plain[p])) for p in pure]
    assert left[2] < 0.2 < left[0] < 0.7
    relative = np.abs(first - other) / np.maximum(first, 1e-3)
    assert np.median(relative[pure[1]]) > 10 * np.median(relative[pure[0]])


def test_thick_slices_blur_across_themselves_only(person):
    from dataclasses import replace

    scanner = replace(random_scanner(4), thick_mm=0.0)
    sharp, thick = (
        acquire(person, s, "T2w", scan_seed=1, noise=False)
        for s in (scanner, replace(scanner, thick_mm=8.0, thick_axis=2))
    )
    inside = person.mask & np.roll(person.mask, 1, 2) & np.roll(person.mask, 1, 0)

    def roughness(data, axis):
        return np.abs(np.diff(data, axis=axis, prepend=0))[inside].mean()

    assert roughness(thick, 2) < 0.75 * roughness(sharp, 2)
    assert roughness(thick, 0) > 0.8 * roughness(sharp, 0)
