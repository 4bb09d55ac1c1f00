"""Revisions of the algorithms: what a run finds done counts only if today's would do the same.

The version of a release does not tell two states of the code apart. Each algorithm whose results
are kept and taken up again has a number here, which stands in the hash of what it made. Whoever
changes results raises it; ``tests/test_revisions.py`` holds numbers of every revision and fails
where they no longer come out.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["REVISIONS", "revisions_of"]

#: ``anatomy``: brain mask and registration. ``profile``: what is kept of how a site's scans look.
#: ``harmonization``: every method on one scan. ``diffusion``: series, and the maps of their fits.
#: ``training``: what a checkpoint is gone on with.
REVISIONS: Mapping[str, int] = MappingProxyType(
    {"anatomy": 1, "profile": 3, "harmonization": 6, "diffusion": 7, "training": 8}
)


def revisions_of(*algorithms: str) -> dict[str, int]:
    """Give the revisions that a result depends on, for a hash.

    Parameters
    ----------
    *algorithms : str
        Keys of `REVISIONS`.

    Raises
    ------
    KeyError
        There is no such algorithm.
    """
    return {name: REVISIONS[name] for name in algorithms}
