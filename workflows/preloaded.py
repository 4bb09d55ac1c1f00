"""What every worker needs, imported once in the server from which workers are forked.

Importing this module is its work: without it each worker would spend seconds on the same imports
and on the same template, and hold them in its own memory.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
from importlib import import_module

__all__: list[str] = []

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


def _load() -> None:
    # deepbet looks for graphics cards when it is imported. That starts CUDA's driver, which does
    # not survive the fork of workers; asked this way, torch counts cards without it.
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
    from bids_harmony.imaging.linear import deterministic_ants
    from bids_harmony.resources import give_back_memory, keep_freed_memory

    keep_freed_memory()

    # ITK reads its number of threads once; the seed is set again for each registration.
    deterministic_ants()
    with contextlib.redirect_stdout(io.StringIO()):
        import deepbet  # noqa: F401

    for name in _MODULES:
        import_module(name)
    import torch

    # A step has one thread; those that were given more take them (`interfaces.model_input`).
    torch.set_num_threads(1)
    from bids_harmony.imaging.reference import reference_grid, reference_tissues

    # Two seconds a process: the grid of the shipped model.
    reference_tissues(reference_grid())
    give_back_memory()


try:
    _load()
except Exception:
    # The server must live. Whoever needs what is missing says so.
    logging.getLogger(__name__).debug("Nothing was loaded ahead", exc_info=True)
