"""One person on a coarse grid, whom several scanners of diffusion series take."""

import pytest

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import make_anatomy
from lab.microstructure import make_microstructure


@pytest.fixture(scope="module")
def person():
    return make_anatomy(reference_grid(5.0), 8, variation=0)


@pytest.fixture(scope="module")
def truth(person):
    return make_microstructure(person)
