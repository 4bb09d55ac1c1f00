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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep tests together that share what is slow to make; for runs with several workers."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        folder = item.path.parent
        apart = folder.name == "e2e" and not {"harmonized", "trained"} & set(item.fixturenames)
        item.add_marker(pytest.mark.xdist_group(str(item.path if apart else folder)))


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded random numbers."""
    return np.random.default_rng(20)
