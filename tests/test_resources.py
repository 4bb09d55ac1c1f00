"""What a job may use: the least of affinity, control group and SLURM."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import threading

import pytest

from bids_harmony import resources
from bids_harmony.resources import (
    at_once,
    available_cpus,
    available_memory_mb,
)


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A host of 16 processors and 64 GiB; returns a writer of control group files."""
    for name in [n for n in os.environ if n.startswith("SLURM_")]:
        monkeypatch.delenv(name)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    sizes = {"SC_PHYS_PAGES": 2**24, "SC_PAGE_SIZE": 2**12}
    monkeypatch.setattr(os, "sysconf", lambda name: sizes[name])

    def write(membership="", **files):
        (tmp_path / "self").write_text(membership)
        for name, text in files.items():
            path = tmp_path / "fs" / name.replace("__", "/").replace("_DOT_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        monkeypatch.setattr(resources, "CGROUP_ROOT", tmp_path / "fs")
        monkeypatch.setattr(resources, "PROC_CGROUP", tmp_path / "self")

    return write


def test_no_limits(host):
    host()
    assert available_cpus() == 16
    assert available_memory_mb() == 64 * 1024


def test_control_group_version_2(host):
    host(
        "0::/user/job",
        user__job__cpu_DOT_max="150000 100000\n",
        user__memory_DOT_max=f"{2**31}\n",  # The parent's limit binds the child.
        user__job__memory_DOT_max="max\n",
    )
    assert available_cpus() == 2
    assert available_memory_mb() == 2048


def test_control_group_version_2_without_limit(host):
    host("0::/", cpu_DOT_max="max 100000", memory_DOT_max="max")
    assert available_cpus() == 16
    assert available_memory_mb() == 64 * 1024


def test_control_group_version_1(host):
    host(
        "4:cpu,cpuacct:/docker/x\n9:memory:/docker/x",  # Paths of the host, not mounted here.
        cpu__cpu_DOT_cfs_quota_us="400000",
        cpu__cpu_DOT_cfs_period_us="100000",
        memory__memory_DOT_limit_in_bytes=str(3 * 2**30),
    )
    assert available_cpus() == 4
    assert available_memory_mb() == 3072


def test_control_group_version_1_without_limit(host):
    host(
        "4:cpu,cpuacct:/\n9:memory:/",
        cpu__cpu_DOT_cfs_quota_us="-1",
        cpu__cpu_DOT_cfs_period_us="100000",
        memory__memory_DOT_limit_in_bytes="9223372036854771712",
    )
    assert available_cpus() == 16
    assert available_memory_mb() == 64 * 1024


def test_slurm(host, monkeypatch):
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "3")
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "5000")
    host("0::/", cpu_DOT_max="800000 100000")
    assert available_cpus() == 3
    assert available_memory_mb() == 5000
    monkeypatch.setenv("SLURM_MEM_PER_NODE", "0")  # All of the node.
    assert available_memory_mb() == 64 * 1024
    monkeypatch.setenv("SLURM_MEM_PER_CPU", "1000")
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "3")
    assert available_memory_mb() == 3000


def test_affinity(host, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5}, raising=False)
    host()
    assert available_cpus() == 1


@pytest.fixture
def torch_threads():
    """Sets torch's number of threads, and gives back the one there was."""
    import torch

    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_tasks_run_side_by_side_where_threads_are_allowed(torch_threads):
    torch_threads(2)
    # Neither passes before the other has come.
    meeting = threading.Barrier(2, timeout=60)
    assert sorted(at_once(meeting.wait, meeting.wait)) == [0, 1]


def test_tasks_share_the_threads_and_keep_their_order(torch_threads):
    import torch

    torch_threads(3)
    assert at_once(*(lambda n=n: (n, torch.get_num_threads()) for n in range(5))) == [
        (n, 1) for n in range(5)
    ]
    assert torch.get_num_threads() == 3


def test_with_one_thread_tasks_run_here(torch_threads):
    torch_threads(1)
    assert at_once(threading.get_ident, threading.get_ident) == [threading.get_ident()] * 2


def test_an_error_of_a_task_comes_out(torch_threads):
    torch_threads(2)
    with pytest.raises(ZeroDivisionError):
        at_once(lambda: 1, lambda: 1 / 0)


_FAULTS = """
import resource, sys
from bids_harmony.resources import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
def touch():
    bytearray(40 << 20)[::4096]
touch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    touch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


_RESIDENT = """
from pathlib import Path
from bids_harmony.resources import give_back_memory, keep_freed_memory
keep_freed_memory()
def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4 // 1024
large = [bytearray(b"x") * (30 << 20) for _ in range(6)]
end = [bytearray(1000) for _ in range(10)]
before = resident()
del large
kept = resident()
give_back_memory()
print(before - kept, before - resident())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the GNU C library's allocator")
def test_what_is_kept_is_given_back_at_the_end_of_a_step():
    told = subprocess.check_output([sys.executable, "-c", _RESIDENT], text=True)
    at_once_freed, in_the_end = map(int, told.split())
    assert at_once_freed < 100 < 150 < in_the_end


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the GNU C library's allocator")
def test_large_arrays_take_memory_that_was_freed():
    kept, asked = (
        int(subprocess.check_output([sys.executable, "-c", _FAULTS, how])) for how in ("keep", "")
    )
    assert asked > 8 * 5000 and kept < asked / 8


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(resources.ctypes, "CDLL", lambda name: object())
    resources.keep_freed_memory()
    resources.give_back_memory()
