"""A world for struck runs, and a small disk where that is allowed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

from tests.faults.injection import Folders
from tests.faults.warm import Warm
from tests.faults.world import World, small_disk


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Iterator[World]:
    warm = Warm()
    yield World.make(tmp_path_factory.mktemp("world"), warm)
    warm.close()


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> Iterator[Folders]:
    """Of the struck runs, on a disk that can be filled if this machine lets us make one."""
    disk = tmp_path_factory.mktemp("struck") / "disk"
    mounted = small_disk(disk)
    yield Folders(disk / "out", disk / "work", disk if mounted else None)
    if mounted:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
