"""What steps need of libraries and of the template, loaded before they need it."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nipype.pipeline.engine import Node

__all__ = ["LoadingAhead", "load_all", "load_extractor", "load_rest"]

logger = logging.getLogger(__name__)

_MODULES = [
    "bids_harmony.methods.conditioned",
    "bids_harmony.methods.ihf",
    "bids_harmony.model.checkpoint",
    "bids_harmony.sites.training_range",
    "bids_harmony.imaging.native",
    "bids_harmony.interfaces.anatomy",
    "bids_harmony.interfaces.derivatives",
    "bids_harmony.interfaces.figures",
    "bids_harmony.interfaces.harmonization",
    "bids_harmony.interfaces.summaries",
    "bids_harmony.quality.changes",
    "bids_harmony.quality.summarize_scan",
    "bids_harmony.reports.change",
]


def load_extractor() -> None:
    """Import what finds the brain: torch and the extractor."""
    # deepbet looks for graphics cards when it is imported. That starts CUDA's driver, which does
    # not survive the fork of workers; asked this way, torch counts cards without it.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    with contextlib.redirect_stdout(io.StringIO()):
        import deepbet  # noqa: F401
    import bids_harmony.imaging.mask  # noqa: F401


def load_rest(voxel_mm: float = 1.0) -> None:
    """Import all else that a structural scan needs, and put the template on its grid.

    Parameters
    ----------
    voxel_mm : float
        Of the grid, in mm.
    """
    from bids_harmony.imaging.linear import deterministic_ants
    from bids_harmony.imaging.reference import reference_grid, reference_tissues

    # ITK reads its number of threads once; the seed is set again for each registration.
    deterministic_ants()
    for name in _MODULES:
        import_module(name)
    reference_tissues(reference_grid(voxel_mm))


def load_all() -> None:
    """Load everything, for the grid of the shipped model."""
    load_extractor()
    load_rest()


class LoadingAhead:
    """Loads in a thread what later steps need while the extractor finds the brain.

    Networks let go of the interpreter; imports and the template take as long as they do. No step
    but this first one runs beside it: two threads that import the same libraries could each see
    half of one.

    Parameters
    ----------
    voxel_mm : float
        Of the grid, in mm.
    """

    def __init__(self, voxel_mm: float) -> None:
        self._voxel_mm = voxel_mm
        self._thread: Thread | None = None
        self._begun = False

    def before(self, node: Node) -> None:
        """Begin before a first step that is the extractor's; wait before any other."""
        from bids_harmony.interfaces.anatomy import BrainFromImage

        if not self._begun and isinstance(node.interface, BrainFromImage):
            load_extractor()
            self._thread = Thread(target=self._load, daemon=True)  # a second Ctrl-C ends it
            self._thread.start()
        else:
            self.wait()
        self._begun = True

    def wait(self) -> None:
        """Wait until all is loaded; at once where nothing is on its way.

        Before a process ends as well, also by Ctrl-C: a thread that is torn out of the import of a
        library in C may take the process down, and its exit code with it.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _load(self) -> None:
        try:
            load_rest(self._voxel_mm)
        except Exception:
            # Whoever needs what is missing says so.
            logger.debug("Not everything was loaded ahead", exc_info=True)
