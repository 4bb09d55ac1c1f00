"""The optimizer loop: it learns, and a resumed training gives the bits of an uninterrupted one."""

import math

import pytest
import torch

from bids_harmony.exceptions import DataError
from bids_harmony.training.trainer import Schedule, fit
from bids_harmony.training.training_log import read_log
from tests.training.tiny import darker, draw, network, train


def same_weights(first, second):
    pairs = zip(first.state_dict().items(), second.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for (_, a), b in pairs)


def interrupted_at(stop, drawn=draw):
    def limited(step, part, parts):
        if step >= stop:
            raise KeyboardInterrupt
        return drawn(step, part, parts)

    return limited


def validation(model):
    """Error on images that training does not see."""

    def measure():
        with torch.no_grad():
            return float(darker(model)(draw(1000))[0])

    return measure


def test_training_lowers_the_loss_and_writes_a_log(tmp_path):
    _, fitted = train(tmp_path, 30)
    rows = read_log(fitted.log)
    assert [row["step"] for row in rows] == list(range(30)) and fitted.steps == 30
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    # Warm-up, then down to nothing.
    rates = [row["learning_rate"] for row in rows]
    assert rates[0] < rates[10] > rates[-1] > 0


def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path):
    whole, fitted = train(tmp_path / "a")
    # Cut off between two checkpoints, with rows in the log that the checkpoint does not know.
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "b", draw=interrupted_at(5), checkpoint_every=3)
    resumed, again = train(tmp_path / "b", checkpoint_every=3)
    assert again.log.read_bytes() == fitted.log.read_bytes()
    assert same_weights(whole, resumed)


def test_early_stop_keeps_the_best_weights_and_resumes_to_the_same_bits(tmp_path):
    measured = []

    def run(folder, values, **options):
        model, remaining = network(), iter(values)

        def validate():
            measured.append([p.detach().clone() for p in model.parameters()])
            return next(remaining)

        return train(folder, 40, model=model, validate=validate, validate_every=2, patience=3,
                     **options)  # fmt: skip

    values = [0.9, 0.5, 0.6, 0.4, 0.7, 0.8, 0.45, 0.1]
    model, fitted = run(tmp_path / "a", values)
    assert (fitted.steps, fitted.best_step, fitted.validation) == (14, 8, 0.4)
    assert all(torch.equal(a, b) for a, b in zip(measured[3], model.parameters(), strict=True))
    told = [row["validation"] for row in read_log(fitted.log)]
    assert told[1::2] == values[:7] and all(math.isnan(value) for value in told[::2])

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "b", values, draw=interrupted_at(11), checkpoint_every=10)
    resumed, again = run(tmp_path / "b", values[5:], checkpoint_every=10)
    assert again.log.read_bytes() == fitted.log.read_bytes()
    assert same_weights(model, resumed)
    # A finished training is not gone on with.
    finished, last = run(tmp_path / "b", [])
    assert same_weights(model, finished) and last.steps == 14


def test_validation_leaves_the_training_alone(tmp_path):
    plain, _ = train(tmp_path / "a", 6)
    model = network()
    checked, fitted = train(tmp_path / "b", 6, model=model, validate=validation(model))
    assert same_weights(plain, checked) and fitted.best_step == 6
    assert fitted.validation == validation(checked)()


def test_accumulation_changes_rounding_only(tmp_path):
    whole, one = train(tmp_path / "a", 6)
    parts, many = train(tmp_path / "b", 6, accumulate=3)
    for first, second in zip(read_log(one.log), read_log(many.log), strict=True):
        assert second["loss"] == pytest.approx(first["loss"], rel=1e-5)
        assert second["error"] == pytest.approx(first["error"], rel=1e-5)
    for first, second in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.allclose(first, second, atol=1e-5)


def test_parts_side_by_side_give_the_same_bits_as_one_after_the_other(tmp_path):
    behind, one = train(tmp_path / "a", 6, accumulate=3)
    beside, other = train(tmp_path / "b", 6, accumulate=3, side_by_side=2)
    assert other.log.read_bytes() == one.log.read_bytes()
    assert same_weights(behind, beside)


def test_the_average_is_what_is_validated_and_what_stays(tmp_path):
    plain, _ = train(tmp_path / "a", 8)
    averaged, _ = train(tmp_path / "b", 8, average=0.9)
    assert not same_weights(plain, averaged)
    # The training itself does not follow it.
    first, second = (tmp_path / n / "s_log.csv" for n in "ab")
    assert first.read_bytes() == second.read_bytes()
    model = network()
    _, fitted = train(
        tmp_path / "c", 8, average=0.9, model=model, validate=validation(model), validate_every=8
    )
    assert same_weights(averaged, model)
    assert fitted.validation == validation(averaged)()


def test_the_average_goes_on_to_the_same_bits(tmp_path):
    whole, _ = train(tmp_path / "a", average=0.9)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "b", draw=interrupted_at(5), checkpoint_every=3, average=0.9)
    resumed, _ = train(tmp_path / "b", checkpoint_every=3, average=0.9)
    assert same_weights(whole, resumed)


def test_a_training_tells_its_speed(tmp_path):
    _, fitted = train(tmp_path, 4)
    # Two convolutions a stage of so few channels are well below a billion operations.
    assert 0 < fitted.speed.gflop_per_step < 1
    assert fitted.speed.steps_per_second > 0 and fitted.speed.convolution_rate > 0
    _, again = train(tmp_path, 4)
    assert again.speed is None


def test_half_precision_learns_in_single_precision_weights(tmp_path):
    model = network()
    seen = []

    def loss_of(batch):
        # Couplings and normalisation keep single precision: without modulation the way there and
        # back is exact.
        with torch.no_grad():
            seen.append((model.reconstruct(batch.images) - batch.images).abs().max())
            half = model.stages[0].blocks[0].affine[0](torch.zeros(1, 12, 4, 4)).dtype
        assert half == torch.bfloat16
        return darker(model)(batch)

    schedule = Schedule(30, 5e-3, precision="bf16")
    fitted = fit(model, draw, loss_of, schedule, tmp_path, stage="s", fingerprint="a")
    rows = read_log(fitted.log)
    assert rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert max(seen) < 1e-5
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_a_checkpoint_does_not_grow_with_the_steps(tmp_path):
    train(tmp_path / "a", 4)
    train(tmp_path / "b", 40)
    short, long = ((tmp_path / n / "s_checkpoint.safetensors").stat().st_size for n in "ab")
    assert abs(long - short) < 64


def test_a_checkpoint_of_another_training_is_not_used(tmp_path):
    train(tmp_path, 4)
    _, fitted = train(tmp_path, 4, fingerprint="b")
    assert [row["step"] for row in read_log(fitted.log)] == [0, 1, 2, 3]


def test_a_damaged_checkpoint_is_an_error(tmp_path):
    train(tmp_path, 2)
    path = tmp_path / "s_checkpoint.safetensors"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(DataError, match=r"cannot be read.*s_checkpoint"):
        train(tmp_path, 2)


def test_time_that_is_spent_ends_the_training(tmp_path):
    _, fitted = train(tmp_path, 1000, max_seconds=1e-6)
    assert fitted.steps == 1


def test_divergence_is_an_error_that_leaves_the_weights(tmp_path):
    model, before = network(), network()

    def broken(batch):
        return next(model.parameters()).sum() * float("nan"), {}

    with pytest.raises(DataError, match="diverged"):
        fit(model, draw, broken, Schedule(2, 1e-3), tmp_path, stage="s", fingerprint="a")
    assert same_weights(model, before)
