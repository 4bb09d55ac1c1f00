"""Settings of training: which values are refused."""

from __future__ import annotations

import pytest

from bids_harmony.exceptions import UsageError
from bids_harmony.settings import TrainingSettings


@pytest.mark.parametrize(
    "options",
    [{"same_site_share": 1.5}, {"art_target": "mean"}, {"aan": "adain"}, {"recursion": "glow"},
     {"grid": 0}, {"accumulate": 0}, {"precision": "fp16"}, {"patience": -1}, {"epochs": -1},
     {"validate_every": 0}, {"identity_weight": -1.0}, {"slices_per_pair": 0},
     {"keep": 0.0}, {"keep": 1.1}, {"bank_size": 0}, {"lambda_art": -1.0}, {"encoder": "vgg"},
     {"encoder": "random"}, {"train_minutes": -1.0}],
)  # fmt: skip
def test_training_values_out_of_range(options):
    with pytest.raises(UsageError):
        TrainingSettings(**options)
