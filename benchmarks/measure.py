"""Time and memory of stages and commands, and what a result must say about its making."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

__all__ = ["Meter", "measured_command", "provenance"]

ROOT = Path(__file__).resolve().parent.parent


class Meter:
    """Rows of wall seconds, CPU seconds and peak resident memory of this process, by stage."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def stage(self, name: str, **extra: Any) -> Iterator[dict[str, Any]]:
        # Linux: 5 sets the peak back to what is resident now.
        Path("/proc/self/clear_refs").write_text("5")
        row = {"variant": "stage", "stage": name}
        wall, cpu = time.perf_counter(), time.process_time()
        yield row
        row["seconds"] = round(time.perf_counter() - wall, 3)
        row["cpu_seconds"] = round(time.process_time() - cpu, 3)
        status = Path("/proc/self/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        row["peak_mib"] = round(int(peak.split()[1]) / 1024)
        row |= extra
        self.rows.append(row)
        print(f"{name:28s} {row['seconds']:7.2f} s  {row['peak_mib']:6d} MiB", flush=True)


def measured_command(*arguments: str, log: Path) -> dict[str, float]:
    """Run ``bids_harmony`` and measure it and its children.

    ``peak_mib`` is the largest single process; ``tree_peak_mib`` the largest sum over all of them
    at one time, shared pages counted once (PSS), sampled every half second.
    """
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    environment.pop("OMP_NUM_THREADS", None)
    with log.open("wb") as file:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-m", "bids_harmony", *arguments],
            stdout=file, stderr=file, env=environment, cwd=log.parent,
        )  # fmt: skip
        sampler = _TreeMemory(process.pid)
        sampler.start()
        # Not subprocess.wait: only wait4 gives the resources of this one child.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        sampler.join()
    if process.returncode:
        raise SystemExit(f"bids_harmony failed ({process.returncode}):\n{log.read_text()[-3000:]}")
    return {
        "seconds": round(seconds, 3),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
        "peak_mib": round(usage.ru_maxrss / 1024),
        "tree_peak_mib": round(sampler.peak / 2**20),
    }


class _TreeMemory(threading.Thread):
    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.peak = pid, 0

    def run(self) -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            top = psutil.Process(self.pid)
            while top.is_running() and top.status() != psutil.STATUS_ZOMBIE:
                total = 0
                for process in (top, *top.children(recursive=True)):
                    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                        total += process.memory_full_info().pss
                self.peak = max(self.peak, total)
                time.sleep(0.5)


def provenance(packages: Iterable[str]) -> dict[str, Any]:
    """Commit, date, machine and versions, as every result states them."""
    processor = Path("/proc/cpuinfo").read_text().partition("model name")[2].splitlines()[0]
    git = ["git", "-C", str(ROOT)]
    changed = subprocess.check_output([*git, "status", "--porcelain", "-uno"], text=True)
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
