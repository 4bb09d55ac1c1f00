"""A sequence that shows wanted contrasts, near to the one it was."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.phantom.anatomy import TISSUES
from bids_harmony.phantom.contrast_fit import shown_contrasts, with_contrasts
from bids_harmony.phantom.random_scanner import random_scanner
from bids_harmony.phantom.scanner import SITES


def test_contrasts_are_those_of_the_signal_equations_after_the_curve():
    scanner = replace(SITES["GE"], gamma=1.2)
    grey, white, csf = (scanner.signal_of(tissue, "T2w") for tissue in TISSUES)
    wanted = 1.2 * np.log([grey / white, csf / white])
    assert np.allclose(shown_contrasts(scanner, "T2w"), wanted)


@pytest.mark.parametrize("modality", ["T1w", "T2w", "FLAIR"])
@pytest.mark.parametrize("seed", range(4))
def test_wanted_contrasts_of_another_scanner_are_shown(modality, seed):
    wanted = shown_contrasts(random_scanner(9_000), modality)
    drawn = [random_scanner(100 * seed + i) for i in range(40)]
    scanner = min(drawn, key=lambda s: np.abs(shown_contrasts(s, modality) - wanted).sum())
    made = with_contrasts(scanner, modality, wanted)
    assert np.abs(shown_contrasts(made, modality) - wanted).max() < 0.01
    others = [kind for kind in scanner.sequences if kind != modality]
    assert all(made.sequences[kind] == scanner.sequences[kind] for kind in others)


def test_what_is_shown_already_changes_nothing():
    scanner = random_scanner(5)
    made = with_contrasts(scanner, "T1w", shown_contrasts(scanner, "T1w"))
    before, after = scanner.sequences["T1w"], made.sequences["T1w"]
    assert after.flip_deg == pytest.approx(before.flip_deg, rel=1e-6)
    assert after.repetition_ms == pytest.approx(before.repetition_ms, rel=1e-6)
