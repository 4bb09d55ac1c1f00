"""Faults at the places of a run: strike, look, run again, compare with an undisturbed run.

Faults of one kind come in a chain: every run is struck at the next place and goes on from what the
one before left, and at the end of the chain an undisturbed run must give the bytes of a run that
was never struck. So a campaign over a hundred places costs a hundred short runs, not a hundred
whole ones, and a job that dies at every turn is what it tests.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.injection import Fault, Folders
from tests.faults.warm import Warm

__all__ = [
    "LEVELS",
    "Outcome",
    "World",
    "chain",
    "comparable",
    "not_whole",
    "places",
    "small_disk",
]

LEVELS = ("participant", "train", "group")
SITES = ("COI", "SIEMENS")
#: Exit codes that a fault ends with; 0 where the run can do without what failed (a page, the
#: log's file) and says so.
CODES = {"kill": {-9}, "term": {143}, "memory": {75, 0}, "full": {75, 0}, "io": {74, 0}}
CAUSES = {
    "kill": "", "term": "SIGTERM", "memory": "emory", "full": r"[Nn]o space|disk is full",
    "io": "Input/output error|Reading or writing failed",
}  # fmt: skip
_RUN_ID = re.compile(r"\d{8}T\d{6}-[0-9a-f]{8}")
_TIMES = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\+00:00)?|\b\d+(?:\.\d+)? s\b")


_PLAIN = ("--sloppy", "--device", "cpu", "--nprocs", "1", "--omp-nthreads", "1")
_TRAINING = (
    "--participant-label", "COI01", "SIEMENS01", "--modalities", "T1w",
    "--voxel-mm", "6", "--no-start", "--twin-steps", "0", "--adapt-steps", "3",
)  # fmt: skip


@dataclass(frozen=True)
class World:
    """What runs need and nothing changes: raw scans, a model, summaries of a cohort."""

    folder: Path
    warm: Warm

    @classmethod
    def make(cls, folder: Path, warm: Warm) -> World:
        """Make all of it that is not there yet, undisturbed."""
        import nibabel as nib
        import numpy as np

        from bids_harmony.phantom.cohort import CohortPlan, write_cohort
        from tests.group.conftest import empty_folders, write_summaries

        world = cls(folder, warm)
        if not (folder / "bids").exists():
            plan = CohortPlan(
                sites=SITES, target=SITES[0], training_per_site=1, travelling=0, voxel_scale=6.0
            )
            write_cohort(folder, plan)
        if not (folder / "group").exists():
            (folder / "group").mkdir()
            cohort = write_summaries(empty_folders(folder / "group"), per_site=4)
            for image in cohort.out.rglob("*.nii.gz"):  # nobody reads them but `not_whole`
                nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)), image)
        if not world.models.exists():
            trained = Folders(folder / "trained" / "out", folder / "trained" / "work")
            trained.out.parent.mkdir()
            code, told, _ = world.run("train", trained)
            assert code == 0, told
        return world

    @property
    def models(self) -> Path:
        return self.folder / "trained" / "out" / "models"

    def start(self, level: str, folders: Folders) -> None:
        """Bring the folders of a run to where the level begins."""
        for folder in (folders.out, folders.work):
            shutil.rmtree(folder, ignore_errors=True)
        if level == "group":
            shutil.copytree(self.folder / "group" / "out", folders.out)

    def run(
        self, level: str, folders: Folders, fault: Fault | None = None
    ) -> tuple[int, str, list[str]]:
        """Run a level; see `Warm.run`."""
        bids = self.folder / "bids" if level != "group" else self.folder / "group" / "bids"
        words = [str(bids), str(folders.out), level, "-w", str(folders.work), *_PLAIN]
        if level == "participant":
            words += ["--participant-label", f"{SITES[1]}01", "--modalities", "T1w"]
            words += ["--target-site", SITES[0], "--model", str(self.models)]
        elif level == "train":
            words += _TRAINING
        return self.warm.run(words, folders, fault)


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
    kind: str,
    at: Sequence[str],
    folders: Folders,
    reference: dict[str, str],
) -> Iterator[Outcome]:
    """Strike run after run, each at the next place, then run undisturbed and compare.

    A place that a run no longer comes by, because what it stands for is done, is passed over.

    Yields
    ------
    Outcome
        One for each place that was met, and one of the last run, whose place is ``end``.
    """
    world.start(level, folders)
    left = list(at)
    while left:
        code, told, journal = world.run(level, folders, Fault(kind, tuple(left)))
        if folders.disk:
            (folders.disk / "filler").unlink(missing_ok=True)
        if "struck" not in journal:
            break
        place = journal[journal.index("struck") - 1]
        left.remove(place)
        outcome = Outcome(level, kind, place, code, left=len(temporaries(folders.out)))
        outcome.wrong = list(_faults_of(kind, code, told, folders.out, reference))
        if code == 0:  # it did without what failed, and nothing is left to do: begin anew
            world.run(level, folders)
            outcome.wrong += differences(reference, comparable(folders.out))
            world.start(level, folders)
        elif kind != "kill":
            sweep(folders.out)
        yield outcome
    code, told, _ = world.run(level, folders)
    last = Outcome(level, kind, "end", code, not_whole(folders.out))
    if code != 0:
        last.wrong.append(f"ends with {code}: {told[-500:]}")
    last.wrong += differences(reference, comparable(folders.out))
    yield last


def _faults_of(
    kind: str, code: int, told: str, out: Path, reference: dict[str, str]
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
    if kind != "kill" and (left := temporaries(out)):
        yield f"left behind: {', '.join(left)}"
    if kind == "term" and not _ended(out, code):
        yield "status.json does not say how the run ended"


def _ended(out: Path, code: int) -> bool:
    """Whether every run says that it was ended; one that was just about to begin says nothing."""
    records = [json.loads(path.read_text()) for path in out.glob("logs/*/status.json")]
    return all(r["state"] == "failed" and r["exit_code"] == code for r in records)


def temporaries(out: Path) -> list[str]:
    """Names of temporary files."""
    return sorted(str(p.relative_to(out)) for p in out.rglob(".*.tmp"))


def sweep(out: Path) -> None:
    """Take temporary files away, so that each outcome counts its own."""
    for path in out.rglob(".*.tmp"):
        path.unlink()


def not_whole(out: Path) -> list[str]:
    """Files under a final name that cannot be read to their end."""
    wrong = []
    for path in out.rglob("*"):
        if path.is_file() and not path.name.endswith(".tmp"):
            read = _READERS.get(path.suffix, Path.read_bytes)
            try:
                read(path)
            except Exception as error:
                wrong.append(f"{path.relative_to(out)} is not whole: {error}")
    return wrong


def _read_nifti(path: Path) -> None:
    import nibabel as nib
    import numpy as np

    np.asanyarray(nib.load(path).dataobj)


def _read_arrays(path: Path) -> None:
    import numpy as np

    with np.load(path) as file:
        for name in file.files:
            file[name]


def _read_tensors(path: Path) -> None:
    from safetensors.numpy import load_file

    load_file(path)


def _read_picture(path: Path) -> None:
    from matplotlib.image import imread

    imread(path)


def _read_page(path: Path) -> None:
    if not path.read_text().rstrip().endswith("</html>"):
        raise ValueError("no end")


def _read_lines(path: Path) -> None:
    if not path.read_text().endswith("\n"):
        raise ValueError("no end of line")


_READERS: dict[str, Callable[[Path], Any]] = {
    ".gz": _read_nifti,
    ".html": _read_page,
    ".json": lambda path: json.loads(path.read_text()),
    ".md": _read_lines,
    ".npz": _read_arrays,
    ".png": _read_picture,
    ".safetensors": _read_tensors,
    ".toml": _read_lines,
    ".tsv": _read_lines,
}


def comparable(out: Path) -> dict[str, str]:
    """sha256 of what a run wrote, but for its logs; times of day and durations are masked."""
    found = {}
    for path in sorted(out.rglob("*")):
        name = path.relative_to(out)
        if not path.is_file() or _RUN_ID.search(str(name)) or name.suffix == ".tmp":
            continue
        content = path.read_bytes()
        if path.suffix in (".html", ".md"):
            content = _TIMES.sub("", _RUN_ID.sub("", content.decode())).encode()
        elif path.name.endswith("_checkpoint.safetensors"):
            content = _without_seconds(content)
        found[str(name)] = hashlib.sha256(content).hexdigest()
    return found


def _without_seconds(checkpoint: bytes) -> bytes:
    """A training's checkpoint without the time that it took."""
    import numpy as np
    from safetensors.numpy import load, save

    tensors = load(checkpoint)
    about = json.loads(tensors["about"].tobytes())
    del about["progress"]["seconds"]
    tensors["about"] = np.frombuffer(json.dumps(about).encode(), np.uint8)
    return save(tensors)


def differences(reference: dict[str, str], other: dict[str, str]) -> list[str]:
    """Files that are missing, too many or of other bytes."""
    told = [f"{name} is missing" for name in sorted(reference.keys() - other)]
    told += [f"{name} is too many" for name in sorted(other.keys() - reference)]
    both = sorted(reference.keys() & other.keys())
    return told + [f"{name} differs" for name in both if reference[name] != other[name]]


def small_disk(folder: Path, size: str = "64m") -> bool:
    """Mount a small file system; False where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    return True
