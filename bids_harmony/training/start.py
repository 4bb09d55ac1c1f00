"""Weights that training starts from: pre-trained on synthetic twins, shipped with the package.

They are a start, not a model: they know no site. `benchmarks/pretrain.py` makes them.
"""

from __future__ import annotations

from pathlib import Path

import torch

from bids_harmony.exceptions import DataError, MissingInput
from bids_harmony.model.encoder import Encoder
from bids_harmony.model.encoder_files import sha256_of_file, write_tensors
from bids_harmony.model.network import IHFNetwork
from bids_harmony.model.presets import DEFAULT_PRESET, preset
from bids_harmony.model.weights import fill, parse_tensors

__all__ = ["START_FILE", "START_SHA256", "read_start", "write_start"]

START_FILE = Path(__file__).resolve().parents[1] / "data" / "start.safetensors"
#: Of the shipped file; `benchmarks/pretrain.py` prints it.
START_SHA256 = "df61b8210dc05fab7de6262ae615c240f8e77585557b75b1f15d30c7695b99ef"
#: Of the encoder whose codes the weights were trained with.
_ENCODER = "encoder_sha256"


def write_start(network: IHFNetwork, encoder: Encoder, path: Path = START_FILE) -> str:
    """Write weights in half precision and return the sha256 of the file."""
    tensors = {k: v.detach().half().cpu() for k, v in network.state_dict().items()}
    # Code statistics span more than half precision resolves.
    for name in ("code_mean", "code_std"):
        tensors[name] = network.state_dict()[name].float().cpu()
    tensors[_ENCODER] = torch.frombuffer(bytearray(encoder.sha256.encode()), dtype=torch.uint8)
    return write_tensors(tensors, path)


def read_start(network: IHFNetwork, encoder: Encoder) -> bool:
    """Fill a network with the shipped weights, if they are made for it.

    Parameters
    ----------
    network : IHFNetwork
        Changed in place.
    encoder : Encoder

    Returns
    -------
    bool
        False, and nothing changed, where network or encoder is another.

    Raises
    ------
    MissingInput, DataError
        The file is missing, or not the one this version was made with.
    """
    if network.config != preset(DEFAULT_PRESET) or encoder.name != "mri":
        return False
    if not START_FILE.is_file():
        raise MissingInput(
            "The shipped weights are missing", where=str(START_FILE), hint="Install again."
        )
    digest = sha256_of_file(START_FILE)
    if digest != START_SHA256:
        raise DataError(
            "The shipped weights are not those this version was made with",
            where=str(START_FILE),
            expected=f"sha256 {START_SHA256}",
            got=digest,
            hint="Install the package again.",
        )
    tensors = parse_tensors(START_FILE.read_bytes(), START_FILE)
    if bytes(tensors.pop(_ENCODER).numpy()).decode() != encoder.sha256:
        return False
    fill(network, {name: value.float() for name, value in tensors.items()}, START_FILE)
    return True
