"""Faults at the places of a run: strike, look, run again, compare with an undisturbed run.

Faults come in a chain: every run is struck at the next place and goes on from what the one before
left, and at the end of the chain an undisturbed run must give the bytes of a run that was never
struck. So a campaign over a hundred places costs a hundred short runs, not a hundred whole ones,
and a job that dies at every turn is what it tests.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.injection import Fault, Folders
from tests.faults.remains import comparable, differences, not_whole, temporaries
from tests.faults.world import World

__all__ = ["Outcome", "chain", "places"]

#: Exit codes that a fault ends with; 0 where the run can do without what failed (a page, the
#: log's file) and says so.
CODES = {"kill": {-9}, "term": {143}, "memory": {75, 0}, "full": {75, 0}, "io": {74, 0}}
CAUSES = {
    "kill": "", "term": "SIGTERM", "memory": "emory", "full": r"[Nn]o space|disk is full",
    "io": "Input/output error|Reading or writing failed",
}  # fmt: skip


@dataclass
class Outcome:
    """What became of a run that was struck.

    Attributes
    ----------
    level, kind, place : str
    code : int
        Exit code; negative of a signal.
    wrong : list of str
        What should not have been; empty is good.
    left : int
        Temporary files that it left behind.
    """

    level: str
    kind: str
    place: str
    code: int
    wrong: list[str] = field(default_factory=list)
    left: int = 0


def places(world: World, level: str, folders: Folders) -> tuple[list[str], dict[str, str]]:
    """Run a level undisturbed; gives its places in their order, and what it wrote."""
    world.start(level, folders)
    code, told, journal = world.run(level, folders)
    assert code == 0, told
    # Folders are opened only to see whether they can be written.
    found = [p for p in dict.fromkeys(journal) if p not in ("write out", "write work")]
    return found, comparable(folders.out)


def chain(
    world: World,
    level: str,
    at: Sequence[tuple[str, str]],
    folders: Folders,
    reference: dict[str, str],
) -> Iterator[Outcome]:
    """Strike run after run, each at the next place, then run undisturbed and compare.

    A place that a run no longer comes by, because what it stands for is done, is passed over.

    Parameters
    ----------
    world : World
    level : str
    at : sequence of (kind, place)
        Of places of the same kind the first that is met is struck; a kind's turn comes when
        those before it are done.
    folders : Folders
    reference : dict
        What an undisturbed run wrote; see `places`.

    Yields
    ------
    Outcome
        One for each place that was met, and one of the last run, whose place is ``end``.
    """
    world.start(level, folders)
    left = list(at)
    while left:
        kind = left[0][0]
        same = tuple(place for other, place in left if other == kind)
        before = {*temporaries(folders.out), *_told(folders.out)}
        code, told, journal = world.run(level, folders, Fault(kind, same))
        if folders.disk:
            (folders.disk / "filler").unlink(missing_ok=True)
        if "struck" not in journal:
            break
        place = journal[journal.index("struck") - 1]
        left.remove((kind, place))
        outcome = Outcome(level, kind, place, code)
        outcome.left = len({*temporaries(folders.out)} - before)
        outcome.wrong = list(_faults_of(kind, code, told, folders.out, before, reference))
        if code == 0:  # it did without what failed, and nothing is left to do: begin anew
            world.run(level, folders)
            outcome.wrong += differences(reference, comparable(folders.out))
            world.start(level, folders)
        yield outcome
    code, told, _ = world.run(level, folders)
    last = Outcome(level, at[-1][0], "end", code, not_whole(folders.out))
    if code != 0:
        last.wrong.append(f"ends with {code}: {told[-500:]}")
    last.wrong += differences(reference, comparable(folders.out))
    yield last


def _faults_of(
    kind: str, code: int, told: str, out: Path, before: Set[str], reference: dict[str, str]
) -> Iterator[str]:
    if code not in CODES[kind]:
        yield f"exit code {code} instead of {sorted(CODES[kind])}: {told[-700:]}"
    # A fault that did no harm need not be told: half a page of a full disk was left, and enough.
    if not re.search(CAUSES[kind], told) and (
        code != 0 or differences(reference, comparable(out))
    ):
        yield f"the message does not name the cause: {told[-700:]}"
    if "Traceback" in told:
        yield f"a traceback: {told[-1500:]}"
    yield from not_whole(out)
    if kind != "kill" and (left := {*temporaries(out)} - before):
        yield f"left behind: {', '.join(sorted(left))}"
    # A run that was just about to begin says nothing.
    records = [json.loads((out / name).read_text()) for name in {*_told(out)} - before]
    if kind == "term" and any((r["state"], r["exit_code"]) != ("failed", code) for r in records):
        yield "status.json does not say how the run ended"


def _told(out: Path) -> list[str]:
    """Names of what runs told of their ends."""
    return [str(path.relative_to(out)) for path in out.glob("logs/*/status.json")]
