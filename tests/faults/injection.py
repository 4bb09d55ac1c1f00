"""Strike a run at a chosen place: the product knows nothing of it.

Places of a run are the start and end of every node, every file that Python opens for writing in
the run's folders (struck when half of its first write is on disk), and every move of a finished
file to its final name. Library code in C writes unseen; the node around it has its own places.
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import re
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["FAULTS", "Fault", "Folders", "inject"]

#: kill -9; SIGTERM; no more memory from there on; the disk is full from there on; one EIO.
FAULTS = ("kill", "term", "memory", "full", "io")
_RUN_ID = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}")
_TEMPORARY = re.compile(r"^\.(.+)\.\d+-[0-9a-f]{8}\.tmp$")


@dataclass(frozen=True)
class Fault:
    """What happens, once, at the first of these places that is met."""

    kind: str
    places: tuple[str, ...]


@dataclass(frozen=True)
class Folders:
    """Where a run writes; `disk` is the small file system that both are on, if there is one."""

    out: Path
    work: Path
    disk: Path | None = None


def inject(fault: Fault | None, folders: Folders, journal: Path) -> None:
    """Watch this process for the rest of its life, write its places down and strike at one.

    Parameters
    ----------
    fault : Fault or None
        None only counts.
    folders : Folders
    journal : Path
        Gets one line for each place that is met, and ``struck`` after the one of the fault.
    """
    from nipype.pipeline.engine.nodes import Node

    watch = _Watch(fault, folders, os.open(journal, os.O_CREAT | os.O_WRONLY | os.O_APPEND))
    # Not the bound builtins: pathlib, zipfile and numpy look it up in `io`, the rest in builtins.
    builtins.open = io.open = watch.opener(io.open)  # type: ignore[assignment]
    os.replace = watch.mover(os.replace)  # type: ignore[assignment]
    Node.run = watch.runner(Node.run)


class _Watch:
    def __init__(self, fault: Fault | None, folders: Folders, journal: int) -> None:
        self.fault, self.folders, self.journal = fault, folders, journal
        self.struck = self.broken_disk = False

    def met(self, place: str) -> bool:
        """Whether this is a place to strike at; one is enough."""
        os.write(self.journal, f"{place}\n".encode())
        if self.struck or self.fault is None or place not in self.fault.places:
            return False
        self.struck = True
        os.write(self.journal, b"struck\n")
        return True

    def strike(self, path: Path | None = None) -> None:
        kind = self.fault.kind if self.fault else ""
        if kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == "term":
            os.kill(os.getpid(), signal.SIGTERM)
        elif kind == "memory":
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            now = pages * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (now, resource.RLIM_INFINITY))
        elif kind == "full":
            _fill(self.folders.disk)
        elif kind == "io" and path is not None:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        elif kind == "io":
            self.broken_disk = True  # the next file that is opened

    def opener(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def opened(file: Any, mode: str = "r", *words: Any, **more: Any) -> Any:
            name = self._name(file)
            if name and self.broken_disk:
                self.broken_disk = False
                raise OSError(errno.EIO, os.strerror(errno.EIO), str(file))
            handle = real(file, mode, *words, **more)
            if name and set(mode) & set("wxa+") and self.met(f"write {name}"):
                handle.write = self._half_write(handle, Path(file))
            return handle

        return opened

    def _half_write(self, handle: Any, path: Path) -> Callable[[Any], int]:
        def write(payload: Any) -> int:
            del handle.write
            payload = payload if isinstance(payload, str) else bytes(payload)
            middle = len(payload) // 2
            handle.write(payload[:middle])
            handle.flush()
            self.strike(path)
            handle.write(payload[middle:])
            return len(payload)

        return write

    def mover(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def replace(source: Any, target: Any, **more: Any) -> None:
            real(source, target, **more)
            if (name := self._name(target)) and self.met(f"moved {name}"):
                self.strike()

        return replace

    def runner(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def run(node: Any, *words: Any, **more: Any) -> Any:
            if self.met(f"start {node.fullname}"):
                self.strike()
            result = real(node, *words, **more)
            if self.met(f"end {node.fullname}"):
                self.strike()
            return result

        return run

    def _name(self, file: Any) -> str | None:
        """A file of the run's folders without what differs from run to run; None of others."""
        if not isinstance(file, str | os.PathLike):
            return None
        path = Path(os.path.abspath(file))
        for top, folder in (("out", self.folders.out), ("work", self.folders.work)):
            if path.is_relative_to(folder):
                own = _TEMPORARY.sub(r"\1", path.name)
                name = Path(top, path.relative_to(folder)).with_name(own).as_posix()
                return re.sub(r"0x[0-9a-f]{32}", "HASH", _RUN_ID.sub("RUN", name))
        return None


def _fill(disk: Path | None) -> None:
    """Leave no byte on the disk."""
    if disk is None:
        raise AssertionError("no small disk to fill")
    filler = os.open(disk / "filler", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    for size in (1 << 16, 1 << 10, 1):
        try:
            while os.write(filler, bytes(size)) == size:
                pass
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
    os.close(filler)
