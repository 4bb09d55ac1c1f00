from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.diffusion.gradients import Gradients, match_shells, other_shells, others_told
from bids_harmony.exceptions import DataError, ExitCode


def _gradients(bvals) -> Gradients:
    bvals = np.asarray(bvals, dtype=np.float64)
    return Gradients(bvals, np.tile([1.0, 0.0, 0.0], (len(bvals), 1)))


def test_b0_is_up_to_and_with_the_threshold():
    gradients = _gradients([0, 1.25126, 50, 50.1, 1000])
    assert gradients.b0.tolist() == [True, True, True, False, False]
    stricter = Gradients(gradients.bvals, gradients.bvecs, b0_threshold=1)
    assert stricter.b0.tolist() == [True, False, False, False, False]


def test_jitter_stays_in_its_shell_and_volumes_keep_their_order():
    shells = _gradients([3010, 0, 995, 2985, 5, 1005, 1000, 2000, 990]).shells
    assert [s.nominal for s in shells] == [1000, 2000, 3000]
    assert [s.volumes.tolist() for s in shells] == [[2, 5, 6, 8], [7], [0, 3]]
    assert [s.b for s in shells] == [997.5, 2000, 2997.5]
    assert [s.spread for s in shells] == [15, 0, 25]


@pytest.mark.parametrize(
    ("bvals", "groups"),
    [
        ([0, 700, 800], 1),  # a step of 100 is not more than 100
        ([0, 700, 801], 2),
        ([0, 3000, 3300], 1),  # nor is this more than 10 %
        ([0, 3000, 3301], 2),
        ([0, 300, 700, 2000], 3),
        ([0, 0], 0),
    ],
)
def test_steps_between_shells(bvals, groups):
    assert len(_gradients(bvals).shells) == groups


@pytest.mark.parametrize(
    ("b", "nominal"), [(929.75, 950), (924.9, 900), (1025, 1050), (60, 50), (2499, 2500)]
)
def test_nominal_b_is_a_multiple_of_50(b, nominal):
    (shell,) = _gradients([0, b]).shells
    assert (shell.b, shell.nominal) == (b, nominal)


def test_a_continuum_of_b_values_shows_in_the_spread():
    (shell,) = _gradients([0, *range(500, 1501, 100)]).shells
    assert shell.spread == 1000


def test_a_selection_keeps_values_directions_and_threshold(rng):
    bvecs = rng.normal(size=(4, 3))
    gradients = Gradients(np.array([0.0, 1000, 20, 2000]), bvecs, b0_threshold=10)
    some = gradients.select(np.array([3, 0]))
    np.testing.assert_array_equal(some.bvals, [2000, 0])
    np.testing.assert_array_equal(some.bvecs, bvecs[[3, 0]])
    assert some.b0_threshold == 10


def test_shells_go_to_the_nearest_of_the_target():
    assert match_shells([1000, 1990, 930], [2000, 985, 3000]) == (1, 0, 1)
    assert match_shells([], []) == ()


def test_a_tie_goes_to_the_smaller_b_whatever_the_order():
    assert match_shells([1000], [1050, 950]) == (1,)
    assert match_shells([1000], [950, 1050]) == (0,)


@pytest.mark.parametrize(
    ("source", "target", "fits"),
    [
        (800, 700, True),  # 100 s/mm2
        (801, 700, False),
        (3300, 3000, True),  # 10 % of the target's
        (3301, 3000, False),
        (1000, 2000, False),
    ],
)
def test_a_shell_too_far_from_all_is_refused(source, target, fits):
    if fits:
        assert match_shells([source], [target]) == (0,)
        return
    with pytest.raises(DataError, match=f"b={source}.*b={target}") as caught:
        match_shells([source], [target])
    assert caught.value.exit_code is ExitCode.BAD_DATA


def test_a_target_without_shells_is_refused():
    with pytest.raises(DataError, match="target shells none"):
        match_shells([1000], [])


def test_shells_that_one_of_some_sites_lacks():
    series = (930.0, 1500.0, 2000.0)
    assert other_shells(series, (950.0, 1500.0, 2000.0), (1000.0, 2050.0)) == (1500.0,)
    assert other_shells(series, (950.0,), (2000.0,)) == series
    assert other_shells(series) == () == other_shells((), (1000.0,))
    told = others_told((1500.0,), (950.0, 1500.0), ())
    assert told.startswith("b=1500 s/mm2") and "(its own: b=950, b=1500; target: none)" in told
    assert "--strict-shells" in told
