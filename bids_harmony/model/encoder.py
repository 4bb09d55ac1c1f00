"""Fixed image encoder: four VGG taps and the code of their channel statistics.

The topology is VGG up to relu4_1 with reflection padding and ceil-mode max-pooling, as in Huang
and Belongie (2017, AdaIN). The code is equation (1) of IHF-Harmony (arXiv 2602.21536): the channel
means and standard deviations of relu1_1, relu2_1, relu3_1 and relu4_1, 1920 numbers at full width.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bids_harmony.exceptions import DataError, UsageError
from bids_harmony.io.tensors import fill
from bids_harmony.model.encoder_files import read_tensors, read_vgg, sha256_of_file, write_tensors
from bids_harmony.model.shipped import MRI_ENCODER_FILE, MRI_ENCODER_SHA256
from bids_harmony.model.vgg import LAYOUTS, VGG_WIDTHS, VGGTrunk, channel_statistics

__all__ = [
    "MRI_ENCODER_FILE",
    "MRI_ENCODER_SHA256",
    "MRI_WIDTHS",
    "VGG_WIDTHS",
    "Encoder",
    "VGGTrunk",
    "build_mri_encoder",
    "channel_statistics",
    "load_encoder",
    "save_mri_encoder",
]

MRI_WIDTHS = (16, 32, 64, 128)


class Encoder(nn.Module):
    """A frozen trunk behind its input scaling.

    Parameters
    ----------
    trunk : VGGTrunk
        Taken over and frozen.
    name : str
        What a model file records, for example ``"vgg16-oxford"``.
    sha256 : str
        Hash of the weights.
    colour : Tensor, (3, 3), optional
    offset : Tensor, (3,), optional
        The trunk sees ``colour @ x + offset`` for x in [0, 1]; default: x itself.
    """

    colour: Tensor
    offset: Tensor

    def __init__(
        self,
        trunk: VGGTrunk,
        *,
        name: str,
        sha256: str,
        colour: Tensor | None = None,
        offset: Tensor | None = None,
    ) -> None:
        super().__init__()
        self.trunk, self.name, self.sha256 = trunk, name, sha256
        self.register_buffer("colour", torch.eye(3) if colour is None else colour.float())
        self.register_buffer("offset", torch.zeros(3) if offset is None else offset.float())
        self.requires_grad_(False)
        self.eval()

    @property
    def code_length(self) -> int:
        """Length K of the code."""
        return self.trunk.code_length

    def train(self, mode: bool = True) -> Encoder:
        """Stay in evaluation mode: the encoder is fixed."""
        return super().train(False)

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the four taps of images in [0, 1], (B, 3, H, W); gradients flow to `x`."""
        return self.trunk(F.conv2d(x, self.colour[:, :, None, None], self.offset))

    def code(self, x: Tensor) -> Tensor:
        """Channel statistics of the four taps (equation 1 of the paper).

        Parameters
        ----------
        x : Tensor, (B, 3, H, W)
            Images in [0, 1].

        Returns
        -------
        Tensor, (B, K), float32
            For each tap its channel means, then its channel standard deviations.
        """
        return torch.cat([channel_statistics(tap) for tap in self.features(x)], dim=1)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Same as `features`."""
        return self.features(x)

    def extra_repr(self) -> str:
        return f"{self.name}, code_length={self.code_length}, sha256={self.sha256[:12]}"


def build_mri_encoder(widths: Sequence[int] = MRI_WIDTHS) -> VGGTrunk:
    """Return the trainable trunk of the project's own encoder; input in [0, 1]."""
    return VGGTrunk(widths, "vgg16")


def save_mri_encoder(trunk: VGGTrunk, path: Path | str = MRI_ENCODER_FILE) -> str:
    """Write a trained trunk and return the sha256 of the file (for `MRI_ENCODER_SHA256`)."""
    state = {name: tensor.detach().float().cpu() for name, tensor in trunk.state_dict().items()}
    return write_tensors(state, Path(path))


def load_encoder(
    kind: Literal["mri", "vgg", "random"],
    path: Path | str | None = None,
    *,
    widths: Sequence[int] = MRI_WIDTHS,
) -> Encoder:
    """Load a frozen encoder; nothing stands in for a file that is missing.

    Parameters
    ----------
    kind : {"mri", "vgg", "random"}
        ``mri``: the encoder shipped with the package, or another file of its kind at `path`.
        ``vgg``: the file at `path` (Oxford VGG-16, torchvision VGG-16 or VGG-19, AdaIN-normalised
        VGG-19), ``.safetensors`` or a PyTorch weights file.
        ``random``: orthogonal weights of a fixed seed; for tests of code paths, never for results.
    path : path, optional
        Weights file; required for ``vgg``.
    widths : sequence of int
        Of ``random``.

    Raises
    ------
    MissingInput
        The file does not exist.
    DataError
        Its layout or hash is not the expected one.
    """
    if kind == "random":
        return _random_encoder(widths)
    if kind == "vgg":
        if path is None:
            raise UsageError("The encoder of kind vgg needs a weights file", expected="a path")
        return _vgg_encoder(Path(path))
    if kind == "mri":
        return _mri_encoder(None if path is None else Path(path))
    raise UsageError("Unknown encoder", expected="mri, vgg or random", got=repr(kind))


def _mri_encoder(path: Path | None) -> Encoder:
    file = MRI_ENCODER_FILE if path is None else path
    state = read_tensors(file)
    digest = sha256_of_file(file)
    if path is None and digest != MRI_ENCODER_SHA256:
        raise DataError(
            "The shipped encoder is not the one this version was made with",
            where=str(file),
            expected=f"sha256 {MRI_ENCODER_SHA256 or '(none recorded)'}",
            got=digest,
            hint="Install the package again.",
        )
    # The widths are those of the first convolution of each block, so other widths load as well.
    firsts = [f"convolutions.{index}.weight" for index in (0, 2, 4, 7)]
    if any(first not in state for first in firsts):
        raise DataError(
            "Not a file of the MR encoder",
            where=str(file),
            expected=", ".join(firsts),
            got=", ".join(sorted(state)[:6]),
        )
    trunk = build_mri_encoder([state[first].shape[0] for first in firsts])
    fill(trunk, {name: tensor.float() for name, tensor in state.items()}, file)
    return Encoder(trunk, name="mri", sha256=digest)


def _vgg_encoder(path: Path) -> Encoder:
    weights = read_vgg(path)
    trunk = VGGTrunk(weights.widths, weights.layout)
    state = {f"convolutions.{key}": value.float() for key, value in weights.convolutions.items()}
    fill(trunk, state, path)
    return Encoder(
        trunk,
        name=weights.name,
        sha256=sha256_of_file(path),
        colour=weights.colour,
        offset=weights.offset,
    )


def _random_encoder(widths: Sequence[int]) -> Encoder:
    generator = torch.Generator().manual_seed(0)
    trunk = VGGTrunk(widths, "vgg16")
    # Calibration image: noise at three scales in [0, 1], so that every layer sees some structure.
    noise = [
        F.interpolate(
            torch.rand(4, 3, size, size, generator=generator), size=(64, 64), mode="bilinear"
        )
        for size in (4, 16, 64)
    ]
    x = torch.stack(noise).mean(0)
    with torch.no_grad():
        layers = iter(trunk.convolutions)
        for block, count in enumerate(LAYOUTS["vgg16"]):
            if block:
                x = F.max_pool2d(x, 2, ceil_mode=True)
            for _ in range(count):
                layer = next(layers)
                nn.init.orthogonal_(layer.weight, generator=generator)  # type: ignore[arg-type]
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
                x = F.relu(layer(F.pad(x, (1, 1, 1, 1), mode="reflect")))
                # Mean activation 1 after every layer, like the AdaIN-normalised weights.
                factor = 1.0 / float(x.mean().clamp_min(1e-6))
                layer.weight.mul_(factor)  # type: ignore[operator]
                x = x * factor
    digest = hashlib.sha256()
    for _, tensor in sorted(trunk.state_dict().items()):
        digest.update(tensor.contiguous().numpy().tobytes())
    return Encoder(trunk, name="random-0", sha256=digest.hexdigest())
