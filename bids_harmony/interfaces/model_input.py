"""The model as the nodes that harmonize take it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from nipype.interfaces.base import BaseInterfaceInputSpec, traits

if TYPE_CHECKING:
    from bids_harmony.methods.base import Harmonizer

__all__ = ["ModelInput", "harmonizer"]


class ModelInput(BaseInterfaceInputSpec):
    """Which model, and how it runs."""

    method = traits.Str(mandatory=True)
    model_dir = traits.Directory(mandatory=True, nohash=True)
    model_sha256 = traits.Str(mandatory=True, nohash=True, desc="of weights and own profiles")
    identity = traits.Str(mandatory=True, desc="stands in the hash for what counts of a model")
    cache_dir = traits.Str("", usedefault=True, nohash=True, desc="profiles made on the fly")
    skull_strip = traits.Bool(False, usedefault=True)
    seed = traits.Int(0, usedefault=True)
    # Where and how fast, not what.
    device = traits.Str("cpu", usedefault=True, nohash=True)
    batch_size = traits.Int(0, usedefault=True, nohash=True)
    use_gpu = traits.Bool(False, usedefault=True, nohash=True)
    num_threads = traits.Int(1, usedefault=True, nohash=True)


def harmonizer(inputs: ModelInput, voxel_mm: float, own_profiles: bool = True) -> Harmonizer:
    """The model that a node's inputs name; torch has the node's threads and seed after that.

    Parameters
    ----------
    inputs : ModelInput
    voxel_mm : float
        Of the grid of the profiles that are made on the fly, in mm.
    own_profiles : bool
        Whether the model's own profiles count.
    """
    import torch

    torch.set_num_threads(inputs.num_threads)
    torch.manual_seed(inputs.seed)
    return _loaded(
        inputs.method,
        inputs.model_dir,
        inputs.model_sha256,
        inputs.cache_dir,
        voxel_mm,
        inputs.device,
        inputs.batch_size,
        own_profiles,
    )


# Two: scans and diffusion series of one process take turns.
@lru_cache(maxsize=2)
def _loaded(
    method: str,
    model_dir: str,
    sha256: str,
    cache_dir: str,
    voxel_mm: float,
    device: str,
    batch_size: int,
    own_profiles: bool,
) -> Harmonizer:
    """Load a model once per process; `sha256` makes a model that changed on disk another one."""
    from bids_harmony.methods import load_harmonizer
    from bids_harmony.sites.profile_cache import ProfileCache

    cache = ProfileCache(Path(cache_dir), voxel_mm) if cache_dir else None
    return load_harmonizer(
        method,
        Path(model_dir),
        cache,
        device=device,
        batch_size=batch_size,
        own_profiles=own_profiles,
    )
