"""Fixtures for twins; modules that need others have their own under these names."""

from __future__ import annotations

import pytest

from bids_harmony.training.twin_pool import make_pool
from tests.training.small_twins import PLAN, random_encoder


@pytest.fixture(scope="module")
def encoder():
    return random_encoder()


@pytest.fixture(scope="module")
def pool(encoder):
    return make_pool(PLAN, encoder, cells=2)
