"""Scanners fitted to a site's profile show people as the site does."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.noise import deep_noise
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.model.encoder import load_encoder
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.biology import LOCAL_VARIATION, Biology, with_biology
from bids_harmony.phantom.scanner import SITES, acquire
from bids_harmony.sites.image_profile import build_profile
from bids_harmony.training.fitted_scanners import fit_scanners

GRID = reference_grid(4.0)
ENCODER = load_encoder("random", widths=(2, 2, 2, 2))


def people(first, count):
    return [
        with_biology(make_anatomy(GRID, first + i, variation=LOCAL_VARIATION), Biology())
        for i in range(count)
    ]


def known_site(scanner, modality):
    scans = []
    for person in people(60, 4):
        data = acquire(person, scanner, modality, scan_seed=person.seed)
        scale = robust_scale(data, person.mask)
        scans.append((str(person.seed), data / scale, person.mask, scale))
    profile = build_profile(scanner.site, modality, scans, ENCODER, cells=8, voxel_mm=4.0)
    return profile, float(np.mean([deep_noise(data, mask, 4.0) for _, data, mask, _ in scans]))


@pytest.mark.parametrize(("site", "modality"), [("GE", "T1w"), ("PHILIPS", "T2w")])
def test_a_known_site_is_found_again(site, modality):
    # Nothing but what is fitted: no uneven transmit field.
    true = replace(SITES[site], flip_spread=0.0)
    profile, noise = known_site(true, modality)
    fits = fit_scanners(profile, noise, people(80, 2), count=2, voxel_mm=4.0, seed=3)
    assert len(fits) == 2
    assert fits[0].scanner.sequences[modality] != fits[1].scanner.sequences[modality]
    for fit in fits:
        assert fit.scanner.site == site
        assert abs(fit.contrasts[0]) < 0.02 and abs(fit.contrasts[1]) < 0.1
        assert fit.field < 0.02 and max(map(abs, fit.detail)) < 0.1
        assert fit.scanner.noise == pytest.approx(true.noise, rel=0.25)


def test_the_same_seed_fits_the_same_scanners():
    profile, noise = known_site(SITES["COI"], "T2w")
    first, again = (
        fit_scanners(profile, noise, people(80, 1), count=1, voxel_mm=4.0, seed=3)
        for _ in range(2)
    )
    assert first == again
