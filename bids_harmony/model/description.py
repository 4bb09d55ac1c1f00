"""``model.json`` of a model folder: what a model is, read without torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bids_harmony.exceptions import BidsHarmonyError, DataError, MissingInput
from bids_harmony.io.pointers import check_content, is_named
from bids_harmony.io.reading import read_json
from bids_harmony.model.presets import MOST_WIDTH, NetworkConfig

__all__ = [
    "FORMAT",
    "METADATA_FILE",
    "WEIGHTS_FILE",
    "Description",
    "model_files",
    "read_description",
]

METADATA_FILE = "model.json"
WEIGHTS_FILE = "model.safetensors"
FORMAT = 1
#: Each takes a pass over every scan.
_MOST_MEMBERS = 8


@dataclass(frozen=True)
class Description:
    """What a model folder says of its network.

    Attributes
    ----------
    config : NetworkConfig
    code_length : int
        Of the encoder's codes.
    members : int
        Networks of this configuration in the weights, whose mean is applied; one before there
        were several.
    weights : Path
    sha256 : str
        Of the weights, as they are described.
    metadata : dict
        The contents of ``model.json``.
    """

    config: NetworkConfig
    code_length: int
    members: int
    weights: Path
    sha256: str
    metadata: dict[str, Any]


def read_description(folder: Path | str) -> Description:
    """Read and check a model's description; its weights are there, and were not looked into.

    Parameters
    ----------
    folder : path

    Raises
    ------
    MissingInput
        A file of the folder is missing.
    DataError
        The description is unreadable.
    """
    description, weights = model_files(
        Path(folder),
        expected=f"a folder with {METADATA_FILE} and {WEIGHTS_FILE}",
        hint="Name the folder that the level train wrote.",
    )
    try:
        metadata = read_json(description)
        if metadata["format"] != FORMAT:
            raise DataError(
                "A model of another format",
                where=str(description),
                expected=str(FORMAT),
                got=str(metadata["format"]),
                hint="Use the version of the package that wrote it.",
            )
        config = NetworkConfig.from_dict(metadata["network"])
        code_length = int(metadata["encoder"]["code_length"])
        if not 0 < code_length <= MOST_WIDTH:
            raise ValueError(f"a code length of {code_length}")
        members = metadata.get("members", 1)
        if type(members) is not int or not 0 < members <= _MOST_MEMBERS:
            raise ValueError(f"members: {members}")
        sha256 = metadata["weights"]["sha256"]
    except BidsHarmonyError as error:
        if error.where:
            raise
        raise DataError(error.what, where=str(description), got=error.got) from error
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            "A model description cannot be read",
            where=str(description),
            got=f"{type(error).__name__}: {error}",
        ) from error
    return Description(config, code_length, members, weights, sha256, metadata)


def model_files(folder: Path, *, expected: str, hint: str) -> tuple[Path, Path]:
    """Find description and weights in a model folder.

    Parameters
    ----------
    folder : Path
    expected, hint : str
        For the message.

    Returns
    -------
    description, weights : Path

    Raises
    ------
    MissingInput
        One of them is missing.
    """
    description, weights = folder / METADATA_FILE, folder / WEIGHTS_FILE
    for file in (description, weights):
        if not is_named(file):
            raise MissingInput(
                "A model file is missing", where=str(file), expected=expected, hint=hint
            )
        check_content(file)
    return description, weights
