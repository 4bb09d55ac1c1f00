"""Fixtures: a tiny raw BIDS dataset."""

from tests.raw_dataset import cohort, raw

__all__ = ["cohort", "raw"]
