"""Shells that the target does not show: what is the scanner's is harmonized, order stays."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.diffusion.gradients import Shell
from bids_harmony.methods.other_shells import OtherShells
from bids_harmony.methods.shell_models import AttenuationModel, above_nothing
from bids_harmony.sites.series_profile import SeriesProfile
from tests.diffusion.simple_series import make_gradients, make_series
from tests.methods.simple_sites import make_rish, make_site

MANY = make_gradients(30, (500.0, 1000.0, 2000.0, 3000.0))
ONE = make_gradients(30, (1000.0,))
OTHERS = (500.0, 2000.0, 3000.0)
PEOPLE = (0.99, 1.0, 1.01, 0.995, 1.005)


def site(name, gradients, people=PEOPLE, **scanner):
    return make_site(name, gradients, people, **scanner)


def lifted(profile, by):
    """A site whose level of the mean differs by more than people do."""
    return SeriesProfile(
        profile.site,
        tuple(
            (k, replace(v, levels={b: (x[0] + by, *x[1:]) for b, x in v.levels.items()}))
            for k, v in profile.scans
        ),
    )


def rish(series, mask, source, target, gradients=MANY):
    return make_rish(series, mask, source, target, gradients)


def means(series, mask, model=None):
    """Mean b=0 and mean signal of each shell (shells + 1, V), after a model and as written."""
    mean = np.maximum(series.signal(np.s_[..., MANY.b0])[mask].mean(1), 1)
    found = {0.0: mean}
    for shell in model.in_turn(MANY.shells) if model else MANY.shells:
        signal = series.signal(np.s_[..., shell.volumes])[mask]
        changed = above_nothing(model(shell, signal, mean), signal) if model else signal
        over = (changed > mean[:, None]) & (signal <= mean[:, None])
        found[shell.b] = np.where(over, mean[:, None], changed).mean(1)
    return np.array([found[b] for b in sorted(found)])


def violations(signals):
    """Share of voxels and neighbouring shells in which the signal rises with b."""
    return float((np.diff(signals, axis=0) > 1e-3).mean())


@pytest.mark.parametrize("others", [OTHERS, (500.0, 1000.0, 2000.0, 3000.0)])
def test_strength_of_the_gradients_is_undone_in_shells_that_the_target_lacks(others):
    source = site("GE", MANY, noise=0.01, b_scale=1.06)
    # A target that has none of the shells, or one of them, has shown its water all the same.
    shown = ONE if len(others) == 3 else make_gradients(30, (800.0,))
    target = site("COI", shown, noise=0.01)
    series, mask = make_series(MANY, seed=1, noise=0.01, b_scale=1.06)
    twin, _ = make_series(MANY, seed=1, noise=0.01)
    model = rish(series, mask, source, target)
    before, goal = means(series, mask), means(twin, mask)
    after = means(series, mask, OtherShells(model, model, others))
    tissue = before[-1] > 40  # above the floor of noise at the highest b
    for row in range(1, 5):
        apart, left = (np.median(m[row, tissue] / goal[row, tissue]) for m in (before, after))
        assert abs(apart - 1) > 0.02
        assert abs(left - 1) < 0.35 * abs(apart - 1)


def test_the_floor_of_the_target_s_noise_goes_into_a_shell_that_it_lacks():
    source, target = site("GE", MANY, noise=0.06), site("COI", ONE, noise=0.01)
    series, mask = make_series(MANY, seed=1, noise=0.06)
    twin, _ = make_series(MANY, seed=1, noise=0.01)
    model = rish(series, mask, source, target)
    after = means(series, mask, OtherShells(model, model, OTHERS))
    water = np.zeros(mask.shape, bool)
    water[9:11, 3:-3, 3:-3] = True
    raw, new, goal = (
        m[-1, water[mask]].mean() for m in (means(series, mask), after, means(twin, mask))
    )
    assert raw > 4 * goal
    # What is left are voxels that noise has put above the floor.
    assert abs(new - goal) < 0.35 * (raw - goal)


def test_a_level_that_is_changed_in_one_shell_makes_no_step_to_the_others():
    people, target = site("GE", MANY), site("COI", ONE)
    series, mask = make_series(MANY, seed=1)
    model = rish(series, mask, lifted(people, 0.2), target)
    whole = OtherShells(model, model, OTHERS)
    before = means(series, mask)
    tissue = before[-1] > 40
    median = np.median(means(series, mask, whole)[:, tissue] / before[:, tissue], axis=1)
    assert median[2] == pytest.approx(np.exp(-0.2), rel=0.03)
    # The same above it, half of it at half the b, none at b=0.
    assert median[3:] == pytest.approx(median[2], rel=0.01)
    assert median[1] == pytest.approx(np.exp(-0.1), rel=0.03)
    assert median[0] == 1


@pytest.mark.parametrize("mode", ["rish", "attenuation"])
@pytest.mark.parametrize("noise", [0.0, 0.03])
@pytest.mark.parametrize(("person", "lift"), [(0.8, -0.3), (2.0, 0.3)])
def test_signals_fall_with_b_wherever_they_did(mode, noise, person, lift):
    """The target shows one shell and very different people, in noise of its own."""
    source = site("GE", MANY, noise=noise)
    target = site("COI", ONE, person * np.array(PEOPLE), noise=0.05)
    series, mask = make_series(MANY, seed=1, noise=noise, b_scale=1.03)
    rest = rish(series, mask, lifted(source, lift), target)
    known = rest if mode == "rish" else AttenuationModel(source, target)
    before = means(series, mask)
    whole = OtherShells(known, rest, OTHERS)
    # Shells that do not heed each other.
    loose = OtherShells(lambda s, *own: (rest if s.b in OTHERS else known)(s, *own), rest, ())
    after, apart = means(series, mask, whole), means(series, mask, loose)
    assert np.abs(after[2] / before[2] - 1).max() > 0.05
    fell = np.diff(before, axis=0) <= 0
    assert (np.diff(after, axis=0)[fell] <= 1e-3).all()
    assert violations(after) <= violations(before)
    if noise or mode == "attenuation":
        # Water at high b is where shells would pass each other.
        assert violations(apart) > violations(after)
        assert sum(whole.moved) > 0
    # Shells that both sites show are as they would be without the others, to the bit.
    assert np.array_equal(after[2], apart[2])


def test_a_shell_that_would_pass_its_neighbours_goes_where_it_was_between_them():
    one = np.array([0])
    shells = [Shell(b, one, 0.0) for b in (1000.0, 2000.0, 3000.0)]
    before = {1000.0: 400.0, 2000.0: 200.0, 3000.0: 100.0}

    def changed(after, before=before, others=(2000.0,)):
        def model(shell, signal, mean):
            return np.full_like(signal, after[shell.b])

        both = OtherShells(model, model, others)
        found = {}
        for shell in both.in_turn(shells):
            signal = np.full((1, 1), before[shell.b], np.float32)
            found[shell.b] = float(both(shell, signal, np.array([1000.0]))[0, 0])
        return found[2000.0], found[3000.0]

    # In order: nothing is done.
    assert changed({1000.0: 500.0, 2000.0: 499.0, 3000.0: 90.0})[0] == 499
    # Halfway on a logarithmic scale it was, and is again, above or below.
    for lost in (501.0, 124.0):
        assert changed({1000.0: 500.0, 2000.0: lost, 3000.0: 125.0})[0] == pytest.approx(250)
    # The highest one keeps its ratio to the one below, which may be one of the others.
    after = {1000.0: 150.0, 2000.0: 210.0, 3000.0: 160.0}
    assert changed(after, others=(2000.0, 3000.0)) == pytest.approx((75, 37.5))
    # An order that the source has not is not made up; what is left of it is kept.
    odd = before | {2000.0: 450.0}
    assert changed({1000.0: 400.0, 2000.0: 460.0, 3000.0: 100.0}, odd)[0] == 460
    assert changed({1000.0: 400.0, 2000.0: 80.0, 3000.0: 100.0}, odd)[0] == pytest.approx(450)


def test_what_was_done_and_what_was_not_is_told():
    series, mask = make_series(MANY, seed=1, noise=0.02, b_scale=1.06)
    source = site("GE", MANY, noise=0.02, b_scale=1.06)
    model = rish(series, mask, source, site("COI", ONE, noise=0.02))
    assert OtherShells(model, model, ()).told(with_b0=True) == {}
    whole = OtherShells(model, model, OTHERS)
    means(series, mask, whole)
    told = whole.told(with_b0=True)
    assert told["Shells"] == list(OTHERS) and told["NotDone"] == []
    assert told["Done"][0] == "mean b=0" and told["Done"][2] == "noise"
    assert 1.05 < float(told["Done"][1].split("(")[1].split()[0]) < 1.07
    assert told["Done"][3] == "levels (they follow b=1000)"
    assert 0 <= told["KeptInOrderShare"] < 0.05
    assert "b=500, b=2000, b=3000 s/mm2" in told["Note"] and "target: b=1000)" in told["Note"]
    # No water at one strong shell, no noise from one b=0 volume and three directions.
    blind = tuple(
        (k, replace(v, water=np.nan, noise=np.nan))
        for k, v in site("COI", make_gradients(30, (2500.0,))).scans
    )
    model = rish(series, mask, source, SeriesProfile("COI", blind))
    told = OtherShells(model, model, (1000.0,)).told(with_b0=False)
    assert told["Done"] == []
    assert [left.split(" (")[0] for left in told["NotDone"]] == [
        "mean b=0", "strength of the gradients", "noise", "levels",
    ]  # fmt: skip
