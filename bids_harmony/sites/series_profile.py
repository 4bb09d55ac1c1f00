"""How a site's diffusion series look: numbers of several scans, and profiles of images."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from bids_harmony.diffusion.calibration import SeriesMeasures
from bids_harmony.diffusion.features import PreparedSeries
from bids_harmony.diffusion.gradients import match_shells, other_shells
from bids_harmony.diffusion.magnitudes import Noise
from bids_harmony.exceptions import DataError
from bids_harmony.io.atomic import write_atomically
from bids_harmony.io.reading import read_json
from bids_harmony.sites.image_profile import ImageProfile, build_profile

if TYPE_CHECKING:
    from bids_harmony.model.encoder import Encoder

__all__ = ["SeriesProfile", "build_series_profiles"]

WATER_TO_WHITE = 1.2
"""Noise in the ventricles over that in white matter, which is further from the middle."""


@dataclass(frozen=True)
class SeriesProfile:
    """What some series of one site show of its scanner, or those of several of their mean.

    Attributes
    ----------
    site : str
    scans : tuple of (str, SeriesMeasures)
        Label and measures of each.
    groups : tuple of str
        Where it stands for the mean of several sites (`mean_site.mean_series_profile`), of which
        site each scan is; else empty.
    """

    site: str
    scans: tuple[tuple[str, SeriesMeasures], ...]
    groups: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[SeriesProfile, ...]:
        """The sites whose mean it is, by name; itself alone where it is one site."""
        if not self.groups:
            return (self,)
        pairs = list(zip(self.groups, self.scans, strict=True))
        return tuple(
            SeriesProfile(name, tuple(scan for group, scan in pairs if group == name))
            for name in sorted(set(self.groups))
        )

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels of the scans."""
        return tuple(label for label, _ in self.scans)

    @property
    def shells(self) -> tuple[float, ...]:
        """Nominal b-values that at least one scan has, s/mm2, ascending.

        Of a mean of sites those that have an equal at every site; sites may call one shell by
        names that differ a little, all of which are among them.
        """
        found = sorted({b for _, measures in self.scans for b in measures.levels})
        known = [part.shells for part in self.parts] if self.groups else []
        others = other_shells(found, *known)
        return tuple(b for b in found if b not in others)

    @property
    def members(self) -> dict[str, int]:
        """How many series show each of the sites in a mean; empty where it is one site."""
        return dict(sorted(Counter(self.groups).items()))

    @property
    def left_out(self) -> dict[str, tuple[float, ...]]:
        """By site, shells that are not in a mean for not all of its sites show them, s/mm2."""
        lost = {part.site: tuple(set(part.shells) - set(self.shells)) for part in self.parts}
        return {site: tuple(sorted(shells)) for site, shells in lost.items() if shells}

    @property
    def water(self) -> float:
        """Median apparent diffusivity of free water, mm2/s; NaN where no scan showed it."""
        return self._typical("water")

    @property
    def noise(self) -> float:
        """Median noise as a share of the signal of white matter; NaN where no scan showed it."""
        return self._typical("noise")

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
        channels, water = self._typical("channels"), self._typical("water_noise")
        if not np.isfinite(channels + water):
            return Noise(noise)
        return Noise(max(noise, water / WATER_TO_WHITE), channels)

    @property
    def scatter(self) -> float:
        """Median of what harmonics leave, as a share of the signal of white matter."""
        return self._typical("scatter")

    def _typical(self, name: str) -> float:
        """Median over the scans; of a mean of sites the geometric mean of their medians.

        Sites of which no scan shows it do not count.
        """
        medians = [_median([getattr(m, name) for _, m in part.scans]) for part in self.parts]
        if not self.groups:
            return medians[0]
        known = np.array([value for value in medians if np.isfinite(value)])
        # A noise of zero has no logarithm, and makes the mean zero.
        return float(stats.gmean(known)) if known.size else float("nan")

    def levels(self, b: float) -> np.ndarray:
        """Log levels of a shell, (scans that have it, orders that all of them carry)."""
        own = [measures.levels[b] for _, measures in self.scans if b in measures.levels]
        shortest = min((len(levels) for levels in own), default=0)
        return np.array([levels[:shortest] for levels in own]).reshape(len(own), shortest)

    def quantiles(self, b: float) -> np.ndarray:
        """Mean quantiles of S/S0 in a shell, (101,); each site of a mean counts once."""
        if self.groups:
            return np.mean([part.quantiles(part.name_of(b)) for part in self.parts], axis=0)
        own = [measures.quantiles[b] for _, measures in self.scans if b in measures.quantiles]
        return np.mean(own, axis=0)

    def name_of(self, b: float) -> float:
        """Nominal b-value under which a shell is known here, s/mm2.

        Raises
        ------
        DataError
            There is none like it (`diffusion.gradients.match_shells`).
        """
        return self.shells[match_shells([b], self.shells)[0]]

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
            groups = tuple(map(str, record.get("groups", ())))
            if groups and len(groups) != len(scans):
                raise ValueError(f"{len(groups)} sites for {len(scans)} scans")
            return cls(str(record["site"]), scans, groups)
        except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
            raise DataError(
                "The profile of a site's diffusion series cannot be read",
                where=str(path),
                got=f"{type(error).__name__}: {error}",
                hint="Remove the file; it is made again from the site's scans.",
            ) from error

    def _text(self) -> str:
        scans = [[label, json.loads(measures.to_json())] for label, measures in self.scans]
        record: dict[str, Any] = {"site": self.site, "scans": scans}
        if self.groups:
            record["groups"] = self.groups
        return json.dumps(record, indent=1, sort_keys=True) + "\n"


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
