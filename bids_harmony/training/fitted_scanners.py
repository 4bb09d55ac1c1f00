"""Simulated scanners that show people as a real site does, fitted to the site's profile.

A profile knows how a site shows grey matter, white matter and CSF, its mean field, and how much
fine detail its scans hold. Sequences, noise, sharpness and field are set so that simulated people,
measured as real scans are, look like that. Several sequences show the same tissues: several
scanners are fitted, and where they differ the profile does not tell.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from scipy.interpolate import interp1d

from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.noise import deep_noise
from bids_harmony.imaging.texture import texture
from bids_harmony.phantom.anatomy import Anatomy
from bids_harmony.phantom.contrast_fit import shown_contrasts, with_contrasts
from bids_harmony.phantom.random_scanner import random_scanner
from bids_harmony.phantom.scanner import Scanner, acquire
from bids_harmony.sites.field_scatter import field_rms, scan_field_rms
from bids_harmony.sites.image_profile import ImageProfile
from bids_harmony.sites.measured_scan import mean_detail
from bids_harmony.sites.tissue_profile import contrasts, tissue_profile

__all__ = ["FITTED_MODALITIES", "FittedScanner", "fit_scanners"]

Array = np.ndarray

#: Diffusion has a profile of its own kind.
FITTED_MODALITIES = ("T1w", "T2w", "FLAIR")
#: Scanners drawn; the nearest in contrast are fitted.
_CANDIDATES = 300
#: Rounds of scanning, measuring and correcting.
_ROUNDS = 3
#: Ratios that fit no scanner are not followed.
_MOST_CONTRAST = 3.0
_SHARPNESS = np.linspace(-1.2, 1.6, 8)
_LEAST_NOISE = 0.002


@dataclass(frozen=True)
class FittedScanner:
    """A scanner, and how far what it shows is from its site's profile.

    Attributes
    ----------
    scanner : Scanner
        Its `site` is the profile's.
    contrasts : (float, float)
        Log of grey and of CSF over white matter.
    field : float
        Root mean square over the brain of the log-field.
    detail : (float, float)
        Log-energy of two bands.
    noise : float
        `deep_noise`.
    """

    scanner: Scanner
    contrasts: tuple[float, float]
    field: float
    detail: tuple[float, float]
    noise: float

    def about(self, modality: str) -> dict[str, Any]:
        """Scanner and misses, for ``model.json``."""
        scanner, sequence = self.scanner, self.scanner.sequences[modality]
        return {
            "sequence": {name: _plain(value) for name, value in asdict(sequence).items()},
            "field_tesla": scanner.field_tesla,
            "gamma": round(scanner.gamma, 4),
            "noise": round(scanner.noise, 4),
            "sharpness_mm": round(scanner.sharpness_mm, 3),
            "missed": {
                "contrasts": [round(v, 4) for v in self.contrasts],
                "field": round(self.field, 4),
                "detail": [round(v, 4) for v in self.detail],
                "noise": round(self.noise, 4),
            },
        }

    @property
    def badness(self) -> float:
        """All of it, in units of what is little between sites."""
        return float(
            abs(self.contrasts[0]) / 0.02
            + abs(self.contrasts[1]) / 0.1
            + self.field / 0.02
            + sum(abs(band) for band in self.detail) / 0.1
            + abs(self.noise) / 0.005
        )


@dataclass(frozen=True, eq=False)
class _Look:
    """What a site shows, or what is asked of a scanner so that it shows that."""

    contrasts: Array
    field: Array
    detail: Array
    noise: float

    def after(self, wanted: _Look, seen: _Look) -> _Look:
        """Ask for as much more as is missing."""
        more = self.contrasts + wanted.contrasts - seen.contrasts
        # Variances of noise add up, and next to nothing but noise is seen.
        noise = self.noise**2 + wanted.noise**2 - seen.noise**2
        return _Look(
            np.clip(more, -_MOST_CONTRAST, _MOST_CONTRAST),
            self.field + wanted.field - seen.field,
            self.detail + wanted.detail - seen.detail,
            float(np.sqrt(max(noise, _LEAST_NOISE**2))),
        )


def fit_scanners(
    profile: ImageProfile,
    noise: float,
    people: Sequence[Anatomy],
    *,
    count: int,
    voxel_mm: float,
    seed: int,
) -> tuple[FittedScanner, ...]:
    """Fit scanners to a site.

    Parameters
    ----------
    profile : ImageProfile
        Of one of `FITTED_MODALITIES`.
    noise : float
        Mean `deep_noise` of the site's scans.
    people : sequence of Anatomy
        Scanned at the fitted scanners; on the reference grid of the profile.
    count : int
        Scanners, each from another sequence.
    voxel_mm : float
    seed : int
        Draws the sequences.

    Returns
    -------
    tuple of FittedScanner
        Those whose own sequence came nearest first.
    """
    measures = profile.scan_measures
    wanted = _Look(
        contrasts(profile.tissue_means), profile.field, measures.detail.mean(axis=0), noise
    )
    drawn = _candidates(profile, seed, scan_field_rms(measures.fields))

    def nearest(asked: Array) -> list[Scanner]:
        def apart(scanner: Scanner) -> float:
            return float(np.abs(shown_contrasts(scanner, profile.modality) - asked) @ (1, 0.3))

        return sorted(drawn, key=apart)

    first, cells = nearest(wanted.contrasts)[0], profile.texture.shape[-1]
    first = with_contrasts(first, profile.modality, wanted.contrasts)
    table = _DetailTable.of(first, profile.modality, people[0], cells)
    fit = _Fit(profile.modality, wanted, people, voxel_mm, cells, table)
    _, asked = fit.rounds(first, wanted, _ROUNDS)
    return tuple(
        fit.rounds(scanner, asked, _ROUNDS)[0] for scanner in nearest(asked.contrasts)[:count]
    )


def _candidates(profile: ImageProfile, seed: int, scan_field: float) -> list[Scanner]:
    """Scanners of the site's name, whose scans vary in their field as the site's do."""
    site_field = max(field_rms(profile.field), 1e-3)
    first = np.random.default_rng([seed, zlib.crc32(profile.key.encode())]).integers(1 << 30)
    return [
        replace(
            random_scanner(int(first) + number),
            site=profile.site,
            # By the cube root of the field strength, and as it was measured: models differ.
            measured_relaxation=number % 2 == 1,
            bias_log_sd=site_field,
            scan_bias=scan_field / site_field,
            mean_field=tuple(profile.field.tolist()),
            # What is not seen in plane, a profile does not know.
            thick_mm=0.0,
            details={},
        )
        for number in range(_CANDIDATES)
    ]


@dataclass(frozen=True, eq=False)
class _DetailTable:
    """Energies of signal (S, Z, 2, g, g) by sharpness, and of noise (Z, 2, g, g) of unit size."""

    signal: Array
    noise: Array
    scale: float

    @classmethod
    def of(cls, scanner: Scanner, modality: str, person: Anatomy, cells: int) -> _DetailTable:
        """Scan a person without noise at every sharpness."""
        rng, mask = np.random.default_rng(person.seed), person.mask
        white = rng.standard_normal(mask.shape, dtype=np.float32) * mask
        signal, scale = [], 1.0
        for sharpness in _SHARPNESS:
            machine = replace(scanner, sharpness_mm=float(sharpness), gain=1.0)
            data = acquire(person, machine, modality, scan_seed=0, noise=False, scan_field=False)
            scale = robust_scale(data, mask)
            signal.append(np.exp(2 * texture(data / scale, mask, cells)))
        return cls(np.stack(signal), np.exp(2 * texture(white, mask, cells)), scale)

    def sharpness(self, detail: Array, noise: float) -> float:
        """What shows detail best with such noise: energies of signal and noise add up."""
        level = np.square(noise) * self.noise
        shown = np.stack([mean_detail(0.5 * np.log(own + level)) for own in self.signal])
        finer = np.linspace(_SHARPNESS[0], _SHARPNESS[-1], 281)
        apart = np.square(interp1d(_SHARPNESS, shown, axis=0)(finer) - detail).sum(axis=1)
        return float(finer[apart.argmin()])


@dataclass(frozen=True, eq=False)
class _Fit:
    """Scan, measure and ask for more of what is missing."""

    modality: str
    wanted: _Look
    people: Sequence[Anatomy]
    voxel_mm: float
    cells: int
    table: _DetailTable

    def rounds(self, scanner: Scanner, asked: _Look, count: int) -> tuple[FittedScanner, _Look]:
        """The best of some rounds, and what was asked of it."""
        best: tuple[float, FittedScanner, _Look] | None = None
        for _ in range(count):
            tried = replace(
                with_contrasts(scanner, self.modality, asked.contrasts),
                mean_field=tuple(asked.field.tolist()),
                sharpness_mm=self.table.sharpness(asked.detail, asked.noise),
                # From shares of the scan's scale to shares of white matter.
                noise=asked.noise * self.table.scale,
            )
            seen = self._seen(tried)
            found = _compared(tried, self.wanted, seen)
            if best is None or found.badness < best[0]:
                best = found.badness, found, asked
            asked = asked.after(self.wanted, seen)
        assert best is not None
        return best[1:]

    def _seen(self, scanner: Scanner) -> _Look:
        """What people look like, measured as real scans are; mean over them."""
        seen = []
        for person in self.people:
            data = acquire(person, scanner, self.modality, scan_seed=person.seed, scan_field=False)
            data = data / robust_scale(data, person.mask)
            own = tissue_profile(data, person.mask, self.voxel_mm)
            detail = mean_detail(texture(data, person.mask, self.cells))
            noise = deep_noise(data, person.mask, self.voxel_mm)
            seen.append((own.means, own.field, detail, noise))
        means, field, detail, noise = (np.mean(p, axis=0) for p in zip(*seen, strict=True))
        return _Look(contrasts(means), field, detail, float(noise))


def _plain(value: Any) -> Any:
    """A number of the sequence as JSON has it."""
    return value if isinstance(value, str) else round(float(value), 3)


def _compared(scanner: Scanner, wanted: _Look, seen: _Look) -> FittedScanner:
    grey, csf = (float(v) for v in seen.contrasts - wanted.contrasts)
    fine, coarse = (float(v) for v in seen.detail - wanted.detail)
    field = field_rms(seen.field - wanted.field)
    return FittedScanner(scanner, (grey, csf), field, (fine, coarse), seen.noise - wanted.noise)
