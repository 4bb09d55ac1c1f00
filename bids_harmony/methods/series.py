"""A diffusion series as another site would show it: the signal changes, the gradients do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy import ndimage
from tqdm import tqdm

from bids_harmony.diffusion.attenuation import steepness
from bids_harmony.diffusion.brain import SLAB_MM, is_slab
from bids_harmony.diffusion.calibration import (
    SeriesMeasures,
    measure_series,
    series_noise,
)
from bids_harmony.diffusion.features import (
    B0_KEY,
    DEFAULT_DWI_MODE,
    b0_volume,
    prepared_volume,
    shell_key,
)
from bids_harmony.diffusion.gradients import Gradients, match_shells, other_shells
from bids_harmony.diffusion.resolution import Sharpener, blurred_series
from bids_harmony.diffusion.series import Series, signed_mean_b0
from bids_harmony.exceptions import DataError
from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.native import return_to_native
from bids_harmony.imaging.nothing import check_not_negative
from bids_harmony.imaging.prepared import Prepared, prepare
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.smoothing import mean_around
from bids_harmony.imaging.volume import Volume, native_order, ras_order
from bids_harmony.methods.base import Harmonizer
from bids_harmony.methods.other_shells import OtherShells
from bids_harmony.methods.series_change import SeriesSteps
from bids_harmony.methods.series_output import B0_RATIO_LIMITS, SeriesOutput
from bids_harmony.methods.shell_models import AttenuationModel, RishModel, above_nothing
from bids_harmony.sites.names import same_site
from bids_harmony.sites.series_difference import b_scale, blur_between
from bids_harmony.sites.series_profile import SeriesProfile

__all__ = ["SeriesResult", "harmonize_series"]

Array = np.ndarray

FADE_MM = 8.0
"""Distance from the brain at which a series is left as it was."""


@dataclass(frozen=True, eq=False)
class SeriesResult:
    """A harmonized series.

    Attributes
    ----------
    raw : (X, Y, Z, N)
        Voxels as they are stored, in the data type and voxel order of the series; its own array
        where nothing was to be done.
    n_clipped : int
        Voxels that did not fit the integer type.
    quality : dict of str to float or None
        `b_scale`, the gradients' strength relative to the target's as seen in free water;
        `noise_share` and `target_noise_share`, noise relative to white matter at b=0;
        `added_blur`, variance of what made it as smooth as the target's, mm^2, mean over the
        axes, negative where the target is sharper;
        `lowered_share`, share of signals that would have come to exceed the mean b=0 and were
        brought down to it.
    before, after : (X, Y, Z) float32
        Mean b=0 in the voxel order of the series.
    other_shells : dict
        What was done to shells that not both sites show (`OtherShells.told`); empty without any.
    steps : SeriesSteps
        Numbers of what was done.
    """

    raw: Array
    n_clipped: int
    quality: dict[str, float | None]
    before: Array
    after: Array
    other_shells: dict[str, Any] = field(default_factory=dict)
    steps: SeriesSteps = field(default_factory=SeriesSteps)


def harmonize_series(
    series: Series,
    gradients: Gradients,
    mask: BrainMask,
    world: Array,
    harmonizer: Harmonizer,
    *,
    source: SeriesProfile,
    target: SeriesProfile,
    mode: str = DEFAULT_DWI_MODE,
) -> SeriesResult:
    """Make a series as another site would have made it.

    Parameters
    ----------
    series : Series
    gradients : Gradients
        Of its volumes.
    mask : BrainMask
        Brain on the grid of the mean b=0 image, RAS+ voxel order.
    world : (4, 4) float
        Native RAS+ mm to reference RAS+ mm.
    harmonizer : Harmonizer
        With profiles of both sites for the mean b=0 (`features.B0_KEY`), and in the mode
        ``volume`` for the shells (`features.shell_key`).
    source, target : SeriesProfile
        Of the scan's own site and of the target.
    mode : str
        One of `features.DWI_MODES`.

    Returns
    -------
    SeriesResult
        The series' own voxels, bit for bit, where both sites are one. No signal becomes negative
        that was not, none that was measured becomes zero, and none exceeds the mean b=0 that did
        not. Shells that not both sites show get what needs no equal shell (`OtherShells`).

    Raises
    ------
    DataError
        The mode ``volume`` for a slab, or for shells that the target does not show.
    SiteError
        The harmonizer has no profile of a site.
    """
    bs = [shell.b for shell in gradients.shells]
    model: OtherShells | None = None
    rish: RishModel | None = None
    if mode == "volume":
        match_shells(bs, target.shells)
    volume = b0_volume(series, gradients)
    before = native_order(volume, volume.data)
    if same_site(source.site, target.site):
        return SeriesResult(series.raw, 0, {}, before, before)
    inside = native_order(volume, mask.data)
    check_not_negative(signed_mean_b0(series, gradients)[inside], str(series.path))
    scale = robust_scale(volume.data, mask.data)
    images, ratio = None, np.ones_like(before)
    if _has_place(volume, harmonizer, (source.site, target.site)):
        prepared = prepare(volume, mask, world, reference_grid(harmonizer.voxel_mm))
        images = _Images(volume, mask, prepared, harmonizer, source.site, target.site)
        wanted = native_order(volume, images.changed(prepared, volume, B0_KEY))
        ratio = np.divide(wanted, before, out=ratio, where=inside & (before > 0))
        ratio = _faded(np.clip(ratio, *B0_RATIO_LIMITS), inside, _voxel_mm(series))
    measures = measure_series(series, gradients, inside, scale)
    blur = blur_between(source, target) if mode == "rish" else np.zeros(3)
    old, kept_noise = before, 1.0
    if (blur > 0).any():
        series = blurred_series(series, inside, np.maximum(blur, 0))
        kept_noise = series_noise(series, gradients, inside) / measures.noise_of(scale)
        old = native_order(volume, b0_volume(series, gradients).data)
    # A blurred series is read before it is written over, volume by volume.
    raw = series.raw if (blur > 0).any() else series.raw.copy()
    # Ratios to the mean b=0 are taken; dark voxels must not blow them up.
    mean = np.maximum(old[inside], np.float32(1e-3) * scale).astype(np.float32)
    output = SeriesOutput(series, raw, old, old * ratio)
    if mode == "volume":
        if images is None:
            raise DataError(
                "The series, or those that show a site, are too thin to be harmonized as images",
                where=str(series.path),
                expected=f"{SLAB_MM:g} mm and more of a head",
                hint="Use --dwi-mode rish, which harmonizes the shells.",
            )
        changed = _by_volume(series, gradients, images, output)
    else:
        lacking = other_shells(bs, source.shells, target.shells)
        if mode == "rish" or lacking:
            rish = _rish_model(series, gradients, inside, scale, mean, measures, source, target)
            rish = replace(
                rish,
                kept_noise=kept_noise if np.isfinite(kept_noise) else 1.0,
                sharpener=Sharpener.of(series, np.maximum(-blur, 0)) if (blur < 0).any() else None,
            )
        known = rish if mode == "rish" else None
        model = OtherShells(known or AttenuationModel(source, target), rish, lacking)
        changed = _by_shell(series, gradients, inside, ratio, mean, model, output)
    signals = int(np.count_nonzero(inside)) * int(np.count_nonzero(~gradients.b0))
    lowered = sum(changed) / max(1, signals)
    quality = {
        "b_scale": b_scale(source, target) if mode == "rish" else None,
        "noise_share": measures.noise,
        "target_noise_share": target.noise,
        "added_blur": float(blur.mean()),
        "lowered_share": lowered,
    }
    right, front, up = blur.tolist()
    steps = SeriesSteps((right, front, up))
    if mode == "rish" and rish is not None:
        scales = {s.nominal: tuple(rish.site_scales(s.b).tolist()) for s in gradients.shells}
        steps = replace(steps, b_scale=b_scale(source, target), noise=rish.noise, levels=scales)
    told = {k: v if v is not None and np.isfinite(v) else None for k, v in quality.items()}
    others = model.told(with_b0=images is not None) if model else {}
    return SeriesResult(
        output.raw, sum(output.n_clipped), told, before, output.mean, others, steps
    )


def _has_place(volume: Volume, harmonizer: Harmonizer, sites: Sequence[str]) -> bool:
    """Whether the series and the profiles of both sites show enough of a head to be compared."""
    if is_slab(volume):
        return False
    heights = [harmonizer.profile(B0_KEY, site).mask.any(axis=(0, 1)).sum() for site in sites]
    return min(heights) * harmonizer.voxel_mm >= SLAB_MM


def _rish_model(
    series: Series,
    gradients: Gradients,
    inside: Array,
    scale: float,
    mean: Array,
    measures: SeriesMeasures,
    source: SeriesProfile,
    target: SeriesProfile,
) -> RishModel:
    noise = source.floor(measures.noise).times(measures.white * scale)
    found = steepness(series, gradients, inside, mean, noise)
    by_shell = {s.b: own for s, own in zip(gradients.shells, found, strict=True)}
    voxel_mm = _voxel_mm(series)
    return RishModel(gradients, inside, voxel_mm, scale, measures, source, target, by_shell)


def _by_shell(
    series: Series,
    gradients: Gradients,
    inside: Array,
    ratio: Array,
    mean: Array,
    model: OtherShells,
    output: SeriesOutput,
) -> Iterator[int]:
    """Change b=0 volumes by the ratio of the mean, and weighted ones by the model as well."""
    for index in np.flatnonzero(gradients.b0):
        output.write(int(index), series.signal(np.s_[..., int(index)]) * ratio)
    for shell in tqdm(model.in_turn(gradients.shells), "shells", disable=None):
        signal = series.signal(np.s_[..., shell.volumes])[inside]
        signal = above_nothing(model(shell, signal, mean), signal)
        for place, index in enumerate(shell.volumes):
            whole = series.signal(np.s_[..., int(index)])
            whole[inside] = signal[:, place]
            yield output.write(int(index), whole * ratio, at_most_mean=True)


def _by_volume(
    series: Series, gradients: Gradients, images: _Images, output: SeriesOutput
) -> Iterator[int]:
    """Change every volume as an image."""
    keys = {int(i): shell_key(s.nominal) for s in gradients.shells for i in s.volumes}
    for index in tqdm(range(series.shape[3]), "volumes", disable=None):
        data = ras_order(images.volume, series.signal(np.s_[..., index]))
        scan = Volume(data, images.volume.affine, images.volume.source, images.volume.path)
        prepared = prepared_volume(data, images.volume, images.prepared)
        changed = images.changed(prepared, scan, keys.get(index, B0_KEY))
        whole = native_order(images.volume, changed)
        yield output.write(index, whole, at_most_mean=index in keys)


@dataclass(frozen=True, eq=False)
class _Images:
    """Harmonizes images that lie as the mean b=0 does."""

    volume: Volume
    mask: BrainMask
    prepared: Prepared
    harmonizer: Harmonizer
    source_site: str
    target_site: str

    def changed(self, prepared: Prepared, scan: Volume, key: str) -> Array:
        """The image as the target would show it, on its own grid in RAS+ order."""
        applied = self.harmonizer.apply(
            prepared, modality=key, source_site=self.source_site, target_site=self.target_site
        )
        return return_to_native(scan, self.mask, prepared, applied.data).data


def _faded(ratio: Array, inside: Array, voxel_mm: Array) -> Array:
    """Carry a ratio over the edge of the brain, and let it end at 1: air has no signal."""
    sigma = FADE_MM / 2 / voxel_mm
    near = mean_around(np.where(inside, np.log(ratio), 0), inside, sigma, mode="constant")
    distance = ndimage.distance_transform_edt(~inside, sampling=voxel_mm)
    share = np.maximum(1 - distance / FADE_MM, 0)
    return np.where(inside, ratio, np.exp(near * share)).astype(np.float32)


def _voxel_mm(series: Series) -> Array:
    return np.asarray(np.linalg.norm(series.affine[:3, :3], axis=0))
