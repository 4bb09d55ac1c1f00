"""What every worker needs, loaded once in the server from which workers are forked.

Importing this module is its work: without it each worker would spend seconds on the same imports
and on the same template, and hold them in its own memory.
"""

from __future__ import annotations

import logging

__all__: list[str] = []


def _load() -> None:
    from bids_harmony.resources import give_back_memory, keep_freed_memory
    from bids_harmony.workflows.loading import load_all

    keep_freed_memory()
    load_all()
    import torch

    # A step has one thread; those that were given more take them (`interfaces.model_input`).
    torch.set_num_threads(1)
    give_back_memory()


try:
    _load()
except Exception:
    # The server must live. Whoever needs what is missing says so.
    logging.getLogger(__name__).debug("Nothing was loaded ahead", exc_info=True)
