"""The train of an MPRAGE against the magnetization followed readout by readout."""

import numpy as np
import pytest

from bids_harmony.phantom.anatomy import TISSUES
from bids_harmony.phantom.sequences import Sequence


def followed(sequence: Sequence, t1: float) -> float:
    """Magnitude at the centre of k-space of the thirtieth repetition."""

    def relax(m: float, ms: float) -> float:
        return 1 + (m - 1) * np.exp(-ms / t1)

    flip, m, seen = np.deg2rad(sequence.flip_deg), 1.0, 0.0
    before = round(sequence.centre * sequence.views)
    first = sequence.inversion_ms - before * sequence.spacing_ms
    last = sequence.repetition_ms - first - sequence.views * sequence.spacing_ms
    for _ in range(30):
        m = relax(-m, first)
        for view in range(sequence.views):
            if view == before:
                seen = abs(m * np.sin(flip))
            m = relax(m * np.cos(flip), sequence.spacing_ms)
        m = relax(m, last)
    return seen


@pytest.mark.parametrize("t1", [600.0, 832.0, 1331.0, 4000.0])
@pytest.mark.parametrize("centre", [0.1, 0.5])
def test_the_train_is_the_steady_state_of_its_readouts(t1, centre):
    sequence = Sequence("mprage", 2300, 0.0, 900, 9.0, views=120, spacing_ms=7.1, centre=centre)
    assert sequence.signal(np.float64(t1), 80.0, 1.0, 1.0) == pytest.approx(
        followed(sequence, t1), rel=1e-6
    )


def test_one_readout_at_a_small_angle_is_the_plain_inversion_recovery():
    train = Sequence("mprage", 9000, 0.0, 900, 0.1, views=1, spacing_ms=1.0, centre=0.0)
    plain = Sequence("mprage", 9000, 0.0, 900, 0.1)
    t1 = np.float64(832.0)
    # The plain one inverts what had recovered of full magnetization.
    assert train.signal(t1, 80.0, 1.0, 1.0) == pytest.approx(
        plain.signal(t1, 80.0, 1.0, 1.0), rel=1e-3
    )


def test_a_later_readout_flattens_the_contrast_as_in_nine_travelling_people():
    """GE, time from the inversion to the first readout 600 and 1060 ms: 0.66 and 0.74."""

    def grey_over_white(preparation: float, spacing: float, views: int) -> float:
        inversion = preparation + views // 2 * spacing
        sequence = Sequence(
            "mprage", preparation + views * spacing, 3.4, inversion, 8.0,
            views=views, spacing_ms=spacing,
        )  # fmt: skip
        grey, white = (
            float(sequence.signal(t.t1_ms, t.t2_ms, t.density, 1.0)) for t in TISSUES[:2]
        )
        return grey / white

    shift = grey_over_white(1060, 8.8, 102) - grey_over_white(600, 8.1, 86)
    assert shift == pytest.approx(0.08, abs=0.02)
