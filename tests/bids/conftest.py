"""Fixtures: a tiny raw BIDS dataset, and the output of two runs."""

from tests.raw_dataset import cohort, raw
from tests.reports.conftest import out

__all__ = ["cohort", "out", "raw"]
