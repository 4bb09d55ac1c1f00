"""Scanners that take diffusion series, and the directions that they measure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from bids_harmony.phantom.scanner import SITES
from bids_harmony.phantom.sequences import Sequence

__all__ = [
    "DIFFUSION_SITES",
    "DiffusionScanner",
    "GradientScheme",
    "gradient_scheme",
    "random_diffusion_scanner",
    "spread_directions",
]

Array = np.ndarray


@dataclass(frozen=True, eq=False)
class GradientScheme:
    """What a series measures.

    Attributes
    ----------
    b_values : (N,) float
        s/mm2, as the site states them.
    directions : (N, 3) float
        Unit vectors along the scanner's axes, RAS+; zero for b=0.
    """

    b_values: Array
    directions: Array


@dataclass(frozen=True)
class DiffusionScanner:
    """One site's diffusion protocol and what its scanner makes of it.

    Attributes
    ----------
    site, vendor, model, serial : str
        Written to the sidecars.
    field_tesla : float
    repetition_ms, echo_ms : float
        Of the spin echo; T2 of the tissues, which differ, weighs them by the echo time.
    shells : tuple of (float, int)
        b-value in s/mm2 and number of directions.
    b0_every : int
        A volume with b=0 stands before each so many weighted ones.
    voxel_mm : tuple of float
    gain : float
        White matter at b=0, in stored units.
    bias_log_sd, scan_bias, bias_seed
        Receive field, as those of `scanner.Scanner`.
    noise : float
        Standard deviation in each channel, relative to white matter at b=0; the magnitude of
        noise alone is the Rician floor.
    b_scale : float
        True over stated b-value: gradients are calibrated to a few per cent.
    drift : float
        Relative change of the signal from the first volume to the last, linear in time (Vos et
        al. 2017, Magn Reson Med 77:285).
    blur_mm : float
        Standard deviation of the point spread.
    acquired_mm : float
        In-plane edge of the acquired voxel where it is larger than the stored one: k-space is
        filled with zeros to a finer matrix, and noise is correlated. 0: as stored.
    partial_fourier : float
        Part of k-space that is covered along the phase axis, above 0.5; the rest is zero.
    taper : float
        Outer part of k-space that a Tukey window over its ellipse tapers, 0 (no window, corners
        kept) to 1.
    channels : int
        Whose root of the sum of squares is taken: noise is non-central chi, whose floor grows
        with them; 1 is the Rician case of a combination by sensitivities (Sotiropoulos et al.
        2013, Magn Reson Med 70:1682).
    noise_growth : float
        What noise is more by in the middle of the brain than at its surface, relative.
    nonlinearity : float
        Relative change of the b-value at 100 mm from the isocentre, with the squared distance.
    distortion_mm : float
        What is left of susceptibility distortion near air, along the phase axis; its sign is the
        blip's.
    pulsation : float
        Standard deviation of the smooth relative change of each volume by what no model of the
        tissue knows: cardiac pulsation, residual motion and eddy currents (Walker et al. 2011,
        NeuroImage 54:1168).
    b0_excess : float
        What images without weighting have more, relative: blood that flows, which the least
        weighting removes (Le Bihan et al. 1988, Radiology 168:497); crushers and echo times of
        sites let more or less of it through.
    denoised : bool
        Whether the site denoises its magnitudes (Patch2Self).
    """

    site: str
    vendor: str
    model: str
    serial: str
    field_tesla: float
    repetition_ms: float
    echo_ms: float
    shells: tuple[tuple[float, int], ...]
    b0_every: int = 10
    voxel_mm: tuple[float, float, float] = (2.0, 2.0, 2.0)
    gain: float = 800.0
    bias_log_sd: float = 0.1
    scan_bias: float = 0.25
    bias_seed: int = 0
    noise: float = 0.04
    b_scale: float = 1.0
    drift: float = 0.0
    blur_mm: float = 0.6
    acquired_mm: float = 0.0
    partial_fourier: float = 1.0
    taper: float = 0.0
    channels: int = 1
    noise_growth: float = 0.0
    nonlinearity: float = 0.0
    distortion_mm: float = 0.0
    pulsation: float = 0.0
    b0_excess: float = 0.0
    denoised: bool = False

    @property
    def sequence(self) -> Sequence:
        """The spin echo without its diffusion weighting."""
        return Sequence("epi", self.repetition_ms, self.echo_ms)


def _at(site: str, times_ms: tuple[float, float], *shells: tuple[float, int], **own):
    """Give the scanner of an anatomical site a diffusion protocol."""
    known = SITES[site]
    # Another sequence, another coil combination: the field is not that of the T1w scan.
    return DiffusionScanner(
        site, known.vendor, known.model, known.serial, known.field_tesla, *times_ms, shells,
        bias_seed=known.bias_seed + 100, **own,
    )  # fmt: skip


#: Scanners of `scanner.SITES`, the cohort's target first; parameters are round numbers, not any
#: real protocol. SIEMENS and MR750 have one shell: tensors only.
DIFFUSION_SITES: dict[str, DiffusionScanner] = {
    s.site: s
    for s in (
        _at(
            "COI", (8500, 84), (1000, 30), (2000, 30),
            gain=520.0, bias_log_sd=0.08, noise=0.035, blur_mm=0.6,
        ),
        _at(
            "GE", (7200, 98), (1000, 30), (2000, 30),
            voxel_mm=(2.0, 2.0, 2.2), gain=2400.0, bias_log_sd=0.18, noise=0.050, b_scale=1.04,
            drift=-0.03, blur_mm=0.5,
        ),
        _at(
            "PHILIPS", (9600, 74), (1000, 32), (2000, 32),
            voxel_mm=(2.2, 2.2, 2.2), gain=1100.0, bias_log_sd=0.14, noise=0.040, b_scale=0.97,
            drift=-0.05, blur_mm=0.9,
        ),
        _at(
            "SIEMENS", (10500, 92), (1000, 30),
            b0_every=15, voxel_mm=(2.4, 2.4, 2.4), gain=310.0, bias_log_sd=0.10, noise=0.060,
            b_scale=1.02, drift=-0.01, blur_mm=0.8,
        ),
        _at(
            "PRISMA", (3600, 70), (1000, 48), (2000, 48),
            b0_every=12, voxel_mm=(1.8, 1.8, 1.8), gain=390.0, bias_log_sd=0.05, noise=0.030,
            b_scale=1.01, drift=-0.02, blur_mm=0.4,
        ),
        _at(
            "SKYRA", (5400, 88), (1000, 30), (2000, 45),
            gain=640.0, bias_log_sd=0.16, noise=0.045, b_scale=0.98, drift=-0.02, blur_mm=0.7,
        ),
        _at(
            "MR750", (8000, 82), (1000, 40),
            b0_every=8, voxel_mm=(2.0, 2.0, 2.5), gain=1900.0, bias_log_sd=0.12, noise=0.042,
            b_scale=1.03, drift=0.02, blur_mm=0.5,
        ),
    )
}  # fmt: skip


def random_diffusion_scanner(seed: int) -> DiffusionScanner:
    """Draw a scanner from wide ranges, for training: never one of `DIFFUSION_SITES`.

    Parameters
    ----------
    seed : int
        The same seed gives the same scanner.

    Returns
    -------
    DiffusionScanner
        With one to three shells.
    """
    rng = np.random.default_rng([seed, 0xDF])

    def u(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    weightings = ((700, 1200), (1700, 2300), (2700, 3200))[: int(rng.integers(1, 4))]
    shells = tuple((round(u(*w) / 50) * 50.0, int(rng.integers(30, 65))) for w in weightings)
    edge = u(1.6, 2.6)
    return DiffusionScanner(
        f"R{seed:04d}", "Simulated", "Random", "", float(rng.choice([1.5, 3.0])),
        u(3000, 12000), u(60, 110), shells,
        b0_every=int(rng.integers(6, 17)),
        voxel_mm=(edge, edge, u(1.0, 1.3) * edge),
        gain=float(np.exp(u(np.log(150), np.log(3000)))),
        bias_log_sd=u(0.02, 0.22),
        scan_bias=u(0.1, 0.4),
        bias_seed=int(seed) + 3000,
        noise=u(0.015, 0.07),
        b_scale=u(0.95, 1.05),
        drift=u(-0.06, 0.02),
        blur_mm=u(0.3, 1.0),
    )  # fmt: skip


def spread_directions(count: int, rng: np.random.Generator) -> Array:
    """Spread directions evenly over the half sphere, on a golden spiral turned at random.

    Parameters
    ----------
    count : int
        At least 5.
    rng : numpy.random.Generator

    Returns
    -------
    (count, 3) float
        Unit vectors.

    Raises
    ------
    ValueError
        There are fewer than 5.
    """
    # DIPY's import takes longer than everything else here.
    from dipy.core.sphere import fibonacci_sphere

    points = fibonacci_sphere(count, hemisphere=True, randomize=False)
    return points @ Rotation.random(random_state=rng).as_matrix().T


def gradient_scheme(scanner: DiffusionScanner) -> GradientScheme:
    """Set up a site's gradients.

    Parameters
    ----------
    scanner : DiffusionScanner

    Returns
    -------
    GradientScheme
        Shells take turns at random; b=0 comes first and then before every `b0_every` weighted
        volumes. The same scanner always measures the same.
    """
    rng = np.random.default_rng([scanner.bias_seed, 0x6D])
    weighted = np.concatenate([np.full(count, b, float) for b, count in scanner.shells])
    directions = np.concatenate([spread_directions(count, rng) for _, count in scanner.shells])
    order = rng.permutation(len(weighted))
    breaks = np.arange(0, len(weighted), scanner.b0_every)
    return GradientScheme(
        b_values=np.insert(weighted[order], breaks, 0.0),
        directions=np.insert(directions[order], breaks, 0.0, axis=0),
    )
