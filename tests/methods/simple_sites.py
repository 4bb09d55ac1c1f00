"""Diffusion sites and models on the block of `tests.diffusion.simple_series`."""

import numpy as np

from bids_harmony.diffusion.attenuation import steepness
from bids_harmony.diffusion.calibration import measure_series
from bids_harmony.methods.shell_models import RishModel
from bids_harmony.sites.series_profile import SeriesProfile
from tests.diffusion.simple_series import make_series

SCALE = 2000.0


def make_site(name, gradients, people, **scanner):
    looks = []
    for number, person in enumerate(people):
        series, mask = make_series(gradients, seed=number + 10, person=person, **scanner)
        looks.append((f"{name}{number}", measure_series(series, gradients, mask, SCALE)))
    return SeriesProfile(name, tuple(looks))


def make_rish(series, mask, source, target, gradients):
    look = measure_series(series, gradients, mask, SCALE)
    mean = np.maximum(series.signal(np.s_[..., gradients.b0])[mask].mean(1), 1)
    found = steepness(
        series, gradients, mask, mean, source.floor(look.noise).times(look.white * SCALE)
    )
    steep = {s.b: own for s, own in zip(gradients.shells, found, strict=True)}
    return RishModel(gradients, mask, np.full(3, 2.0), SCALE, look, source, target, steep)
