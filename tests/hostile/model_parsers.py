"""Readers of models, profiles and encoders."""

from __future__ import annotations

import hashlib
import io
import json
from functools import cache
from pathlib import Path

import numpy as np

from tests.hostile.parser import JSON_WORDS, TENSOR_WORDS, Parser, as_json

__all__ = ["PARSERS"]


@cache
def _model() -> tuple[bytes, bytes]:
    """Description and weights of the smallest network."""
    import tempfile

    from bids_harmony.model.checkpoint import save_model
    from bids_harmony.model.description import METADATA_FILE, WEIGHTS_FILE
    from bids_harmony.model.network import IHFNetwork
    from bids_harmony.model.presets import AANConfig, NetworkConfig

    aan = AANConfig(grid=1, head_channels=2, embedding=2, projection=(2, 2), map_channels=2)
    config = NetworkConfig(squeeze=(1,), splits=(2,), hidden=(2,), pad=0, aan=aan)
    with tempfile.TemporaryDirectory() as folder:
        encoder = {"name": "none", "sha256": "0"}
        save_model(Path(folder), IHFNetwork(config, 3), encoder, {})
        return tuple((Path(folder) / name).read_bytes() for name in (METADATA_FILE, WEIGHTS_FILE))  # type: ignore[return-value]


def _weights_beside(folder: Path, content: bytes) -> None:
    if not (folder / "model.safetensors").exists():
        (folder / "model.safetensors").write_bytes(_model()[1])


def _description_beside(folder: Path, content: bytes) -> None:
    """Of whatever weights: their checksum is right."""
    record = json.loads(_model()[0])
    record["weights"]["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "model.json").write_text(json.dumps(record))


def _load_model(path: Path) -> object:
    from bids_harmony.model.checkpoint import load_model

    return load_model(path.parent)


def _read_method(path: Path) -> object:
    from bids_harmony.model.method_files import read_method

    return read_method(path.parent, "ihf")


def _read_profile_file(path: Path) -> object:
    from bids_harmony.sites.profile_files import read_made_of, read_profile, read_site

    return read_profile(path), read_made_of(path), read_site(path)


def _read_profiles(path: Path) -> object:
    from bids_harmony.sites.profile_files import read_profiles

    return read_profiles(path.parent)


@cache
def _profiles() -> list[bytes]:
    import tempfile

    from bids_harmony.sites.image_profile import ImageProfile
    from bids_harmony.sites.profile_files import write_profile

    profile = ImageProfile(
        site="COI",
        modality="T1w",
        mean_image=np.ones((2, 2, 2), np.float32),
        landmarks=np.arange(11.0),
        quantiles=np.arange(101.0),
        codes=np.ones((1, 3), np.float32),
        texture=np.ones((2, 1, 1, 1), np.float32),
        tissue_means=np.ones(3),
        field=np.zeros(20),
        scale=100.0,
        scans=("sub-1_T1w",),
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "profile.safetensors"
        write_profile(path, profile, 2.0, {"scans": ["sub-1_T1w"]})
        return [path.read_bytes()]


@cache
def _ranges() -> list[bytes]:
    from safetensors.numpy import save

    arrays = {
        "T1w.mean": np.zeros(3, np.float32),
        "T1w.basis": np.ones((2, 3), np.float32),
        "T1w.variances": np.ones(2, np.float32),
        "T1w.rest": np.ones(1, np.float32),
        "T1w.limit": np.ones(1, np.float32),
    }
    return [save(arrays)]


def _read_ranges(path: Path) -> object:
    from bids_harmony.sites.training_range import read_ranges

    return read_ranges(path.parent)


def _read_look(path: Path) -> object:
    from bids_harmony.sites.series_profile import SeriesProfile

    return SeriesProfile.read(path)


_LOOK = {
    "site": "COI",
    "scans": [
        [
            "sub-1_dwi",
            {"noise": 0.1, "water": 1.0, "levels": {"1000": [0.1]}, "quantiles": {"1000": [0.5]}},
        ]
    ],
}


def _read_tensors(path: Path) -> object:
    from bids_harmony.model.encoder_files import read_tensors

    return read_tensors(path)


@cache
def _torch_file() -> list[bytes]:
    import torch

    packed = io.BytesIO()
    torch.save({"0.weight": torch.ones(2, 2)}, packed)
    return [packed.getvalue()]


PARSERS: dict[str, Parser] = {
    "model-description": Parser(
        "model.json",
        _load_model,
        lambda: [_model()[0]],
        JSON_WORDS,
        beside=_weights_beside,
    ),
    "model-weights": Parser(
        "model.safetensors",
        _load_model,
        lambda: [_model()[1]],
        TENSOR_WORDS,
        beside=_description_beside,
    ),
    "fitted-description": Parser(
        "model.json", _read_method, lambda: [_model()[0]], JSON_WORDS, beside=_weights_beside
    ),
    "profile": Parser("profile.safetensors", _read_profile_file, _profiles, TENSOR_WORDS),
    "banks": Parser("banks.safetensors", _read_profiles, _profiles, TENSOR_WORDS),
    "range": Parser("range.safetensors", _read_ranges, _ranges, TENSOR_WORDS, optional=True),
    "look": Parser("look.json", _read_look, lambda: as_json(_LOOK), JSON_WORDS),
    "encoder": Parser("encoder.safetensors", _read_tensors, _ranges, TENSOR_WORDS),
    "encoder-torch": Parser("encoder.pth", _read_tensors, _torch_file),
}
