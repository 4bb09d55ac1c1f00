"""Time and memory of stages and commands, and what a result must say about its making."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

__all__ = [
    "Meter",
    "made_by",
    "measured_command",
    "measured_process",
    "provenance",
    "put_into_page",
]

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reliability.md"


def put_into_page(name: str, text: str) -> None:
    """Replace what stands between the marks of a table in the page on reliability."""
    page = PAGE.read_text()
    begin, end = f"<!-- {name}: begin; benchmarks/{name}.py -->\n", f"<!-- {name}: end -->"
    at = page.index(begin) + len(begin)
    PAGE.write_text(page[:at] + text + page[page.index(end, at) :])


class Meter:
    """Rows of wall seconds, CPU seconds and peak resident memory of this process, by stage."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[dict[str, Any]]:
        # Linux: 5 sets the peak back to what is resident now.
        Path("/proc/self/clear_refs").write_text("5")
        row = {"variant": "stage", "stage": name}
        wall, cpu = time.perf_counter(), time.process_time()
        yield row
        row["seconds"] = round(time.perf_counter() - wall, 3)
        row["cpu_seconds"] = round(time.process_time() - cpu, 3)
        row["peak_mib"] = round(_peak_mib("self"))
        self.rows.append(row)
        print(f"{name:28s} {row['seconds']:7.2f} s  {row['peak_mib']:6d} MiB", flush=True)


def measured_command(*arguments: str, log: Path) -> dict[str, float]:
    """Run ``bids_harmony`` and measure it, see `measured_process`."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("OMP_NUM_THREADS", None)
    words = [sys.executable, "-m", "bids_harmony", *arguments]
    return measured_process(words, environment, log=log)


def measured_process(
    words: Sequence[str], environment: Mapping[str, str], *, log: Path, limit: float | None = None
) -> dict[str, float]:
    """Run a command and measure it and all its processes, sampled every half second.

    ``peak_mib`` is the largest resident set of a single process; ``tree_peak_mib`` the largest sum
    over all of them at one time, shared pages counted once (PSS). Not from getrusage: it does not
    know the children of Nipype's fork server, and a child's peak begins with that of its parent.

    After `limit` seconds it is killed with all its processes, and ``stopped`` is 1.
    """
    stopped = False
    with log.open("wb") as file:
        start = time.perf_counter()
        process = subprocess.Popen(
            words, stdout=file, stderr=file, env=environment, cwd=log.parent
        )
        tree = _Tree(process.pid)
        tree.start()
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            stopped, code = True, 0
            for child in (*tree.top.children(recursive=True), tree.top):
                child.kill()
            process.wait()
        seconds = time.perf_counter() - start
        tree.join()
    if code:
        raise SystemExit(f"{words[:3]} failed ({code}):\n{log.read_text()[-3000:]}")
    return {
        "seconds": round(seconds, 3),
        "cpu_seconds": round(sum(tree.cpu_seconds.values()), 3),
        "peak_mib": round(max(tree.peaks.values(), default=0)),
        "tree_peak_mib": round(tree.together / 2**20),
    } | ({"stopped": 1} if stopped else {})


class _Tree(threading.Thread):
    """Watches a process and its descendants until it ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.top = psutil.Process(pid)
        self.together = 0
        self.cpu_seconds: dict[int, float] = {}
        self.peaks: dict[int, float] = {}

    def run(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            while self.top.is_running() and self.top.status() != psutil.STATUS_ZOMBIE:
                total = 0
                for process in (self.top, *self.top.children(recursive=True)):
                    # Processes end while they are asked.
                    with contextlib.suppress(psutil.Error, OSError, StopIteration):
                        total += process.memory_full_info().pss
                        times = process.cpu_times()
                        self.cpu_seconds[process.pid] = times.user + times.system
                        self.peaks[process.pid] = _peak_mib(process.pid)
                self.together = max(self.together, total)
                time.sleep(0.5)


def _peak_mib(pid: int | str) -> float:
    """Largest resident set so far (Linux), MiB."""
    status = Path(f"/proc/{pid}/status").read_text()
    peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(peak.split()[1]) / 1024


def provenance(packages: Iterable[str], *, root: Path = ROOT) -> dict[str, Any]:
    """Commit of the repository at `root`, date, machine and versions, as every result states."""
    processor = Path("/proc/cpuinfo").read_text().partition("model name")[2].splitlines()[0]
    git = ["git", "-C", str(root)]
    # Results of other benchmarks change nothing of this one.
    changed = subprocess.check_output(
        [*git, "status", "--porcelain", "-uno", "--", ".", ":!benchmarks/results"], text=True
    )
    return {
        "commit": subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip(),
        "uncommitted_changes": bool(changed.strip()),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": {
            "processor": processor.strip(" \t:") or platform.machine(),
            "cores": os.cpu_count(),
            "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        },
        "versions": {"python": platform.python_version()} | {p: version(p) for p in packages},
    }


def made_by(result: Mapping[str, Any]) -> str:
    """What made a result: command, commit, date, machine and how busy it was."""
    machine, load = result["machine"], result["load_average"]
    return (
        f"`{result['command']}`, commit {result['commit'][:10]}, {result['date']}, "
        f"{machine['processor']}, {machine['cores']} cores, load average {load['before'][0]:.1f} "
        f"before and {load['after'][0]:.1f} after."
    )
