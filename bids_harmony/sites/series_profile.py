"""How a site's diffusion series look: numbers of several scans, and profiles of images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bids_harmony.diffusion.calibration import SeriesMeasures
from bids_harmony.diffusion.features import PreparedSeries
from bids_harmony.diffusion.magnitudes import Noise
from bids_harmony.exceptions import DataError
from bids_harmony.io.atomic import write_atomically
from bids_harmony.io.reading import read_json
from bids_harmony.model.encoder import Encoder
from bids_harmony.sites.image_profile import ImageProfile, build_profile
from bids_harmony.sites.sharpness_difference import MOST_BLUR

__all__ = [
    "SeriesProfile",
    "b_scale",
    "blur_between",
    "build_series_profiles",
    "order_scales",
    "shrunk_shift",
]

WATER_TO_WHITE = 1.2
"""Noise in the ventricles over that in white matter, which is further from the middle."""


@dataclass(frozen=True)
class SeriesProfile:
    """What some series of one site show of its scanner.

    Attributes
    ----------
    site : str
    scans : tuple of (str, SeriesMeasures)
        Label and measures of each.
    """

    site: str
    scans: tuple[tuple[str, SeriesMeasures], ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the scans."""
        return tuple(label for label, _ in self.scans)

    @property
    def shells(self) -> tuple[float, ...]:
        """Nominal b-values that at least one scan has, s/mm2, ascending."""
        return tuple(sorted({b for _, measures in self.scans for b in measures.levels}))

    @property
    def water(self) -> float:
        """Median apparent diffusivity of free water, mm2/s; NaN where no scan showed it."""
        return _median([measures.water for _, measures in self.scans])

    @property
    def noise(self) -> float:
        """Median noise as a share of the signal of white matter; NaN where no scan showed it."""
        return _median([measures.noise for _, measures in self.scans])

    def floor(self, noise: float) -> Noise:
        """Noise that makes the floor of a scan in white matter, as a share of its signal at b=0.

        Channels are those that free water shows in the scans of the site. Where it shows much
        more noise than b=0 does, the site denoises: that takes scatter away and leaves the floor.

        Parameters
        ----------
        noise : float
            The scan's (`SeriesMeasures.noise`).

        Returns
        -------
        Noise
            Of one channel where no scan shows the floor; none where `noise` is NaN.
        """
        if not np.isfinite(noise):
            return Noise(0.0)
        channels = _median([measures.channels for _, measures in self.scans])
        water = _median([measures.water_noise for _, measures in self.scans])
        if not np.isfinite(channels + water):
            return Noise(noise)
        return Noise(max(noise, water / WATER_TO_WHITE), channels)

    @property
    def scatter(self) -> float:
        """Median of what harmonics leave, as a share of the signal of white matter."""
        return _median([measures.scatter for _, measures in self.scans])

    def levels(self, b: float) -> np.ndarray:
        """Log levels of a shell, (scans that have it, orders that all of them carry)."""
        own = [measures.levels[b] for _, measures in self.scans if b in measures.levels]
        shortest = min((len(levels) for levels in own), default=0)
        return np.array([levels[:shortest] for levels in own]).reshape(len(own), shortest)

    def quantiles(self, b: float) -> np.ndarray:
        """Mean quantiles of S/S0 in a shell, (101,)."""
        own = [measures.quantiles[b] for _, measures in self.scans if b in measures.quantiles]
        return np.mean(own, axis=0)

    @property
    def digest(self) -> str:
        """sha256 of all that is in it."""
        return hashlib.sha256(self._text().encode()).hexdigest()

    def write(self, path: Path) -> None:
        """Write as JSON, in one step."""
        write_atomically(path, self._text().encode())

    @classmethod
    def read(cls, path: Path) -> SeriesProfile:
        """Read what `write` wrote.

        Raises
        ------
        DataError
            The file is damaged.
        """
        try:
            record = read_json(path)
            scans = tuple(
                (str(k), SeriesMeasures.from_json(json.dumps(v))) for k, v in record["scans"]
            )
            return cls(str(record["site"]), scans)
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
            raise DataError(
                "The profile of a site's diffusion series cannot be read",
                where=str(path),
                got=f"{type(error).__name__}: {error}",
                hint="Remove the file; it is made again from the site's scans.",
            ) from error

    def _text(self) -> str:
        scans = [[label, json.loads(measures.to_json())] for label, measures in self.scans]
        return json.dumps({"site": self.site, "scans": scans}, indent=1, sort_keys=True) + "\n"


def _median(values: Sequence[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.median(known)) if known else float("nan")


def build_series_profiles(
    site: str,
    scans: Sequence[tuple[str, PreparedSeries]],
    encoder: Encoder,
    *,
    cells: int,
    voxel_mm: float,
) -> tuple[SeriesProfile, list[ImageProfile]]:
    """Put together what some series of a site show.

    Parameters
    ----------
    site : str
    scans : sequence of (label, PreparedSeries)
        On one reference grid.
    encoder, cells, voxel_mm
        As for `sites.image_profile.build_profile`.

    Returns
    -------
    SeriesProfile
    list of ImageProfile
        One of each image that the series have; the profile's ``modality`` is the image's key.
    """
    series = SeriesProfile(site, tuple((label, prepared.measures) for label, prepared in scans))
    keys = dict.fromkeys(key for _, prepared in scans for key in prepared.features)
    profiles = []
    for key in keys:
        own = [
            (label, p.features[key], p.mask, p.scale) for label, p in scans if key in p.features
        ]
        profiles.append(build_profile(site, key, own, encoder, cells=cells, voxel_mm=voxel_mm))
    return series, profiles


def shrunk_shift(
    source: np.ndarray, target: np.ndarray, beyond: float, common_error: float = 0.0
) -> np.ndarray:
    """Difference of two sites' means as far as people cannot be its cause.

    The difference of two means over a handful of people is mostly a difference of people. It is
    shrunk by what is known of its error, d (1 - (k se / d)^2), and to nothing within k standard
    errors: a positive-part estimator as that of James and Stein (1961), one dimension at a time,
    in the spirit of ComBat's empirical Bayes (Johnson et al. 2007, Biostatistics 8:118).

    Parameters
    ----------
    source, target : (scans, L) float
        The same L quantities in the scans of either site.
    beyond : float
        k.
    common_error : float
        Standard error that no number of people lowers.

    Returns
    -------
    (L,) float
        Target minus source; 0 where either site has a single scan, or a value is NaN.
    """
    if min(len(source), len(target)) < 2:
        return np.zeros(source.shape[1])
    shift = target.mean(axis=0) - source.mean(axis=0)
    squares = sum(np.square(part - part.mean(axis=0)).sum(axis=0) for part in (source, target))
    variance = squares / (len(source) + len(target) - 2)
    error = variance * (1 / len(source) + 1 / len(target)) + common_error**2
    kept = np.maximum(1 - beyond**2 * error / np.maximum(np.square(shift), 1e-12), 0)
    return np.where(np.isfinite(shift), kept * shift, 0.0)


BEYOND_LEVEL = 3.0
"""Standard errors: some ten levels are compared for each pair of sites."""


def order_scales(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Factors that bring the levels of one site to those of another, as far as they are known.

    Parameters
    ----------
    source, target : (scans, L) float
        Log levels of orders 0, 2, ... in the scans of either site.

    Returns
    -------
    (L,) float
        For coefficients of each order; 1 where nothing is known (`shrunk_shift`).
    """
    orders = min(source.shape[1], target.shape[1])
    return np.exp(shrunk_shift(source[:, :orders], target[:, :orders], BEYOND_LEVEL))


BEYOND_WATER = 2.0
"""Standard errors; one number is compared."""


def b_scale(source: SeriesProfile, target: SeriesProfile) -> float:
    """How much stronger the source's gradients are than the target's, seen in free water.

    Returns
    -------
    float
        1 where fewer than two scans of either site show free water, or where both differ by no
        more than scans of one site do.
    """
    own, other = (
        np.log(
            [[measures.water] for _, measures in site.scans if np.isfinite(measures.water)]
        ).reshape(-1, 1)
        for site in (source, target)
    )
    return float(np.exp(-shrunk_shift(own, other, BEYOND_WATER)[0]))


BEYOND_BLUR = 2.0
"""Standard errors."""
BLUR_ERROR = 0.2
"""mm^2; scanners with one point spread differ by 0.3, for contrast and k-space count as well."""
MOST_SHARPENED = 2.0
"""mm^2; what a wider point spread has taken is mostly lost."""


def blur_between(source: SeriesProfile, target: SeriesProfile) -> np.ndarray:
    """Blur that makes series of the source as smooth as those of the target, or sharper.

    Returns
    -------
    (3,) float
        Variance along axes next to R, A and S, mm^2, within `MOST_BLUR` and `MOST_SHARPENED`:
        negative where the target is the sharper one; 0 where fewer than two scans of either site
        tell, or both differ by no more than scans of one site do.
    """
    found = np.zeros(3)
    for axis in range(3):
        own, other = (
            np.array([[m.blur[axis]] for _, m in site.scans if np.isfinite(m.blur[axis])])
            for site in (source, target)
        )
        if min(len(own), len(other)) > 1:
            found[axis] = shrunk_shift(own, other, BEYOND_BLUR, BLUR_ERROR)[0]
    return np.clip(found, -MOST_SHARPENED, MOST_BLUR)
