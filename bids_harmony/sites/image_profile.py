"""What is kept of a site: how it shows people on average, not the people.

A profile of one (site, modality) holds averages over several scans of that site: the mean image on
the reference grid, intensity landmarks and quantiles, encoder codes per height, and the energy of
fine detail per cell. It is small, lives in the model folder, and is all that a target needs at run
time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from bids_harmony.exceptions import DataError
from bids_harmony.imaging.landmarks import landmarks
from bids_harmony.imaging.slices import cut_stack
from bids_harmony.imaging.texture import texture
from bids_harmony.sites.scan_measures import DETAIL_BANDS, ScanMeasures
from bids_harmony.sites.tissue_profile import TissueProfile, tissue_profile

if TYPE_CHECKING:
    from bids_harmony.model.encoder import Encoder
    from bids_harmony.model.network import IHFNetwork

__all__ = [
    "CODE_STEP",
    "MOST_CODED",
    "QUANTILES",
    "ImageProfile",
    "build_profile",
    "encode_heights",
    "mean_detail",
    "standardize_codes",
]

Array = np.ndarray

#: One code for this many slices; anatomy changes little over 8 to 12 mm.
CODE_STEP = 6
#: More scans than this bring nothing to a mean code, and encoding is the slow part.
MOST_CODED = 5
#: Slices that are encoded at once: the feature maps of few stay in the processor's cache.
_AT_ONCE = 4
#: Levels of the intensity quantiles in a profile.
QUANTILES = np.linspace(0, 100, 101)


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


def encode_heights(data: Array, encoder: Encoder) -> Array:
    """Encode the middle slice of every height bin.

    Parameters
    ----------
    data : (X, Y, Z) float32
        Scaled scan on the reference grid.
    encoder : Encoder

    Returns
    -------
    (bins, K) float32
        Codes of empty slices included: they are the same for everyone.
    """
    import torch

    depth = data.shape[2]
    centres = np.minimum(np.arange(0, depth, CODE_STEP) + CODE_STEP // 2, depth - 1)
    stack = torch.from_numpy(np.clip(cut_stack(data, centres), 0, 1.5))
    device = next(encoder.parameters()).device
    with torch.inference_mode():
        codes = [encoder.code(part.to(device)).cpu() for part in stack.split(_AT_ONCE)]
        return torch.cat(codes).numpy()


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
    if not scans:
        raise DataError("A site profile needs scans", where=f"{site} {modality}", got="none")
    total = np.zeros(scans[0][1].shape, dtype=np.float32)
    count = np.zeros_like(total)
    for _, data, mask, _ in scans:
        total += np.where(mask, data, 0)
        count += mask
    covered = count >= max(1, len(scans) / 2)
    mean_image = np.where(covered, total / np.maximum(count, 1), 0).astype(np.float32)
    codes = [encode_heights(data, encoder) for _, data, _, _ in scans[:coded]]
    profiles = [tissue_profile(d, m, voxel_mm, in_full=True) for _, d, m, _ in scans]
    details = [texture(data, mask, cells) for _, data, mask, _ in scans]
    single = ScanMeasures(
        people=tuple(people or (label for label, *_ in scans)),
        means=np.stack([profile.means for profile in profiles]),
        fields=np.stack([profile.field for profile in profiles]),
        detail=np.stack([mean_detail(detail) for detail in details]),
        covariates={k: np.asarray(v, np.float64) for k, v in (covariates or {}).items()},
        curves=np.stack([np.asarray(profile.curve) for profile in profiles]),
        blur=np.stack([np.asarray(profile.blur) for profile in profiles]),
    )
    return ImageProfile(
        site=site,
        modality=modality,
        mean_image=mean_image,
        landmarks=np.mean([landmarks(data, mask) for _, data, mask, _ in scans], axis=0),
        quantiles=np.mean([np.percentile(d[m], QUANTILES) for _, d, m, _ in scans], axis=0),
        codes=np.mean(codes, axis=0).astype(np.float32),
        texture=np.stack(details).mean(0, np.float32),
        tissue_means=single.means.mean(axis=0),
        field=single.fields.mean(axis=0),
        scale=float(np.median([scale for *_, scale in scans])),
        scans=tuple(label for label, *_ in scans),
        single=single,
    )


def mean_detail(detail: Array) -> Array:
    """Average `imaging.texture.texture` over the cells that hold brain.

    Parameters
    ----------
    detail : (Z, T, g, g) float32

    Returns
    -------
    (2,) float
        Log-energy of each of the bands of `DETAIL_BANDS`.
    """
    # Cells without brain hold the floor of the logarithm.
    seen = detail > detail.min() + 1e-3
    return np.array(
        [
            band[own].mean()
            for band, own in zip(
                np.moveaxis(detail, 1, 0)[:DETAIL_BANDS],
                np.moveaxis(seen, 1, 0)[:DETAIL_BANDS],
                strict=True,
            )
        ]
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
