"""Model folders of the methods beside IHF-Harmony: ``model.json`` and, if any, its tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from bids_harmony.exceptions import BidsHarmonyError, DataError
from bids_harmony.io.atomic import write_with_folder
from bids_harmony.io.reading import read_json
from bids_harmony.io.tensors import read_described
from bids_harmony.model.description import METADATA_FILE, WEIGHTS_FILE, model_files
from bids_harmony.model.encoder_files import write_tensors

__all__ = ["read_method", "write_method"]

_FORMAT = 1


def write_method(
    folder: Path, method: str, tensors: Mapping[str, Tensor], extra: Mapping[str, Any]
) -> dict[str, Any]:
    """Write what a method learnt, each file in one step, the tensors first.

    Parameters
    ----------
    folder : Path
    method : str
    tensors : mapping of str to Tensor
        Empty for a method that is all in the site profiles.
    extra : mapping
        Anything for JSON that should travel along (version, seed, options).

    Returns
    -------
    dict
        What was written to ``model.json``.
    """
    weights = None
    if tensors:
        state = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
        digest = write_tensors(state, Path(folder) / WEIGHTS_FILE)
        weights = {"file": WEIGHTS_FILE, "sha256": digest}
    metadata = {"format": _FORMAT, "method": method, "weights": weights, "extra": dict(extra)}
    content = json.dumps(metadata, indent=2, sort_keys=True) + "\n"
    write_with_folder(Path(folder) / METADATA_FILE, content.encode())
    return json.loads(content)


def read_method(folder: Path, method: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what a method learnt.

    Returns
    -------
    tensors : dict of str to Tensor
    metadata : dict
        The contents of ``model.json``.

    Raises
    ------
    MissingInput
        A file of the folder is missing.
    DataError
        The folder holds another method, or its files cannot be read or do not belong together.
    """
    description, weights = model_files(
        Path(folder),
        expected=f"a folder that the level train wrote with --method {method}",
        hint=f"Run `bids_harmony BIDS OUT train --method {method}`, "
        "or name its folder with --model.",
    )
    try:
        metadata = read_json(description)
        # The working default came first and does not name itself.
        found = metadata.get("method", "ihf")
        if found != method:
            raise DataError(
                "The model folder holds another method",
                where=str(description),
                expected=method,
                got=str(found),
                hint=f"Run the level train with --method {method}, or name its folder "
                "with --model.",
            )
        expected = metadata["weights"]["sha256"]
        if metadata["format"] != _FORMAT:
            raise ValueError(f"format {metadata['format']}, not {_FORMAT}")
    except BidsHarmonyError:
        raise
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            "A model description cannot be read",
            where=str(description),
            got=f"{type(error).__name__}: {error}",
        ) from error
    return read_described(weights, expected), metadata
