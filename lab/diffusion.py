"""Simulated diffusion series: signals of neurites and water, as a site's scanner delivers them.

The tissue is that of NODDI (Zhang et al. 2012, NeuroImage 61:1000): sticks with Watson dispersion,
a tensor between them that follows their density and dispersion, and free water. What becomes of
the images on their way is `diffusion_chain`'s.
"""

from __future__ import annotations

import numpy as np
from numpy.polynomial.legendre import leggauss, legval, legvander

from bids_harmony.phantom.anatomy import TISSUES, Anatomy
from lab.diffusion_chain import ImageChain, denoised
from lab.diffusion_fields import b_scale_map
from lab.diffusion_scanner import (
    DIFFUSION_SITES,
    DiffusionScanner,
    GradientScheme,
)
from lab.microstructure import Microstructure, concentration

__all__ = ["acquire_series", "neurite_weight", "tissue_signal", "truth_fa", "watson_moments"]

Array = np.ndarray

#: Diffusivity along neurites and of free water in mm2/s, as Zhang et al. 2012 fix them.
ALONG_NEURITES = 1.7e-3
FREE_WATER = 3.0e-3

#: Highest Legendre order of the neurites' signal; at b = 3200 s/mm2 what is left out is below
#: 2e-5 of the signal without weighting.
ORDER = 14

#: Nodes of the quadrature over cosines, and of the table over dispersion.
NODES = 200
DISPERSIONS = np.linspace(0.01, 1.0, 400)

#: Nodes of the table over b-values where they vary in space.
WEIGHTINGS = 33

#: Tensors describe signals up to about this b-value in s/mm2 (Jensen and Helpern 2010).
TENSOR_MAX_B = 1500.0


def watson_moments(odi: Array) -> Array:
    """Mean Legendre polynomials of the cosine between neurites and their mean direction.

    Parameters
    ----------
    odi : (V,) float
        Orientation dispersion of a Watson distribution, 0.01 to 1.

    Returns
    -------
    (ORDER / 2 + 1, V) float32
        Mean of P_0, P_2, P_4, ...; interpolated in a table.
    """
    nodes, weights = leggauss(NODES)
    kappa = concentration(DISPERSIONS)[:, None]
    density = weights * np.exp(kappa * (np.square(nodes) - 1))
    table = density @ legvander(nodes, ORDER)[:, ::2] / density.sum(1, keepdims=True)
    return np.stack([np.interp(odi, DISPERSIONS, t) for t in table.T]).astype(np.float32)


def neurite_weight(ndi: Array, t2_ratio: float, echo_ms: float) -> Array:
    """Neurites' share of the tissue's signal at b=0, which grows with the echo time.

    T2 within neurites is longer than between them (Veraart et al. 2018, NeuroImage 182:360):
    what NODDI takes for their density depends on the protocol.

    Parameters
    ----------
    ndi : (V,) float32
        Their share by volume.
    t2_ratio : float
        T2 within over T2 between; the mean of the two rates is white matter's.
    echo_ms : float

    Returns
    -------
    (V,) float32
        `ndi` itself where the ratio is 1.
    """
    if t2_ratio == 1:
        return ndi
    less = 2 / TISSUES[1].t2_ms * (t2_ratio - 1) / (t2_ratio + 1)
    seen = ndi * np.float32(np.exp(echo_ms * less))
    return np.asarray(seen / (seen + 1 - ndi))


def tissue_signal(
    b_value: float | Array,
    cosine: Array,
    ndi: Array,
    moments: Array,
    weight: Array | None = None,
) -> Array:
    """Signal of neurites and the space between them, 1 without weighting (Zhang et al. 2012).

    Parameters
    ----------
    b_value : float or (V,) float
        s/mm2.
    cosine : (V,) float32
        Between the gradient and the mean direction of the neurites.
    ndi : (V,) float32
        Neurite density.
    moments : (ORDER / 2 + 1, V) float32
        From `watson_moments`.
    weight : (V,) float32, optional
        Neurites' share of the signal at b=0; default: `ndi`.

    Returns
    -------
    (V,) float32
    """
    weight = ndi if weight is None else weight
    weighting = b_value * ALONG_NEURITES
    # The signal of one stick, exp(-b d cos^2), spread by the distribution of sticks: a convolution
    # on the sphere, where Legendre coefficients multiply (Funk and Hecke).
    stick = _stick(weighting)
    series = np.zeros((ORDER + 1, len(ndi)), dtype=np.float32)
    for half, moment in enumerate(moments):
        series[2 * half] = np.float32((4 * half + 1) / 2 * stick[half]) * moment
    within = legval(cosine, series, tensor=False)
    # Tensors of single neurites, each with tortuosity d_across = d (1 - ndi), averaged.
    squared = (1 + 2 * moments[1]) / 3
    along = 1 - ndi * (1 - squared)
    across = 1 - ndi * (1 + squared) / 2
    between = np.exp(-np.float32(weighting) * (across + (along - across) * np.square(cosine)))
    return weight * within + (1 - weight) * between


def _stick(weighting: float | Array) -> Array:
    """Even Legendre coefficients of a stick's signal, (ORDER / 2 + 1,) or (..., V)."""
    nodes, weights = leggauss(NODES)
    polynomials = legvander(nodes, ORDER)
    if not isinstance(weighting, np.ndarray):
        return ((weights * np.exp(-weighting * np.square(nodes))) @ polynomials)[::2]
    # They vary slowly with b: a short table does, to 1e-5.
    few = np.linspace(weighting.min(), weighting.max(), WEIGHTINGS)
    table = (weights * np.exp(-few[:, None] * np.square(nodes))) @ polynomials[:, ::2]
    return np.stack([np.interp(weighting, few, t) for t in table.T]).astype(np.float32)


def _weights(person: Anatomy, scanner: DiffusionScanner) -> tuple[Array, Array]:
    """Signal of tissue and of water at b=0 in the mask, where white matter has about 1."""
    mask, sequence = person.mask, scanner.sequence
    # As `scanner.acquire` has it: T1 by the cube root of the field.
    field_scale = (scanner.field_tesla / 3.0) ** (1 / 3)
    t1, t2 = person.t1_factor[mask] * field_scale, person.t2_factor[mask]
    density = person.density_factor[mask]
    seen = []
    for tissue, fraction in zip(TISSUES, person.fractions, strict=True):
        own_t1 = tissue.t1_ms * (t1 if tissue.name != "CSF" else np.ones_like(t1))
        full = sequence.signal(own_t1, tissue.t2_ms * t2, tissue.density * density, 1.0)
        seen.append(fraction[mask] * full)
    white = TISSUES[1]
    unit = sequence.signal(white.t1_ms * field_scale, white.t2_ms, white.density, 1.0)
    grey_seen, white_seen, water_seen = (np.asarray(s / unit, dtype=np.float32) for s in seen)
    return grey_seen + white_seen, water_seen


def acquire_series(
    person: Anatomy,
    truth: Microstructure,
    scanner: DiffusionScanner,
    gradients: GradientScheme,
    seed: int,
    noise: bool = True,
    *,
    scan_field: bool = True,
) -> Array:
    """Take a diffusion series of a person.

    Parameters
    ----------
    person : Anatomy
        As placed in the scanner.
    truth : Microstructure
        Of the person, on the same grid.
    scanner : DiffusionScanner
    gradients : GradientScheme
        Along the axes of the grid; the scanner's own or, for twins, another's.
    seed : int
        Draws noise and the scan's own part of the receive field.
    noise : bool
        False gives the series without noise and drift.
    scan_field : bool
        False leaves the scan's own part of the receive field out.

    Returns
    -------
    (X, Y, Z, N) float32
        Stored units of the scanner, zero outside the brain.

    Raises
    ------
    ValueError
        `truth` is on another grid than `person`.
    """
    mask, shape = person.mask, person.grid.shape
    if truth.ndi.shape != shape or not np.array_equal(truth.grid.affine, person.grid.affine):
        raise ValueError(f"truth must be on the person's grid, {shape}; got {truth.ndi.shape}")
    tissue, water = _weights(person, scanner)
    ndi, moments = truth.ndi[mask], watson_moments(truth.odi[mask])
    share = truth.second_share[mask]
    crossing = share > 0
    # Only where fibres cross is there a second signal to compute.
    first, second = truth.fibres[0][:, mask], truth.fibres[1][:, mask][:, crossing]
    weight = neurite_weight(ndi, truth.t2_ratio, scanner.echo_ms)
    crossed = share[crossing], ndi[crossing], moments[:, crossing], weight[crossing]

    count = len(gradients.b_values)
    chain = ImageChain(person, scanner, seed, count, noise=noise, scan_field=scan_field)
    scale = b_scale_map(person, scanner)
    series = np.zeros((*shape, count), dtype=np.float32)
    image = np.zeros(shape, dtype=np.float32)
    pairs = zip(gradients.b_values, gradients.directions.astype(np.float32), strict=True)
    for n, (stated, direction) in enumerate(pairs):
        b = scale * float(stated)
        signal = tissue_signal(b, direction @ first, ndi, moments, weight)
        part, *neurites = crossed
        there = b[crossing] if isinstance(b, np.ndarray) else b
        other = tissue_signal(there, direction @ second, *neurites)
        signal[crossing] += part * (other - signal[crossing])
        image[mask] = tissue * signal + np.float32(np.exp(-b * FREE_WATER)) * water
        if stated == 0 and scanner.b0_excess:
            image[mask] *= np.float32(1 + scanner.b0_excess)
        series[mask, n] = scanner.gain * chain.record(image, n)
    if noise and scanner.denoised:
        series[mask] = denoised(series[mask], gradients.b_values)
    return series


def truth_fa(
    person: Anatomy,
    truth: Microstructure,
    gradients: GradientScheme,
    scanner: DiffusionScanner | None = None,
) -> tuple[Array, Array, Array]:
    """Tensor of the noise-free series that a scanner would take, for comparison.

    Parameters
    ----------
    person : Anatomy
    truth : Microstructure
    gradients : GradientScheme
        Of the series that is compared; b-values above `TENSOR_MAX_B` are left out if two shells
        or more are measured.
    scanner : DiffusionScanner, optional
        Default: COI.

    Returns
    -------
    fa : (X, Y, Z) float32
        Fractional anisotropy.
    md : (X, Y, Z) float32
        Mean diffusivity in mm2/s.
    v1 : (X, Y, Z, 3) float32
        Main direction along the axes of the grid; its sign means nothing.
        All are zero outside the brain.
    """
    from dipy.core.gradients import gradient_table
    from dipy.reconst.dti import TensorModel

    series = acquire_series(
        person, truth, scanner or DIFFUSION_SITES["COI"], gradients, 0, False, scan_field=False
    )
    b_values = gradients.b_values
    used = b_values <= max(TENSOR_MAX_B, b_values[b_values > 0].min())
    table = gradient_table(b_values[used], bvecs=gradients.directions[used])
    fit = TensorModel(table, fit_method="WLS").fit(series[..., used], mask=person.mask)
    maps = (np.nan_to_num(m).astype(np.float32) for m in (fit.fa, fit.md, fit.evecs[..., 0]))
    fa, md, v1 = (m * person.mask.reshape(m.shape[:3] + (1,) * (m.ndim - 3)) for m in maps)
    return fa, md, v1
