"""Fifty jobs write into one output folder at the same moment: nothing is lost, nothing is torn."""

from __future__ import annotations

import json
import multiprocessing
import tomllib

import pytest

from bids_harmony.bids.table import read_tsv
from tests.bids.shared_output import ROUNDS, target_of, work
from tests.bids.test_validator import errors

JOBS = 50


@pytest.fixture
def shared_output(raw):
    raw.image("sub-01/anat/sub-01_T1w", InstitutionName="COI")
    out = raw.root.parent / "out"
    # A server that has the package loaded: its children start within milliseconds.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.bids.shared_output"])
    start = context.Barrier(JOBS)
    jobs = [context.Process(target=work, args=(n, raw.root, out, start)) for n in range(JOBS)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(300)
    assert [job.exitcode for job in jobs] == [0] * JOBS
    return out


def test_no_row_is_lost_and_every_file_is_whole(shared_output):
    out = shared_output
    described = {row["desc_id"] for row in read_tsv(out / "descriptions.tsv")}
    wanted = {f"desc-harmonized{target_of(n)}" for n in range(JOBS)}
    wanted |= {f"desc-turn{n}x{turn}" for n in range(JOBS) for turn in range(ROUNDS)}
    assert wanted <= described
    met = {row["id"]: row["n"] for row in read_tsv(out / "logs" / "met.tsv")}
    assert met == {f"{n:02d}x{t}": str(n) for n in range(JOBS) for t in range(ROUNDS)}
    for n in range(JOBS):
        (row,) = read_tsv(out / f"sub-{n:02d}" / f"sub-{n:02d}_scans.tsv")
        assert row["psnr_db"] == str(n)
    for path in out.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))
    runs = sorted((out / "logs").glob("*/status.json"))
    assert len(runs) == JOBS * ROUNDS
    assert all(json.loads(path.read_text())["state"] == "finished" for path in runs)
    for path in out.glob("logs/*/settings.toml"):
        assert tomllib.loads(path.read_text())["provenance"]["command"].startswith("job ")
    assert not [p for p in out.rglob("*") if p.name.endswith(".tmp")]
    locks = {path.relative_to(out).as_posix() for path in out.rglob(".lock")}
    assert locks == {".lock", "logs/.lock"}
    assert errors(out) == []
