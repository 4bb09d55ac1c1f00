"""What the level train was asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bids_harmony.exceptions import UsageError
from bids_harmony.settings.metadata import Group, check_values, setting
from bids_harmony.settings.values import check_positive, check_share

__all__ = ["TrainingSettings"]

_setting = partial(setting, group=Group.TRAINING)
_positive = partial(_setting, check=check_positive)


@dataclass(frozen=True)
class TrainingSettings:
    """What the ``train`` level was asked to do.

    Every field is a user's choice; its help tells what it means, the comment above it why. Those
    without flags are for settings files.

    Raises
    ------
    UsageError
        When a value is out of its range.
    """

    # fmt: off
    # --- network; None leaves the preset as it is.
    # "local": the closed form first, then grid AAN with local maps.
    preset: str = _setting("local", "network preset {default}", usage="NAME")
    relative: bool | None = _setting(None,
        "modulate by the prediction for the target minus that for the source {default}")
    aan: str | None = _setting(None, "statistics that are modulated {default}",
        choices=("residual", "replace"))
    grid: int | None = _positive(None, "modulation varies over so many cells a side {default}")
    # As in model.coupling, which brings torch and is not for the command line.
    recursion: str | None = _setting(None, "form of the flow's way back {default}",
        choices=("convex", "mean", "hf", "repo"))
    closed_form: bool | None = _setting(None,
        "the network's input is the closed form's output (default: where it is relative)",
        group=None)
    # "mri" is shipped, "vgg" is read from encoder_file.
    encoder: str = _setting("mri", "encoder of site codes {default}", choices=("mri", "vgg"),
        after="identity_weight")
    encoder_file: Path | None = _setting(None, "weights of the vgg encoder {default}",
        usage="FILE", after="encoder")
    # From 3 to 8 the codes still got better (0.0635 to 0.058 RMSE).
    bank_size: int = _positive(8, "scans per site and modality behind a profile {default}",
        after="encoder_file")

    # --- first stage: synthetic twins
    start: bool = _setting(True,
        "begin with the shipped weights, where they fit the preset {default}")
    # The shipped weights have had thousands; from nothing (start = False) take as many.
    twin_steps: int = _setting(200, "steps on synthetic twins {default}")
    # With a limit the result depends on the speed of the machine; steps are the better budget.
    train_minutes: float = _setting(0.0,
        "stop the twins after so many minutes, 0: never {default}", usage="MIN")
    # A larger one makes shipped weights forget; from nothing, take 2e-3.
    twin_learning_rate: float = _positive(1e-4, "step size of Adam on twins {default}",
        after="twin_scanners")
    # What twins are drawn from; profiles and validation take more.
    twin_people: int = _positive(20, "simulated people {default}")
    twin_scanners: int = _positive(32, "simulated scanners {default}")
    # Scanners are fitted to these; the rest keeps what the network knows of any scanners.
    own_twins: float = _setting(0.75,
        "share of the twins that are between the dataset's own sites {default}",
        check=partial(check_share, zero=True), after="twin_scanners")
    twin_absolute: float = _setting(1.0, "weight of the absolute error to the twin {default}",
        group=None)
    twin_squared: float = _setting(4.0, "weight of the squared error to the twin {default}",
        group=None)

    # --- second stage: unpaired scans of this dataset. After twins, or from the shipped weights,
    # an adaptation that is kept only if validation gets better; without either the whole training.
    # From the shipped weights it gained nothing: the closed form has done what its losses ask for.
    adapt_steps: int = _setting(0, "steps on this dataset's unpaired scans {default}")
    # An epoch: each source slice once.
    epochs: int = _setting(0, "the same in epochs, where above 0 {default}")
    # Of Adam; the fusion logits take ten times as much. Authors' repository, as the two weights.
    learning_rate: float = _positive(1e-4, "step size, adaptation {default}")
    lambda_ac: float = _setting(1.0, "weight of the anatomical consistency loss {default}")
    lambda_art: float = _setting(2.0, "weight of the artefact consistency loss {default}")
    # The best matching ones. The paper's k.
    keep: float = _setting(0.9, "share of encoder channels in the artefact loss {default}",
        check=check_share)
    # "slice": the paired one; "prototype": the mean of the target site's scans at its height.
    art_target: str = _setting("slice",
        "what the artefact loss compares with: a slice or the mean of its site {default}",
        choices=("slice", "prototype"))
    # These two are ours; of no use where the network is relative: then such pairs do not change.
    same_site_share: float = _setting(0.1, "share of the pairs that are within one site {default}",
        group=None, check=partial(check_share, zero=True))
    identity_weight: float = _setting(0.0, "weight of the change of same-site pairs {default}")
    # 1 mixes best, but costs a closed form per slice where there is one.
    slices_per_pair: int = _positive(8,
        "slices of a step that share source scan and target site {default}", group=None)
    validate_every: int = _positive(25, "steps between validations on held-out people {default}",
        group=None)
    patience: int = _setting(5,
        "stop after so many validations without a better one, 0: never {default}",
        after="precision")

    # --- both stages
    # Eight learn faster per minute than sixteen on a processor; the paper's 32 is for a graphics
    # card.
    batch: int = _positive(8, "slices per step {default}", usage="--train-batch", after="epochs")
    # The result is the same.
    accumulate: int = _positive(1, "parts of a batch, to save memory {default}", after="batch")
    # "bf16": half precision on cards that have it.
    precision: str = _setting("float32", "of convolutions in training {default}",
        usage="--train-precision", choices=("float32", "bf16"), after="accumulate")
    # Only when the checkpoint belongs to the same settings.
    resume: bool = _setting(True, "go on from the last checkpoint {default}", after="ssimh_corner")

    # --- methods to compare with
    # Every slice once an epoch. Published values.
    cgan_epochs: int = _positive(100, "constant, then as many falling {default}")
    simix_epochs: int = _positive(25, "constant, then as many falling {default}")
    # Slices shown, of each network; train_minutes bounds them by the clock.
    paired_steps: int = _setting(0, "bound on the steps of cgan and simix, 0: none {default}")
    # Of the first layer; 64 as published takes a graphics card.
    paired_width: int = _positive(64, "filters of cgan and simix {default}")
    paired_per_site: bool = _setting(False,
        "one network of cgan or simix per source site {default}")
    # The source takes up to this share of its target, or gives it away. Released folders.
    simix_mixing: float = _setting(0.3, "largest share of the target {default}", usage="A")
    # The lowest along each axis. Released code.
    ssimh_corner: int = _positive(3, "frequencies of the target {default}", usage="B")
    # fmt: on

    def __post_init__(self) -> None:
        check_values(self)
        if self.encoder == "vgg" and self.encoder_file is None:
            raise UsageError(
                "The vgg encoder is a file that you name",
                where="--encoder-file",
                hint="Give --encoder-file FILE (Oxford, torchvision or AdaIN layout), "
                "or --encoder mri.",
            )
