"""`make slurm-test`: the scripts of ``--write-slurm`` on a real SLURM cluster of one node.

    python -m tests.slurm.array build/slurm [--seed N]

A small phantom cohort is harmonized twice through ``submit.sh``: once undisturbed, group included,
and once with every task of the array killed at a random moment (SIGKILL, SIGTERM, time limit) and
submitted again. Both outputs must have the same bytes. Needs root and Debian's packages
``slurm-wlm`` and ``munge``, which it installs.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import time
from pathlib import Path

from tests.e2e.program import digests, validator_errors
from tests.slurm.cluster import Cluster, NoCluster, cluster

SITES = ("COI", "SIEMENS")
TARGET = "COI"
KINDS = ("KILL", "TERM", "time limit")
# Of the whole array, and of one task to begin; a machine may be busy with other things.
PATIENCE, START_PATIENCE = 3600.0, 300.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="made anew; such as build/slurm")
    parser.add_argument("--seed", type=int, default=None, help="of the moments of killing")
    options = parser.parse_args()
    folder = options.folder.absolute()
    seed = random.SystemRandom().randrange(10**6) if options.seed is None else options.seed
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with cluster(folder / "cluster") as slurm:
            _run(slurm, folder, random.Random(seed), seed)
    except NoCluster as reason:
        print(f"slurm-test did not run: {reason}", file=sys.stderr)
        return 127
    print("slurm-test passed")
    return 0


def _run(slurm: Cluster, folder: Path, moments: random.Random, seed: int) -> None:
    from bids_harmony.phantom.cohort import CohortPlan, write_cohort

    print("1. A phantom cohort", flush=True)
    plan = CohortPlan(
        sites=SITES, target=TARGET, training_per_site=2, travelling=0, modalities=("T1w",),
        voxel_scale=2.0,
    )  # fmt: skip
    write_cohort(folder, plan)
    print("2. The array, undisturbed, and the group", flush=True)
    quiet, seconds = _undisturbed(slurm, folder)
    print(f"3. The same with every task killed (seed {seed})", flush=True)
    killed = _disturbed(slurm, folder, moments, seconds)
    print("4. Compare", flush=True)
    one, other = (_products(out) for out in (quiet, killed))
    assert one.keys() == other.keys(), sorted(one.keys() ^ other.keys())
    different = [name for name in one if one[name] != other[name]]
    assert not different, different
    print(f"   {len(one)} files with the same bytes")


def _undisturbed(slurm: Cluster, folder: Path) -> tuple[Path, float]:
    out, scripts = _write(folder, "quiet")
    jobs = _submit(slurm, scripts)
    started = time.monotonic()
    slurm.wait(PATIENCE)
    array, group = jobs["participant"], jobs["group"]
    tasks = len((scripts / "participants.txt").read_text().splitlines())
    ended = {f"{array}_{n + 1}": slurm.job(f"{array}_{n + 1}") for n in range(tasks)}
    for name, job in (ended | {group: slurm.job(group)}).items():
        print(f"   {name}: {job['JobState']} {job['ExitCode']} in {job['RunTime']}", flush=True)
        assert (job["JobState"], job["ExitCode"]) == ("COMPLETED", "0:0"), _logs(scripts)
    images = sorted(out.rglob(f"*_desc-harmonized{TARGET}_T1w.nii.gz"))
    assert len(images) == tasks == 2 * len(SITES), images
    print(f"   {images[-1]}", flush=True)
    # The same form of date everywhere, so that text compares as time does.
    assert slurm.job(group)["StartTime"] >= max(job["EndTime"] for job in ended.values())
    assert validator_errors(out) == []
    return out, (time.monotonic() - started) / (tasks + 1)


def _disturbed(slurm: Cluster, folder: Path, moments: random.Random, seconds: float) -> Path:
    out, scripts = _write(folder, "killed")
    landed: dict[str, int] = dict.fromkeys(KINDS, 0)
    turn = 0
    while turn < 2 or not all(landed.values()):
        assert turn < 10, f"work was done before it could be killed: {landed}"
        array = _submit(slurm, scripts, "--no-group")["participant"]
        tasks = len((scripts / "participants.txt").read_text().splitlines())
        for number in range(tasks):
            kind = KINDS[(turn + number) % len(KINDS)]
            name = f"{array}_{number + 1}"
            # Sooner every time: less is left to do, and the machine may have become faster.
            delay = moments.uniform(0, seconds / 2**turn)
            landed[kind] += _kill(slurm, name, kind, delay)
        slurm.wait(PATIENCE)
        turn += 1
    array = _submit(slurm, scripts, "--no-group")["participant"]
    slurm.wait(PATIENCE)
    for number in range(tasks):
        job = slurm.job(f"{array}_{number + 1}")
        assert (job["JobState"], job["ExitCode"]) == ("COMPLETED", "0:0"), _logs(scripts)
    # Everything is there: once more, and nothing is made again.
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.nii.gz")}
    _submit(slurm, scripts, "--no-group")
    slurm.wait(PATIENCE)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*.nii.gz")} == before
    return out


def _kill(slurm: Cluster, name: str, kind: str, delay: float) -> bool:
    """Kill a task `delay` seconds after it began; whether it was still at work."""
    until = time.monotonic() + START_PATIENCE
    while name in slurm.queue("PENDING"):
        assert time.monotonic() < until, f"{name} does not begin"
        time.sleep(0.2)
    time.sleep(delay)
    if name not in slurm.queue("RUNNING"):
        return False
    if kind == "KILL":
        # scancel would end the job in its own way; the kernel, for want of memory, does it so.
        slurm.kill_processes(name)
    elif kind == "time limit":
        # Stopped here, it reaches the limit in the middle of its work, as a slow machine would.
        slurm.command("scancel", "--full", "--signal=STOP", name, check=False)
        slurm.command("scontrol", "update", f"JobId={name}", "TimeLimit=1", check=False)
    else:
        slurm.command("scancel", "--full", "--signal=TERM", name, check=False)
    until = time.monotonic() + START_PATIENCE
    while name in slurm.queue():
        assert time.monotonic() < until, f"{name} survives {kind}"
        time.sleep(0.5)
    job = slurm.job(name)
    print(
        f"   {name}: {kind} after {delay:.1f} s: {job['JobState']} {job['ExitCode']}", flush=True
    )
    return job["JobState"] != "COMPLETED"


def _write(folder: Path, name: str) -> tuple[Path, Path]:
    """Scripts for an output of their own; gives output and scripts."""
    from bids_harmony.cli.main import main as bids_harmony

    out, scripts = folder / name / "out", folder / name / "scripts"
    words = [
        str(folder / "bids"), str(out), "participant", "--target-site", TARGET, "--sloppy",
        "--voxel-mm", "2", "--device", "cpu", "--nprocs", "1", "--mem", "3G",
        "-w", str(folder / name / "work"), "--write-slurm", str(scripts),
    ]  # fmt: skip
    assert bids_harmony(words) == 0
    return out, scripts


def _submit(slurm: Cluster, scripts: Path, *words: str) -> dict[str, str]:
    """Submit the chain, one task at a time; gives the numbers of the jobs by name."""
    told = slurm.command("bash", str(scripts / "submit.sh"), *words, MAX_RUNNING="1").split()
    return dict(zip(told[::2], told[1::2], strict=True))


def _logs(scripts: Path) -> str:
    return "\n".join(path.read_text()[-3000:] for path in sorted(scripts.glob("log/*")))


def _products(out: Path) -> dict[str, str]:
    """Digests of what harmonization made: of every subject, and the profiles of the sites."""
    found = {}
    for top in (*sorted(out.glob("sub-*/")), out / "models"):
        found |= {f"{top.name}/{name}": digest for name, digest in digests(top).items()}
    return found


if __name__ == "__main__":
    sys.exit(main())
