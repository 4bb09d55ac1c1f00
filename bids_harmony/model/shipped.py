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
SHIPPED_SHA256 = "e7fc73480a2f287576f541dee97e3c77a64c33afdd99738fd0fcec4975e37af1"
