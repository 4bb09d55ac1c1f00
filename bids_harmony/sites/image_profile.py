"""What is kept of a site: how it shows people on average, not the people.

A profile of one (site, modality) holds averages over several scans of that site: the mean image on
the reference grid, intensity landmarks and quantiles, encoder codes per height, and the energy of
fine detail per cell. It is small, lives in the model folder, and is all that a target needs at run
time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from bids_harmony.exceptions import DataError
from bids_harmony.resources import at_once
from bids_harmony.sites.measured_scan import CODE_STEP, MeasuredScan, mean_detail, measure_scan
from bids_harmony.sites.scan_measures import ScanMeasures
from bids_harmony.sites.tissue_profile import TissueProfile

if TYPE_CHECKING:
    from bids_harmony.model.encoder import Encoder
    from bids_harmony.model.network import IHFNetwork

__all__ = [
    "MOST_CODED",
    "ImageProfile",
    "average_scans",
    "build_profile",
    "standardize_codes",
]

Array = np.ndarray

#: More scans than this bring nothing to a mean code, and encoding is the slow part.
MOST_CODED = 5


@dataclass(frozen=True, eq=False)
class ImageProfile:
    """Averages over the scans of one site and modality.

    Attributes
    ----------
    site, modality : str
    mean_image : (X, Y, Z) float32
        Mean of the scaled scans where the brains cover a voxel; 0 elsewhere.
    landmarks : (11,) float64
        Mean intensity landmarks, `landmarks.LANDMARK_PERCENTILES`.
    quantiles : (101,) float64
        Mean intensity quantiles 0 to 100 %.
    codes : (bins, K) float32
        Mean encoder code per height bin of `CODE_STEP` slices; not standardized.
    texture : (Z, T, g, g) float32
        Mean log-energy of fine detail per slice and cell.
    tissue_means : (3,) float64
        Mean intensities of grey matter, white matter and CSF without the field.
    field : (20,) float64
        Mean of the scans' own fields, `imaging.legendre.log_field`.
    scale : float
        Median scale q of the scans, in the site's stored units.
    scans : tuple of str
        Labels of the scans that made the profile.
    single : ScanMeasures, optional
        What each of them shows; None in profiles of which only averages were kept.
    """

    site: str
    modality: str
    mean_image: Array
    landmarks: Array
    quantiles: Array
    codes: Array
    texture: Array
    tissue_means: Array
    field: Array
    scale: float
    scans: tuple[str, ...]
    single: ScanMeasures | None = None

    @cached_property
    def scan_measures(self) -> ScanMeasures:
        """What each scan shows; the average, where only that was kept."""
        if self.single is not None:
            return self.single
        detail = self.texture.mean(axis=(0, 2, 3)) if self.texture.ndim == 4 else np.zeros(2)
        return ScanMeasures.from_average(self.scans, self.tissue_means, self.field, detail)

    @property
    def key(self) -> str:
        """Name of the profile in a model file."""
        return f"{self.site}/{self.modality}"

    @property
    def mask(self) -> Array:
        """Where the mean image is known."""
        return self.mean_image > 0

    @property
    def tissues(self) -> TissueProfile:
        """How the site shows the tissues."""
        return TissueProfile(self.tissue_means, self.field)

    def codes_at(self, heights: Array) -> Array:
        """Codes at slice indices `heights`, interpolated between bins, (n, K) float32."""
        position = np.clip(np.asarray(heights) / CODE_STEP - 0.5, 0, len(self.codes) - 1)
        low = np.floor(position).astype(int)
        high = np.minimum(low + 1, len(self.codes) - 1)
        share = (position - low)[:, None].astype(np.float32)
        return (1 - share) * self.codes[low] + share * self.codes[high]


def build_profile(
    site: str,
    modality: str,
    scans: Sequence[tuple[str, Array, Array, float]],
    encoder: Encoder,
    *,
    cells: int,
    voxel_mm: float,
    coded: int | None = None,
    people: Sequence[str] | None = None,
    covariates: Mapping[str, Sequence[float]] | None = None,
) -> ImageProfile:
    """Average the scans of a site.

    Parameters
    ----------
    site, modality : str
    scans : sequence of (label, data, mask, scale)
        Scaled scans on one reference grid: (X, Y, Z) float32, bool, and the scale q.
    encoder : Encoder
        Gives the codes.
    cells : int
        g of the g x g grid on which detail is measured.
    voxel_mm : float
        Spacing of the reference grid.
    coded : int, optional
        Encode only the first so many scans; the encoder is the slow part.
    people : sequence of str, optional
        Whose scan each is; each scan's label by default, one person a scan.
    covariates : mapping of str to sequence of float, optional
        What is known of the person at each scan, NaN where it is not.

    Raises
    ------
    DataError
        No scans.
    """
    tasks = [
        partial(
            measure_scan, *scan, cells=cells, voxel_mm=voxel_mm,
            encoder=encoder if coded is None or number < coded else None,
        )
        for number, scan in enumerate(scans)
    ]  # fmt: skip
    # Two at a time, for each takes some hundred MiB meanwhile.
    even, odd = at_once(*(partial(_each, tasks[first::2]) for first in (0, 1)))
    measured = [scan for pair in zip_longest(even, odd) for scan in pair if scan is not None]
    return average_scans(site, modality, measured, people=people, covariates=covariates)


def _each(tasks: Sequence[Callable[[], MeasuredScan]]) -> list[MeasuredScan]:
    return [task() for task in tasks]


def average_scans(
    site: str,
    modality: str,
    scans: Sequence[MeasuredScan],
    *,
    people: Sequence[str] | None = None,
    covariates: Mapping[str, Sequence[float]] | None = None,
) -> ImageProfile:
    """Average the measured scans of a site; codes over those that were encoded.

    Parameters
    ----------
    site, modality : str
    scans : sequence of MeasuredScan
        At least one of them encoded.
    people, covariates : optional
        As for `build_profile`.

    Raises
    ------
    DataError
        No scans.
    """
    if not scans:
        raise DataError("A site profile needs scans", where=f"{site} {modality}", got="none")
    total = np.zeros(scans[0].data.shape, dtype=np.float32)
    count = np.zeros_like(total)
    for scan in scans:
        total += np.where(scan.mask, scan.data, 0)
        count += scan.mask
    covered = count >= max(1, len(scans) / 2)
    mean_image = np.where(covered, total / np.maximum(count, 1), 0).astype(np.float32)
    tissues = [scan.tissues for scan in scans]
    single = ScanMeasures(
        people=tuple(people or (scan.label for scan in scans)),
        means=np.stack([own.means for own in tissues]),
        fields=np.stack([own.field for own in tissues]),
        detail=np.stack([mean_detail(scan.texture) for scan in scans]),
        covariates={k: np.asarray(v, np.float64) for k, v in (covariates or {}).items()},
        curves=np.stack([np.asarray(own.curve) for own in tissues]),
        blur=np.stack([np.asarray(own.blur) for own in tissues]),
    )
    return ImageProfile(
        site=site,
        modality=modality,
        mean_image=mean_image,
        landmarks=np.mean([scan.landmarks for scan in scans], axis=0),
        quantiles=np.mean([scan.quantiles for scan in scans], axis=0),
        codes=np.mean([s.codes for s in scans if s.codes is not None], axis=0).astype(np.float32),
        texture=np.stack([scan.texture for scan in scans]).mean(0, np.float32),
        tissue_means=single.means.mean(axis=0),
        field=single.fields.mean(axis=0),
        scale=float(np.median([scan.scale for scan in scans])),
        scans=tuple(scan.label for scan in scans),
        single=single,
    )


def standardize_codes(network: IHFNetwork, profiles: Iterable[ImageProfile]) -> None:
    """Let a network standardize codes by mean and standard deviation over profiles.

    Parameters
    ----------
    network : IHFNetwork
        Changed in place.
    profiles : iterable of ImageProfile
        At least one; all their height bins count alike.

    Raises
    ------
    DataError
        The codes have another length than the network's.
    """
    import torch

    codes = torch.from_numpy(np.concatenate([profile.codes for profile in profiles]))
    network.set_code_statistics(codes.mean(0), codes.std(0))
