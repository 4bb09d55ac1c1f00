"""The server from which worker processes are forked, started early."""

from __future__ import annotations

import os
from multiprocessing import forkserver, get_context

__all__ = ["START_METHOD", "start_server"]

# CUDA cannot be initialized again after a fork of a process that used it.
START_METHOD = "forkserver"


def start_server() -> None:
    """Start the server, which imports what workers need while this process finds its models.

    Workers then begin with everything in memory, and share it.
    """
    os.environ["NIPYPE_NO_ET"] = "1"  # no telemetry; Nipype reads it when it is imported
    context = get_context(START_METHOD)
    context.set_forkserver_preload(["__main__", "bids_harmony.workflows.preloaded"])
    forkserver.ensure_running()
