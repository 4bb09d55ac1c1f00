"""Where the shipped model lies; `training.start` reads and writes it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["SHIPPED_MODEL", "SHIPPED_SHA256"]

SHIPPED_MODEL = Path(__file__).resolve().parents[1] / "data" / "model"
#: Of the shipped weights; `benchmarks/pretrain.py` prints it.
SHIPPED_SHA256 = "f9ed63feb322f4b4fcc9f43bf4c8f871842b389e526ee1413626fcb591464dbc"
