"""Scanners as real ones differ: what the table holds, and what is drawn beside it."""

from importlib import resources

import numpy as np
import pytest

from bids_harmony.imaging.reference import reference_grid
from bids_harmony.phantom.anatomy import TISSUES, make_anatomy
from bids_harmony.phantom.real_scanners import real_scanner, scanner_rows
from bids_harmony.phantom.scanner import acquire

MODALITIES = ("T1w", "T2w", "FLAIR", "b0", "dwi")


@pytest.fixture(scope="module")
def scanners():
    return [real_scanner(seed) for seed in range(len(scanner_rows()))]


@pytest.fixture(scope="module")
def person():
    return make_anatomy(reference_grid(4.0), 3, variation=0)


def contrasts(scanner, modality):
    grey, white, csf = (max(scanner.signal_of(t, modality), 1e-6) for t in TISSUES)
    return scanner.gamma * np.log([grey / white, csf / white])


def test_the_same_seed_gives_the_same_scanner_and_others_differ():
    assert real_scanner(5) == real_scanner(5)
    assert real_scanner(5) != real_scanner(6)


def test_consecutive_seeds_take_every_row_once_and_then_again_with_another_gain(scanners):
    rows = len(scanner_rows())
    assert rows >= 100
    assert len({(s.noise, s.gamma, s.sharpness_mm) for s in scanners}) == rows
    again = real_scanner(3 + rows)
    assert again.sequences["T1w"] == scanners[3].sequences["T1w"]
    assert (again.noise, again.effects) == (scanners[3].noise, scanners[3].effects)
    assert again.gain != scanners[3].gain
    assert len({s.bias_seed for s in scanners}) == rows, "every site has a field of its own"


def test_the_table_is_small():
    file = resources.files("bids_harmony.data") / "real_scanners.tsv"
    assert len(file.read_bytes()) <= 100_000


def test_t1w_contrasts_spread_as_those_of_one_man_on_many_scanners(scanners):
    """Grey matter over white 0.72 in the median; it goes together with CSF."""
    grey, csf = np.array([contrasts(s, "T1w") for s in scanners]).T
    assert np.exp(np.median(grey)) == pytest.approx(0.72, abs=0.03)
    # Half of them; noise lifts CSF, so that pure tissue is darker than what is seen.
    assert np.ptp(np.quantile(grey, [0.25, 0.75])) == pytest.approx(0.126, abs=0.03)
    assert np.ptp(np.quantile(csf, [0.25, 0.75])) == pytest.approx(0.75, abs=0.2)
    assert np.corrcoef(grey, csf)[0, 1] > 0.8


def test_csf_is_bright_in_t2w_and_dark_in_flair(scanners):
    assert np.mean([(np.diff([0, *contrasts(s, "T2w")]) > 0).all() for s in scanners]) > 0.85
    dark = [contrasts(s, "FLAIR") for s in scanners]
    assert all(csf < min(0.0, grey) for grey, csf in dark)


def test_pulse_sequences_have_room_for_what_they_play(scanners):
    for sequence in (s.sequences["T1w"] for s in scanners):
        assert 4 <= sequence.flip_deg <= 41
        if sequence.kind == "mprage":
            before = round(sequence.centre * sequence.views) * sequence.spacing_ms
            first = sequence.inversion_ms - before
            train = sequence.views * sequence.spacing_ms
            assert first > 50 and sequence.repetition_ms - first - train > 0
    assert {s.sequences["T1w"].kind for s in scanners} == {"mprage", "spgr"}


def test_vendors_and_files_differ_as_in_life(scanners):
    effects = [s.effects for s in scanners]
    for share, low, high in (
        (np.mean([e.bias_correction > 0 for e in effects]), 0.5, 0.8),
        (np.mean([e.bits == 8 for e in effects]), 0.02, 0.25),
        (np.mean([e.per_slice for e in effects]), 0.0, 0.15),
        (np.mean([e.saturation > 0 for e in effects]), 0.02, 0.2),
        (np.mean([e.elliptical for e in effects]), 0.15, 0.45),
        (np.mean([min(e.matrix) < 1 for e in effects]), 0.15, 0.45),
        (np.mean([e.unsharp > 0 for e in effects]), 0.1, 0.35),
        (np.mean([s.thick_mm > 0 for s in scanners]), 0.02, 0.35),
        (np.mean([s.detail("T2w").thick_mm > 0 for s in scanners]), 0.2, 0.5),
        (np.mean([s.field_tesla == 1.5 for s in scanners]), 0.55, 0.8),
        (np.mean([s.field_tesla not in (1.0, 1.5, 3.0) for s in scanners]), 0.0, 0.1),
    ):
        assert low < share < high
    assert all(e.bias_correction < 1 for e in effects), "a residual of the field is left"
    fields = [s.field_tesla for s in scanners]
    assert min(fields) >= 0.05 and max(fields) <= 7 and min(fields) < 0.2 and max(fields) > 3


@pytest.mark.parametrize("modality", MODALITIES)
def test_every_modality_is_scanned(scanners, person, modality):
    for scanner in scanners[:4]:
        data = acquire(person, scanner, modality, scan_seed=1)
        assert np.isfinite(data).all() and data[person.mask].std() > 0
        assert (data[~person.mask] == 0).all()


def test_flair_has_the_noise_of_t1w_and_t2w_its_own(scanners):
    scanner = scanners[0]
    assert scanner.detail("FLAIR").noise == scanner.detail("T1w").noise == scanner.noise
    assert scanner.detail("T2w").noise != scanner.noise
    assert scanner.detail("FLAIR").thick_mm == scanner.detail("T2w").thick_mm
