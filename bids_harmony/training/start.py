"""The model that the package ships: pre-trained on synthetic twins, without any site.

Training starts from it, and without training it harmonizes to sites whose profiles are made on the
fly (`profile_cache`). `benchmarks/pretrain.py` makes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bids_harmony import __version__
from bids_harmony.exceptions import DataError
from bids_harmony.model.checkpoint import load_model, save_model
from bids_harmony.model.description import METADATA_FILE, WEIGHTS_FILE
from bids_harmony.model.encoder import Encoder
from bids_harmony.model.network import IHFNetwork
from bids_harmony.model.presets import DEFAULT_PRESET, preset
from bids_harmony.model.shipped import SHIPPED_MODEL, SHIPPED_SHA256
from bids_harmony.sites.training_range import TrainingRange, write_ranges

__all__ = ["read_start", "write_shipped"]


def write_shipped(
    network: IHFNetwork,
    encoder: Encoder,
    ranges: Mapping[str, TrainingRange],
    about: Mapping[str, Any],
    folder: Path = SHIPPED_MODEL,
    others: Sequence[IHFNetwork] = (),
) -> str:
    """Write a model folder with weights in half precision; return their sha256.

    Parameters
    ----------
    network : IHFNetwork
    encoder : Encoder
        Whose codes the network was trained with.
    ranges : mapping of modality to TrainingRange
    about : mapping
        Recipe and figures, for ``model.json``.
    folder : Path
    others : sequence of IHFNetwork
        Further members of the model.
    """
    extra = {"version": __version__, "use_closed_form": True, "shipped": True, **about}
    record = save_model(folder, network, encoder, extra, half=True, others=others)
    write_ranges(folder, ranges)
    return str(record["weights"]["sha256"])


def read_start(network: IHFNetwork, encoder: Encoder) -> bool:
    """Fill a network with the shipped weights, if they are made for it.

    Parameters
    ----------
    network : IHFNetwork
        Changed in place.
    encoder : Encoder

    Returns
    -------
    bool
        False, and nothing changed, where network or encoder is another.

    Raises
    ------
    MissingInput, DataError
        The files are missing, or not those that this version was made with.
    """
    if network.config != preset(DEFAULT_PRESET) or encoder.name != "mri":
        return False
    shipped, metadata = load_model(SHIPPED_MODEL)
    if metadata["encoder"]["sha256"] != encoder.sha256:
        return False
    if metadata["weights"]["sha256"] != SHIPPED_SHA256:
        raise DataError(
            "The shipped weights are not those this version was made with",
            where=f"{SHIPPED_MODEL / METADATA_FILE}, {WEIGHTS_FILE}",
            expected=f"sha256 {SHIPPED_SHA256}",
            got=metadata["weights"]["sha256"],
            hint="Install the package again.",
        )
    network.load_state_dict(shipped.state_dict())
    return True
