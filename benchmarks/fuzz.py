"""Coverage-guided fuzzing of every reader of files that come from outside.

    pip install atheris
    python benchmarks/fuzz.py [--seconds 120] [--parsers volume bval ...]

Each reader of ``tests/hostile/parsers.py`` gets a process of its own in which atheris (libFuzzer)
mutates sound files and keeps what reaches new lines. An input counts as a crash when the reader
lets through anything but an error of ours that names the file, when it takes longer than 10 s, or
when the process needs more than 2 GiB more than at its start. Crashes are told apart by exception
and place; the first input of each is left in ``build/fuzz``. Results go to
``benchmarks/results/fuzz.json``, where rows of parsers that were not run again stay, and from
there into a Markdown table beside it and the one of ``docs/reliability.md``.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULT = ROOT / "benchmarks" / "results" / "fuzz.json"
CRASHES = ROOT / "build" / "fuzz"
LONGEST_S = 10
ROOM_BYTES = 2 * 2**30
MOST_BYTES = 8192
INSTRUMENTED = [
    "bids_harmony", "nibabel.nifti1", "nibabel.analyze", "nibabel.wrapstruct",
    "nibabel.spatialimages", "nibabel.arrayproxy", "yaml", "tomllib",
]  # fmt: skip
PACKAGES = ("atheris", "numpy", "nibabel", "safetensors", "torch", "pyyaml")


def fuzz(name: str, seconds: float, report: Path) -> None:
    """Fuzz one reader in this process, which ends with it."""
    import atheris

    logging.disable(logging.CRITICAL)
    warnings.simplefilter("ignore")
    with atheris.instrument_imports(include=INSTRUMENTED):
        from tests.hostile.parser import outcome
        from tests.hostile.parsers import PARSERS

        parser = PARSERS[name]
        seeds = parser.seeds()
        folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
        # All that is imported late is imported, and instrumented, now.
        for seed in seeds:
            assert outcome(parser, folder, seed) == "value", f"a sound file of {name} is refused"
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / str(number)).write_bytes(seed)
    words = folder / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in parser.words))

    counts: Counter[str] = Counter()
    crashes: dict[str, int] = {}
    started, slowest = time.monotonic(), 0.0

    def one(content: bytes) -> None:
        nonlocal slowest
        start = time.monotonic()
        try:
            counts[outcome(parser, folder, content)] += 1
        except Exception as error:
            where = _place(error)
            crashes[where] = crashes.get(where, 0) + 1
            if crashes[where] == 1:
                kept = CRASHES / name / f"{len(crashes)}"
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_bytes(content)
                kept.with_suffix(".txt").write_text("".join(traceback.format_exception(error)))
        now = time.monotonic()
        slowest = max(slowest, now - start)
        if now - started > seconds:
            record = {
                "inputs": counts.total() + sum(crashes.values()),
                "values": counts.pop("value", 0),
                "refused": dict(sorted(counts.items())),
                "crashes": dict(sorted(crashes.items())),
                "seconds": round(now - started, 1),
                "slowest_s": round(slowest, 2),
            }
            report.write_text(json.dumps(record))
            shutil.rmtree(folder)
            sys.stdout.flush()
            os._exit(0)

    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM_BYTES,) * 2)
    options = [
        f"-max_len={max(MOST_BYTES, *map(len, seeds))}", f"-timeout={LONGEST_S}",
        "-rss_limit_mb=0", "-verbosity=0", f"-artifact_prefix={CRASHES / name}-", "-seed=1",
        *([f"-dict={words}"] if parser.words else []), str(corpus),
    ]  # fmt: skip
    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


def _escaped(word: str) -> str:
    return word.replace("\\", "\\\\").replace('"', '\\"')


def _place(error: BaseException) -> str:
    """Exception and the innermost line of ours."""
    ours = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if f"{ROOT}{os.sep}" in frame.filename and "fuzz.py" not in frame.filename
    ]
    at = f"{Path(ours[-1].filename).relative_to(ROOT)}:{ours[-1].name}" if ours else "?"
    return f"{type(error).__name__} in {at}"


def run(name: str, seconds: float) -> dict[str, Any]:
    """Fuzz one reader in a process of its own and say what came of it."""
    CRASHES.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(CRASHES / name, ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, __file__, "--one", name, str(report), "--seconds", str(seconds)]
        done = subprocess.run(
            command, env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
            capture_output=True, text=True, errors="replace",
        )  # fmt: skip
        if report.exists():
            return {"parser": name} | json.loads(report.read_text())
    last = (done.stdout + done.stderr).strip().splitlines()[-12:]
    return {"parser": name, "inputs": 0, "crashes": {"the process died: " + " | ".join(last): 1}}


def table(rows: list[dict[str, Any]]) -> str:
    """The counts as Markdown."""
    lines = ["| reader | inputs | values | refused | crashes | slowest, s |", "| --- " * 6 + "|"]
    for row in rows:
        refused = sum(row.get("refused", {}).values())
        lines.append(
            f"| {row['parser']} | {row['inputs']} | {row.get('values', 0)} | {refused} "
            f"| {len(row['crashes'])} | {row.get('slowest_s', '-')} |"
        )
    inputs, crashes = sum(row["inputs"] for row in rows), sum(len(row["crashes"]) for row in rows)
    seconds = min(row.get("seconds", 0) for row in rows)
    lines += ["", f"{inputs:,} inputs, {seconds:.0f} s for each reader: {crashes} crashes."]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=120.0, help="of each reader")
    parser.add_argument("--parsers", nargs="+", help="default: all")
    parser.add_argument("--one", nargs=2, metavar=("PARSER", "REPORT"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        fuzz(asked.one[0], asked.seconds, Path(asked.one[1]))
        return 0
    if find_spec("atheris") is None:
        parser.error("atheris is not installed: pip install atheris")
    sys.path.insert(0, str(ROOT))
    from measure import provenance, put_into_page

    from tests.hostile.parsers import PARSERS

    earlier = json.loads(RESULT.read_text())["rows"] if RESULT.exists() else []
    rows = {row["parser"]: row for row in earlier}
    for name in asked.parsers or PARSERS:
        rows[name] = row = run(name, asked.seconds)
        refused = sum(row.get("refused", {}).values())
        print(
            f"{name:20s} {row['inputs']:8d} inputs  {row.get('values', 0):7d} values "
            f"{refused:8d} refused  {len(row['crashes'])} crashes",
            *(f"    {times} x {where}" for where, times in row["crashes"].items()),
            sep="\n", flush=True,
        )  # fmt: skip
    result = {
        "name": "fuzz",
        "command": f"python benchmarks/fuzz.py --seconds {asked.seconds:g}",
        **provenance(PACKAGES),
        "seeds": [1],
        "rows": [rows[name] for name in PARSERS if name in rows],
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n")
    text = table(result["rows"])
    RESULT.with_suffix(".md").write_text(text)
    put_into_page("fuzz", text)
    return int(any(row["crashes"] for row in rows.values()))


if __name__ == "__main__":
    raise SystemExit(main())
