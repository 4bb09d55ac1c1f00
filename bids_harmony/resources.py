"""Processors and memory that this job may use.

A cluster job or a container sees the whole host in `os.cpu_count()` and in `/proc/meminfo`; what
counts is the smallest of what the affinity mask, the control group (version 1 or 2) and SLURM
allow.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from math import ceil
from pathlib import Path
from typing import Any

__all__ = [
    "available_cpus",
    "available_memory_mb",
    "at_once",
    "give_back_memory",
    "keep_freed_memory",
    "no_rust_backtraces",
    "one_blas_thread",
    "one_torch_thread",
    "started_together",
]

_MIB = 2**20
#: Where the control groups are mounted, and where this process says which it is in.
CGROUP_ROOT, PROC_CGROUP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
# Options of the GNU C library's mallopt.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
# Control groups of version 1 write "no limit" as a number near 2**63, rounded to a page.
_NO_LIMIT = 2**60


def available_cpus() -> int:
    """Processors that this job may use: the least of affinity mask, control group and SLURM.

    Returns
    -------
    int
        At least 1. A control group's share of 1.5 processors counts as 2.
    """
    if hasattr(os, "sched_getaffinity"):
        limits = [len(os.sched_getaffinity(0))]
    else:
        limits = [os.cpu_count() or 1]
    for folder in _cgroup_folders("cpu"):
        quota, period = None, None
        words = _read(folder / "cpu.max").split()
        if len(words) == 2:
            quota, period = words
        else:
            quota = _read(folder / "cpu.cfs_quota_us")
            period = _read(folder / "cpu.cfs_period_us")
        if _is_number(quota) and _is_number(period) and int(quota) > 0 and int(period) > 0:
            limits.append(ceil(int(quota) / int(period)))
    slurm = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if _is_number(slurm):
        limits.append(int(slurm))
    return max(1, min(limits))


def available_memory_mb() -> int:
    """Memory that this job may use, in MiB: the least of the host, the control group and SLURM.

    Returns
    -------
    int
        MiB, at least 1.
    """
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // _MIB]
    for folder in _cgroup_folders("memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            text = _read(folder / name)
            if _is_number(text) and int(text) < _NO_LIMIT:
                limits.append(int(text) // _MIB)
    per_node = os.environ.get("SLURM_MEM_PER_NODE", "")
    per_cpu = os.environ.get("SLURM_MEM_PER_CPU", "")
    # SLURM writes MiB; 0 means "all of the node".
    if _is_number(per_node) and int(per_node) > 0:
        limits.append(int(per_node))
    elif _is_number(per_cpu) and int(per_cpu) > 0:
        cpus = os.environ.get("SLURM_CPUS_ON_NODE", "1")
        limits.append(int(per_cpu) * (int(cpus) if _is_number(cpus) else 1))
    return max(1, min(limits))


def started_together() -> tuple[int, int]:
    """Rank of this process among those that ``torchrun`` started, and how many these are.

    Returns
    -------
    rank, count : int
        0 and 1 where another launcher, or none, started it.
    """
    rank, count = os.environ.get("RANK", ""), os.environ.get("WORLD_SIZE", "")
    return (int(rank), int(count)) if _is_number(rank) and _is_number(count) else (0, 1)


def _cgroup_folders(controller: str) -> Iterator[Path]:
    """Every control group folder that binds this process, up to the root: limits nest."""
    for line in _read(PROC_CGROUP).splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and controller not in controllers.split(","):
            continue
        top = CGROUP_ROOT if not controllers else CGROUP_ROOT / controller
        group = Path(path.lstrip("/"))
        # In a container the path is often that of the host and does not exist below our own mount.
        yield from (top / group, *(top / parent for parent in group.parents))
    yield CGROUP_ROOT
    yield CGROUP_ROOT / controller


def _read(path: Path) -> str:
    """The file's text; empty when the kernel does not offer it, which is a normal answer here."""
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def one_blas_thread() -> None:
    """Let NumPy and SciPy multiply with one thread, in this process and all that it starts.

    Each worker would else begin as many as the host has processors, and they wait for each other
    by spinning; sums of several threads depend on their number, too. To be called before NumPy is
    imported: its library reads the variable once.
    """
    os.environ["OPENBLAS_NUM_THREADS"] = "1"


def keep_freed_memory() -> None:
    """Let this process, and those forked from it, use again what they freed.

    The GNU C library asks the kernel for each array of 32 MiB and more anew, and the kernel fills
    it with zeros: an eighth of the processor's time of a scan. Arrays beyond 64 MiB are given back
    as before, the rest by `give_back_memory`. Elsewhere nothing happens.
    """
    for option, size in ((_MMAP_THRESHOLD, 64 * _MIB), (_TRIM_THRESHOLD, 256 * _MIB)):
        _call_c("mallopt", option, size)


def give_back_memory() -> None:
    """Give what is free to the kernel, at the end of a step: the next may be another process's."""
    _call_c("malloc_trim", 0)


def _call_c(name: str, *arguments: int) -> None:
    """Call a function of the GNU C library; other libraries lack it."""
    function = getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None
    if function is not None:
        function(*arguments)


def no_rust_backtraces() -> None:
    """Let libraries in Rust end with a message alone, in this process and all that it starts.

    safetensors panics where Python has no memory left. The list of calls that ``RUST_BACKTRACE``
    asks for needs memory as well, and the process then waits for ever (safetensors 0.8, with pyo3
    0.28). To be called before the first panic: the variable is read once.
    """
    os.environ["RUST_BACKTRACE"] = "0"


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let torch use one thread, and give it back the number it had.

    Sums of floats depend on how many threads share them; and on slices of 200 x 200 pixels threads
    that wait for each other cost more than they bring as soon as another process wants the
    processor.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def at_once(*tasks: Callable[[], Any]) -> list[Any]:
    """Results of tasks that do not need each other, in their order.

    They run side by side where this step of the work may use several threads (`torch`'s number,
    which the step sets), each with one; NumPy, SciPy and zlib let go of the interpreter for
    whatever takes long. What comes out does not depend on it.
    """
    import torch

    threads = min(len(tasks), torch.get_num_threads())
    if threads <= 1:
        return [task() for task in tasks]
    with (
        one_torch_thread(),
        ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool,
    ):
        return [future.result() for future in [pool.submit(task) for task in tasks]]
