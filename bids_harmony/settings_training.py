"""What the level train was asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bids_harmony.exceptions import UsageError
from bids_harmony.settings_checks import (
    check_choice,
    check_not_negative,
    check_positive,
    check_share,
)

__all__ = [
    "AAN_MODES",
    "ART_TARGETS",
    "ENCODERS",
    "RECURSIONS",
    "TRAINING_PRECISIONS",
    "TrainingSettings",
]

ENCODERS = ("mri", "vgg")
AAN_MODES = ("residual", "replace")
ART_TARGETS = ("slice", "prototype")
# As in model.coupling, which brings torch and is not for the command line.
RECURSIONS = ("convex", "mean", "hf", "repo")
TRAINING_PRECISIONS = ("float32", "bf16")


@dataclass(frozen=True)
class TrainingSettings:
    """What the ``train`` level was asked to do.

    Every field is a user's choice; the comment beside it gives unit and reason.
    """

    # --- network
    # Preset by name (model.presets); "local" is the closed form first, then grid AAN with local
    # maps.
    preset: str = "local"
    # Changes to the preset; None leaves it as it is. Whether modulation is the prediction for the
    # target minus that for the source; whose statistics it acts on; cells per side that it varies
    # over; form of the way back.
    relative: bool | None = None
    aan: str | None = None
    grid: int | None = None
    recursion: str | None = None
    # Whether the network's input is the closed form's output; None: where it is relative.
    closed_form: bool | None = None
    # Which encoder describes a site: "mri" is shipped, "vgg" is read from encoder_file.
    encoder: str = "mri"
    encoder_file: Path | None = None
    # Scans per site and modality behind a profile. From 3 to 8 the codes still got better (0.0635
    # to 0.058 RMSE).
    bank_size: int = 8

    # --- first stage: synthetic twins
    # Begin with the weights that the package ships, where network and encoder are theirs.
    start: bool = True
    # Optimiser steps on synthetic twins. The shipped weights have had thousands; from nothing
    # (start = False) take as many.
    twin_steps: int = 200
    # Limit on the wall clock of this stage, minutes; 0 for none. With a limit the result depends
    # on the speed of the machine, so steps are the better budget.
    train_minutes: float = 0.0
    # Step size of Adam. A larger one makes shipped weights forget; from nothing, take 2e-3.
    twin_learning_rate: float = 1e-4
    # Simulated people and scanners that twins are drawn from (profiles and validation take more).
    twin_people: int = 20
    twin_scanners: int = 32
    # Weights of absolute and squared error to the twin (dimensionless).
    twin_absolute: float = 1.0
    twin_squared: float = 4.0

    # --- second stage: unpaired scans of this dataset. After twins, or from the shipped weights,
    # an adaptation that is kept only if validation gets better; without either the whole training.
    # Optimiser steps, or epochs (an epoch: each source slice once) where that is above 0.
    adapt_steps: int = 100
    epochs: int = 0
    # Step size of Adam; the fusion logits take ten times as much. Authors' repository.
    learning_rate: float = 1e-4
    # Weights of the anatomical and the artefact consistency loss (dimensionless). Authors'
    # repository.
    lambda_ac: float = 1.0
    lambda_art: float = 2.0
    # Share of the encoder's channels that the artefact loss keeps, the best matching ones. The
    # paper's k.
    keep: float = 0.9
    # What the artefact loss compares with: the paired slice, or the mean of the target site's
    # scans at its height.
    art_target: str = "slice"
    # Share of the pairs within one site, and weight of the mean absolute change of these (ours; of
    # no use where the network is relative: then they do not change at all).
    same_site_share: float = 0.1
    identity_weight: float = 0.0
    # Slices of a step that share source scan and target site. 1 mixes best, but costs a closed
    # form per slice where there is one.
    slices_per_pair: int = 8
    # Steps between validations on held-out people; stop after so many without a better one
    # (0: never).
    validate_every: int = 25
    patience: int = 5

    # --- both stages
    # Slices per optimiser step. Eight learn faster per minute than sixteen on a processor; the
    # paper's 32 is for a graphics card.
    batch: int = 8
    # Parts that a batch is worked through in, to save memory; the result is the same.
    accumulate: int = 1
    # "bf16": convolutions in half precision on cards that have it.
    precision: str = "float32"
    # Go on from the last checkpoint when it belongs to the same settings.
    resume: bool = True

    # --- methods to compare with
    # Epochs with constant rate, followed by as many with a falling one; every slice once an
    # epoch. Published values.
    cgan_epochs: int = 100
    simix_epochs: int = 25
    # Bound on the steps (slices shown) of each network of cgan and simix; 0 for none.
    # train_minutes bounds them by the clock.
    paired_steps: int = 0
    # Filters of the first layer of cgan and simix; 64 as published takes a graphics card.
    paired_width: int = 64
    # One network of cgan or simix per source site instead of one for all.
    paired_per_site: bool = False
    # SiMix: the source takes up to this share of its target, or gives it away. Released folders.
    simix_mixing: float = 0.3
    # SSIMH: this many lowest frequencies along each axis are the target's. Released code.
    ssimh_corner: int = 3

    def __post_init__(self) -> None:
        check_positive(self, ("batch", "learning_rate", "twin_learning_rate", "bank_size"))
        check_positive(self, ("twin_people", "twin_scanners", "accumulate", "slices_per_pair"))
        check_positive(self, ("validate_every",))
        check_positive(self, ("cgan_epochs", "simix_epochs", "paired_width", "ssimh_corner"))
        check_not_negative(
            self,
            (
                "train_minutes", "twin_steps", "adapt_steps", "epochs", "lambda_ac", "lambda_art",
                "twin_absolute", "twin_squared", "identity_weight", "patience", "paired_steps",
                "simix_mixing",
            ),
        )  # fmt: skip
        if self.grid is not None:
            check_positive(self, ("grid",))
        check_share("keep", self.keep)
        check_share("same_site_share", self.same_site_share, zero=True)
        for name, choices in (("aan", AAN_MODES), ("recursion", RECURSIONS)):
            if (value := getattr(self, name)) is not None:
                check_choice(name, value, choices)
        check_choice("art_target", self.art_target, ART_TARGETS)
        check_choice("precision", self.precision, TRAINING_PRECISIONS)
        check_choice("encoder", self.encoder, ENCODERS)
        if self.encoder == "vgg" and self.encoder_file is None:
            raise UsageError(
                "The vgg encoder is a file that you name",
                where="--encoder-file",
                hint="Give --encoder-file FILE (Oxford, torchvision or AdaIN layout), "
                "or --encoder mri.",
            )
