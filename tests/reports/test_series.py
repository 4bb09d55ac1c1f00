"""The picture of a series: a whole file, the same each time, that shows the change."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.image import imread

from bids_harmony.exceptions import DataError
from bids_harmony.reports.series import series_figure

AFFINE = np.diag([-3.0, 3.0, 3.0, 1.0])


@pytest.fixture
def images():
    at = np.indices((20, 24, 18)) - np.reshape([10, 12, 9], (3, 1, 1, 1))
    mask = np.square(at / np.reshape([8, 10, 7], (3, 1, 1, 1))).sum(axis=0) < 1
    return np.where(mask, 0.6, 0.0).astype(np.float32), mask


def draw(path, b0, shell, mask):
    series_figure(b0, shell, mask, AFFINE, path, shell_name="b = 1000 s/mm²", title="one")
    return imread(path)[..., :3]


def coloured(picture):
    """Share of pixels that are neither grey nor of the outline's blue: strong red or blue."""
    red, green, blue = np.moveaxis(picture, -1, 0)
    return np.mean((red - green > 0.2) & (red - blue > 0.2))


def test_a_change_is_seen_on_its_half_alone(images, tmp_path):
    image, mask = images
    still = draw(tmp_path / "still.png", (image, image), (image, image), mask)
    rounded = (image, np.where(mask, image + 1e-5, 0))
    moved = draw(tmp_path / "moved.png", (image, 1.2 * image), rounded, mask)
    middle = still.shape[1] // 2
    assert moved.shape == still.shape
    # Beside the colour bar, which is there either way.
    assert coloured(moved[:, :middle]) > coloured(still[:, :middle]) + 0.02
    np.testing.assert_allclose(
        coloured(moved[:, middle:]), coloured(still[:, middle:]), atol=0.005
    )


def test_the_same_bytes_again(images, tmp_path):
    image, mask = images
    for name in ("a.png", "b.png"):
        draw(tmp_path / name, (image, 1.1 * image), (image, image), mask)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_what_cannot_be_drawn_is_told(images, tmp_path):
    image, mask = images
    with pytest.raises(DataError, match="empty mask"):
        draw(tmp_path / "a.png", (image, image), (image, image), np.zeros_like(mask))
    with pytest.raises(DataError, match="one shape"):
        draw(tmp_path / "a.png", (image, image[1:]), (image, image), mask)
    assert list(tmp_path.iterdir()) == []
