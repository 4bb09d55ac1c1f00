"""From a prepared scan and two site profiles to what the network sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch

from bids_harmony.devices import exact_convolutions, slices_per_pass
from bids_harmony.imaging.noise import deep_noise
from bids_harmony.imaging.slices import cut_stack, reassemble
from bids_harmony.imaging.texture import side_maps, texture
from bids_harmony.methods.members import joined_change
from bids_harmony.methods.site_forms import closed_form, site_evidence
from bids_harmony.model.inference import ChangePass
from bids_harmony.model.network import Condition, IHFNetwork
from bids_harmony.model.presets import NetworkConfig
from bids_harmony.resources import at_once
from bids_harmony.sites.image_profile import ImageProfile

__all__ = ["Conditioned", "change_volume", "condition_scan", "predict_change"]

Array = np.ndarray

#: Probability of a difference above which it is one.
_SURE = 0.999
#: Noise of usual scans, and what adds to none, fractions of scale.
_USUAL_NOISE, _LEAST_NOISE = 0.02, 0.002


@dataclass(frozen=True, eq=False)
class Conditioned:
    """Input of the network for one scan; Z axial slices.

    Attributes
    ----------
    image : (X, Y, Z) float32
        Output of the closed form, or the scan itself where the model uses none.
    mask : (X, Y, Z) bool
    codes_source, codes_target : (Z, K) float32
    maps_source, maps_target : (Z, M, g, g) float32 or None
    gate : float
        How far the evidence supports the condition, `SiteDifference.condition_share`; the
        prediction that is not relative counts by it.
    """

    image: Array
    mask: Array
    codes_source: Array
    codes_target: Array
    maps_source: Array | None
    maps_target: Array | None
    gate: float = 1.0

    def _differs(self, indices: Array) -> Array:
        """Where the target's condition is not exactly the source's."""
        differs = (self.codes_source[indices] != self.codes_target[indices]).any(axis=1)
        if self.maps_source is not None and self.maps_target is not None:
            maps = self.maps_source[indices] != self.maps_target[indices]
            differs |= maps.any(axis=(1, 2, 3))
        return np.asarray(differs, bool)

    def slices(self, indices: Array) -> tuple[torch.Tensor, Condition]:
        """Stacks (n, 3, X, Y) and their conditions."""

        def pick(values: Array | None) -> torch.Tensor | None:
            return None if values is None else torch.from_numpy(values[indices])

        target = torch.from_numpy(self.codes_target[indices])
        return torch.from_numpy(cut_stack(self.image, indices)), Condition(
            code_target=target,
            code_source=pick(self.codes_source),
            maps_target=pick(self.maps_target),
            maps_source=pick(self.maps_source),
            gate=torch.from_numpy(np.where(self._differs(indices), np.float32(self.gate), 0)),
        )


def condition_scan(
    data: Array,
    mask: Array,
    source: ImageProfile,
    target: ImageProfile,
    *,
    voxel_mm: float,
    config: NetworkConfig,
    use_closed_form: bool,
) -> Conditioned:
    """Prepare one scan for the network.

    Parameters
    ----------
    data : (X, Y, Z) float32
        Scaled scan on the reference grid, 0 outside the mask.
    mask : (X, Y, Z) bool
    source, target : ImageProfile
        The same object for both gives equal conditions on both sides.
    voxel_mm : float
    config : NetworkConfig
    use_closed_form : bool

    Returns
    -------
    Conditioned
    """
    heights = np.arange(data.shape[2])
    share = _share(source, target)
    codes_source = source.codes_at(heights)
    codes_target = codes_source
    if source is not target:
        codes_target = codes_source + share * (target.codes_at(heights) - codes_source)
    image = closed_form(data, mask, source, target, voxel_mm) if use_closed_form else data
    maps_source = maps_target = None
    if config.aan.n_maps:
        cells = config.aan.grid
        # The network sees the closed form's output, so its detail is what must match the target's.
        detail = texture(image, mask, cells)
        # A network that is not told trusts every profile as much as it may trust the usual ones.
        error = 0.0 if source is target else site_evidence(source, target).error
        told = (_noise_level(image, mask, voxel_mm), error)
        # Models that were trained before there were as many maps take the first of them.
        known = slice(config.aan.n_maps)
        maps_source = side_maps(data, mask, source.mean_image, detail, told, voxel_mm, cells)
        maps_source = maps_source[:, known]
        maps_target = maps_source
        if source is not target:
            wanted = detail + share * (target.texture - detail)
            mean = _mean_between(source, target, share)
            maps_target = side_maps(image, mask, mean, wanted, told, voxel_mm, cells)[:, known]
    gate = float(share)
    return Conditioned(image, mask, codes_source, codes_target, maps_source, maps_target, gate)


def _noise_level(image: Array, mask: Array, voxel_mm: float) -> float:
    """Logarithm of the noise of the network's input.

    How much of the detail is noise can't be seen in detail itself, and a network that is not told
    takes as much from every scan.
    """
    noise = deep_noise(image, mask, voxel_mm)
    return float(np.log((noise + _LEAST_NOISE) / _USUAL_NOISE))


def _share(source: ImageProfile, target: ImageProfile) -> np.float32:
    """How much of the way to the target's condition the evidence supports."""
    if source is target:
        return np.float32(1)
    share = site_evidence(source, target).condition_share
    return np.float32(1 if share > _SURE else share)


@lru_cache(maxsize=16)
def _mean_between(source: ImageProfile, target: ImageProfile, share: np.float32) -> Array:
    """Mean image so much of the way from the source's to the target's."""
    if share == 1:
        return target.mean_image
    both = source.mask & target.mask
    ratio = np.divide(
        target.mean_image, source.mean_image, where=both, out=np.ones_like(source.mean_image)
    )
    return np.asarray(source.mean_image * ratio**share, np.float32)


def change_volume(
    members: Sequence[IHFNetwork],
    conditioned: Conditioned,
    *,
    batch_size: int = 0,
    device: str = "cpu",
) -> Array:
    """What the members of a model add to a scan together (`members.joined_change`).

    Parameters
    ----------
    members : sequence of IHFNetwork
        Of one configuration, in evaluation mode, on `device`.
    conditioned : Conditioned
    batch_size, device
        As `predict_change` takes them.

    Returns
    -------
    (X, Y, Z) float32
        In units of the scan.
    """
    found = [
        reassemble(predict_change(network, conditioned, batch_size=batch_size, device=device))
        for network in members
    ]
    return joined_change(found, conditioned.image, conditioned.mask)


def predict_change(
    network: IHFNetwork,
    conditioned: Conditioned,
    *,
    batch_size: int = 0,
    device: str = "cpu",
) -> Array:
    """Run the network over all slices that hold brain.

    Parameters
    ----------
    network : IHFNetwork
        In evaluation mode, on `device`.
    conditioned : Conditioned
    batch_size : int
        Slices per pass, 0 for what suits the device; does not change the result beyond rounding.
    device : str

    Returns
    -------
    (Z, 3, X, Y) float32
        Change per stack, 0 for stacks without brain.
    """
    mask = conditioned.mask
    changes = np.zeros((mask.shape[2], 3, *mask.shape[:2]), dtype=np.float32)
    wanted = np.flatnonzero(cut_stack(mask).any(axis=(1, 2, 3)))
    step = batch_size or slices_per_pass(device)
    passes = [slice(first, first + step) for first in range(0, len(wanted), step)]
    if ChangePass.suits(network, device):
        _by_threads(ChangePass(network), conditioned, [wanted[at] for at in passes], changes)
    elif passes:
        stack, condition = conditioned.slices(wanted)
        # Over to a card and back once a scan: in between it never waits for this process.
        stack, condition = stack.to(device), condition.to(device)
        with torch.inference_mode(), exact_convolutions():
            predicted = [network.change(stack[at], condition.part(at)) for at in passes]
            changes[wanted] = torch.cat(predicted).cpu().numpy()
    return changes


def _by_threads(
    change: ChangePass, conditioned: Conditioned, passes: list[Array], changes: Array
) -> None:
    """Fill in the changes of slices; threads that have slices of their own never wait for each
    other."""

    def predict(indices: Array) -> None:
        changes[indices] = change(*conditioned.slices(indices)).numpy()

    at_once(*(partial(predict, indices) for indices in passes))
