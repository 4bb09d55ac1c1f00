"""The program in a process that has its imports behind it: a run costs what the run costs.

    python tests/faults/warm.py

reads one run as JSON from each line of standard input, forks for it, and answers with its exit
status on a line of standard output.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.faults.injection import Fault, Folders, inject  # noqa: E402

__all__ = ["Warm"]

_HEAVY = (
    "ants", "deepbet", "dipy.reconst.dti", "matplotlib.figure", "nipype.pipeline.engine", "pandas",
    "sklearn", "torch", "bids_harmony.bids.dataset", "bids_harmony.cli.participant",
    "bids_harmony.cli.train", "bids_harmony.methods", "bids_harmony.reports.subject",
    "bids_harmony.training.fit", "bids_harmony.workflows.base", "bids_harmony.workflows.group",
    "bids_harmony.group.chapter", "bids_harmony.reports.group",
)  # fmt: skip


class Warm:
    """A warm process; close it when done."""

    def __init__(self) -> None:
        # Not on the disk that a fault fills.
        self._folder = Path(tempfile.mkdtemp())
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"OMP_NUM_THREADS": "1", "NIPYPE_NO_ET": "1", "MPLBACKEND": "Agg"},
        )  # fmt: skip

    def run(
        self, words: Sequence[str], folders: Folders, fault: Fault | None = None
    ) -> tuple[int, str, list[str]]:
        """Run the program; gives exit code (of a signal: negative), what it told, its journal."""
        told, journal = self._folder / "told", self._folder / "journal"
        journal.unlink(missing_ok=True)
        job = {
            "words": list(words), "out": str(folders.out), "work": str(folders.work),
            "disk": str(folders.disk) if folders.disk else None,
            "fault": asdict(fault) if fault else None, "told": str(told),
            "journal": str(journal),
        }  # fmt: skip
        assert self._server.stdin and self._server.stdout
        print(json.dumps(job), file=self._server.stdin, flush=True)
        code = int(self._server.stdout.readline())
        lines = journal.read_text().splitlines() if journal.exists() else []
        return code, told.read_text(errors="replace"), lines

    def close(self) -> None:
        assert self._server.stdin
        self._server.stdin.close()
        self._server.wait()
        shutil.rmtree(self._folder)


def _serve() -> None:
    for name in _HEAVY:
        import_module(name)
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if child == 0:
            os._exit(_run(job))
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _run(job: dict[str, Any]) -> int:
    from bids_harmony.cli.main import main

    told = os.open(job["told"], os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(told, stream)
    disk = Path(job["disk"]) if job["disk"] else None
    fault = Fault(job["fault"]["kind"], tuple(job["fault"]["places"])) if job["fault"] else None
    try:
        inject(fault, Folders(Path(job["out"]), Path(job["work"]), disk), Path(job["journal"]))
        return int(main(job["words"]))
    except BaseException:
        # As the interpreter would: a traceback and 1.
        import traceback

        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


if __name__ == "__main__":
    _serve()
