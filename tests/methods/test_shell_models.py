"""A shell of one scanner becomes that of another, where the truth of both is known."""

from dataclasses import replace

import numpy as np
import pytest

from bids_harmony.diffusion.resolution import Sharpener
from bids_harmony.diffusion.rish import harmonics
from bids_harmony.diffusion.tensor import fit_tensor
from bids_harmony.methods.shell_models import AttenuationModel
from bids_harmony.sites.series_difference import b_scale
from bids_harmony.sites.series_profile import SeriesProfile
from tests.diffusion.simple_series import SHAPE, make_gradients, make_series
from tests.methods.simple_sites import make_rish, make_site

GRADIENTS = make_gradients(30)


def site(name, people=(0.97, 1.0, 1.03), **scanner):
    return make_site(name, GRADIENTS, people, **scanner)


def signals(series, mask):
    mean = np.maximum(series.signal(np.s_[..., GRADIENTS.b0])[mask].mean(1), 1)
    return {s.b: series.signal(np.s_[..., s.volumes])[mask] for s in GRADIENTS.shells}, mean


def rish(series, mask, source, target):
    return make_rish(series, mask, source, target, GRADIENTS)


def harmonized(series, mask, model):
    """Mean diffusivity and anisotropy of white matter after all shells went through a model."""
    own, mean = signals(series, mask)
    data = series.signal(...)
    for shell in GRADIENTS.shells:
        volumes = np.zeros((*SHAPE, len(shell.volumes)), np.float32)
        volumes[mask] = model(shell, own[shell.b], mean) if model else own[shell.b]
        data[..., shell.volumes] = volumes
    white = np.zeros(SHAPE, bool)
    white[2:8, 2:-2, 2:-2] = True
    fit = fit_tensor(data, white, GRADIENTS)
    return float(fit.md[white].mean()), float(fit.fa[white].mean())


def test_gradients_that_are_too_strong_are_seen_and_undone():
    source, target = site("GE", noise=0.02, b_scale=1.06), site("COI", noise=0.02)
    assert b_scale(source, target) == pytest.approx(1.06, rel=0.005)
    series, mask = make_series(GRADIENTS, seed=1, noise=0.02, b_scale=1.06)
    twin, _ = make_series(GRADIENTS, seed=1, noise=0.02)
    raw, _ = harmonized(series, mask, None)
    mine, _ = harmonized(series, mask, rish(series, mask, source, target))
    goal, _ = harmonized(twin, mask, None)
    assert abs(raw / goal - 1) > 0.04
    assert abs(mine / goal - 1) < 0.008


def test_gradients_are_not_corrected_where_free_water_says_nothing():
    source, target = site("GE", b_scale=1.06), site("COI")
    assert b_scale(source, target) > 1.05
    alone = SeriesProfile("GE", source.scans[:1])
    assert b_scale(alone, target) == 1
    dry = SeriesProfile("X", tuple((k, replace(v, water=float("nan"))) for k, v in source.scans))
    assert b_scale(dry, target) == 1
    # Scans of one site that differ by as much as the sites do.
    scattered = zip(source.scans, (2.9e-3, 3.1e-3, 3.4e-3), strict=True)
    looks = tuple((k, replace(v, water=water)) for (k, v), water in scattered)
    assert b_scale(SeriesProfile("X", looks), target) == 1


def test_anisotropy_that_is_noise_goes_and_water_becomes_isotropic():
    source, target = site("GE", noise=0.08), site("COI", noise=0.01)
    series, mask = make_series(GRADIENTS, seed=1, noise=0.08)
    twin, _ = make_series(GRADIENTS, seed=2, noise=0.01)
    grey = np.zeros(SHAPE, bool)
    grey[12:18, 2:-2, 2:-2] = True

    def anisotropy(given, model):
        own, mean = signals(given, mask)
        data = given.signal(...)
        for shell in GRADIENTS.shells:
            volumes = np.zeros((*SHAPE, len(shell.volumes)), np.float32)
            volumes[mask] = model(shell, own[shell.b], mean) if model else own[shell.b]
            data[..., shell.volumes] = volumes
        return float(fit_tensor(data, grey, GRADIENTS).fa[grey].mean())

    raw, goal = anisotropy(series, None), anisotropy(twin, None)
    mine = anisotropy(series, rish(series, mask, source, target))
    assert raw > 2 * goal
    assert mine - goal < 0.5 * (raw - goal)


def test_what_lies_below_the_floor_scales_with_the_noise():
    source, target = site("GE", noise=0.05), site("COI", noise=0.01)
    series, mask = make_series(GRADIENTS, seed=1, noise=0.05)
    model = rish(series, mask, source, target)
    shell = GRADIENTS.shells[0]
    own, mean = signals(series, mask)
    own, noise, other = own[shell.b], *model.noise
    noise, other = noise.sd, other.sd
    floor = noise * np.sqrt(np.pi / 2)
    dark = np.zeros(len(own), bool)
    dark[::40] = True
    own[dark] = 0.2 * floor
    new = model(shell, own, mean)[dark]
    assert new == pytest.approx(own[dark] * other / noise, rel=0.02)


def test_a_level_that_people_cannot_explain_is_brought_to_the_target():
    people = (0.99, 1.0, 1.01, 0.995, 1.005)
    target = site("COI", people)
    lifted = tuple(
        (k, replace(v, levels={b: (x[0] + 0.2, *x[1:]) for b, x in v.levels.items()}))
        for k, v in site("GE", people).scans
    )
    series, mask = make_series(GRADIENTS, seed=1)
    shell = GRADIENTS.shells[0]
    own, mean = signals(series, mask)
    model = rish(series, mask, SeriesProfile("GE", lifted), target)
    change = model(shell, own[shell.b], mean).mean() / own[shell.b].mean()
    assert change == pytest.approx(np.exp(-0.2), rel=0.03)


def test_attenuation_goes_from_quantiles_to_quantiles_and_stays_where_they_are_equal():
    source, target = site("GE", noise=0.02, b_scale=1.08), site("COI", noise=0.02)
    series, mask = make_series(GRADIENTS, seed=1, noise=0.02, b_scale=1.08)
    own, mean = signals(series, mask)
    shell = GRADIENTS.shells[0]
    same = AttenuationModel(source, source)(shell, own[shell.b], mean)
    assert np.array_equal(same, own[shell.b])
    new = AttenuationModel(source, target)(shell, own[shell.b], mean) / mean[:, None]
    found = np.percentile(new, [20, 50, 80])
    wanted = target.quantiles(1000.0)[[20, 50, 80]]
    before = np.percentile(own[shell.b] / mean[:, None], [20, 50, 80])
    assert (np.abs(found - wanted) < 0.4 * np.abs(before - wanted)).all()


def test_of_a_blurred_scan_the_floor_stays_and_less_of_the_energy_is_noise():
    source, target = site("GE", noise=0.05), site("COI", noise=0.01)
    series, mask = make_series(GRADIENTS, seed=1, noise=0.05)
    model = rish(series, mask, source, target)
    shell = GRADIENTS.shells[0]
    own, mean = signals(series, mask)
    changed, blurred = (
        m(shell, own[shell.b], mean) for m in (model, replace(model, kept_noise=0.2))
    )
    grey = np.zeros(SHAPE, bool)
    grey[13:17, 4:-4, 3:-3] = True
    changed, blurred = changed[grey[mask]], blurred[grey[mask]]
    assert blurred.mean() == pytest.approx(changed.mean(), rel=1e-3)
    # Anisotropy of grey matter that is not noise would stay.
    assert blurred.std(axis=1).mean() > 1.05 * changed.std(axis=1).mean()


def test_the_floor_of_several_channels_goes_and_gradients_are_not_blamed():
    source, target = site("GE", noise=0.06, channels=4), site("COI", noise=0.02)
    series, mask = make_series(GRADIENTS, seed=1, noise=0.06, channels=4)
    twin, _ = make_series(GRADIENTS, seed=2, noise=0.02)
    assert b_scale(source, target) == pytest.approx(1, abs=0.01)
    raw, goal = (harmonized(s, mask, None)[0] for s in (series, twin))
    model = rish(series, mask, source, target)
    mine, _ = harmonized(series, mask, model)
    assert abs(mine - goal) < 0.3 * abs(raw - goal)
    own, mean = signals(series, mask)
    high = GRADIENTS.shells[1]
    raw, mine, goal = (
        float(np.median(signal.mean(1)))
        for signal in (own[high.b], model(high, own[high.b], mean), signals(twin, mask)[0][high.b])
    )
    assert abs(mine - goal) < 0.3 * abs(raw - goal)


def test_the_noise_of_a_target_counts_relative_to_its_white_matter():
    source = site("GE", noise=0.03)
    # The scale is that of the brightest, whose share differs with echo and repetition times.
    dim = tuple((k, replace(v, white=v.white / 2)) for k, v in site("COI", noise=0.03).scans)
    series, mask = make_series(GRADIENTS, seed=1, noise=0.03)
    own, other = rish(series, mask, source, SeriesProfile("COI", dim)).noise
    assert other.sd == pytest.approx(own.sd, rel=0.05)


def test_orders_get_the_energy_that_a_sharper_scanner_would_show():
    """Fibres along x change into grey matter, slice by slice, seen through a blur."""
    source = site("GE")
    share = 0.5 + 0.5 * np.sin(np.arange(SHAPE[1]) * 2 * np.pi / 5)

    def seen(contrast):
        series, mask = make_series(GRADIENTS, noise=0.0)
        x = GRADIENTS.bvecs[:, 0]
        fibre = np.exp(-GRADIENTS.bvals * (0.4e-3 + 1.1e-3 * x**2))
        grey = np.exp(-GRADIENTS.bvals * 0.8e-3)
        part = (0.5 + contrast * (share - 0.5))[None, :, None, None]
        signal = 1000 * (part * fibre + (1 - part) * grey) * mask[..., None]
        return replace(series, raw=np.rint(signal).astype(np.int16)), mask

    sharp, mask = seen(0.9)
    # A Gaussian of a squared voxel takes so much of five voxels' contrast.
    smooth, _ = seen(0.9 * np.exp(-2 * np.pi**2 / 25))
    model = rish(smooth, mask, source, source)
    sharper = replace(model, sharpener=Sharpener(np.array([0.0, 1.0, 0.0])))
    shell = GRADIENTS.shells[0]
    own, mean = signals(smooth, mask)
    wanted, _ = signals(sharp, mask)
    basis = harmonics(GRADIENTS.bvecs[shell.volumes], 4)
    deep = np.zeros(SHAPE, bool)
    deep[5:15, 6:14, 4:8] = True
    before, after, goal = (
        basis.energy(basis.coefficients(signal))[deep[mask], 1].mean()
        for signal in (own[shell.b], sharper(shell, own[shell.b], mean), wanted[shell.b])
    )
    assert 0.25 < (after - before) / (goal - before) < 1.1
    # Means over directions stay.
    same = model(shell, own[shell.b], mean).mean(1)
    assert sharper(shell, own[shell.b], mean).mean(1) == pytest.approx(same, rel=0.01)


def test_noise_is_not_sharpened():
    source = site("GE", noise=0.05)
    series, mask = make_series(GRADIENTS, seed=1, noise=0.05)
    model = rish(series, mask, source, source)
    shell = GRADIENTS.shells[0]
    own, mean = signals(series, mask)
    sharper = replace(model, sharpener=Sharpener(np.full(3, 0.5)))
    basis = harmonics(GRADIENTS.bvecs[shell.volumes], 4)
    grey = np.zeros(SHAPE, bool)
    grey[13:17, 4:-4, 3:-3] = True
    before, after = (
        basis.energy(basis.coefficients(m(shell, own[shell.b], mean)))[grey[mask], 1].mean()
        for m in (model, sharper)
    )
    assert after == pytest.approx(before, rel=0.1)
