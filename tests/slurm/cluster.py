"""A real SLURM cluster of one node, from Debian's packages, in one folder; ended by pid files."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["Cluster", "NoCluster", "cluster"]

PACKAGES = ("slurm-wlm", "munge")
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel")
SECONDS_TO_START, SECONDS_TO_STOP = 60.0, 30.0

# MinJobAge: the test asks for jobs that ended long ago, where a machine is slow.
_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait=5
MinJobAge=86400
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


class NoCluster(Exception):
    """Why there can be no cluster here."""


class Cluster:
    """Commands of a running cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf")}

    def command(self, *words: str, check: bool = True, **environment: str) -> str:
        """Run a command; gives what it prints."""
        done = subprocess.run(
            words, capture_output=True, text=True, env=self.environment | environment
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(words)} ({done.returncode}): {done.stderr}")
        return done.stdout.strip()

    def queue(self, state: str | None = None) -> list[str]:
        """Jobs and array tasks (``12_3``) that have not ended, or that are in a state."""
        more = ["--states", state] if state else []
        return self.command("squeue", "--noheader", "--array", "--format=%i", *more).split()

    def job(self, name: str) -> dict[str, str]:
        """What the cluster knows of a job or array task."""
        text = self.command("scontrol", "show", "job", "--oneliner", name)
        return dict(word.split("=", 1) for word in text.split() if "=" in word)

    def kill_processes(self, name: str) -> None:
        """Send SIGKILL to every process of a running job or array task."""
        number = self.job(name)["JobId"]
        for line in self.command("scontrol", "listpids", number, check=False).splitlines()[1:]:
            pid, job = line.split()[:2]
            if job == number:
                with suppress(ProcessLookupError, ValueError):
                    os.kill(int(pid), signal.SIGKILL)

    def wait(self, seconds: float) -> None:
        """Wait until nothing is queued or running."""
        until = time.monotonic() + seconds
        while left := self.queue():
            if time.monotonic() > until:
                reasons = self.command("squeue", "--long")
                raise RuntimeError(f"after {seconds:.0f} s there is still {left}:\n{reasons}")
            time.sleep(0.5)


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Start the daemons, wait until the node is idle, and stop them at the end.

    Raises
    ------
    NoCluster
        When programs are missing and cannot be installed, or a daemon does not start.
    """
    _install()
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("", "state", "spool"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    key = folder / "munge.key"
    key.write_bytes(secrets.token_bytes(128))
    key.chmod(0o400)
    memory_mb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    controller_port, node_port = _free_ports()
    (folder / "slurm.conf").write_text(
        _CONFIGURATION.format(
            host=socket.gethostname().split(".")[0],
            folder=folder,
            cpus=len(os.sched_getaffinity(0)),
            memory_mb=memory_mb * 9 // 10,
            controller_port=controller_port,
            node_port=node_port,
        )
    )
    (folder / "cgroup.conf").write_text("CgroupAutomount=no\n")
    running = Cluster(folder)
    try:
        # --force: the folder may be writable by others, which does not matter to a test.
        running.command(
            "munged", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket",
            f"--pid-file={folder}/munged.pid", f"--log-file={folder}/munged.log",
            f"--seed-file={folder}/munge.seed",
        )  # fmt: skip
        running.command("slurmctld")
        running.command("slurmd")
        _wait_for_node(running)
        yield running
    finally:
        running.command("scancel", "--user=root", check=False)
        for name in ("slurmd", "slurmctld", "munged"):
            _stop(folder / f"{name}.pid")


def _install() -> None:
    # Daemons lie where an ordinary user's PATH does not lead.
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [name for name in PROGRAMS if not shutil.which(name)]
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        for words in (["update"], ["install", "--yes", "--no-install-recommends", *PACKAGES]):
            done = subprocess.run(["apt-get", "--quiet=2", *words], capture_output=True, text=True)
        missing = [name for name in PROGRAMS if not shutil.which(name)]
        if missing:
            raise NoCluster(f"apt-get could not install {' '.join(PACKAGES)}: {done.stderr}")
    if missing:
        raise NoCluster(
            f"{', '.join(missing)} missing, and only root can install {' '.join(PACKAGES)} "
            "(Debian, Ubuntu)"
        )
    if os.geteuid():
        raise NoCluster("the daemons of SLURM start jobs as any user, so that root must run this")


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


def _wait_for_node(running: Cluster) -> None:
    until = time.monotonic() + SECONDS_TO_START
    state = "no answer"
    while time.monotonic() < until:
        state = running.command("sinfo", "--noheader", "--format=%T", check=False) or state
        if state == "idle":
            return
        time.sleep(0.5)
    logs = "\n".join(path.read_text()[-2000:] for path in sorted(running.folder.glob("*.log")))
    raise NoCluster(f"the node did not come up ({state}):\n{logs}")


def _stop(pid_file: Path) -> None:
    """End the daemon that wrote a pid file, and no other process."""
    try:
        pid = int(pid_file.read_text())
        os.kill(pid, signal.SIGTERM)
    except (OSError, ValueError):
        return  # it never started, or has ended
    until = time.monotonic() + SECONDS_TO_STOP
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    os.kill(pid, signal.SIGKILL)
