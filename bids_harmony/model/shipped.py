"""Where the shipped model lies; `training.start` reads and writes it."""

from __future__ import annotations

from pathlib import Path

__all__ = ["SHIPPED_MODEL", "SHIPPED_SHA256"]

SHIPPED_MODEL = Path(__file__).resolve().parents[1] / "data" / "model"
#: Of the shipped weights; `benchmarks/pretrain.py` prints it.
SHIPPED_SHA256 = "be5803c6d34902bc9e929fbc201ae24995783b1a5ba138de7c2fc0cb6b12f934"
