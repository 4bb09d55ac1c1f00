"""The mean of several sites: a target that favours none of them.

Each site counts once, however many people show it. Intensities of white matter, quantiles and
codes are averaged as they are; contrasts, fields and detail, of which logarithms are kept, in
their logarithms, as the model of sites does (`random_effects`). Of diffusion series, gradients,
noise and levels of orders are averaged in their logarithms, quantiles and the blur as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bids_harmony.diffusion.gradients import common_shells
from bids_harmony.exceptions import DataError
from bids_harmony.sites.image_profile import ImageProfile
from bids_harmony.sites.names import MEAN_SITE
from bids_harmony.sites.scan_measures import ScanMeasures
from bids_harmony.sites.series_profile import SeriesProfile

__all__ = ["mean_profile", "mean_series_profile"]

Array = np.ndarray


def mean_profile(profiles: Sequence[ImageProfile]) -> ImageProfile:
    """Average the profiles of sites.

    Parameters
    ----------
    profiles : sequence of ImageProfile
        Two or more, of one modality and on one grid.

    Returns
    -------
    ImageProfile
        Of the site `MEAN_SITE`; its single scans are those of all sites, and know which site each
        is of.

    Raises
    ------
    DataError
        Fewer than two sites, or several modalities.
    """
    sites = {profile.site: profile for profile in profiles}
    modalities = sorted({profile.modality for profile in profiles})
    if len(sites) < 2 or len(modalities) != 1:
        raise DataError(
            "The mean of sites needs several",
            expected="two or more sites, one modality",
            got=f"{', '.join(sites) or 'none'}; {', '.join(modalities) or 'none'}",
        )
    ordered = [sites[name] for name in sorted(sites)]
    single = ScanMeasures.of_sites({own.site: own.scan_measures for own in ordered})
    white = float(np.mean([own.tissue_means[1] for own in ordered]))
    grey, csf = np.exp(single.average(single.contrasts))
    return ImageProfile(
        site=MEAN_SITE,
        modality=modalities[0],
        mean_image=_mean_image(ordered),
        landmarks=np.mean([own.landmarks for own in ordered], axis=0),
        quantiles=np.mean([own.quantiles for own in ordered], axis=0),
        codes=np.mean([own.codes for own in ordered], axis=0).astype(np.float32),
        texture=np.mean([own.texture for own in ordered], axis=0).astype(np.float32),
        tissue_means=white * np.array([grey, 1.0, csf]),
        field=np.mean([own.field for own in ordered], axis=0),
        scale=float(np.median([own.scale for own in ordered])),
        scans=tuple(label for own in ordered for label in own.scans),
        single=single,
    )


def mean_series_profile(profiles: Sequence[SeriesProfile]) -> SeriesProfile:
    """Average how the diffusion series of sites look.

    Parameters
    ----------
    profiles : sequence of SeriesProfile
        Two or more, of different sites.

    Returns
    -------
    SeriesProfile
        Of the site `MEAN_SITE`, with the scans of all; it has the shells that each of the sites
        has an equal of (`SeriesProfile.left_out` are the others).

    Raises
    ------
    DataError
        Fewer than two sites, or no shell that all of them have.
    """
    sites = {profile.site: profile for profile in profiles}
    ordered = [sites[name] for name in sorted(sites)]
    mean = SeriesProfile(
        MEAN_SITE,
        tuple(scan for own in ordered for scan in own.scans),
        tuple(own.site for own in ordered for _ in own.scans),
    )
    if len(sites) < 2:
        raise DataError(
            "The mean of sites needs several",
            expected="two or more sites",
            got=", ".join(sites) or "none",
        )
    common_shells({own.site: own.shells for own in ordered})
    return mean


def _mean_image(profiles: Sequence[ImageProfile]) -> Array:
    """Geometric mean of the sites that know a voxel, where at least half of them do."""
    total = np.zeros(profiles[0].mean_image.shape, np.float32)
    count = np.zeros_like(total)
    for own in profiles:
        total += np.log(own.mean_image, where=own.mask, out=np.zeros_like(total))
        count += own.mask
    known = count >= max(1, len(profiles) / 2)
    return np.where(known, np.exp(total / np.maximum(count, 1)), 0).astype(np.float32)
