"""The methods by name, and what each needs; nothing heavy is imported here.

All go through the same preparation, mask, final clip and return to the native grid, so that a
comparison of methods compares nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bids_harmony.exceptions import UsageError

__all__ = ["METHOD_NEEDS", "MethodNeeds", "check_training_target"]


@dataclass(frozen=True)
class MethodNeeds:
    """What the level train must have for a method.

    Attributes
    ----------
    trained : bool
        Something is fitted besides the site profiles, so its own folder is needed to apply it. The
        others can be applied with the model folder of any method.
    supervised : bool
        It learns from travelling subjects: training scans of one person at two sites.
    target_at_training : bool
        It is fitted for one target site.
    """

    trained: bool = False
    supervised: bool = False
    target_at_training: bool = False


#: Every method of ``--method``; the first is the default.
METHOD_NEEDS: Mapping[str, MethodNeeds] = MappingProxyType(
    {
        "ihf": MethodNeeds(trained=True),
        "histogram": MethodNeeds(),
        "histogram-cdf": MethodNeeds(),
        "histogram-n4": MethodNeeds(trained=True),
        "histogram-ratio": MethodNeeds(),
        "histogram-fit": MethodNeeds(),
        "histogram-tissue": MethodNeeds(),
        "histogram-relative": MethodNeeds(),
        "ssimh": MethodNeeds(trained=True, target_at_training=True),
        "cgan": MethodNeeds(trained=True, supervised=True, target_at_training=True),
        "simix": MethodNeeds(trained=True, supervised=True, target_at_training=True),
        "none": MethodNeeds(),
        "blur": MethodNeeds(),
    }
)


def check_training_target(method: str, target_site: str | None) -> None:
    """Refuse to train a method for one target site without being told which.

    Raises
    ------
    UsageError
    """
    if METHOD_NEEDS[method].target_at_training and not target_site:
        raise UsageError(
            f"The method {method} is trained for one target site",
            where="--target-site",
            got="none",
            hint="Name the site that the method shall harmonize to.",
        )
