"""Run the program as a user does, and look at what it left behind."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]

SITES = ("COI", "SIEMENS")
TARGET = "COI"
TRAVELLER = "T01"
TRAINING = tuple(f"{site}{i}" for site in SITES for i in ("01", "02", "03"))


#: Python starts with this: whoever opens a connection to another machine is stopped and told of.
NO_NETWORK = """
import socket
_connect = socket.socket.connect
def connect(self, address):
    if self.family != socket.AF_UNIX:
        raise RuntimeError(f"a connection to {address} was tried")
    return _connect(self, address)
socket.socket.connect = connect
socket.socket.connect_ex = connect
def nowhere(*args, **kwargs):
    raise RuntimeError(f"the address of {args[:1]} was asked for")
socket.getaddrinfo = nowhere
"""


@dataclass(frozen=True)
class Finished:
    """A run that came to its end: exit code, standard output, standard error, output folder."""

    code: int
    shown: str
    told: str
    out: Path
    status: dict = field(default_factory=dict)

    @property
    def scans(self) -> dict[str, dict]:
        """What became of each scan, from ``status.json``."""
        return self.status.get("scans", {})

    @property
    def states(self) -> dict[str, str]:
        return {label: scan["state"] for label, scan in self.scans.items()}


def run(
    bids: Path,
    out: Path,
    *words: str,
    work: Path,
    level: str = "participant",
    nprocs: int = 1,
    omp_nthreads: int = 1,
    before: Sequence[str] = (),
) -> Finished:
    """Run a level: in this process, or in one of its own where it starts workers itself.

    `before` are words to put before the interpreter's name, such as those of ``setpriv``.
    """
    command = [
        str(bids), str(out), level, "-w", str(work), "--sloppy", "--device", "cpu",
        "--nprocs", str(nprocs), "--omp-nthreads", str(omp_nthreads), *words,
    ]  # fmt: skip
    if level == "participant" and "--target-site" not in words:
        command += ["--target-site", TARGET]
    earlier = _run_logs(out)
    if nprocs > 1 or before:
        program = [*before, sys.executable, "-m", "bids_harmony", *command]
        process = subprocess.run(program, cwd=REPOSITORY, capture_output=True, text=True)
        code, shown, told = process.returncode, process.stdout, process.stderr
    else:
        from bids_harmony.cli.main import main

        with redirect_stdout(io.StringIO()) as stdout, redirect_stderr(io.StringIO()) as stderr:
            code = int(main(command))
        shown, told = stdout.getvalue(), stderr.getvalue()
    new = [path for path in _run_logs(out) - earlier if path.stat().st_size]
    status = json.loads(new[0].read_text()) if new else {}
    return Finished(code, shown, told, out, status)


def _run_logs(out: Path) -> set[Path]:
    return set(out.glob("logs/*/status.json"))


def copy_fits(trained: Path, out: Path, *subjects: str) -> None:
    """Masks and transforms of some subjects, as after a run that was stopped before it wrote."""
    for subject in subjects:
        shutil.copytree(trained / f"sub-{subject}", out / f"sub-{subject}")


def digests(folder: Path, pattern: str = "*") -> dict[str, str]:
    """sha256 of every file below a folder, by its name relative to it."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob(pattern))
        if path.is_file()
    }


def snapshot(folder: Path) -> dict[str, tuple]:
    """Kind, mode, time and content of everything below a folder."""
    content = digests(folder)
    return {
        str(p.relative_to(folder)): (
            p.lstat().st_mode,
            p.lstat().st_mtime_ns,
            content.get(str(p.relative_to(folder))),
        )
        for p in sorted(folder.rglob("*"))
    }


def assert_whole(out: Path) -> None:
    """No temporary file, and every file that is there can be read to its end."""
    for path in out.rglob("*"):
        # Jobs wait for each other at tables and profiles; the locks' files stay.
        if not path.is_file() or path in (out / ".lock", out / "models/banks/.lock"):
            continue
        assert path.name == ".bidsignore" or not path.name.startswith("."), path
        assert not path.name.endswith((".tmp", ".part", ".lock")), path
        if path.name.endswith(".nii.gz"):
            np.asanyarray(nib.load(path).dataobj)
            gzip.decompress(path.read_bytes())
        elif path.suffix == ".json":
            assert isinstance(json.loads(path.read_text()), dict), path
        elif path.suffix in {".tsv", ".txt", ".toml"} and "logs" not in path.parts:
            assert path.read_text().endswith("\n"), path


def written_for(out: Path, subject: str) -> list[str]:
    """Files of a subject."""
    folder = out / f"sub-{subject}"
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def validator_errors(dataset: Path) -> list[dict]:
    """What the BIDS validator counts as errors."""
    name = "bids-validator-deno"
    found = shutil.which(name) or shutil.which(name, path=Path(sys.executable).parent)
    if found is None:
        pytest.skip("bids-validator-deno is not installed")
    process = subprocess.run(
        [found, "--format", "json", str(dataset)], capture_output=True, text=True
    )
    issues = json.loads(process.stdout)["issues"]["issues"]
    return [issue for issue in issues if issue["severity"] == "error"]


def without_network() -> list[str]:
    """Words before a command that leave it, and all its children, no network but its own."""
    if os.geteuid() != 0 or (unshare := shutil.which("unshare")) is None:
        return []
    tried = subprocess.run([unshare, "-n", "true"], capture_output=True)
    return [unshare, "-n"] if tried.returncode == 0 else []
