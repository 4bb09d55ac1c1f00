"""The server from which worker processes are forked, started early, and when there is none."""

from __future__ import annotations

import os
from collections.abc import Sequence
from multiprocessing import forkserver, get_context
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bids_harmony.bids.scan import Scan

__all__ = ["START_METHOD", "is_alone", "start_server"]

# CUDA cannot be initialized again after a fork of a process that used it.
START_METHOD = "forkserver"

_started = False


def start_server() -> None:
    """Start the server, which imports what workers need while this process finds its models.

    Workers then begin with everything in memory, and share it. Where it runs, nothing happens.
    """
    global _started
    _started = True
    os.environ["NIPYPE_NO_ET"] = "1"  # no telemetry; Nipype reads it when it is imported
    context = get_context(START_METHOD)
    context.set_forkserver_preload(["__main__", "bids_harmony.workflows.preloaded"])
    forkserver.ensure_running()


def is_alone(scans: Sequence[Scan]) -> bool:
    """Whether this process does as well without workers.

    The steps of one image wait for each other. Imports of a server and of this process would take
    a fifth more of the processor's time, and half as much memory again. Fits of a series can run
    side by side, and where a server runs its imports are made.
    """
    return len(scans) == 1 and not scans[0].gradients and not _started
