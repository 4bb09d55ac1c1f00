"""Fixtures: a tiny raw BIDS dataset, and the output of two runs."""

from tests.output_folder import out
from tests.raw_dataset import cohort, raw

__all__ = ["cohort", "out", "raw"]
