"""People of three scanners brought to the mean of all: as alike as at a named site."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from bids_harmony.imaging.intensity import robust_scale
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.methods.site_forms import closed_form
from bids_harmony.model.encoder import load_encoder
from bids_harmony.phantom.anatomy import make_anatomy
from bids_harmony.phantom.scanner import SITES, acquire
from bids_harmony.sites.image_profile import build_profile
from bids_harmony.sites.mean_site import mean_profile
from bids_harmony.sites.tissue_profile import contrasts, tissue_profile

GRID = reference_grid(5.0)
NAMES = ("COI", "GE", "PHILIPS")


def scan(person, site):
    data = acquire(person, SITES[site], "T1w", scan_seed=person.seed)
    scale = robust_scale(data, person.mask)
    return (data / scale).astype(np.float32), person.mask, scale


@pytest.fixture(scope="module")
def profiles():
    encoder = load_encoder("random", widths=(4, 4, 4, 4))
    people = [make_anatomy(GRID, 500 + i) for i in range(6)]
    found = {}
    for site in NAMES:
        scans = [(f"sub-{person.seed}", *scan(person, site)) for person in people]
        found[site] = build_profile(site, "T1w", scans, encoder, cells=4, voxel_mm=GRID.voxel_mm)
    return found | {"mean": mean_profile(list(found.values()))}


@pytest.fixture(scope="module")
def harmonized(profiles):
    """Of three people who no profile has seen, at each site: the scan, and at each target."""
    made = {}
    for seed in (600, 601, 602):
        person = make_anatomy(GRID, seed)
        for site in NAMES:
            data, mask, _ = scan(person, site)
            made[seed, site, "raw"] = data, mask
            for target in ("mean", "COI"):
                result = closed_form(data, mask, profiles[site], profiles[target], GRID.voxel_mm)
                made[seed, site, target] = result, mask
    return made


def between(harmonized, state):
    """How far the same brain is from itself at another site: root mean square, mean over pairs."""
    errors = []
    for seed in (600, 601, 602):
        for one, other in combinations(NAMES, 2):
            (first, mask), (second, _) = (
                harmonized[seed, one, state],
                harmonized[seed, other, state],
            )
            errors.append(np.sqrt(np.mean(np.square(first - second)[mask])))
    return float(np.mean(errors))


def spread(harmonized, state):
    """Standard deviation over sites of the mean log contrasts."""
    logs = [
        np.mean(
            [
                contrasts(tissue_profile(*harmonized[seed, site, state], GRID.voxel_mm).means)
                for seed in (600, 601, 602)
            ],
            axis=0,
        )
        for site in NAMES
    ]
    return np.std(logs, axis=0)


def test_sites_are_as_alike_at_the_mean_as_at_a_named_site(harmonized):
    raw, named, mean = (between(harmonized, state) for state in ("raw", "COI", "mean"))
    # 0.153 before, 0.085 at COI, 0.068 at the mean, which is nearer to all.
    assert mean < 0.55 * raw and mean < 1.1 * named
    # Grey and CSF: 0.16 and 0.19 before, 0.024 and 0.095 at COI, 0.017 and 0.078 at the mean.
    before, after = spread(harmonized, "raw"), spread(harmonized, "mean")
    assert after[0] < 0.2 * before[0] and after[1] < 0.6 * before[1]
    assert (after < 1.1 * spread(harmonized, "COI")).all()


def test_no_site_is_left_as_it_is(harmonized):
    for site in NAMES:
        (before, mask), (after, _) = (harmonized[600, site, s] for s in ("raw", "mean"))
        assert np.abs(after - before)[mask].mean() > 0.005, site
    # A named target's own scans are.
    assert np.array_equal(harmonized[600, "COI", "COI"][0], harmonized[600, "COI", "raw"][0])


def test_the_mean_lies_between_the_sites(harmonized, profiles):
    """Where sites stand on one side of a named target, the mean stands in the middle."""
    logs = {name: profiles[name].scan_measures for name in (*NAMES, "mean")}
    grey = {name: own.average(own.contrasts)[0] for name, own in logs.items()}
    assert min(grey[n] for n in NAMES) < grey["mean"] < max(grey[n] for n in NAMES)
    assert grey["mean"] == pytest.approx(np.mean([grey[n] for n in NAMES]), rel=1e-6)
    changes = [
        np.abs(harmonized[600, site, "mean"][0] - harmonized[600, site, "raw"][0]).mean()
        for site in NAMES
    ]
    farthest = max(
        np.abs(harmonized[600, site, "COI"][0] - harmonized[600, site, "raw"][0]).mean()
        for site in NAMES
    )
    assert max(changes) < farthest
