"""Fields of one site: their size, and what of their scatter is the scanner's."""

import numpy as np
import pytest

from bids_harmony.imaging.legendre import log_field
from bids_harmony.imaging.reference import reference_grid, reference_tissues
from bids_harmony.sites.field_scatter import field_rms, scan_field_rms, scanners_share


def fields(rng, amplitude):
    found = np.zeros((12, 20))
    found[:, 1:] = amplitude * rng.standard_normal((12, 19))
    return found


def test_a_scans_field_goes_out_as_far_as_it_varies_beyond_anatomy(rng):
    assert scanners_share(fields(rng, 0.0)) == 0
    assert 0.8 < scanners_share(fields(rng, 0.3)) < 1


def test_the_size_of_a_field_is_that_over_the_brain(rng):
    coefficients = fields(rng, 0.1)[0]
    brain = reference_tissues(reference_grid(4.0)).sum(axis=0) > 0.5
    field = log_field(coefficients, brain.shape)[brain]
    assert field_rms(coefficients) == pytest.approx(np.sqrt(np.mean(field**2)), rel=1e-5)


def test_few_scans_vary_as_those_of_most_sites(rng):
    one = fields(rng, 0.3)[:1]
    assert scan_field_rms(one) == pytest.approx(np.sqrt(0.040**2 - 0.022**2))
    assert scan_field_rms(np.repeat(one, 12, axis=0)) == 0
