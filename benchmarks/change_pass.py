"""What the pass for processors saves: `model/inference.py` against the network's own `change`.

    python benchmarks/change_pass.py

Takes the slices of a volume of 1 mm through the default preset with random weights, as
`methods.conditioned.predict_change` does: a few slices a pass, passes shared among two threads.
The ways take turns. Results go to ``benchmarks/results/change_pass.json``.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from measure import provenance
from participant import NETWORK_SLICES, network_job

from bids_harmony.devices import exact_convolutions
from bids_harmony.methods import conditioned
from bids_harmony.model.inference import ChangePass
from bids_harmony.model.network import Condition, IHFNetwork

RESULT = Path(__file__).resolve().parent / "results" / "change_pass.json"
THREADS = 2
PACKAGES = ("torch", "numpy")


class Plain:
    """`IHFNetwork.change` in the place of `ChangePass`."""

    def __init__(self, network: IHFNetwork, *, channels_last: bool) -> None:
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        self.network = copy.deepcopy(network).to(memory_format=self.format)

    @staticmethod
    def suits(network: IHFNetwork, device: str) -> bool:
        """As `ChangePass.suits`."""
        return True

    @torch.inference_mode()
    def __call__(self, x: torch.Tensor, condition: Condition) -> torch.Tensor:
        """Change of slices, (B, 3, H, W)."""
        with exact_convolutions():
            return self.network.change(x.contiguous(memory_format=self.format), condition)


class _Way:
    def __init__(self, build: Callable[[IHFNetwork], Any]) -> None:
        self.build, self.suits = build, ChangePass.suits

    def __call__(self, network: IHFNetwork) -> Any:
        return self.build(network)


WAYS: dict[str, Callable[[IHFNetwork], Any]] = {
    "model/inference.py": ChangePass,
    "network.change": partial(Plain, channels_last=False),
    "network.change, channels last": partial(Plain, channels_last=True),
}


def measure(repeats: int) -> list[dict[str, Any]]:
    """One row for each way: seconds of every repeat, and the difference to the first way."""
    torch.set_num_threads(THREADS)
    slices, width, height = NETWORK_SLICES
    job = network_job(slices, (width, height))
    rows: dict[str, dict[str, Any]] = {
        name: {"way": name, "seconds": [], "cpu_seconds": []} for name in WAYS
    }
    made: dict[str, np.ndarray] = {}
    for repeat in range(repeats + 1):
        for name, build in WAYS.items():
            with patch.object(conditioned, "ChangePass", _Way(build)):
                wall, cpu = time.perf_counter(), time.process_time()
                # The first round warms up.
                found = job(slices if repeat else 16)
                took = time.perf_counter() - wall, time.process_time() - cpu
            if repeat:
                rows[name]["seconds"].append(round(took[0], 2))
                rows[name]["cpu_seconds"].append(round(took[1], 2))
                made[name] = found
    first = made[next(iter(WAYS))]
    for name, row in rows.items():
        row["same_bits"] = bool(np.array_equal(made[name], first))
        row["largest_difference"] = float(np.abs(made[name] - first).max())
        row["largest_change"] = float(np.abs(made[name]).max())
    return list(rows.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    before = os.getloadavg()
    rows = measure(options.repeats)
    result = {
        "name": "change_pass",
        "command": "python benchmarks/change_pass.py",
        **provenance(PACKAGES),
        "load_average": {"before": before, "after": os.getloadavg()},
        "threads": THREADS,
        "slices": NETWORK_SLICES,
        "rows": rows,
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
