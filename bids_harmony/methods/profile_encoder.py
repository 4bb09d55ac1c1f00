"""What site profiles are made with: the encoder of their codes, and the grid of their detail."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from bids_harmony.exceptions import DataError

if TYPE_CHECKING:
    from bids_harmony.methods.base import Harmonizer
    from bids_harmony.model.encoder import Encoder

__all__ = ["encoder_and_cells", "encoder_hash_and_cells"]


@lru_cache(maxsize=1)
def _default_encoder() -> Encoder:
    from bids_harmony.model.encoder import load_encoder

    return load_encoder("mri")


def encoder_and_cells(harmonizer: Harmonizer | None = None) -> tuple[Encoder, int]:
    """Encoder of the codes, and cells of the grid on which detail is measured.

    Parameters
    ----------
    harmonizer : Harmonizer, optional
        The method that the profiles are for; by default those of the shipped model.

    Raises
    ------
    DataError
        The model was trained with an encoder that is not at hand.
    """
    _, cells = encoder_hash_and_cells(harmonizer)
    return _default_encoder(), cells


def encoder_hash_and_cells(harmonizer: Harmonizer | None = None) -> tuple[str, int]:
    """As `encoder_and_cells`, with the hash of the encoder instead of itself: without torch."""
    from bids_harmony.model.presets import DEFAULT_PRESET, preset
    from bids_harmony.model.shipped import MRI_ENCODER_SHA256

    # A method without a network is free to take any.
    if getattr(harmonizer, "encoder_sha256", MRI_ENCODER_SHA256) != MRI_ENCODER_SHA256:
        raise DataError(
            "Sites that the model does not know need the encoder that it was trained with",
            where="--model",
            expected="a model with the shipped encoder",
            got="another encoder",
            hint="Run the level train with scans of these sites.",
        )
    config = getattr(harmonizer, "config", None) or preset(DEFAULT_PRESET)
    return MRI_ENCODER_SHA256, config.aan.grid
