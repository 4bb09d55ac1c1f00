"""How far a run is and about how long the rest takes, for logs that nobody watches as a bar."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection

__all__ = ["LAST_STEPS", "Progress"]

logger = logging.getLogger(__name__)

#: Names of the nodes with which a scan is done.
LAST_STEPS = frozenset({"write_harmonized", "prepare"})
#: Between two messages.
_EVERY_SECONDS = 60.0


class Progress:
    """Says in the log how many scans are done, and about how long the rest takes.

    Parameters
    ----------
    names : collection of str
        Full names of all steps: graph, scan and so on, joined by dots.
    clock : callable
        Seconds that only increase.

    Notes
    -----
    The rest is reckoned from the steps that were worked on, whichever and however many at a time;
    what an earlier run left tells nothing of speed.
    """

    def __init__(
        self, names: Collection[str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._began = self._told = clock()
        self._left, self._worked = len(names), 0
        self._open = {_scan(name) for name in names if _step(name) in LAST_STEPS}
        self._scans, self._done = len(self._open), 0

    def ended(self, name: str, *, seconds: float, failed: bool) -> None:
        """Take note of a step.

        Parameters
        ----------
        name : str
        seconds : float
            0 where the step was found done.
        failed : bool
            Then its scan is at its end.
        """
        self._left -= 1
        self._worked += seconds > 0
        scan = _scan(name)
        if scan not in self._open or not (failed or _step(name) in LAST_STEPS):
            return
        self._open.remove(scan)
        self._done += not failed
        now = self._clock()
        if not self._open or not self._worked or now - self._told < _EVERY_SECONDS:
            return
        self._told = now
        rest = (now - self._began) / self._worked * self._left
        logger.info("%d of %d scans done, about %s left", self._done, self._scans, _in_words(rest))


def _scan(name: str) -> str:
    return name.split(".")[1]


def _step(name: str) -> str:
    return name.rpartition(".")[2]


def _in_words(seconds: float) -> str:
    minutes = max(round(seconds / 60), 1)
    if minutes < 120:
        return f"{minutes} minute{'s' if minutes > 1 else ''}"
    return f"{round(minutes / 60)} hours"
