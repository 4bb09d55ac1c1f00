"""Pictures inside a page: all at one scale, within the limit, the first ones first."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from bids_harmony.reports.album import inline_pictures
from tests.output_folder import draw


def opened(address: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2])))


def test_small_pictures_keep_their_size_and_flat_ones_are_png(tmp_path):
    Image.new("RGB", (400, 100), "white").save(tmp_path / "flat.png")
    draw(tmp_path / "noise.png")
    made = inline_pictures([tmp_path / "flat.png", tmp_path / "noise.png"], 10**6)
    flat, noise = made.values()
    assert flat.startswith("data:image/png") and noise.startswith("data:image/jpeg")
    assert opened(flat).size == (400, 100) and opened(noise).size == (180, 60)


def test_large_pictures_are_scaled_down_together(tmp_path):
    rng = np.random.default_rng(0)
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path in paths:
        Image.fromarray(rng.integers(0, 255, (300, 1400), dtype=np.uint8)).save(path)
    sizes = []
    for limit in (10**7, 200_000):
        made = inline_pictures(paths, limit)
        assert list(made) == paths and sum(map(len, made.values())) <= limit
        (size,) = {opened(a).size for a in made.values()}
        sizes.append(size)
    assert sizes[0] == (1100, 236) and sizes[1][0] < 1100


def test_what_cannot_be_read_or_does_not_fit_is_left_out(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(5)]
    for seed, path in enumerate(paths[1:]):
        draw(path, seed)
    (tmp_path / "0.png").write_bytes(b"\x89PNG no")
    assert list(inline_pictures(paths, 10**6)) == paths[1:]
    few = inline_pictures(paths, 12_000)
    assert list(few) == paths[1 : 1 + len(few)] and 0 < len(few) < 4
    assert inline_pictures([*paths, tmp_path / "none.png"], -1) == {}
