"""Whole series: what must not change does not, whatever the mode."""

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from bids_harmony.diffusion.features import B0_KEY, DWI_MODES, PreparedSeries, prepare_series
from bids_harmony.diffusion.series import Series, mean_b0
from bids_harmony.exceptions import DataError, SiteError
from bids_harmony.imaging.mask import BrainMask
from bids_harmony.imaging.reference import reference_grid
from bids_harmony.imaging.volume import from_image
from bids_harmony.methods import load_harmonizer
from bids_harmony.methods.series import harmonize_series
from bids_harmony.model.encoder import load_encoder
from bids_harmony.model.shipped import SHIPPED_MODEL
from bids_harmony.sites.profile_cache import ProfileCache
from bids_harmony.sites.series_profile import build_series_profiles
from tests.diffusion.simple_series import make_gradients, make_series

VOXEL_MM = 4.0
GRADIENTS = make_gradients(20, b0=4)


def scan(orientation="LPS", **scanner):
    """A series with the block in the middle of the template, stored in some orientation."""
    series, mask = make_series(GRADIENTS, **scanner)
    affine = np.diag([5.0, 5.0, 7.0, 1.0])
    affine[:3, 3] = [-50, -65, -30]
    image = nib.Nifti1Image(series.raw, affine)
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(affine), nib.orientations.axcodes2ornt(orientation)
    )
    image = image.as_reoriented(turn)
    return Series(np.asarray(image.dataobj), 1.0, 0.0, image, None), BrainMask(mask, "given")


@pytest.fixture(scope="module")
def prepared():
    def of(seed, **scanner):
        series, mask = scan(seed=seed, noise=0.02, **scanner)
        grid = reference_grid(VOXEL_MM)
        return prepare_series(series, GRADIENTS, mask, np.eye(4), grid, "volume")

    return {
        "GE": [of(s, gain=3000.0, b_scale=1.05) for s in (11, 12)],
        "COI": [of(s) for s in (21, 22)],
    }


@pytest.fixture(scope="module")
def sites(prepared, tmp_path_factory):
    cache = ProfileCache(tmp_path_factory.mktemp("cache"), VOXEL_MM)
    harmonizer = load_harmonizer("ihf", SHIPPED_MODEL, cache)
    looks = {}
    for site, own in prepared.items():
        labelled = [(f"{site}{i}", p) for i, p in enumerate(own)]
        cells = harmonizer.network.config.aan.grid
        looks[site], profiles = build_series_profiles(
            site, labelled, load_encoder("mri"), cells=cells, voxel_mm=VOXEL_MM
        )
        for profile in profiles:
            cache.write(profile, {})
    return harmonizer, looks


def run(sites, series, mask, mode, source="GE", target="COI"):
    harmonizer, looks = sites
    return harmonize_series(
        series, GRADIENTS, mask, np.eye(4), harmonizer,
        source=looks[source], target=looks[target], mode=mode,
    )  # fmt: skip


def test_preparation_has_the_images_and_survives_its_file(prepared, tmp_path):
    own = prepared["GE"][0]
    assert set(own.features) == {B0_KEY, "dwi-b1000", "dwi-b2000"}
    assert all(not f[~own.mask].any() for f in own.features.values())
    own.save(tmp_path / "p.npz")
    again = PreparedSeries.load(tmp_path / "p.npz")
    assert again.measures.to_json() == own.measures.to_json() and again.scale == own.scale
    assert np.allclose(again.features[B0_KEY], own.features[B0_KEY], atol=2e-3)
    plain, mask = scan(seed=11)
    only = prepare_series(plain, GRADIENTS, mask, np.eye(4), reference_grid(VOXEL_MM), "rish")
    assert set(only.features) == {B0_KEY}


@pytest.mark.parametrize("mode", DWI_MODES)
def test_a_series_of_the_target_comes_back_bit_for_bit(sites, mode):
    series, mask = scan(seed=1, noise=0.02)
    result = run(sites, series, mask, mode, source="COI")
    assert np.array_equal(result.raw, series.raw)
    assert np.array_equal(result.before, result.after)


@pytest.mark.parametrize(
    ("mode", "kind"), [("rish", "NaN"), ("attenuation", "padding"), ("volume", "NaN")]
)
def test_voxels_without_signal_cost_no_more_than_themselves(sites, mode, kind):
    series, mask = scan(seed=1, noise=0.02, gain=3000.0, b_scale=1.05)
    raw = series.raw.astype(np.float32 if kind == "NaN" else np.int16)
    whole = run(sites, replace(series, raw=raw), mask, mode).raw
    value = np.nan if kind == "NaN" else -1024
    holed = raw.copy()
    holed[9, 9, 5:10] = value  # five voxels
    holed[4, 9, 6, 7] = holed[5, 9, 6, 1] = value
    padding = None if kind == "NaN" else -1024.0
    result = run(sites, replace(series, raw=holed, padding=padding), mask, mode)
    empty = np.isnan(holed) if kind == "NaN" else holed == value
    np.testing.assert_array_equal(result.raw[empty], holed[empty])
    others = result.raw[~empty].astype(float)
    assert np.isfinite(others).all()
    error = np.abs(others - whole[~empty]) / 3000
    # A volume that is harmonized as an image sees the hole.
    assert np.median(error) < 1e-3
    assert np.quantile(error, 0.99) < (0.05 if mode == "volume" else 0.02)


@pytest.mark.parametrize("mode", DWI_MODES)
def test_signals_keep_their_bounds_and_the_input_stays(sites, mode):
    series, mask = scan(seed=1, noise=0.02, gain=3000.0, b_scale=1.05)
    kept = series.raw.copy()
    result = run(sites, series, mask, mode)
    assert np.array_equal(series.raw, kept)
    assert result.raw.dtype == series.raw.dtype and (result.raw != series.raw).any()
    assert (result.raw >= 0).all()
    assert not result.raw[series.raw == 0].any()
    before, after = (
        mean_b0(s, GRADIENTS).get_fdata()[..., None]
        for s in (series, Series(result.raw, 1.0, 0.0, series.image, None))
    )
    weighted = ~GRADIENTS.b0
    was_below = series.raw[..., weighted] <= before
    # Rounding to whole numbers may add one.
    assert (result.raw[..., weighted] <= after + 1)[was_below].all()


@pytest.mark.parametrize(
    ("mode", "kind"), [(mode, np.int16) for mode in DWI_MODES] + [("rish", np.float32)]
)
def test_what_was_measured_stays_so(sites, mode, kind):
    """Fits leave out signals of zero; where filters took the noise, many are next to zero."""
    series, mask = scan(seed=1, noise=0.02, gain=3000.0, b_scale=1.05)
    raw = series.raw.astype(kind)
    dark = mask.data[..., None] & (raw < 300) & ~GRADIENTS.b0
    assert dark.sum() > 1000
    raw[dark] = np.random.default_rng(2).integers(1, 9, int(dark.sum()))
    result = run(sites, replace(series, raw=raw), mask, mode)
    assert (result.raw != raw)[dark].any()
    assert result.raw[raw > 0].min() > 0


@pytest.mark.parametrize("mode", ["rish", "attenuation"])
def test_air_far_from_the_brain_is_left_as_it_was(sites, mode):
    series, mask = scan("RAS", seed=1, noise=0.02, gain=3000.0, b_scale=1.05)
    noisy = np.where(mask.data[..., None], series.raw, 40).astype(np.int16)
    with_air = Series(noisy, 1.0, 0.0, nib.Nifti1Image(noisy, series.affine), None)
    result = run(sites, with_air, mask, mode)
    far = ~ndimage.binary_dilation(mask.data, iterations=2)
    assert far.any() and np.array_equal(result.raw[far], noisy[far])
    assert (result.raw[mask.data] != noisy[mask.data]).any()


def test_the_orientation_on_disk_does_not_matter(sites):
    results = []
    for orientation in ("LPS", "RAS", "PIR"):
        series, mask = scan(orientation, seed=1, noise=0.02, gain=3000.0, b_scale=1.05)
        result = run(sites, series, mask, "rish")
        image = nib.Nifti1Image(result.raw, series.affine)
        results.append(np.asarray(nib.as_closest_canonical(image).dataobj))
    assert np.abs(results[0] - results[1]).max() <= 1
    assert np.abs(results[0] - results[2]).max() <= 1


def test_ratios_to_b0_do_not_feel_the_look_of_b0(sites, monkeypatch):
    """In the default mode the mean b=0 changes as an image; S/S0 does as the shells say."""
    # Two members agree on nothing that two people a site could tell.
    monkeypatch.setattr(sites[0], "members", sites[0].members[:1])
    series, mask = scan(seed=1, noise=0.0, gain=3000.0)
    result = run(sites, series, mask, "rish", source="COI", target="GE")
    inside = np.asarray(nib.as_closest_canonical(series.image).dataobj)[..., 0] > 0
    assert inside.any() and from_image(mean_b0(series, GRADIENTS)).data.shape == inside.shape
    changed = Series(result.raw, 1.0, 0.0, series.image, None)
    b0 = [mean_b0(s, GRADIENTS).get_fdata() for s in (series, changed)]
    brain = b0[0] > 500
    # Two people a site support little change of the mean b=0.
    assert np.abs(b0[1] / np.maximum(b0[0], 1) - 1)[brain].max() > 1e-4
    first = GRADIENTS.shells[0].volumes
    adc = [
        -np.log(np.maximum(s.raw[..., first].mean(3), 1)[brain] / b[brain])
        for s, b in zip((series, changed), b0, strict=True)
    ]
    # GE's gradients are 5 % stronger: so is all that they see.
    assert np.median(adc[1] / adc[0]) == pytest.approx(1.05, abs=0.015)


def only(profile, b):
    """A site of whose shells one is known."""
    kept = [
        (k, replace(v, levels={b: v.levels[b]}, quantiles={b: v.quantiles[b]}))
        for k, v in profile.scans
    ]
    return replace(profile, scans=tuple(kept))


@pytest.mark.parametrize("mode", ["rish", "attenuation"])
def test_a_shell_that_the_target_lacks_is_harmonized_without_it(sites, mode):
    harmonizer, looks = sites
    target = only(looks["COI"], 1000.0)
    series, mask = scan(seed=1, noise=0.02, gain=3000.0, b_scale=1.05)
    result = run((harmonizer, looks | {"COI": target}), series, mask, mode)
    whole = run(sites, series, mask, mode)
    b0, first, second = (np.flatnonzero(GRADIENTS.bvals == b) for b in (0, 1000, 2000))
    # b=0 and the shell that both show do not know of the other.
    assert np.array_equal(result.raw[..., b0], whole.raw[..., b0])
    assert np.array_equal(result.raw[..., first], whole.raw[..., first])
    assert whole.other_shells == {} and result.other_shells["Shells"] == [2000.0]
    assert result.other_shells["Done"][1].startswith("strength of the gradients (1.0")
    # In air there is nothing of a shell.
    brain = result.before > 300
    fall = [
        np.log(raw.astype(float)[..., second].mean(3)[brain] / b0[brain])
        for raw, b0 in ((series.raw, result.before), (result.raw, result.after))
    ]
    change = np.median(fall[1] / fall[0])
    # White matter at b=2000 is no single exponential; noise hides some.
    assert 1 / 1.06 < change < 1 / 1.015
    rises = [
        np.mean(raw[brain][:, second].mean(1) > raw[brain][:, first].mean(1))
        for raw in (series.raw, result.raw)
    ]
    assert rises[1] <= rises[0]


def test_in_the_mode_volume_every_shell_must_be_shown_by_the_target(sites):
    harmonizer, looks = sites
    target = only(looks["COI"], 1000.0)
    series, mask = scan(seed=1)
    with pytest.raises(DataError, match="no shell like one of this series"):
        run((harmonizer, looks | {"COI": target}), series, mask, "volume")


def test_an_unknown_site_is_refused(sites):
    harmonizer, looks = sites
    series, mask = scan(seed=1)
    with pytest.raises(SiteError, match="MARS"):
        harmonize_series(
            series, GRADIENTS, mask, np.eye(4), harmonizer,
            source=replace(looks["GE"], site="MARS"), target=looks["COI"],
        )  # fmt: skip


def thin(series, mask):
    """Three slices of a series stored as RAS."""
    image = series.image.slicer[:, :, 4:7]
    cut = Series(np.asarray(image.dataobj), 1.0, 0.0, image, None)
    return cut, BrainMask(mask.data[:, :, 4:7], "given")


def test_of_a_slab_the_shells_change_and_the_mean_does_not(sites):
    series, mask = thin(*scan("RAS", seed=1, noise=0.02, gain=3000.0, b_scale=1.05))
    result = run(sites, series, mask, "rish")
    assert np.array_equal(result.before, result.after)
    assert np.array_equal(result.raw[..., GRADIENTS.b0], series.raw[..., GRADIENTS.b0])
    assert (result.raw[..., ~GRADIENTS.b0] != series.raw[..., ~GRADIENTS.b0]).any()
    with pytest.raises(DataError, match="too thin"):
        run(sites, series, mask, "volume")


def blurrier(profile, blur):
    scans = tuple((label, replace(look, blur=blur)) for label, look in profile.scans)
    return replace(profile, scans=scans)


@pytest.mark.parametrize("kind", [np.int16, np.float32])
def test_a_series_becomes_as_smooth_as_the_targets(sites, kind):
    harmonizer, looks = sites
    sharp = {site: blurrier(look, (5.0, 5.0, 5.0)) for site, look in looks.items()}
    smooth = sharp | {"COI": blurrier(looks["COI"], (6.6, 8.0, 5.0))}
    series, mask = scan("LPS", seed=1, noise=0.05, gain=3000.0)
    series = replace(series, raw=series.raw.astype(kind))
    kept = series.raw.copy()
    plain = run((harmonizer, sharp), series, mask, "rish")
    result = run((harmonizer, smooth), series, mask, "rish")
    assert np.array_equal(series.raw, kept) and result.raw.dtype == kind
    assert plain.quality["added_blur"] == 0
    assert result.quality["added_blur"] == pytest.approx((1.5 + 1.5) / 3, rel=1e-3)
    assert np.array_equal(result.before, plain.before)
    inside = ndimage.binary_erosion(result.before > 0, iterations=2)
    assert np.median(result.raw[inside] / plain.raw[inside]) == pytest.approx(1, abs=0.02)

    def roughness(raw, axis):
        steps = np.diff(raw.astype(float), axis=axis)
        both = inside.take(range(1, inside.shape[axis]), axis) & inside.take(
            range(inside.shape[axis] - 1), axis
        )
        return np.median(np.abs(steps[both]))

    rough = [[roughness(r.raw, axis) for axis in range(3)] for r in (plain, result)]
    less = np.array(rough[1]) / rough[0]
    assert less[1] < 0.93 and less[1] < less[0] < less[2]
    for mode in ("attenuation", "volume"):
        first, second = (run((harmonizer, s), series, mask, mode) for s in (sharp, smooth))
        assert np.array_equal(first.raw, second.raw)


def test_a_series_of_a_smoother_site_gets_stronger_orders_and_keeps_its_means(sites):
    harmonizer, looks = sites
    alike = {site: blurrier(look, (5.0, 5.0, 5.0)) for site, look in looks.items()}
    sharp = alike | {"GE": blurrier(looks["GE"], (7.0, 7.0, 7.0))}
    series, mask = scan("LPS", seed=1, noise=0.02, gain=3000.0)
    plain, result = (run((harmonizer, s), series, mask, "rish") for s in (alike, sharp))
    assert result.quality["added_blur"] == pytest.approx(-1.92, abs=0.01)
    assert np.array_equal(result.after, plain.after)
    inside = ndimage.binary_erosion(result.before > 0, iterations=2)
    shell = GRADIENTS.shells[0].volumes
    means, spreads = (
        [
            np.median(getattr(r.raw[..., shell][inside].astype(float), how)(1))
            for r in (plain, result)
        ]
        for how in ("mean", "std")
    )
    assert means[1] == pytest.approx(means[0], rel=0.01)
    assert spreads[1] > spreads[0]
