"""The options of the level train; their defaults live in `settings_training`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bids_harmony.cli.option_values import shown_default
from bids_harmony.settings import TrainingSettings
from bids_harmony.settings_training import (
    AAN_MODES,
    ART_TARGETS,
    ENCODERS,
    RECURSIONS,
    TRAINING_PRECISIONS,
)

__all__ = ["TRAINING", "add_training_options"]

TRAINING = "training."  # Prefix of the training options in the parser's result.


def add_training_options(parser: argparse.ArgumentParser) -> None:
    """Add the group of training options to the parser."""
    group = parser.add_argument_group("Training (level train)")

    def add(flag: str, name: str, text: str, **options: Any) -> None:
        group.add_argument(
            flag,
            dest=TRAINING + name,
            help=f"{text} {shown_default(name, TrainingSettings)}",
            **options,
        )

    add("--preset", "preset", "network preset", metavar="NAME")
    add(
        "--relative",
        "relative",
        "modulate by the prediction for the target minus that for the source",
        action=argparse.BooleanOptionalAction,
    )
    add("--aan", "aan", "statistics that are modulated", choices=AAN_MODES)
    add("--grid", "grid", "modulation varies over so many cells a side", type=int, metavar="N")
    add("--recursion", "recursion", "form of the flow's way back", choices=RECURSIONS)
    add(
        "--start",
        "start",
        "begin with the shipped weights, where they fit the preset",
        action=argparse.BooleanOptionalAction,
    )
    add("--twin-steps", "twin_steps", "steps on synthetic twins", type=int, metavar="N")
    add(
        "--train-minutes",
        "train_minutes",
        "stop the twins after so many minutes, 0: never",
        type=float,
        metavar="MIN",
    )
    add("--twin-people", "twin_people", "simulated people", type=int, metavar="N")
    add("--twin-scanners", "twin_scanners", "simulated scanners", type=int, metavar="N")
    add(
        "--twin-learning-rate",
        "twin_learning_rate",
        "step size of Adam on twins",
        type=float,
        metavar="X",
    )
    add(
        "--adapt-steps",
        "adapt_steps",
        "steps of adaptation to this dataset's sites",
        type=int,
        metavar="N",
    )
    add("--epochs", "epochs", "the same in epochs, where above 0", type=int, metavar="N")
    add("--train-batch", "batch", "slices per step", type=int, metavar="N")
    add("--accumulate", "accumulate", "parts of a batch, to save memory", type=int, metavar="N")
    add(
        "--train-precision",
        "precision",
        "of convolutions in training",
        choices=TRAINING_PRECISIONS,
    )
    add(
        "--patience",
        "patience",
        "stop after so many validations without a better one, 0: never",
        type=int,
        metavar="N",
    )
    add("--learning-rate", "learning_rate", "step size, adaptation", type=float, metavar="X")
    add(
        "--lambda-ac",
        "lambda_ac",
        "weight of the anatomical consistency loss",
        type=float,
        metavar="X",
    )
    add(
        "--lambda-art",
        "lambda_art",
        "weight of the artefact consistency loss",
        type=float,
        metavar="X",
    )
    add(
        "--keep", "keep", "share of encoder channels in the artefact loss", type=float, metavar="X"
    )
    add(
        "--art-target",
        "art_target",
        "what the artefact loss compares with: a slice or the mean of its site",
        choices=ART_TARGETS,
    )
    add(
        "--identity-weight",
        "identity_weight",
        "weight of the change of same-site pairs",
        type=float,
        metavar="X",
    )
    add("--encoder", "encoder", "encoder of site codes", choices=ENCODERS)
    add("--encoder-file", "encoder_file", "weights of the vgg encoder", type=Path, metavar="FILE")
    add(
        "--bank-size",
        "bank_size",
        "scans per site and modality behind a profile",
        type=int,
        metavar="N",
    )
    add("--cgan-epochs", "cgan_epochs", "constant, then as many falling", type=int, metavar="N")
    add("--simix-epochs", "simix_epochs", "constant, then as many falling", type=int, metavar="N")
    add(
        "--paired-steps",
        "paired_steps",
        "bound on the steps of cgan and simix, 0: none",
        type=int,
        metavar="N",
    )
    add("--paired-width", "paired_width", "filters of cgan and simix", type=int, metavar="N")
    add(
        "--paired-per-site",
        "paired_per_site",
        "one network of cgan or simix per source site",
        action=argparse.BooleanOptionalAction,
    )
    add("--simix-mixing", "simix_mixing", "largest share of the target", type=float, metavar="A")
    add("--ssimh-corner", "ssimh_corner", "frequencies of the target", type=int, metavar="B")
    add(
        "--resume",
        "resume",
        "go on from the last checkpoint",
        action=argparse.BooleanOptionalAction,
    )
