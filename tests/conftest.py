"""Fixtures that every room shares."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from traits.trait_notifiers import clear_change_event_tracers, set_change_event_tracers

#: Fixtures of more than one room.
pytest_plugins = ["tests.gradient_schemes", "tests.small_volumes", "tests.two_sites"]

#: Whole runs that share nothing with others of their folder.
ALONE = tuple(f"tests/e2e/test_{name}.py" for name in ("demo", "diffusion", "zero_shot"))
SHARED = Path(__file__).resolve().parents[2] / "shared"
SHARED_DATA = SHARED / "data"


@pytest.fixture(autouse=True, scope="session")
def _observers_find_what_they_look_for():
    """An observer of traits that lacks an attribute fails the test.

    In a run it is a traceback in the log. Here `hasattr`, which often sets it off, would swallow
    it, and Nipype stacks its own handlers of exceptions with every input spec.
    """

    def fail(owner, name, old, new, handler, exception=None):
        if isinstance(exception, AttributeError):
            raise AssertionError(f"{handler} failed on {name} of {owner}") from exception

    set_change_event_tracers(post_tracer=fail)
    yield
    clear_change_event_tracers()


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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Several workers: tests that share what is slow to make, mostly a folder, stay together."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = Path(nodeid.partition("::")[0])
            return str(file if file.as_posix() in ALONE else file.parent)

    return ByFolder(config, log)


@pytest.fixture
def rng() -> np.random.Generator:
    """Seeded random numbers."""
    return np.random.default_rng(20)
