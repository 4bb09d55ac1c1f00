"""Do the tests notice a fault? Mutants of each room, and how many its own tests catch.

    python benchmarks/mutants.py [--rooms imaging model] [-n 300 | -n all] [--seed 0] [--survivors]

A mutant is the code with one small fault: ``<`` for ``<=``, another number, an argument left out.
mutmut makes them in a copy of the working tree under ``build/mutants/ROOM``, never in the tree
itself, and runs for each the tests in ``tests/ROOM`` that reach the changed function, until one
fails or the time is over. Mutants are drawn at random, the same ones for the same seed; all with
``-n all``.

What was tried is kept: after an interruption the same command goes on. When code or tests have
changed, all is tried anew; with ``--survivors`` only what no test had noticed. That is for whoever
writes the missing test: a mutant that was caught counts as caught.

Not mutated: texts and details of errors and log lines (statements that begin with ``raise`` or the
logger), code outside functions, and functions with decorators other than ``classmethod`` and
``staticmethod`` (the tool cannot).

A survivor that changes nothing that should be tested stands in ``tests/mutants_allowed.toml`` with
its reason. ``benchmarks/results/mutants.json`` and ``.md`` show rooms, intervals and survivors.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "bids_harmony"
#: Where the science is; those that are there are taken.
ROOMS = ("imaging", "io", "sites", "methods", "harmonizers", "model", "diffusion")
FOLDER = ROOT / "build" / "mutants"
SESSION = "session.json"
#: What no test of a room reads.
NOT_COPIED = {
    ".ci",
    ".github",
    "benchmarks",
    "build",
    "containers",
    "docs",
    "findings",
    "CHANGES.md",
}
#: Statements that tell people something; what they say is not held word by word.
NOT_MUTATED = (r"^\s*raise\b", r"^\s*return \w*Error\(", r"^\s*_?(LOGGER|logger)\.")
PLUGIN = "tests.mutants_plugin"
CAUGHT = {"killed", "timeout", "segfault", "caught by type check"}
SURVIVED = {"survived", "no tests"}


@dataclass(frozen=True)
class Workplace:
    """The copy of the working tree in which one room's mutants are tried."""

    room: str
    folder: Path

    def prepare(self, root: Path, *, survivors: bool) -> None:
        """Copy the tree; forget what was tried on other code or with other tests."""
        digest = _digest(root)
        session = self.folder / SESSION
        if session.is_file() and json.loads(session.read_text())["digest"] == digest:
            return
        kept = self._results() if survivors and session.is_file() else {}
        shutil.rmtree(self.folder, ignore_errors=True)
        files = _files(root)
        for name in files:
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, self.folder / name)
        self._configure(files)
        for name, text in kept.items():
            (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).write_text(text)
        session.write_text(json.dumps({"digest": digest}))

    def _configure(self, files: Sequence[str]) -> None:
        file = self.folder / "pyproject.toml"
        settings = {
            "source_paths": [PACKAGE],
            "only_mutate": [f"{PACKAGE}/{self.room}/*"],
            "also_copy": sorted({Path(name).parts[0] for name in files}),
            "pytest_add_cli_args_test_selection": [f"tests/{self.room}"],
            "pytest_add_cli_args": [*"-p no:cacheprovider -p no:xdist -p".split(), PLUGIN],
            # Each mutant starts from a process that has run nothing: no cache is warm.
            "process_isolation": "forkserver",
            "do_not_mutate_patterns": list(NOT_MUTATED),
            "use_git_change_detection": False,
            # Wall seconds: four times what the tests take, and a minute.
            "timeout_multiplier": 4.0,
            "timeout_constant": 15.0,
        }
        table = tomli_w.dumps({"tool": {"mutmut": settings}})
        file.write_text(file.read_text(encoding="utf-8") + "\n" + table, encoding="utf-8")

    def _results(self) -> dict[str, str]:
        """What the tool has written of caught mutants, by file; all others count as not tried."""
        found = {}
        for meta in sorted((self.folder / "mutants").rglob("*.py.meta")):
            data = json.loads(meta.read_text())
            codes = data["exit_code_by_key"]
            data["exit_code_by_key"] = {
                name: code if _status(code) in CAUGHT else None for name, code in codes.items()
            }
            found[str(meta.relative_to(self.folder))] = json.dumps(data)
        return found

    def names(self) -> dict[str, str]:
        """All mutants, and the file of each."""
        from mutmut.configuration import reset_config
        from mutmut.mutation.file_mutation import mutate_file_contents
        from mutmut.utils.format_utils import get_mutant_name

        found = {}
        with contextlib.chdir(self.folder):
            reset_config()
            for file in sorted((Path(PACKAGE) / self.room).rglob("*.py")):
                made = mutate_file_contents(str(file), file.read_text(encoding="utf-8"))
                found |= {get_mutant_name(file, name): str(file) for name in made.mutant_names}
            reset_config()
        return found

    def outcomes(self) -> dict[str, str]:
        """Mutants that were tried, and what became of each in the words of the tool."""
        codes: dict[str, int | None] = {}
        for meta in (self.folder / "mutants").rglob("*.py.meta"):
            codes |= json.loads(meta.read_text())["exit_code_by_key"]
        return {name: _status(code) for name, code in codes.items() if code is not None}

    def run(self, names: Sequence[str], *, jobs: int) -> None:
        """Try mutants; the tool's words go to ``log.txt``."""
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": "1",
            "NIPYPE_NO_ET": "1",
            "MPLBACKEND": "Agg",
        }
        command = [sys.executable, "-c", "from mutmut.__main__ import cli; cli()", "run"]
        log = self.folder / "log.txt"
        with log.open("a") as file:
            run = subprocess.run(
                [*command, "--max-children", str(jobs), *names],
                cwd=self.folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
        if run.returncode:
            raise SystemExit(f"{self.room}: mutmut ended with {run.returncode}, see {log}")


def _status(code: int | None) -> str:
    from mutmut.stats import status_by_exit_code

    if code is not None and code < 0 and code not in status_by_exit_code:
        return "segfault"  # another signal
    return status_by_exit_code[code]


def _files(root: Path) -> list[str]:
    """Files of the working tree that a test of a room may need, also those not yet committed."""
    git = ["git", "-C", str(root), "ls-files", "-z", "-co", "--exclude-standard"]
    listed = subprocess.check_output(git, text=True).split("\0")
    return sorted(n for n in listed if (root / n).is_file() and Path(n).parts[0] not in NOT_COPIED)


def _digest(root: Path) -> str:
    total = hashlib.sha256()
    for name in _files(root):
        total.update(name.encode() + b"\0" + (root / name).read_bytes())
    return total.hexdigest()


def sample(names: Iterable[str], count: int | None, seed: int) -> list[str]:
    """Draw `count` names, all with None; a larger count draws the same ones first."""
    ordered = sorted(names, key=lambda n: hashlib.sha256(f"{seed} {n}".encode()).digest())
    return ordered[:count]


def try_room(workplace: Workplace, count: int | None, seed: int, jobs: int) -> dict[str, Any]:
    """Try what was not tried yet, and tell what came out of all that were drawn."""
    files = workplace.names()
    drawn = sample(files, count, seed)
    done = workplace.outcomes()
    todo = [name for name in drawn if name not in done]
    print(f"{workplace.room}: {len(files)} mutants, {len(drawn)} drawn, {len(todo)} to try")
    if todo:
        workplace.run(todo, jobs=jobs)
    done = workplace.outcomes()
    outcomes = {name: done.get(name, "not checked") for name in drawn}
    return {"mutants": len(files), "outcomes": outcomes, "files": files}


def main(words: Sequence[str] | None = None) -> None:
    from mutants_report import survivor_of, write_report

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rooms", nargs="+", default=list(ROOMS))
    parser.add_argument("-n", default="300", help="mutants a room, or all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--survivors", action="store_true", help="try again what survived")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    asked = parser.parse_args(words)
    count = None if asked.n == "all" else int(asked.n)
    rooms = {}
    for room in asked.rooms:
        if not ((ROOT / PACKAGE / room).is_dir() and (ROOT / "tests" / room).is_dir()):
            continue
        workplace = Workplace(room, FOLDER / room)
        workplace.prepare(ROOT, survivors=asked.survivors)
        found = try_room(workplace, count, asked.seed, asked.jobs)
        files, outcomes = found.pop("files"), found.pop("outcomes")
        found["outcomes"] = {
            word: sum(o == word for o in outcomes.values()) for word in set(outcomes.values())
        }
        found["survivors"] = [
            survivor_of(workplace.folder, name, files[name])
            for name, outcome in sorted(outcomes.items())
            if outcome in SURVIVED
        ]
        rooms[room] = found
    write_report(rooms, seed=asked.seed, n=asked.n)


if __name__ == "__main__":
    main()
