"""What comes with the package: the model (`training.start` writes it) and the encoder."""

from __future__ import annotations

from pathlib import Path

__all__ = ["MRI_ENCODER_FILE", "MRI_ENCODER_SHA256", "SHIPPED_MODEL", "SHIPPED_SHA256"]

_DATA = Path(__file__).resolve().parents[1] / "data"
SHIPPED_MODEL = _DATA / "model"
MRI_ENCODER_FILE = _DATA / "encoder_mri.safetensors"
#: Of the shipped file; written by the training recipe, checked at every load.
MRI_ENCODER_SHA256 = "49f3dd7f16af0b62e6222ccc7c4cacc59262c808bbbe1275145687243da13b8f"
#: Of the shipped weights; `benchmarks/pretrain.py` prints it.
SHIPPED_SHA256 = "9f6a83392b73ae605e1af6fad3722b993d24cd5092b43220605fa9c983b2c7a0"
