"""Two processes train as one does with the same batch; only the first writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from bids_harmony.training.distributed import Ranks, joined, local_device
from bids_harmony.training.training_log import read_log
from tests.training.tiny import train

ROOT = Path(__file__).resolve().parents[2]


def test_one_process_needs_nobody(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    with joined(torch.device("cpu")) as ranks:
        assert (ranks, ranks.first) == (Ranks(0, 1), True)
        numbers = torch.ones(2)
        ranks.add_up([numbers])
        ranks.wait()
        assert numbers.tolist() == [1, 1] and ranks.from_first(3) == 3
    # Variables of another launcher: a rank without a world.
    monkeypatch.setenv("RANK", "1")
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined(torch.device("cpu")) as ranks:
        assert ranks.first


def test_each_process_of_a_machine_takes_its_own_card(monkeypatch):
    assert local_device(torch.device("cuda", 0)).index == 0
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert local_device(torch.device("cuda", 0)).index == 1
    assert local_device(torch.device("cpu")).type == "cpu"


def test_the_second_of_two_works_on_its_share(tmp_path, monkeypatch):
    """Without processes: the sum of both ranks' parts is what one rank sees."""
    drawn = []
    monkeypatch.setattr(Ranks, "add_up", lambda self, tensors: None)
    monkeypatch.setattr(Ranks, "from_first", lambda self, value: value)

    def draw(step, part, parts):
        from tests.training.tiny import draw

        drawn.append((part, parts))
        return draw(step, part, parts)

    _, fitted = train(tmp_path, 1, ranks=Ranks(1, 2), accumulate=2, draw=draw)
    assert drawn == [(2, 4), (3, 4)]
    assert not fitted.log.exists() and not list(tmp_path.iterdir())


def torchrun(*words: str, processes: int = 2) -> subprocess.CompletedProcess:
    """Start a program in some processes on this machine."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node",
        str(processes), *words,
    ]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, cwd=ROOT, timeout=240
    )


@pytest.mark.e2e
def test_two_processes_have_the_loss_curve_of_one(tmp_path):
    finished = torchrun("tests/training/tiny.py", str(tmp_path / "two"))
    assert finished.returncode == 0, finished.stderr
    _, alone = train(tmp_path / "one")
    together = read_log(tmp_path / "two" / "s_log.csv")
    for one, two in zip(read_log(alone.log), together, strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-6)
        assert two["learning_rate"] == one["learning_rate"]


@pytest.mark.e2e
def test_the_level_train_in_two_processes_is_that_of_one(tmp_path):
    from tests.training.tiny_level import train as train_level

    alone = train_level(tmp_path / "one")
    finished = torchrun("tests/training/tiny_level.py", str(tmp_path / "two"))
    assert finished.returncode == 0, finished.stderr
    log = Path("models") / "adaptation_log.csv"
    one, two = (read_log(tmp_path / name / log) for name in ("one", "two"))
    assert [row["loss"] for row in two] == pytest.approx([row["loss"] for row in one], rel=1e-6)
    about = json.loads((tmp_path / "two" / "models" / "model.json").read_text())["extra"]
    assert (alone["processes"], about["processes"]) == (1, 2)
    assert alone["adaptation"]["kept"] and about["adaptation"]["kept"]
