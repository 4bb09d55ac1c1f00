"""Where the shipped model lies; `training.start` reads and writes it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["SHIPPED_MODEL", "SHIPPED_SHA256"]

SHIPPED_MODEL = Path(__file__).resolve().parents[1] / "data" / "model"
#: Of the shipped weights; `benchmarks/pretrain.py` prints it.
SHIPPED_SHA256 = "e7fc73480a2f287576f541dee97e3c77a64c33afdd99738fd0fcec4975e37af1"
