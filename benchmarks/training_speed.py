"""How fast twins are trained on, this build beside an earlier one, at equal validation curves.

    python benchmarks/training_speed.py --build PYTHON

PYTHON is the interpreter of an environment with the earlier build. Both make the same small pool
of people and scanners, in a process each, and train the default network from nothing with the
same seeds, eight slices a step, each as its recipe does on two processors: ``before`` with one
torch thread beside the one that makes pairs, ``now`` in two halves and in bf16. Runs take turns.
Errors are those on people and scanners that training never sees (`score_twins`), relative to what
the closed form leaves. Results go to ``benchmarks/results/training_speed.json``.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

RESULT = Path(__file__).resolve().parent / "results" / "training_speed.json"
PACKAGES = ("torch", "numpy", "scipy")
PLAN: dict[str, Any] = {
    "training_people": 6,
    "profile_people": 6,
    "validation_people": 3,
    "scans_per_profile": (1, 6),
    "training_scanners": 12,
    "validation_scanners": 4,
    "coded": 1,
    "seed": 5,
}
LEARNING_RATE = 2e-3
SLICES = 8
PAIRS = 8


def worker(build: str, line: str) -> None:
    """Make the pool, then train as told by lines of standard input, one JSON each; runs in the
    interpreter of a build."""
    import torch

    from bids_harmony.model.encoder import load_encoder
    from bids_harmony.model.network import IHFNetwork
    from bids_harmony.model.presets import DEFAULT_PRESET, preset
    from bids_harmony.sites.image_profile import standardize_codes
    from bids_harmony.training.pretrain import pretrain, score_twins
    from bids_harmony.training.trainer import Schedule

    # The build before has them in another module.
    parts = importlib.import_module(
        "bids_harmony.training." + ("twin_pool" if build == "now" else "twins")
    )
    torch.set_num_threads(1)
    encoder, config = load_encoder("mri"), preset(DEFAULT_PRESET)
    pool = parts.make_pool(parts.TwinPlan(**PLAN), encoder, cells=config.aan.grid, threads=2)
    options: dict[str, Any] = {}
    if build == "now":
        from bids_harmony.training.pretrain import TWIN_AVERAGE, TWIN_PARTS

        options = {
            "accumulate": TWIN_PARTS,
            "side_by_side": TWIN_PARTS,
            "average": TWIN_AVERAGE,
            "precision": "bf16",
        }

    def train(seed: int, steps: int, score: bool) -> dict[str, Any]:
        torch.manual_seed(seed)
        network = IHFNetwork(config, encoder.code_length)
        standardize_codes(network, pool.profiles.values())
        ticks: list[tuple[float, float]] = []
        with tempfile.TemporaryDirectory() as folder:
            schedule = Schedule(steps, LEARNING_RATE, checkpoint_every=steps + 1, **options)
            with _ticking(ticks):
                fitted = pretrain(
                    network, pool, schedule, Path(folder), slices=SLICES, seed=seed,
                    use_closed_form=True, fingerprint="speed",
                )  # fmt: skip
        # The first steps wait for the first pairs.
        (start, cpu), (end, cpu_end) = ticks[len(ticks) // 4], ticks[-1]
        taken = len(ticks) - 1 - len(ticks) // 4
        found: dict[str, Any] = {
            "steps_per_second": taken / (end - start),
            "cpu_seconds_per_step": (cpu_end - cpu) / taken,
        }
        speed = getattr(fitted, "speed", None)
        if speed is not None:
            found |= {
                "gflop_per_step": speed.gflop_per_step,
                "convolution_gflop_s": speed.convolution_rate,
            }
        if score:
            scored = score_twins(network, pool, use_closed_form=True, pairs=PAIRS)
            found |= {"rmse_closed_form": scored.closed_form, "rmse": scored.network}
        return found

    print(json.dumps({"ready": True}), flush=True)
    while line := sys.stdin.readline():
        print(json.dumps(train(**json.loads(line))), flush=True)


class _ticking:
    """Notes wall and processor time after every step: the log is written once a step."""

    def __init__(self, ticks: list[tuple[float, float]]) -> None:
        self.ticks = ticks

    def __enter__(self) -> None:
        from bids_harmony.training.training_log import TrainingLog

        self.plain = TrainingLog.write
        plain, ticks = self.plain, self.ticks

        def write(log: Any, row: Any) -> None:
            plain(log, row)
            ticks.append((time.perf_counter(), time.process_time()))

        TrainingLog.write = write  # type: ignore[method-assign]

    def __exit__(self, *_: object) -> None:
        from bids_harmony.training.training_log import TrainingLog

        TrainingLog.write = self.plain  # type: ignore[method-assign]


class _Build:
    """A process that trains with one build."""

    def __init__(self, name: str, python: str) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        environment.pop("PYTHONPATH", None)
        self.process = subprocess.Popen(
            [python, __file__, "--worker", name],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
            cwd=tempfile.gettempdir(),
        )  # fmt: skip
        self.answer()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("A build ended without an answer; its message stands above.")
        return dict(json.loads(line))

    def train(self, **job: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def measure(builds: dict[str, _Build], repeats: int, steps: int) -> list[dict[str, Any]]:
    """Rows of speed, medians; both builds by turns."""
    made: dict[str, list[dict[str, Any]]] = {name: [] for name in builds}
    for repeat in range(repeats):
        for name, build in builds.items():
            found = build.train(seed=repeat, steps=steps, score=False)
            made[name].append(found)
            print(f"{name:7s} {found['steps_per_second']:6.2f} steps/s", flush=True)
    rows = []
    for name, found in made.items():
        every = {key: [one[key] for one in found] for key in found[0]}
        row = {"build": name} | {k: round(statistics.median(v), 4) for k, v in every.items()}
        row["all_steps_per_second"] = [round(v, 2) for v in every["steps_per_second"]]
        rows.append(row)
    before, now = rows
    now["ratio"] = round(now["steps_per_second"] / before["steps_per_second"], 2)
    now["cpu_ratio"] = round(before["cpu_seconds_per_step"] / now["cpu_seconds_per_step"], 2)
    before["ratio"] = 1.0
    # The arithmetic of a step is the network's: the same in both builds.
    for row in rows:
        done = row["steps_per_second"] * now["gflop_per_step"]
        row["gflop_s"] = round(done, 1)
        row["share_of_bf16_convolutions"] = round(done / now["convolution_gflop_s"], 3)
    return rows


def curve_points(
    builds: dict[str, _Build], curve: list[int], seeds: list[int]
) -> list[dict[str, Any]]:
    """Errors after so many steps; both builds by turns."""
    points = []
    for count in curve:
        for seed in seeds:
            for name, build in builds.items():
                found = build.train(seed=seed, steps=count, score=True)
                points.append({"build": name, "steps": count, "seed": seed} | found)
                print(f"{name:7s} {count:5d} steps, seed {seed}: {found['rmse']:.5f}", flush=True)
    return points


def curve_rows(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean over seeds of RMSE relative to the closed form's, by build and steps."""
    rows = []
    for build, steps in dict.fromkeys((p["build"], p["steps"]) for p in points):
        own = [p for p in points if (p["build"], p["steps"]) == (build, steps)]
        ratios = [p["rmse"] / p["rmse_closed_form"] for p in own]
        spread = statistics.stdev(ratios) if len(ratios) > 1 else 0.0
        rows.append(
            {"build": build, "steps": steps, "n": len(own)}
            | {"rmse_of_closed_form": round(statistics.mean(ratios), 4), "sd": round(spread, 4)}
        )
    return rows


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", help="interpreter of the earlier build")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=160, help="of a run that is timed")
    parser.add_argument("--curve", type=int, nargs="*", default=[100, 200, 400, 800])
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(options.worker, "")
        return
    from from_the_box import package_root
    from measure import provenance

    if not options.build:
        parser.error("--build is needed")
    load = os.getloadavg()
    builds = {name: _Build(name, python) for name, python in
              (("before", options.build), ("now", sys.executable))}  # fmt: skip
    rows = measure(builds, options.repeats, options.steps)
    points = curve_points(builds, options.curve, options.seeds)
    for build in builds.values():
        build.close()
    about = provenance(PACKAGES)
    result = {
        "name": "training_speed",
        "command": "python benchmarks/training_speed.py --build PYTHON",
        **about,
        "before_commit": provenance((), root=package_root(Path(options.build)))["commit"],
        "load_average": {"before": load, "after": os.getloadavg()},
        "plan": PLAN,
        "seeds": options.seeds,
        "rows": rows,
        "curve": curve_rows(points),
        "points": points,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({"rows": rows, "curve": result["curve"]}, indent=1))


if __name__ == "__main__":
    main()
