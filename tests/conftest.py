"""Fixtures that every room shares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"
SHARED_DATA = SHARED / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real scans beside the repository; tests that need it are skipped without it."""
    if not SHARED_DATA.is_dir():
        pytest.skip("needs the real scans in ../shared/data beside the repository: not there")
    return SHARED_DATA


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """Folder of published weights beside the repository; tests that need it are skipped."""
    if not (SHARED / "weights").is_dir():
        pytest.skip("needs the weights in ../shared/weights beside the repository: not there")
    return SHARED / "weights"


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded random numbers."""
    return np.random.default_rng(20)
