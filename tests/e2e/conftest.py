"""A small simulated cohort, a model trained on it, and one run of the participant level."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.browser import NAMES, sync_api
from tests.e2e.program import SITES, TARGET, TRAINING, TRAVELLER, Finished, copy_fits, run


@pytest.fixture(scope="session")
def cohort(tmp_path_factory) -> Path:
    """``bids`` and ``twins`` of three people per site and one who travelled. Read only."""
    from bids_harmony.phantom.cohort import CohortPlan, write_cohort

    folder = tmp_path_factory.mktemp("cohort")
    plan = CohortPlan(
        sites=SITES, target=TARGET, training_per_site=3, travelling=1, voxel_scale=6.0
    )
    write_cohort(folder, plan)
    return folder


@pytest.fixture(scope="session")
def bids(cohort) -> Path:
    """The raw dataset. Read only."""
    return cohort / "bids"


@pytest.fixture(scope="session")
def training(bids, tmp_path_factory) -> Finished:
    """The level train, from nothing, on the people who were scanned at one site. Read only."""
    folder = tmp_path_factory.mktemp("trained")
    words = (
        "--participant-label", *TRAINING, "--voxel-mm", "6", "--no-start", "--twin-steps", "3",
        "--adapt-steps", "2", "--twin-people", "2", "--twin-scanners", "3",
    )  # fmt: skip
    finished = run(bids, folder / "out", *words, work=folder / "work", level="train", nprocs=2)
    assert finished.code == 0, finished.told
    return finished


@pytest.fixture(scope="session")
def trained(training) -> Path:
    """Output of the level train: masks, transforms, ``models``. Read only."""
    return training.out


@pytest.fixture(scope="session")
def model(trained) -> tuple[str, str]:
    """Words that name the trained model."""
    return "--model", str(trained / "models")


@pytest.fixture(scope="session")
def harmonized(bids, trained, model, tmp_path_factory) -> Finished:
    """The participant level for one person of each site and the traveller. Read only."""
    folder = tmp_path_factory.mktemp("harmonized")
    copy_fits(trained, folder / "out", "COI01", "SIEMENS01")
    people = ("COI01", "SIEMENS01", TRAVELLER)
    return run(
        bids, folder / "out", "--participant-label", *people, *model,
        work=folder / "work", nprocs=2,
    )  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    """A browser without a window; a test that asks for it skips where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"needs a browser: none of {', '.join(NAMES)} is installed")
    with sync_api.sync_playwright() as playwright:
        # Root, as in a container, has no sandbox; the processor draws for a graphics card.
        words = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]
        started = playwright.chromium.launch(executable_path=program, args=words)
        yield started
        started.close()
