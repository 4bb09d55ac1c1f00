import numpy as np
import pytest

from bids_harmony.exceptions import DataError
from bids_harmony.model.encoder import load_encoder
from bids_harmony.sites.training_range import (
    RANGE_FILE,
    fit_range,
    mean_code,
    read_ranges,
    scan_code,
    write_ranges,
)


def draws(n, seed):
    """Codes of 40 numbers that vary along five directions, and little along the others."""
    rng = np.random.default_rng(seed)
    directions = np.random.default_rng(0).standard_normal((5, 40))
    return rng.standard_normal((n, 5)) * [5, 4, 3, 2, 1] @ directions + rng.normal(0, 0.1, (n, 40))


def test_scans_like_those_of_training_are_inside():
    found = fit_range(draws(200, 1))
    scores = [found.score(code) for code in draws(300, 2)]
    assert np.mean(np.array(scores) > 1) < 0.04
    assert np.median(scores) > 0.3


def test_far_along_a_known_direction_and_off_all_of_them_is_outside():
    found = fit_range(draws(200, 1))
    direction = found.basis[0] * np.sqrt(found.variances[0])
    assert found.score(found.mean + 30 * direction) > 2
    odd = np.random.default_rng(9).standard_normal(40)
    assert found.score(found.mean + 3 * odd) > 2
    assert found.score(found.mean) < 1e-6


def test_a_channel_that_never_fired_gives_a_finite_score():
    codes = draws(60, 1)
    codes[:, 7] = 0
    found = fit_range(codes)
    unusual = found.mean.copy()
    unusual[7] = 5.0
    assert 1 < found.score(unusual) < np.inf


def test_ranges_survive_the_file(tmp_path):
    ranges = {"T1w": fit_range(draws(60, 1)), "T2w": fit_range(draws(60, 2))}
    write_ranges(tmp_path, ranges)
    again = read_ranges(tmp_path)
    code = draws(1, 3)[0]
    assert again.keys() == ranges.keys()
    assert all(again[kind].score(code) == ranges[kind].score(code) for kind in ranges)


def test_no_file_is_no_range_and_a_damaged_one_is_said(tmp_path):
    assert read_ranges(tmp_path) == {}
    (tmp_path / RANGE_FILE).write_bytes(b"no tensors")
    with pytest.raises(DataError, match="range"):
        read_ranges(tmp_path)


def test_mean_code_leaves_heights_without_brain_out():
    codes = np.arange(8, dtype=np.float32).reshape(4, 2)
    brain = np.zeros((10, 10, 24), dtype=bool)
    brain[3:7, 3:7, 6:18] = True
    assert np.array_equal(mean_code(codes, brain), [3, 4])


def test_a_scan_has_nearly_the_same_code_on_a_finer_grid():
    encoder = load_encoder("random")
    shape = (46, 54, 44)
    x, y, z = np.meshgrid(*[np.linspace(-1.2, 1.2, n) for n in shape], indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2)
    coarse = np.where(radius < 1, 0.5 + 0.4 * np.cos(9 * radius), 0).astype(np.float32)
    fine = np.kron(coarse, np.ones((2, 2, 2), dtype=np.float32))
    at_2_mm, at_1_mm = (
        scan_code(image, image > 0.05, mm, encoder) for image, mm in ((coarse, 2.0), (fine, 1.0))
    )
    assert np.allclose(at_2_mm, at_1_mm, atol=0.02 * np.abs(at_2_mm).max())
