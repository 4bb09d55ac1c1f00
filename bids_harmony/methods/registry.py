"""Every method of harmonization in one table: what it needs, what it is, where its code stands.

Code is named as text, ``module:name``, and imported when it is asked for: nothing heavy is
imported here. All methods go through the same preparation, mask, final clip and return to the
native grid, so that a comparison of methods compares nothing else.

A new method is a module with a subclass of `profiled.Profiled`, a function that trains it if it
has to be trained, and an entry here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import Any

from bids_harmony.exceptions import UsageError

__all__ = ["REGISTRY", "Method", "check_training_target", "find_method"]


@dataclass(frozen=True)
class Method:
    """One entry of the table.

    Attributes
    ----------
    applied_by : str
        ``module:name`` of its subclass of `profiled.Profiled`, whose `name` is the method's.
    sentence : str
        What it does to a scan, for the methods section of an article: goes on after a colon, in
        the past tense, with ``[@key]`` for articles of ``data/bibliography.bib``.
    trained_by : str
        ``module:name`` of what trains it, ``(scans, settings, out_dir) -> extra`` as for
        `training.fit.fit_method`. Empty where nothing is fitted besides the site profiles.
    supervised : bool
        It learns from travelling subjects: training scans of one person at two sites.
    target_at_training : bool
        It is fitted for one target site.
    learns_sites : bool
        A handful of scans is all that it needs to know of a site.
    """

    applied_by: str
    sentence: str
    trained_by: str = ""
    supervised: bool = False
    target_at_training: bool = False
    learns_sites: bool = True

    @property
    def trained(self) -> bool:
        """Whether its own model folder is needed to apply it; the others take that of any."""
        return bool(self.trained_by)

    def harmonizer_class(self) -> Any:
        """Import the class that applies it."""
        return _imported(self.applied_by)

    def training(self) -> Any:
        """Import the function that trains it."""
        return _imported(self.trained_by)


_LANDMARKS = "intensities were matched to the target site's at landmarks [@nyul, @shinohara]"
_TISSUES = (
    "the scan's own smooth field and the intensities of its grey matter, white matter and CSF "
    "were estimated by expectation maximisation with tissue priors [@em_field, @unified]"
)
_DIFFERENCE = (
    f"{_TISSUES}; the difference of the two sites, estimated from several people of each with "
    "random effects and shrunk by its evidence as in ComBat [@combat_mri], was applied to them"
)

#: Every method of ``--method``; the first is the default.
REGISTRY: Mapping[str, Method] = MappingProxyType(
    {
        "ihf": Method(
            "bids_harmony.methods.ihf:IHF",
            f"{_DIFFERENCE}, so that what a person differs in from others stayed; an invertible "
            "hierarchy flow network (IHF-Harmony [@ihf]), conditioned on scans of the source site "
            "and of the target site, then predicted what else differs, for three neighbouring "
            "axial slices at a time",
            trained_by="bids_harmony.training.adapt:train_model",
        ),
        "histogram": Method("bids_harmony.methods.histogram:Histogram", _LANDMARKS),
        "histogram-cdf": Method(
            "bids_harmony.methods.histogram:HistogramCDF",
            "the distribution of intensities was matched to the target site's",
        ),
        "histogram-n4": Method(
            "bids_harmony.methods.histogram_n4:HistogramN4",
            f"after correction of the smooth field (N4 [@n4]), {_LANDMARKS}",
            trained_by="bids_harmony.training.histogram_n4:train_histogram_n4",
            learns_sites=False,
        ),
        "histogram-ratio": Method(
            "bids_harmony.methods.histogram:HistogramRatio",
            f"{_LANDMARKS} and multiplied by the smooth ratio of the sites' mean images",
        ),
        "histogram-fit": Method(
            "bids_harmony.methods.histogram:HistogramFit",
            f"{_LANDMARKS}, with a smooth field of low order",
        ),
        "histogram-tissue": Method(
            "bids_harmony.methods.histogram:HistogramTissue",
            f"{_TISSUES} and mapped to those of the target site",
        ),
        "histogram-relative": Method(
            "bids_harmony.methods.histogram:HistogramRelative", _DIFFERENCE
        ),
        "ssimh": Method(
            "bids_harmony.methods.ssimh:SSIMH",
            "low frequencies of slices were exchanged with the target site's [@ssimh]",
            trained_by="bids_harmony.training.ssimh:train_ssimh",
            target_at_training=True,
            learns_sites=False,
        ),
        "cgan": Method(
            "bids_harmony.methods.cgan:CGAN",
            "slices were translated by a conditional adversarial network [@pix2pix]",
            trained_by="bids_harmony.training.cgan:train_cgan",
            supervised=True,
            target_at_training=True,
            learns_sites=False,
        ),
        "simix": Method(
            "bids_harmony.methods.simix:SiMix",
            "slices were translated by SiMix with its multi-view test [@simix]",
            trained_by="bids_harmony.training.simix:train_simix",
            supervised=True,
            target_at_training=True,
            learns_sites=False,
        ),
        "none": Method("bids_harmony.methods.controls:Unchanged", "nothing was changed (control)"),
        "blur": Method("bids_harmony.methods.controls:Blur", "images were blurred (control)"),
    }
)


def find_method(name: str) -> Method:
    """Give a method's entry.

    Raises
    ------
    UsageError
        There is no such method.
    """
    if name not in REGISTRY:
        raise UsageError("Unknown method", expected=", ".join(REGISTRY), got=repr(name))
    return REGISTRY[name]


def check_training_target(method: str, target_site: str | None) -> None:
    """Refuse to train a method for one target site without being told which.

    Raises
    ------
    UsageError
    """
    if find_method(method).target_at_training and not target_site:
        raise UsageError(
            f"The method {method} is trained for one target site",
            where="--target-site",
            got="none",
            hint="Name the site that the method shall harmonize to.",
        )


def _imported(where: str) -> Any:
    module, _, name = where.partition(":")
    return getattr(import_module(module), name)
