"""LPIPS against the published numbers of its two variants."""

from __future__ import annotations

import importlib.metadata
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.ndimage import gaussian_filter
from skimage.io import imread

from bids_harmony.exceptions import DataError, MissingInput, MissingProgram
from bids_harmony.quality.perceptual import (
    PerceptualMetric,
    lpips,
    shift_tolerant_lpips,
)


def _example(folder, name):
    rgb = imread(folder / "example_pair" / f"ex_{name}.png")[..., :3]
    return torch.from_numpy(rgb.transpose(2, 0, 1).copy()).float()[None] / 127.5 - 1


@pytest.fixture(scope="module")
def shift_tolerant():
    try:
        return shift_tolerant_lpips()
    except MissingProgram as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def mean_difference():
    """A metric that anybody can compute: unit features (1, 1, 1)/sqrt(3) against (-1, -1, -1)."""
    return PerceptualMetric("test", [torch.nn.Identity()], [torch.full((1, 3, 1, 1), 0.25)])


def test_shift_tolerant_form_gives_the_published_numbers(shared_weights, shift_tolerant):
    ref, p0, p1 = (_example(shared_weights, n) for n in ("ref", "p0", "p1"))
    assert shift_tolerant.name == "st-lpips-alex"
    both = shift_tolerant(torch.cat([ref, ref]), torch.cat([p0, p1]))
    assert both[0].item() == pytest.approx(0.7777554988861084, abs=1e-6)
    assert both[1].item() == pytest.approx(0.13202153, abs=1e-6)
    assert shift_tolerant(ref, ref).item() == 0


def test_distance_of_two_flat_images_is_known(mean_difference):
    # The input shift and scale of LPIPS, then unit length over channels.
    colour = [np.add(v, [0.030, 0.088, 0.188]) / [0.458, 0.448, 0.450] for v in (-0.5, 0.75)]
    a, b = (c / np.linalg.norm(c) for c in colour)
    volumes = [np.full((40, 40, 3), (v + 1) / 2 * 800) for v in (-0.5, 0.75)]
    got = lpips(*volumes, data_range=800.0, metric=mean_difference)
    assert got == pytest.approx(0.25 * np.sum((a - b) ** 2), rel=1e-5)


def test_intensities_beyond_the_range_are_clipped(mean_difference):
    bright = np.ones((40, 40, 2))
    assert lpips(bright, 3 * bright, data_range=1.0, metric=mean_difference) == 0
    assert lpips(bright, 0.5 * bright, data_range=1.0, metric=mean_difference) > 0


def test_only_the_brain_counts_and_not_the_field_of_view(mean_difference, rng):
    reference, image = (rng.random((38, 50, 9)) for _ in range(2))
    mask = np.zeros(reference.shape, bool)
    mask[2:36, 5:45, 1:8] = True
    score = lpips(reference, image, data_range=1.0, mask=mask, metric=mean_difference)
    assert score > 0.01
    other = np.where(mask, image, 7.0)
    assert lpips(reference, other, data_range=1.0, mask=mask, metric=mean_difference) == score
    wide = [np.pad(a, ((30, 1), (5, 40), (9, 9))) for a in (reference, image, mask)]
    again = lpips(*wide[:2], data_range=1.0, mask=wide[2], metric=mean_difference)
    assert again == pytest.approx(score, abs=1e-7)


def test_more_blur_is_farther_and_small_planes_work(shift_tolerant, rng):
    reference = gaussian_filter(rng.random((30, 24, 2)), (1, 1, 0))
    reference = (reference - reference.min()) / np.ptp(reference)
    scores = [
        lpips(reference, gaussian_filter(reference, (s, s, 0)), data_range=1.0,
              metric=shift_tolerant)
        for s in (0, 0.6, 1.5)
    ]  # fmt: skip
    assert scores[0] == 0
    assert 0 < scores[1] < scores[2]


def test_scaling_images_and_range_together_changes_nothing(mean_difference, rng):
    a, b = (rng.random((33, 33, 3)) for _ in range(2))
    small = lpips(a, b, data_range=1.0, metric=mean_difference)
    large = lpips(500 * a, 500 * b, data_range=500.0, metric=mean_difference)
    assert large == pytest.approx(small, rel=1e-5)


def test_a_missing_wheel_tells_how_to_install_it(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("bids_harmony.quality.perceptual.distribution", missing)
    with pytest.raises(MissingProgram, match="--no-deps") as error:
        shift_tolerant_lpips()
    assert "stlpips_pytorch" in str(error.value)


def test_wrong_files_are_named(tmp_path, monkeypatch):
    other = tmp_path / "other.safetensors"
    wheel = SimpleNamespace(locate_file=lambda name: other)
    monkeypatch.setattr("bids_harmony.quality.perceptual.distribution", lambda name: wheel)
    with pytest.raises(MissingInput, match="other"):
        shift_tolerant_lpips()
    save_file({"a": torch.zeros(1)}, other)
    with pytest.raises(DataError, match=r"net\.slice1\.0\.weight"):
        shift_tolerant_lpips()


def test_bad_images_are_named(mean_difference):
    a = np.ones((4, 4, 2))
    with pytest.raises(DataError, match="shapes"):
        lpips(a, a[1:], data_range=1.0, metric=mean_difference)
    with pytest.raises(DataError, match="data range"):
        lpips(a, a, data_range=-1.0, metric=mean_difference)
    with pytest.raises(DataError, match="mask is empty"):
        lpips(a, a, data_range=1.0, mask=a < 0, metric=mean_difference)
