"""One person of two scanners, whose series go to the mean of both: nearer, and neither stays."""

from __future__ import annotations

import numpy as np
import pytest

from bids_harmony.diffusion.rish import harmonics
from bids_harmony.diffusion.tensor import fit_tensor
from bids_harmony.methods.shell_models import AttenuationModel
from bids_harmony.sites.mean_site import mean_series_profile
from bids_harmony.sites.series_difference import b_scale
from tests.diffusion.simple_series import SHAPE, make_gradients, make_series
from tests.methods.simple_sites import make_rish, make_site

GRADIENTS = make_gradients(30)
SCANNERS = {
    "A": {"b_scale": 1.06, "noise": 0.05},
    "B": {"b_scale": 0.97, "noise": 0.015, "gain": 2000.0},
}
WHITE = np.zeros(SHAPE, bool)
WHITE[2:8, 2:-2, 2:-2] = True
#: Isotropic: its anisotropy is that of noise.
GREY = np.zeros(SHAPE, bool)
GREY[12:18, 2:-2, 2:-2] = True


@pytest.fixture(scope="module")
def sites():
    people = (0.97, 1.0, 1.03)
    found = {name: make_site(name, GRADIENTS, people, **own) for name, own in SCANNERS.items()}
    return found | {"mean": mean_series_profile(list(found.values()))}


def measures(data):
    """MD and level of order 0 at b = 1000 s/mm2 (of S/S0) in white matter, FA in grey matter."""
    fit = fit_tensor(data, WHITE | GREY, GRADIENTS)
    first = GRADIENTS.shells[0].volumes
    ratio = data[WHITE][:, first] / data[WHITE][:, GRADIENTS.b0].mean(axis=1)[:, None]
    basis = harmonics(GRADIENTS.bvecs[first], 4)
    level = np.sqrt(basis.energy(basis.coefficients(ratio))[:, 0]).mean()
    return np.array([fit.md[WHITE].mean(), level, fit.fa[GREY].mean()])


@pytest.fixture(scope="module")
def person(sites):
    """What one whom no profile has seen measures at either site: raw, and after two models."""
    found = {}
    for name, scanner in SCANNERS.items():
        series, mask = make_series(GRADIENTS, seed=1, person=1.01, **scanner)
        data = series.signal(...)
        mean = np.maximum(data[mask][:, GRADIENTS.b0].mean(axis=1), 1)
        models = {
            "raw": None,
            "rish": make_rish(series, mask, sites[name], sites["mean"], GRADIENTS),
            "attenuation": AttenuationModel(sites[name], sites["mean"]),
        }
        for mode, model in models.items():
            changed = data.copy()
            for shell in GRADIENTS.shells if model else ():
                inside = changed[mask]
                inside[:, shell.volumes] = model(shell, inside[:, shell.volumes], mean)
                changed[mask] = inside
            found[name, mode] = measures(changed)
    return found


@pytest.mark.parametrize(
    ("mode", "left"), [("rish", [0.1, 0.1, 0.6]), ("attenuation", [0.1, 0.1, 1])]
)
def test_both_come_nearer_and_neither_stays_as_it_was(person, mode, left):
    raw = np.log(person["A", "raw"] / person["B", "raw"])
    now = np.log(person["A", mode] / person["B", mode])
    assert np.abs(raw).min() > 0.05 and (np.abs(now) < left * np.abs(raw)).all(), (raw, now)
    # Each goes its part of the way, in its own direction.
    among = 3 if mode == "rish" else 2
    for name, sign in (("A", -1), ("B", 1)):
        moved = np.log(person[name, mode] / person[name, "raw"])
        # Anisotropy of noise is taken from A; B is not made as noisy.
        assert (sign * moved * np.sign(raw) > np.array([0.2, 0.2, 0.0]) * np.abs(raw))[
            :among
        ].all()


def test_the_mean_lies_in_the_middle_of_both(sites, person):
    assert b_scale(sites["A"], sites["mean"]) == pytest.approx(
        1 / b_scale(sites["B"], sites["mean"]), rel=1e-9
    )
    assert b_scale(sites["A"], sites["mean"]) == pytest.approx(np.sqrt(1.06 / 0.97), rel=0.005)
    assert sites["mean"].noise == pytest.approx(np.sqrt(sites["A"].noise * sites["B"].noise))
    middle = (person["A", "raw"][0] + person["B", "raw"][0]) / 2
    for name in SCANNERS:
        assert person[name, "rish"][0] == pytest.approx(middle, rel=0.01)
