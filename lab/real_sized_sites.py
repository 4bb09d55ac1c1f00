"""Simulated diffusion scanners that differ by as much as real ones do.

The spread is that of ON-Harmony (Warrington et al. 2023, 2025), in which twenty people were
scanned at six of eight scanners each; `benchmarks/diffusion_causes.py` compares. Each scanner is
made up: values are round, and none is a protocol of that study.
"""

from __future__ import annotations

from lab.diffusion_scanner import DiffusionScanner

__all__ = ["NEURITE_T2_RATIO", "REAL_SIZED_SITES"]

#: T2 within neurites over that between them; what is reported lies about here (Veraart et al.
#: 2018, NeuroImage 182:360; McKinnon and Jensen 2019, Magn Reson Med 81:2985).
NEURITE_T2_RATIO = 1.4


def _site(name: str, seed: int, times_ms: tuple[float, float], directions: int, **own):
    shells = ((1000.0, directions), (2000.0, directions))
    return DiffusionScanner(
        name, "Simulated", "Real-sized", "", 3.0, *times_ms, shells, bias_seed=5000 + seed, **own
    )


#: The first is the cohort's target.
REAL_SIZED_SITES: dict[str, DiffusionScanner] = {
    s.site: s
    for s in (
        _site(
            "RS1", 1, (6000, 84), 45,
            gain=700.0, noise=0.040, noise_growth=0.4, b_scale=1.00, nonlinearity=0.03,
            partial_fourier=0.80, taper=0.15, blur_mm=0.5, distortion_mm=0.6, drift=-0.02,
            pulsation=0.021, b0_excess=0.02,
        ),
        _site(
            "RS2", 2, (4200, 98), 50,
            b0_every=20, gain=1500.0, noise=0.042, noise_growth=0.6, channels=2, b_scale=0.985,
            nonlinearity=0.10, taper=0.4, blur_mm=1.5, distortion_mm=1.8, drift=-0.04,
            pulsation=0.027, b0_excess=0.03,
        ),
        _site(
            "RS3", 3, (9500, 90), 32,
            voxel_mm=(1.8, 1.8, 2.2), acquired_mm=2.3, gain=900.0, noise=0.026, noise_growth=0.3,
            b_scale=1.035, nonlinearity=-0.08, taper=0.3, blur_mm=0.4, distortion_mm=-1.0,
            drift=-0.03, pulsation=0.021, b0_excess=0.03,
        ),
        _site(
            "RS4", 4, (3500, 72), 50,
            gain=400.0, noise=0.031, noise_growth=0.8, channels=4, b_scale=0.97,
            nonlinearity=0.06, partial_fourier=0.75, blur_mm=0.4, distortion_mm=1.2, drift=-0.01,
            pulsation=0.021, b0_excess=0.0,
        ),
        _site(
            "RS5", 5, (10000, 78), 64,
            voxel_mm=(2.0, 2.0, 2.2), gain=2200.0, noise=0.075, noise_growth=0.2, b_scale=0.99,
            nonlinearity=-0.04, taper=0.25, blur_mm=0.6, distortion_mm=0.3, drift=0.01,
            pulsation=0.021, b0_excess=0.01, denoised=True,
        ),
        _site(
            "RS6", 6, (5200, 66), 60,
            b0_every=12, voxel_mm=(1.7, 1.7, 1.7), gain=550.0, noise=0.055, noise_growth=0.6,
            b_scale=1.04, nonlinearity=0.12, partial_fourier=0.85, blur_mm=0.3,
            distortion_mm=-0.5, drift=-0.02, pulsation=0.021, b0_excess=0.0,
        ),
        _site(
            "RS7", 7, (7800, 88), 40,
            b0_every=8, voxel_mm=(2.2, 2.2, 2.2), gain=300.0, noise=0.035, noise_growth=0.4,
            b_scale=1.01, nonlinearity=-0.06, taper=0.6, blur_mm=0.9, distortion_mm=0.9,
            drift=-0.05, pulsation=0.027, b0_excess=0.05,
        ),
    )
}  # fmt: skip
