"""A person's deviation grows with the contrast that a scanner shows."""

import numpy as np
import pytest

from bids_harmony.phantom.anatomy import TISSUES
from bids_harmony.phantom.scanner import SITES
from bids_harmony.sites.contrast_law import deviation_gain


def test_equal_sites_and_unknown_laws_keep_a_deviation_as_it_is():
    assert deviation_gain("T1w", -0.4, -0.4) == 1
    assert deviation_gain("FLAIR", 0.1, 0.3) == 1
    assert deviation_gain("T1w", 0.16, -0.4) == 1  # no weighting to measure by
    assert deviation_gain("T1w", 0.5, -0.4) == 1  # contrast the other way round
    assert deviation_gain("T1w", -0.4, 0.16) == 1  # at the target


@pytest.mark.parametrize(
    ("modality", "source", "target", "gain"),
    [
        ("T1w", -0.2, -5.0, 2.5),
        ("T1w", -5.0, -0.2, 0.4),
        ("T1w", -0.3, -0.5, 0.67 / 0.47),
        ("T1w", -0.5, -0.3, 0.47 / 0.67),
        ("T2w", 0.2, 0.4, 0.47 / 0.27),
        ("T2w", 0.4, 0.2, 0.27 / 0.47),
    ],
)
def test_a_deviation_grows_with_contrast_within_bounds(modality, source, target, gain):
    assert deviation_gain(modality, source, target) == pytest.approx(gain)


@pytest.mark.parametrize(("modality", "within"), [("T1w", 0.12), ("T2w", 0.17)])
def test_the_law_is_what_signal_equations_say(modality, within):
    """Of equal spread of T1 and T2 in grey and white matter, as a regression would find it."""
    target = _contrast(SITES["COI"], modality), _sensitivities(SITES["COI"], modality)
    for scanner in SITES.values():
        own, there = _sensitivities(scanner, modality), target[1]
        expected = own @ there / (own @ own)
        found = deviation_gain(modality, _contrast(scanner, modality), target[0])
        assert found == pytest.approx(expected, rel=within), scanner.site


def _signal(scanner, modality, tissue, t1=1.0, t2=1.0):
    known = TISSUES[tissue]
    field = (scanner.field_tesla / 3) ** (1 / 3)
    sequence = scanner.sequences[modality]
    return (
        sequence.signal(known.t1_ms * field * t1, known.t2_ms * t2, known.density, 1.0)
        ** scanner.gamma
    )


def _contrast(scanner, modality):
    return float(np.log(_signal(scanner, modality, 0) / _signal(scanner, modality, 1)))


def _sensitivities(scanner, modality):
    slopes = []
    for tissue, sign in ((0, 1), (1, -1)):
        for name in ("t1", "t2"):
            up, down = (_signal(scanner, modality, tissue, **{name: f}) for f in (1.02, 0.98))
            slopes.append(sign * np.log(up / down))
    return np.array(slopes)
