"""Small networks and inputs for the tests of the model room."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bids_harmony.model.network import Condition, IHFNetwork
from bids_harmony.model.presets import NetworkConfig, preset

CODE_LENGTH = 10

# Widths that keep a forward pass at milliseconds and change nothing else.
NARROW = {"embedding": 8, "projection": (12, 8), "head_channels": 6, "map_channels": 4}


def narrow(name: str, **changes) -> NetworkConfig:
    """A preset with narrow layers."""
    hidden = (6,) * len(changes.get("splits", preset(name).splits))
    return preset(name, **{**NARROW, "hidden": hidden, **changes})


def randomise(network: IHFNetwork, seed: int = 0, heads: float = 0.2) -> IHFNetwork:
    """Give every parameter a random value: weights, fusion logits and the zero heads."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=parameter.dtype)
            if name.endswith("omega"):
                parameter.copy_(2.0 * noise)
            elif ".scale." in name or ".shift." in name:
                parameter.copy_(heads * noise)
            elif parameter.ndim > 1:
                parameter.copy_(noise / parameter[0].numel() ** 0.5)
    return network


def images(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Uniform noise in [0, 1]."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def condition(
    config: NetworkConfig, batch: int, seed: int = 1, dtype: torch.dtype = torch.float32
) -> Condition:
    """Random codes, and random local maps where the network takes them."""
    aan = config.aan
    parts = [images(batch, CODE_LENGTH, seed=seed + i, dtype=dtype) for i in (0, 1)]
    if aan.n_maps:
        shape = (batch, aan.n_maps, aan.grid, aan.grid)
        parts += [images(*shape, seed=seed + i, dtype=dtype) - 0.5 for i in (2, 3)]
    return Condition(*parts)


@pytest.fixture(scope="session")
def oxford_file() -> Path:
    """The Oxford VGG-16 beside the checkout."""
    root = Path(__file__).resolve().parents[2].parent
    path = root / "shared" / "weights" / "vgg16_oxford_relu4_1.fp16.safetensors"
    if not path.is_file():
        pytest.skip(f"needs the Oxford VGG-16 file at {path}")
    return path
