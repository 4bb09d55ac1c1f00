"""What this machine can do at best: convolutions, products, copies, gzip; the network beside."""

from __future__ import annotations

import gzip
import statistics
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

from measure import Meter
from participant import THREADS, network_job

__all__ = [
    "convolution_seconds",
    "measured_rates",
    "network_beside_convolutions",
    "slice_gflop",
    "times",
]

REPEATS = 9
NETWORK_REPEATS = 5


def slice_gflop(shape: tuple[int, ...], name: str = "") -> float:
    """Arithmetic of a preset's convolutions on one slice, in 10^9 operations; by default the
    shipped network's."""
    return sum(2e-9 * 9 * i * o * h * w / s**2 for i, o, h, w, s in _layers(shape, name))


def _layers(shape: tuple[int, ...], name: str) -> list[tuple[int, int, int, int, int]]:
    """Inputs, outputs, height, width and stride of each 3 x 3 convolution."""
    from bids_harmony.model.presets import DEFAULT_PRESET, preset

    config = preset(name or DEFAULT_PRESET)
    layers, channels, factor = [], 3, 1
    for squeeze, splits, hidden in zip(config.squeeze, config.splits, config.hidden, strict=True):
        factor, channels = factor * squeeze, channels * squeeze**2
        height, width = (-(-(n + 2 * config.pad) // factor) for n in shape[:2])
        stride = config.aan.stride_unsqueezed if factor == 1 else 1
        plan = (channels, hidden, hidden, splits * channels)
        layers += [(i, o, height, width, 1) for i, o in pairwise(plan)]
        channels *= splits
        layers.append((channels, config.aan.head_channels, height, width, stride))
    return layers


def network_beside_convolutions() -> list[dict[str, Any]]:
    """Networks on slices of 1 mm, and their convolutions one by one, medians of five."""
    return [_beside_convolutions(name) for name in ("", "flat")]


def _beside_convolutions(name: str) -> dict[str, Any]:
    import torch

    from bids_harmony.imaging.reference import reference_grid

    torch.set_num_threads(THREADS)
    shape = reference_grid(1.0).shape[:2]
    change, meter, rates, inside = network_job(96, shape, name), Meter(), [], []
    gflop = 96 * slice_gflop(shape, name)
    change(24)
    for _ in range(NETWORK_REPEATS):
        seconds = convolution_seconds(shape, statistics.median, name)
        rates.append(slice_gflop(shape, name) / seconds)
        with meter.stage(f"network {name} alone, 96 slices".replace("  ", " ")) as row:
            row["bytes"] = 0
            change(96)
        row["gflop"] = round(gflop, 1)
        inside.append(_inside(change))
    middle = sorted(meter.rows, key=lambda row: row["seconds"])[NETWORK_REPEATS // 2]
    rate = statistics.median(rates)
    middle |= {"floor_s": round(gflop / rate, 3), "conv_gflop_s": round(rate, 1)}
    middle |= {"ratio": round(middle["seconds"] * rate / gflop, 2)}
    middle["of_conv_rate"] = round(gflop / middle["seconds"] / rate, 3)
    middle["convolutions_inside_s"] = round(statistics.median(inside), 3)
    middle["all_seconds"] = [row["seconds"] for row in meter.rows]
    middle["all_conv_gflop_s"] = [round(r, 1) for r in rates]
    return middle


def _inside(change: Callable[[int], Any]) -> float:
    """Seconds of the 3 x 3 convolutions within the network, shared out to the threads: maps come
    from memory there, and go to memory."""
    from torch.nn import functional

    plain, seconds = functional.conv2d, []

    def timed(x: Any, weight: Any, *rest: Any, **more: Any) -> Any:
        start = time.perf_counter()
        made = plain(x, weight, *rest, **more)
        if weight.shape[-1] == 3:
            seconds.append(time.perf_counter() - start)
        return made

    with patch.object(functional, "conv2d", timed):
        change(96)
    return sum(seconds) / THREADS


def convolution_seconds(
    shape: tuple[int, ...],
    choose: Callable[[list[float]], float] = min,
    name: str = "",
    device: str = "cpu",
) -> float:
    """Seconds that the convolutions of a network take for one slice, one after the other.

    Each in the better of two memory formats, as many slices at once as the network takes; `choose`
    picks from the times of a few tries.
    """
    import torch

    from bids_harmony.devices import exact_convolutions, slices_per_pass

    batch, seconds = slices_per_pass(device), 0.0
    with torch.inference_mode(), exact_convolutions():
        for inputs, outputs, height, width, stride in _layers(shape, name):
            tries = []
            for form in (torch.contiguous_format, torch.channels_last):
                layer = torch.nn.Conv2d(inputs, outputs, 3, padding=1, stride=stride)
                layer = layer.to(device, memory_format=form)
                x = torch.rand(batch, inputs, height, width, device=device)
                x = x.contiguous(memory_format=form)
                tries.append(choose(times(partial(layer, x))))
            seconds += min(tries) / batch
    return seconds


def measured_rates(scan: Path) -> dict[str, float]:
    """What this machine can do now with two threads, gzip on a scan; the fastest of a few
    tries of each."""
    import numpy as np
    import torch

    from bids_harmony.imaging.reference import reference_grid
    from bids_harmony.imaging.volume import GZIP_LEVEL, read_volume

    torch.set_num_threads(THREADS)
    shape = reference_grid(1.0).shape[:2]
    seconds = convolution_seconds(shape)
    with torch.inference_mode():
        a = torch.rand(2048, 2048)
        product = _fastest(lambda: a @ a)
        big, into = torch.rand(2**25), torch.empty(2**25)
        copy = _fastest(lambda: into.copy_(big))
    voxels = np.ascontiguousarray(read_volume(scan).data.astype(np.int16)).tobytes()
    packed = _fastest(lambda: gzip.compress(voxels, GZIP_LEVEL), 2)
    content = scan.read_bytes()
    unpacked = _fastest(lambda: gzip.decompress(content), 2)
    return {
        "conv_gflop_s": round(slice_gflop(shape) / seconds, 1),
        "matmul_gflop_s": round(2e-9 * 2048**3 / product, 1),
        "memory_gb_s": round(2 * big.numel() * 4e-9 / copy, 1),
        "gzip_mb_s": round(len(voxels) * 1e-6 / packed, 1),
        "gunzip_mb_s": round(len(voxels) * 1e-6 / unpacked, 1),
    }


def _fastest(function: Callable[[], Any], repeats: int = REPEATS) -> float:
    return min(times(function, repeats))


def times(function: Callable[[], Any], repeats: int = REPEATS) -> list[float]:
    """Seconds of a few calls after one that does not count, each to the end of what a card was
    given."""
    import torch

    function()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    return seconds
