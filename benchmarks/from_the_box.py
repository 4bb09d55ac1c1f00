"""Methods that need no training of their own, applied to a scan as ``participant`` would.

All that they know of a site is a profile ("profile") of scans that are given here. The methods are
those of this build of the package, or of another: this file, run by the interpreter of that
build's environment, then answers requests, so that both see the very same scans.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np

import bids_harmony
from bids_harmony.imaging.prepared import Prepared
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.methods import load_harmonizer
from bids_harmony.methods.registry import REGISTRY
from bids_harmony.model.encoder import Encoder, load_encoder
from bids_harmony.model.presets import DEFAULT_PRESET, preset
from bids_harmony.model.shipped import SHIPPED_MODEL
from bids_harmony.sites.image_profile import build_profile
from bids_harmony.sites.profile_cache import ProfileCache

__all__ = ["BOX_METHODS", "KnownSites", "known_sites", "methods_digest", "package_root"]

Array = np.ndarray
Scans = list[tuple[str, Array, Array, float]]
Sites = Mapping[str, Sequence[tuple[str, Prepared]]]

#: The shipped model and every method that needs no more than profiles; ``none`` comes first.
BOX_METHODS = (
    "none",
    *(m for m, needs in REGISTRY.items() if m != "none" and not needs.trained),
    "ihf",
)


class KnownSites(Protocol):
    """Profiles of sites, and the methods that go by them."""

    def apply(
        self, method: str, scan: Prepared, *, modality: str, source: str, target: str
    ) -> Array:
        """Output of one method, (X, Y, Z) float32 in units of the scan's scale."""
        ...


@contextmanager
def known_sites(
    modality: str, sites: Sites, *, python: Path | None = None
) -> Iterator[KnownSites]:
    """Make profiles of sites; they are gone afterwards.

    Parameters
    ----------
    modality : str
    sites : mapping of name to sequence of (label, Prepared)
        Scans behind each profile, all on one reference grid. Labels begin with the person, up to
        the first ``_``.
    python : Path, optional
        Interpreter of another build's environment.
    """
    with tempfile.TemporaryDirectory() as folder:
        voxel_mm = next(iter(sites.values()))[0][1].grid.voxel_mm
        known = (
            _Here(Path(folder), voxel_mm)
            if python is None
            else _Elsewhere(python, Path(folder), voxel_mm)
        )
        for site, scans in sites.items():
            known.learn(site, modality, [(label, p.data, p.mask, p.scale) for label, p in scans])
        yield known


def package_root(python: Path | None = None) -> Path:
    """Where the package of a build lies."""
    if python is None:
        return Path(bids_harmony.__file__).resolve().parent.parent
    return Path(_ask(python, "package_root"))


def methods_digest(python: Path | None = None) -> str:
    """Changes with the code and weights of a build's methods: results of others are stale."""
    package = package_root(python) / "bids_harmony"
    parts = ("io", "methods", "sites", "model", "data/model", "imaging")
    digest = hashlib.sha256()
    for part in (package / name for name in parts):
        files = [part] if part.is_file() else sorted(f for f in part.rglob("*") if f.is_file())
        for file in (f for f in files if "__pycache__" not in f.parts):
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


class _Here:
    """Profiles in a folder, for the methods of this process."""

    def __init__(self, folder: Path, voxel_mm: float) -> None:
        self.cache = ProfileCache(folder, voxel_mm)

    def learn(self, site: str, modality: str, scans: Scans) -> None:
        cells, voxel_mm = preset(DEFAULT_PRESET).aan.grid, self.cache.voxel_mm
        options: dict[str, Any] = {"cells": cells, "voxel_mm": voxel_mm}
        # Older builds take every scan for another person's.
        if "people" in inspect.signature(build_profile).parameters:
            options["people"] = [label.split("_")[0] for label, *_ in scans]
        profile = build_profile(site, modality, scans, _encoder(), **options)
        self.cache.write(profile, {})

    def apply(
        self, method: str, scan: Prepared, *, modality: str, source: str, target: str
    ) -> Array:
        harmonizer = load_harmonizer(method, SHIPPED_MODEL, self.cache)
        return harmonizer.apply(
            scan, modality=modality, source_site=source, target_site=target
        ).data


class _Elsewhere:
    """The same in a process of another build."""

    def __init__(self, python: Path, folder: Path, voxel_mm: float) -> None:
        self.python, self.place = python, (str(folder), voxel_mm)

    def learn(self, site: str, modality: str, scans: Scans) -> None:
        _ask(self.python, "learn", self.place, site, modality, scans)

    def apply(
        self, method: str, scan: Prepared, *, modality: str, source: str, target: str
    ) -> Array:
        made = (scan.data, scan.mask, scan.scale, scan.world)
        return _ask(self.python, "apply", self.place, method, made, modality, source, target)


@cache
def _encoder() -> Encoder:
    return load_encoder("mri")


@cache
def _process(python: Path) -> tuple[BinaryIO, BinaryIO]:
    # A path of this process would put this build in the other's place.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(
        [python, Path(__file__).resolve()], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env=environment,
    )  # fmt: skip
    assert process.stdin is not None and process.stdout is not None
    return process.stdin, process.stdout


def _ask(python: Path, *request: Any) -> Any:
    to, answers = _process(python)
    pickle.dump(request, to)
    to.flush()
    return pickle.load(answers)


def _answer(request: tuple[Any, ...]) -> Any:
    what, *rest = request
    if what == "package_root":
        return str(package_root())
    (folder, voxel_mm), *rest = rest
    known = _Here(Path(folder), voxel_mm)
    if what == "learn":
        return known.learn(*rest)
    method, (data, mask, scale, world), modality, source, target = rest
    scan = Prepared(data, mask, scale, world, reference_grid(voxel_mm))
    return known.apply(method, scan, modality=modality, source=source, target=target)


def _serve() -> None:
    """Answer requests on standard output until there are no more."""
    import torch

    torch.set_num_threads(1)
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    while True:
        try:
            request = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(_answer(request), answers)
        answers.flush()


if __name__ == "__main__":
    _serve()
