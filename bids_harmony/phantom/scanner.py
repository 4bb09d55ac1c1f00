"""Simulated scanners: what they are, the twelve sites of cohorts, and their images.

A scanner turns an `Anatomy` into the image that it would deliver. Contrast comes from the signal
equations of `sequences`, the field strength from T1 ~ B0^(1/3) (Bottomley et al. 1984), noise is
Rician (Gudbjartsson and Patz 1995).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from bids_harmony.imaging.legendre import log_field as field_of
from bids_harmony.phantom.anatomy import TISSUES, Anatomy, Tissue, fibre_directions
from bids_harmony.phantom.file_effects import FileEffects, filtered, stored
from bids_harmony.phantom.image_chain import Detail, bias_field, sharpen, thicken
from bids_harmony.phantom.relaxation import relaxation_factors
from bids_harmony.phantom.sequences import Sequence

__all__ = ["SITES", "Scanner", "acquire", "without_fields"]

Array = np.ndarray


@dataclass(frozen=True)
class Scanner:
    """One site's scanner.

    Attributes
    ----------
    site, vendor, model : str
        Written to the sidecars.
    field_tesla : float
    sequences : mapping of modality to Sequence
    bias_log_sd : float
        Standard deviation of the logarithm of the site's mean receive field.
    scan_bias : float
        The part of it that changes from scan to scan.
    bias_seed : int
        Shape of the site's field.
    noise : float
        Standard deviation of the noise in each channel, relative to the white-matter signal.
    sharpness_mm : float
        Gaussian blur (standard deviation, mm) if positive; strength of an unsharp mask in units
        of 1 mm if negative.
    gamma : float
        Exponent of the vendor's intensity curve; 1 is linear.
    gain : float
        White matter in stored units.
    voxel_mm : tuple of float
    flip_spread : float
        Relative transmit-field error from centre to rim: makes contrast depend on place.
    thick_mm : float
        Thickness of two-dimensional slices, which blurs across them; 0 for isotropic scans.
    thick_axis : int
        Array axis across those slices.
    effects : FileEffects, optional
        What the vendor's software and the file do to the image; None does nothing.
    measured_relaxation : bool
        Relaxation times at the field strength as they were measured (`relaxation`), not by the
        cube root.
    mean_field : tuple of float
        Coefficients of the site's mean log-field (`imaging.legendre.log_field`); empty to draw its
        shape from `bias_seed`.
    details : mapping of modality to Detail
        Noise, sharpness and slices of modalities in which they differ from those above.
    """

    site: str
    vendor: str
    model: str
    field_tesla: float
    sequences: Mapping[str, Sequence]
    bias_log_sd: float = 0.1
    scan_bias: float = 0.25
    bias_seed: int = 0
    noise: float = 0.03
    sharpness_mm: float = 0.0
    gamma: float = 1.0
    gain: float = 800.0
    voxel_mm: tuple[float, float, float] = (1.0, 1.0, 1.0)
    flip_spread: float = 0.05
    serial: str = field(default="")
    thick_mm: float = 0.0
    thick_axis: int = 2
    effects: FileEffects | None = None
    measured_relaxation: bool = False
    mean_field: tuple[float, ...] = ()
    details: Mapping[str, Detail] = field(default_factory=dict)

    def detail(self, modality: str) -> Detail:
        """Noise, sharpness and slices of a modality's scans."""
        own = Detail(self.noise, self.sharpness_mm, self.thick_mm)
        return self.details.get(modality, own)

    def with_noise(self, factor: float) -> Scanner:
        """The same scanner with `factor` times the noise, in every modality."""
        details = {kind: replace(d, noise=factor * d.noise) for kind, d in self.details.items()}
        return replace(self, noise=factor * self.noise, details=details)

    def relaxation(self, tissue: str) -> tuple[float, float]:
        """T1 and T2 of a tissue at this field strength, over those at 3 T."""
        if self.measured_relaxation:
            return relaxation_factors(tissue, self.field_tesla)
        # T1 scales with the cube root of the field strength (Bottomley 1984).
        return (1.0 if tissue == "CSF" else (self.field_tesla / 3.0) ** (1 / 3)), 1.0

    def signal_of(self, tissue: Tissue, modality: str) -> float:
        """Signal of a pure tissue, before the intensity curve; arbitrary units."""
        t1, t2 = self.relaxation(tissue.name)
        sequence = self.sequences[modality]
        return float(sequence.signal(tissue.t1_ms * t1, tissue.t2_ms * t2, tissue.density, 1.0))


def _t1w(kind: str, tr: float, te: float, ti: float, flip: float) -> Sequence:
    return Sequence(kind, tr, te, ti, flip)


#: Twelve sites in the manner of the vendors; parameters are round numbers, not any real protocol.
#: The first four are the cohort's default.
SITES: dict[str, Scanner] = {
    "COI": Scanner(
        "COI", "Siemens", "Verio", 3.0,
        {
            "T1w": _t1w("mprage", 2300, 2.98, 900, 9),
            "T2w": Sequence("tse", 3200, 430 / 4.3),
            "FLAIR": Sequence("tse", 9000, 90, 2500),
        },
        bias_log_sd=0.09, bias_seed=11, noise=0.025, sharpness_mm=0.4, gamma=1.0, gain=420.0,
        voxel_mm=(1.0, 1.0, 1.0), serial="10001",
    ),
    "GE": Scanner(
        "GE", "GE", "Signa HDxt", 3.0,
        {
            "T1w": _t1w("spgr", 8.2, 3.2, 0, 20),
            "T2w": Sequence("tse", 4500, 84),
            "FLAIR": Sequence("tse", 8500, 110, 2250),
        },
        bias_log_sd=0.20, bias_seed=12, noise=0.040, sharpness_mm=-0.35, gamma=1.08, gain=2600.0,
        voxel_mm=(1.0, 1.0, 1.2), serial="10002",
    ),
    "PHILIPS": Scanner(
        "PHILIPS", "Philips", "Achieva", 3.0,
        {
            "T1w": _t1w("mprage", 1900, 3.7, 750, 8),
            "T2w": Sequence("tse", 2600, 78),
            "FLAIR": Sequence("tse", 11000, 125, 2800),
        },
        bias_log_sd=0.15, bias_seed=13, noise=0.032, sharpness_mm=0.8, gamma=0.93, gain=900.0,
        voxel_mm=(0.9, 0.9, 1.2), serial="10003",
    ),
    "SIEMENS": Scanner(
        "SIEMENS", "Siemens", "Avanto", 1.5,
        {
            "T1w": _t1w("mprage", 2000, 3.4, 1100, 15),
            "T2w": Sequence("tse", 5000, 118),
            "FLAIR": Sequence("tse", 9000, 100, 2400),
        },
        bias_log_sd=0.12, bias_seed=14, noise=0.055, sharpness_mm=0.6, gamma=1.0, gain=260.0,
        voxel_mm=(1.1, 1.0, 1.1), serial="10004",
    ),
    "PRISMA": Scanner(
        "PRISMA", "Siemens", "Prisma", 3.0,
        {
            "T1w": _t1w("mprage", 2400, 2.2, 1000, 8),
            "T2w": Sequence("tse", 3200, 95),
            "FLAIR": Sequence("tse", 8000, 95, 2370),
        },
        bias_log_sd=0.05, bias_seed=15, noise=0.018, sharpness_mm=0.2, gamma=1.0, gain=340.0,
        voxel_mm=(0.8, 0.8, 0.8), serial="10005",
    ),
    "SKYRA": Scanner(
        "SKYRA", "Siemens", "Skyra", 3.0,
        {
            "T1w": _t1w("mprage", 1800, 2.4, 850, 9),
            "T2w": Sequence("tse", 4000, 105),
            "FLAIR": Sequence("tse", 9500, 85, 2450),
        },
        bias_log_sd=0.17, bias_seed=16, noise=0.030, sharpness_mm=0.5, gamma=1.04, gain=500.0,
        voxel_mm=(1.0, 0.9, 1.0), serial="10006",
    ),
    "MR750": Scanner(
        "MR750", "GE", "Discovery MR750", 3.0,
        {
            "T1w": _t1w("spgr", 7.0, 2.8, 0, 18),
            "T2w": Sequence("tse", 5200, 100),
            "FLAIR": Sequence("tse", 9000, 120, 2300),
        },
        bias_log_sd=0.13, bias_seed=17, noise=0.028, sharpness_mm=-0.25, gamma=1.05, gain=1800.0,
        voxel_mm=(1.0, 1.0, 1.0), serial="10007",
    ),
    "OPTIMA": Scanner(
        "OPTIMA", "GE", "Optima MR450w", 1.5,
        {
            "T1w": _t1w("spgr", 11.0, 4.6, 0, 25),
            "T2w": Sequence("tse", 3800, 92),
            "FLAIR": Sequence("tse", 8800, 125, 2200),
        },
        bias_log_sd=0.07, bias_seed=18, noise=0.060, sharpness_mm=-0.15, gamma=1.10, gain=1400.0,
        voxel_mm=(1.0, 1.0, 1.5), serial="10008",
    ),
    "INGENIA": Scanner(
        "INGENIA", "Philips", "Ingenia", 3.0,
        {
            "T1w": _t1w("mprage", 2100, 3.1, 950, 8),
            "T2w": Sequence("tse", 3000, 85),
            "FLAIR": Sequence("tse", 10000, 130, 2750),
        },
        bias_log_sd=0.04, bias_seed=19, noise=0.022, sharpness_mm=0.3, gamma=0.96, gain=1100.0,
        voxel_mm=(1.0, 1.0, 1.0), serial="10009",
    ),
    "INTERA": Scanner(
        "INTERA", "Philips", "Intera", 1.5,
        {
            "T1w": _t1w("spgr", 20.0, 4.6, 0, 30),
            "T2w": Sequence("tse", 2800, 110),
            "FLAIR": Sequence("tse", 6000, 100, 2000),
        },
        bias_log_sd=0.10, bias_seed=20, noise=0.068, sharpness_mm=0.9, gamma=0.90, gain=700.0,
        voxel_mm=(0.9, 0.9, 1.2), serial="10010",
    ),
    "VANTAGE": Scanner(
        "VANTAGE", "Canon", "Vantage Titan", 3.0,
        {
            "T1w": _t1w("mprage", 2600, 2.6, 1050, 12),
            "T2w": Sequence("tse", 5800, 90),
            "FLAIR": Sequence("tse", 10500, 105, 2650),
        },
        bias_log_sd=0.24, bias_seed=21, noise=0.045, sharpness_mm=0.7, gamma=1.12, gain=1600.0,
        voxel_mm=(1.1, 1.1, 1.1), serial="10011",
    ),
    "UMR": Scanner(
        "UMR", "United Imaging", "uMR 560", 1.5,
        {
            "T1w": _t1w("spgr", 15.0, 3.4, 0, 22),
            "T2w": Sequence("tse", 4200, 124),
            "FLAIR": Sequence("tse", 7500, 95, 2150),
        },
        bias_log_sd=0.14, bias_seed=22, noise=0.050, sharpness_mm=-0.45, gamma=0.98, gain=300.0,
        voxel_mm=(1.0, 1.0, 1.3), serial="10012",
    ),
}  # fmt: skip


def without_fields(scanner: Scanner) -> Scanner:
    """Give a scanner perfect coils: neither a receive field nor a transmit error.

    Parameters
    ----------
    scanner : Scanner

    Returns
    -------
    Scanner
        The same sequences, sharpness, noise, intensity curve and gain.
    """
    return replace(scanner, bias_log_sd=0.0, flip_spread=0.0, mean_field=())


def acquire(
    anatomy: Anatomy,
    scanner: Scanner,
    modality: str,
    *,
    scan_seed: int,
    noise: bool = True,
    scan_field: bool = True,
) -> Array:
    """Scan a person.

    Parameters
    ----------
    anatomy : Anatomy
    scanner : Scanner
    modality : {"T1w", "T2w", "FLAIR", "b0", "dwi"}
        Of the scanner's sequences.
    scan_seed : int
        Draws noise, the scan's own part of the receive field and the gradient direction.
    noise : bool
        False gives the noise-free image.
    scan_field : bool
        False leaves the scan's own part of the receive field out: what the site's mean shows.

    Returns
    -------
    (X, Y, Z) float32
        Stored units of the scanner, zero outside the brain, on the anatomy's grid.
    """
    sequence = scanner.sequences[modality]
    mask, shape = anatomy.mask, anatomy.grid.shape
    b1_shape = bias_field(shape, mask, [scanner.bias_seed, 3])[mask]
    flip = 1 + scanner.flip_spread * np.clip(b1_shape, -2.5, 2.5)
    t1, t2, density = (
        factor[mask] for factor in (anatomy.t1_factor, anatomy.t2_factor, anatomy.density_factor)
    )
    along: Array | float = 0.0
    if sequence.b_value > 0:
        along = _along_gradient(anatomy, scan_seed)[mask]
    signal = np.zeros(t1.shape, dtype=np.float32)
    for tissue, fraction in zip(TISSUES, anatomy.fractions, strict=True):
        t1_scale, t2_scale = scanner.relaxation(tissue.name)
        t1_tissue = np.float32(tissue.t1_ms) * (
            t1 * t1_scale if tissue.name != "CSF" else np.ones_like(t1)
        )
        seen = fraction[mask] * sequence.attenuation(tissue, along)
        signal += seen * sequence.signal(
            t1_tissue,
            np.float32(tissue.t2_ms) * (t2 * t2_scale),
            np.float32(tissue.density) * density,
            flip,
        )
    unit = scanner.signal_of(TISSUES[1], modality)
    image = np.zeros(shape, dtype=np.float32)
    gamma = 1.0 if sequence.kind == "epi" else scanner.gamma
    image[mask] = np.power(np.maximum(signal / unit, 0), gamma)
    detail = scanner.detail(modality)
    image = sharpen(image, detail.sharpness_mm, anatomy.grid.voxel_mm)
    image = thicken(image, detail.thick_mm, scanner.thick_axis, anatomy.grid.voxel_mm)
    image[~mask] = 0

    if scanner.mean_field:
        log_field = field_of(np.array(scanner.mean_field), shape)[mask]
    else:
        log_field = scanner.bias_log_sd * bias_field(shape, mask, [scanner.bias_seed, 7])[mask]
    if scan_field and scanner.bias_log_sd > 0:
        own = bias_field(shape, mask, [scan_seed, scanner.bias_seed, 5])[mask]
        log_field = log_field + scanner.bias_log_sd * scanner.scan_bias * own
    values = image[mask] * np.exp(log_field)
    if noise:
        rng = np.random.default_rng([scan_seed, scanner.bias_seed, 1])
        # Smaller voxels are noisier, but a site's noise level is stated for its own voxel size.
        sigma = np.float32(detail.noise)
        real = values + sigma * rng.standard_normal(values.shape, dtype=np.float32)
        imaginary = sigma * rng.standard_normal(values.shape, dtype=np.float32)
        values = np.hypot(real, imaginary)
    effects = scanner.effects
    if effects is not None:
        values = values * np.exp(-effects.bias_correction * log_field)
        image[mask] = values
        image = filtered(image, effects)
        image[~mask] = 0
        bright = max(scanner.signal_of(tissue, modality) for tissue in TISSUES) / unit
        image = stored(image, bright**gamma, effects)
        values = image[mask]
    image[mask] = scanner.gain * values
    return image


def _along_gradient(anatomy: Anatomy, scan_seed: int) -> Array:
    """Squared cosine between a person's fibres and the gradient of a scan."""
    direction = np.random.default_rng([scan_seed, 0xD1]).standard_normal(3).astype(np.float32)
    direction /= np.linalg.norm(direction)
    return np.square(np.tensordot(direction, fibre_directions(anatomy), axes=1))
