"""Scanners that differ as real ones do: more than those of `DIFFUSION_SITES`, in every cause."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.diffusion.gradients import Gradients
from bids_harmony.diffusion.tensor import fit_tensor
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import make_anatomy
from lab.diffusion import acquire_series
from lab.diffusion_scanner import DIFFUSION_SITES, gradient_scheme
from lab.microstructure import make_microstructure
from lab.real_sized_sites import NEURITE_T2_RATIO, REAL_SIZED_SITES

#: Causes that are switched in each scanner's own way.
OWN = (
    "echo_ms", "noise", "b_scale", "nonlinearity", "distortion_mm", "drift", "blur_mm", "taper",
    "noise_growth", "b0_excess",
)  # fmt: skip


def test_scanners_differ_in_every_cause_and_have_two_shells():
    scanners = list(REAL_SIZED_SITES.values())
    assert 6 <= len(scanners) <= 7 and list(REAL_SIZED_SITES) == [s.site for s in scanners]
    assert not set(REAL_SIZED_SITES) & set(DIFFUSION_SITES)
    for name in OWN:
        assert len({getattr(s, name) for s in scanners}) > 3, name
    for name in ("channels", "partial_fourier", "acquired_mm", "denoised", "voxel_mm", "shells"):
        assert len({getattr(s, name) for s in scanners}) > 1, name
    assert all(len(s.shells) == 2 for s in scanners)
    assert len({s.bias_seed for s in scanners}) == len(scanners)
    # Files of a cohort are named by them.
    assert all(name.isalnum() for name in REAL_SIZED_SITES)


@pytest.fixture(scope="module")
def spread():
    """CoV of FA and MD over sites, median over parts of the white matter."""
    person = make_anatomy(reference_grid(5.0), 8)
    truth = make_microstructure(person)
    white = np.flatnonzero(person.fractions[1] > 0.9)
    parts = np.array_split(white, 8)

    def found(sites, ratio):
        means = []
        for site in sites:
            # So few directions do not predict one another.
            few = {"shells": ((1000.0, 20),), "b0_every": 10, "denoised": False}
            scanner = replace(site, **few)
            scheme = gradient_scheme(scanner)
            own = replace(truth, t2_ratio=ratio)
            series = acquire_series(person, own, scanner, scheme, 1)
            maps = fit_tensor(series, person.mask, Gradients(scheme.b_values, scheme.directions))
            means.append([[m.ravel()[p].mean() for p in parts] for m in (maps.fa, maps.md)])
        over = np.array(means)
        return np.median(over.std(0, ddof=1) / over.mean(0), axis=1)

    return found(DIFFUSION_SITES.values(), 1.0), found(REAL_SIZED_SITES.values(), NEURITE_T2_RATIO)


def test_they_differ_by_more_than_the_known_sites(spread):
    known, real_sized = spread
    assert (real_sized > 1.2 * known).all()
    # What real scanners show lies between these.
    assert (real_sized > 0.02).all() and (real_sized < 0.1).all()
