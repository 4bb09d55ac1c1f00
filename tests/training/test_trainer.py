"""The optimizer loop: it learns, and a resumed training gives the bits of an uninterrupted one."""

import pytest
import torch

from bids_harmony.exceptions import DataError
from bids_harmony.model.network import Condition, IHFNetwork
from bids_harmony.model.presets import preset
from bids_harmony.training.trainer import Schedule, fit

CONFIG = preset("local", grid=2, n_maps=0, hidden=(4, 4), head_channels=4, embedding=8,
                projection=(8, 8))  # fmt: skip


def network():
    torch.manual_seed(1)
    return IHFNetwork(CONFIG, 6)


def draw(step):
    generator = torch.Generator().manual_seed(step)
    return torch.rand(2, 3, 16, 16, generator=generator)


def run(folder, steps, total, model=None, fingerprint="a"):
    model = model or network()

    def loss_of(batch):
        condition = Condition(torch.ones(1, 6), torch.zeros(1, 6))
        output = batch + model.change(batch, condition)
        return (output - 0.8 * batch).square().mean(), {}

    # A schedule of `total` steps, of which this call draws only some.
    def limited(step):
        if step >= steps:
            raise KeyboardInterrupt
        return draw(step)

    schedule = Schedule(total, 5e-3, checkpoint_every=2)
    try:
        rows = fit(model, limited, loss_of, schedule, folder, stage="s", fingerprint=fingerprint)
    except KeyboardInterrupt:
        rows = None
    return model, rows


def test_training_lowers_the_loss_and_writes_a_log(tmp_path):
    _, rows = run(tmp_path, 30, 30)
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert len((tmp_path / "s_log.csv").read_text().splitlines()) == 31


def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path):
    (tmp_path / "a").mkdir(), (tmp_path / "b").mkdir()
    whole, rows = run(tmp_path / "a", 8, 8)
    _, interrupted = run(tmp_path / "b", 5, 8)
    assert interrupted is None
    resumed, again = run(tmp_path / "b", 8, 8)
    assert [row["loss"] for row in again] == [row["loss"] for row in rows]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_a_checkpoint_of_another_training_is_not_used(tmp_path):
    run(tmp_path, 8, 8)
    _, rows = run(tmp_path, 8, 8, fingerprint="b")
    assert [row["step"] for row in rows] == list(range(8))


def test_divergence_is_an_error(tmp_path):
    model = network()

    def broken(batch):
        return next(model.parameters()).sum() * float("nan"), {}

    with pytest.raises(DataError, match="diverged"):
        fit(model, draw, broken, Schedule(2, 1e-3), tmp_path, stage="s", fingerprint="a")
