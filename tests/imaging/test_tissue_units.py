"""Intensities between anchors, and quantiles that ventricles do not move."""

import numpy as np
import pytest

from bids_harmony.imaging.tissue_units import CURVE_LEVELS, anchored, standard_quantiles

OWN, GOAL = np.array([0.2, 0.6, 0.8]), np.array([0.3, 0.5, 1.0])


def test_anchors_go_to_their_goals_and_between_them_a_line():
    assert anchored(np.array([0, *OWN]), OWN, GOAL) == pytest.approx([0, *GOAL])
    assert anchored(np.array([0.1, 0.4, 0.7]), OWN, GOAL) == pytest.approx([0.15, 0.4, 0.75])
    # Beyond the last, in proportion to it.
    assert anchored(np.array([0.88]), OWN, GOAL) == pytest.approx([1.0 + 0.08 * 1.0 / 0.8])


def test_anchors_too_close_are_moved_apart_and_the_map_stays_increasing():
    close = np.array([0.2, 0.2005, 0.8])
    x = np.linspace(0, 1, 500)
    assert (np.diff(anchored(x, close, GOAL)) > 0).all()
    assert (np.diff(anchored(x, OWN, close)) > 0).all()
    assert anchored(np.array([0.22]), close, GOAL) == pytest.approx([0.5])


def test_there_and_back_is_nothing(rng):
    x = rng.random(100)
    assert anchored(anchored(x, OWN, GOAL), GOAL, OWN) == pytest.approx(x, abs=1e-12)


def brain(rng, csf: int) -> tuple[np.ndarray, np.ndarray]:
    """Voxels of three tissues, CSF dark, each tissue sure."""
    counts = (5000, 3500, csf)
    flat = np.concatenate(
        [rng.normal(mean, 0.02, n) for mean, n in zip((0.6, 0.8, 0.2), counts, strict=True)]
    )
    fractions = np.repeat(np.eye(3), counts, axis=1)
    return flat, fractions


def test_large_ventricles_do_not_move_the_quantiles(rng):
    small, large = (standard_quantiles(*brain(rng, csf)) for csf in (1500, 6000))
    assert len(small) == len(CURVE_LEVELS)
    assert large == pytest.approx(small, abs=0.01)
    plain = [np.quantile(brain(rng, csf)[0], 0.4) for csf in (1500, 6000)]
    assert plain[0] - plain[1] > 0.02


def test_quantiles_of_a_usual_brain_are_the_usual_ones(rng):
    flat, fractions = brain(rng, 1500)
    assert standard_quantiles(flat, fractions) == pytest.approx(
        np.quantile(flat, CURVE_LEVELS), abs=2e-3
    )
