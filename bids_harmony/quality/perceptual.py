"""LPIPS, the learned perceptual distance of two images, in two variants with their own networks.

Zhang et al., CVPR 2018: features of a classification network, unit length per pixel, squared
differences weighted per channel, mean over the plane, sum over depths. The shift-tolerant form is
that of Ghildyal and Liu, ECCV 2022. The networks saw photographs; the numbers rank images and mean
nothing by themselves. Research software, not for diagnosis.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from bids_harmony.exceptions import DataError, MissingProgram
from bids_harmony.model.encoder_files import read_tensors
from bids_harmony.quality.image_metrics import check_data_range, checked_mask, checked_pair
from bids_harmony.quality.slices import foreground_slices
from bids_harmony.resources import one_torch_thread

__all__ = ["PerceptualMetric", "lpips", "shift_tolerant_lpips"]

_SHIFT = (-0.030, -0.088, -0.188)  # Zhang et al.'s input scaling, for images in [-1, 1]
_SCALE = (0.458, 0.448, 0.450)
_EPSILON = 1e-10
_SMALLEST_SIDE = 32  # pixels; below, the deepest features have no extent
_BATCH = 4

_WHEEL = "stlpips_pytorch"
_WHEEL_FILE = "stlpips_pytorch/weights/vST0.0/alex_shift_tolerant.pth"


@dataclass(frozen=True, eq=False)
class PerceptualMetric:
    """An LPIPS network.

    Attributes
    ----------
    name : str
        Variant, recorded with results: ``st-lpips-alex``.
    stages : sequence of modules
        Their outputs, one after the other, are the depths that are compared.
    heads : sequence of (1, C, 1, 1) tensors
        Weights of the channels, one for each stage.
    """

    name: str
    stages: Sequence[nn.Module]
    heads: Sequence[Tensor]

    def __call__(self, first: Tensor, second: Tensor) -> Tensor:
        """Distance of every pair of images.

        Parameters
        ----------
        first, second : (N, 3, H, W) float32 tensors
            RGB in [-1, 1].

        Returns
        -------
        (N,) float32 tensor
            0 for equal images.
        """
        with torch.inference_mode(), one_torch_thread():
            total = torch.zeros(len(first))
            for a, b, head in zip(
                self._depths(first), self._depths(second), self.heads, strict=True
            ):
                weighted = functional.conv2d((_unit(a) - _unit(b)).square(), head)
                total += weighted.mean(dim=(1, 2, 3))
        return total

    def _depths(self, images: Tensor) -> Iterator[Tensor]:
        features = (images - torch.tensor(_SHIFT).view(1, 3, 1, 1)) / torch.tensor(_SCALE).view(
            1, 3, 1, 1
        )
        for stage in self.stages:
            features = stage(features)
            yield features


def lpips(
    reference: NDArray,
    image: NDArray,
    *,
    data_range: float,
    metric: PerceptualMetric,
    mask: NDArray[np.bool_] | None = None,
    max_slices: int = 64,
) -> float:
    """Learned perceptual distance of axial slices, averaged over slices.

    Slices are chosen, masked and cropped as in `ms_ssim`. Intensities from 0 to `data_range`
    become -1 to 1, what lies beyond is clipped, grey is repeated to three channels. Planes of less
    than 32 pixels a side are padded (zeros with a mask, repeated edges without).

    Parameters
    ----------
    reference, image : (X, Y, Z) arrays
        RAS voxel order, one grid.
    data_range : float
        In the units of the images.
    metric : PerceptualMetric
    mask : (X, Y, Z) bool array, optional
        The brain.
    max_slices : int
        If more slices are left, as many are taken at even distances.

    Returns
    -------
    float
        0 for equal images; no unit, and not comparable between variants.

    Raises
    ------
    DataError
        If shapes differ, the mask is empty, the data range is not positive, or there is no
        foreground.
    """
    reference, image = checked_pair(reference, image)
    check_data_range(data_range)
    pairs = foreground_slices(
        reference,
        image,
        data_range=data_range,
        mask=None if mask is None else checked_mask(mask, reference.shape),
        max_slices=max_slices,
    )

    def to_images(planes: list[NDArray[np.float32]]) -> Tensor:
        margins = [(0, 0)] + [(0, max(_SMALLEST_SIDE - side, 0)) for side in planes[0].shape]
        stack = np.pad(np.stack(planes), margins, mode="edge" if mask is None else "constant")
        grey = np.clip(stack * np.float32(2 / data_range) - 1, -1, 1).astype(np.float32)
        return torch.from_numpy(grey)[:, None].expand(-1, 3, -1, -1)

    total = 0.0
    for start in range(0, len(pairs), _BATCH):
        batch = pairs[start : start + _BATCH]
        distances = metric(
            to_images([p.reference for p in batch]), to_images([p.image for p in batch])
        )
        total += float(distances.double().sum())
    return total / len(pairs)


def shift_tolerant_lpips() -> PerceptualMetric:
    """Shift-tolerant LPIPS in its AlexNet form (Ghildyal and Liu 2022), named ``st-lpips-alex``.

    Only the weights of the package ``stlpips_pytorch`` are read, none of its code runs.

    Raises
    ------
    MissingProgram
        If the package is not installed.
    MissingInput, DataError
        If the file is not there or does not hold this network.
    """
    path = _wheel_weights()
    state = read_tensors(path)

    def conv(key: str, padding: int = 1) -> nn.Conv2d:
        return _convolution(state, key, path, padding=padding)

    def blur(channels: int) -> nn.Module:
        return _Blur(channels)

    stages = (
        nn.Sequential(conv("net.slice1.0", padding=2), blur(64), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(3, 1), blur(64), conv("net.slice2.5", padding=2), nn.ReLU()),
        nn.Sequential(nn.MaxPool2d(3, 1), blur(192), conv("net.slice3.9"), nn.ReLU()),
        nn.Sequential(conv("net.slice4.11"), nn.ReLU()),
        nn.Sequential(conv("net.slice5.13"), nn.ReLU()),
    )
    heads = [_tensor(state, f"lin{k}.model.1.weight", path) for k in range(len(stages))]
    return PerceptualMetric("st-lpips-alex", stages, heads)


class _Blur(nn.Module):
    """Binomial 3 x 3 filter before every second pixel is dropped (Zhang, ICML 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", torch.outer(line, line).expand(channels, 1, 3, 3).clone())

    def forward(self, features: Tensor) -> Tensor:
        padded = functional.pad(features, (2, 2, 2, 2), mode="reflect")
        return functional.conv2d(
            padded, self.get_buffer("kernel"), stride=2, groups=features.shape[1]
        )


def _unit(features: Tensor) -> Tensor:
    return features / (features.square().sum(dim=1, keepdim=True).sqrt() + _EPSILON)


def _convolution(state: Mapping[str, Tensor], key: str, path: Path, *, padding: int) -> nn.Conv2d:
    weight, bias = (_tensor(state, f"{key}.{part}", path) for part in ("weight", "bias"))
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], int(weight.shape[2]), padding=padding)
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer.eval().requires_grad_(False)


def _tensor(state: Mapping[str, Tensor], key: str, path: Path) -> Tensor:
    if key not in state:
        raise DataError(
            "A weights file of a perceptual metric lacks a tensor",
            where=str(path),
            expected=key,
            got=f"{len(state)} others",
        )
    return state[key].float()


def _wheel_weights() -> Path:
    try:
        return Path(str(distribution(_WHEEL).locate_file(_WHEEL_FILE)))
    except PackageNotFoundError as error:
        raise MissingProgram(
            "The weights of shift-tolerant LPIPS are not installed",
            expected=f"the package {_WHEEL}",
            hint=f"pip install --no-deps '{_WHEEL} >= 0.0.2' (its code, which wants torchvision,"
            " is not used), or leave LPIPS out.",
        ) from error
