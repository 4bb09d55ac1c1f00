"""The estimator and the function: what comes out for what goes in."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from bids_harmony import Harmonizer, SiteProfile, harmonize
from bids_harmony.exceptions import DataError, ImageError, OutOfRange, SiteError, UsageError
from bids_harmony.phantom.scanner import SITES, acquire
from tests.api.conftest import GRID, MM


def rmse(one, other, mask):
    """After the best gain: scans have no unit."""
    x, y = one[mask].astype(float), other[mask].astype(float)
    return float(np.sqrt(np.mean((y - x * (x @ y) / (x @ x)) ** 2)) / y.mean())


def test_a_scan_comes_nearer_to_what_the_target_would_have_seen(on_grid, coi, ge):
    scan, mask = on_grid.scan(5, "GE"), on_grid.people[5].mask
    twin = acquire(on_grid.people[5], SITES["COI"], "T1w", scan_seed=0, noise=False)
    result = harmonize(scan, coi, source=ge)
    assert result.dtype == np.float32 and result.shape == scan.shape
    assert rmse(result, twin, mask) < 0.7 * rmse(scan, twin, mask)
    # The other way round it goes away from it.
    away = harmonize(scan, ge, source=coi, on_ood="warn")
    assert rmse(away, twin, mask) > 1.15 * rmse(scan, twin, mask)
    assert not result[~mask].any()


def test_one_person_for_a_site_changes_little(on_grid, coi, ge):
    scan, mask = on_grid.scan(5, "GE"), on_grid.people[5].mask
    well_known = np.abs(harmonize(scan, coi, source=ge) - scan)[mask].mean()
    alone = np.abs(harmonize(scan, on_grid.scan(0, "COI"), voxel_mm=MM) - scan)[mask].mean()
    assert 0 < alone < well_known


def test_constructor_only_stores():
    target = object()
    made = Harmonizer(target, method="nonsense", voxel_mm=3)
    assert made.target is target
    assert made.get_params() == {
        "target": target, "method": "nonsense", "modality": None, "voxel_mm": 3,
        "on_ood": "auto", "skull_strip": False, "longitudinal": False, "device": "cpu",
        "random_state": 0, "sloppy": False,
    }  # fmt: skip
    assert made.set_params(method="blur").method == "blur"
    with pytest.raises(NotFittedError):
        made.transform(np.zeros((2, 2, 2)))


def test_clone_has_the_parameters_and_nothing_learnt(native, coi):
    copy = clone(native.harmonizer)
    assert copy.get_params() == native.harmonizer.get_params()
    assert not [name for name in vars(copy) if name.endswith("_")]
    # A profile is a parameter like any other.
    copied = clone(Harmonizer(coi)).target
    assert np.array_equal(copied.image_profile.mean_image, coi.image_profile.mean_image)


def test_a_scan_of_the_target_comes_back_unchanged(native):
    image = native.image(0)
    result = native.harmonizer.transform(image)
    assert np.array_equal(np.asarray(result.dataobj), np.asarray(image.dataobj))
    assert isinstance(result, nib.Nifti1Image) and result is not image


def test_path_image_and_array_are_one_scan(native):
    path, image = native.paths[2], native.image(2)
    before = np.array(image.dataobj)
    from_path, from_image = native.harmonizer.transform([path, image])
    assert np.array_equal(np.asarray(from_path.dataobj), np.asarray(from_image.dataobj))
    assert np.array_equal(from_path.affine, image.affine)
    assert from_image.get_data_dtype() == image.get_data_dtype() == np.int16
    array = image.get_fdata(dtype=np.float32)
    from_array = native.harmonizer.transform(array, affines=image.affine)
    assert from_array.dtype == np.float32
    assert np.array_equal(np.rint(from_array), np.asarray(from_image.dataobj))
    # Nothing that came in was touched, and nothing was left in it.
    assert np.array_equal(np.asarray(image.dataobj), before)
    assert np.array_equal(array, image.get_fdata(dtype=np.float32))


def test_skull_strip(on_grid, coi, ge):
    mask = on_grid.people[5].mask
    scan = on_grid.scan(5, "GE") + np.where(mask, 0, np.float32(7))
    kept = harmonize(scan, coi, mask, source=ge)
    assert (kept[~mask] == 7).all()
    stripped = harmonize(scan, coi, mask, source=ge, skull_strip=True)
    assert not stripped[~mask].any() and np.array_equal(stripped[mask], kept[mask])


def test_some_slices_change_as_in_the_whole_scan(on_grid, coi, ge):
    scan, heights = on_grid.scan(5, "GE"), [14, 10, 11, 12, 13]
    whole = harmonize(scan, coi, source=ge)
    some = harmonize(scan[..., heights], coi, source=ge, heights=heights)
    assert some.shape == (*GRID.shape[:2], 5)
    mask = on_grid.people[5].mask[..., heights]
    given = scan[..., heights]
    change, wanted = (some - given)[mask], (whole[..., heights] - given)[mask]
    assert np.corrcoef(change, wanted)[0, 1] > 0.95
    # The order of slices means nothing.
    turned = harmonize(scan[..., heights[::-1]], coi, source=ge, heights=heights[::-1])
    assert np.array_equal(turned[..., ::-1], some)


@pytest.mark.parametrize("height", [9, 15])
def test_a_slice_alone(on_grid, coi, ge, height):
    scan = on_grid.scan(5, "GE")[..., [height]]
    result = harmonize(scan, coi, source=ge, heights=[height])
    assert np.isfinite(result).all() and (result != scan).any()


def test_which_site_made_a_scan(on_grid, coi):
    sites = ["GE", "GE", "PHILIPS", "PHILIPS"]
    scans = [on_grid.scan(i, site) for i, site in enumerate(sites)]
    harmonizer = Harmonizer(coi).fit(scans, sites)
    assert sorted(harmonizer.profiles_) == ["COI", "GE", "PHILIPS"]
    assert harmonizer.profiles_["COI"] is harmonizer.target_ is coi
    told = harmonizer.transform(scans[2], "PHILIPS")
    assert np.array_equal(harmonizer.transform(scans[2]), told)
    assert not np.array_equal(harmonizer.transform(scans[2], "GE"), told)
    assert np.array_equal(harmonizer.transform(scans, sites)[2], told)
    new = on_grid.scan(5, "GE")
    with pytest.raises(UsageError, match=r"not known which site.*one of GE, PHILIPS, COI"):
        harmonizer.transform(new)
    with pytest.raises(SiteError, match=r"Nothing is known of the site 'MARS'.*GE, PHILIPS, COI"):
        harmonizer.transform(new, "MARS")
    # The target's own scans stay as they are, although the profile was made elsewhere.
    own = on_grid.scan(5, "COI")
    assert np.array_equal(harmonizer.transform(own, "COI"), own)
    assert harmonizer.evidence("COI") is None
    assert harmonizer.evidence("GE")["SourcePeople"] == 2


def test_fit_transform_is_fit_and_transform(on_grid):
    sites = ["COI", "GE"]
    scans = [on_grid.scan(i, site) for i, site in enumerate(sites)]
    harmonizer = Harmonizer("COI", voxel_mm=MM, method="histogram-relative")
    results = harmonizer.fit_transform(scans, sites)
    assert np.array_equal(results[0], scans[0])
    assert np.array_equal(results[1], harmonizer.transform(scans[1], "GE"))
    assert harmonizer.modality_ == "T1w" and harmonizer.voxel_mm_ == MM


def test_people_and_covariates_go_to_their_sites(on_grid):
    sites = ["COI", "GE", "COI", "GE"]
    scans = [on_grid.scan(i, site) for i, site in enumerate(sites)]
    harmonizer = Harmonizer("COI", voxel_mm=MM, method="none").fit(
        scans, sites, people=["a", "b", "a", "c"], covariates={"age": [20, 30, 40, 50]}
    )
    kept = {site: harmonizer.profiles_[site].image_profile.scan_measures for site in ("COI", "GE")}
    assert kept["COI"].people == ("a", "a") and kept["GE"].people == ("b", "c")
    assert list(kept["GE"].covariates["age"]) == [30, 50]
    assert harmonizer.profiles_["COI"].n_people == 1


@pytest.mark.parametrize("target", [5, None, ["a.nii"], {"a": 1}])
def test_a_target_that_is_neither(target, on_grid):
    with pytest.raises(UsageError, match="neither an image nor a profile"):
        harmonize(on_grid.scan(5, "GE"), target, voxel_mm=MM)


def test_wrong_words_are_told_with_the_right_ones(on_grid, coi, ge):
    scan = on_grid.scan(5, "GE")
    for wrong, told in (
        ({"method": "hist"}, r"Unknown method.*ihf, histogram,.*'hist'"),
        ({"method": "cgan"}, r"cgan needs a training of its own.*command line"),
        ({"modality": "T3w"}, r"Unknown modality.*T1w, T2w, FLAIR.*'T3w'"),
        ({"modality": "dwi"}, r"Unknown modality.*command line"),
        ({"modality": "T2w"}, r"different modalities or grids.*T2w at 6 mm.*T1w at 6 mm"),
        ({"voxel_mm": 3}, r"different modalities or grids.*T1w at 3 mm.*T1w at 6 mm"),
        ({"on_ood": "never"}, r"auto, warn, leave, error.*'never'"),
        ({"source": "GE"}, r"source is not a profile"),
        ({"voxel_mm": 0}, r"spacing \[voxel_mm\].*above 0.*Got: 0"),
        ({"voxel_mm": np.nan}, r"spacing \[voxel_mm\].*Got: nan"),
        ({"voxel_mm": "1"}, r"spacing \[voxel_mm\].*Got: '1'"),
        ({"random_state": -1}, r"seed \[random_state\].*Got: -1"),
        ({"random_state": None}, r"seed \[random_state\].*Got: None"),
    ):
        with pytest.raises(UsageError, match=told):
            harmonize(scan, coi, **({"source": ge} | wrong))
    with pytest.raises(SiteError, match=r"neither a site of these images nor a file.*GE.*'COI'"):
        Harmonizer("COI", voxel_mm=MM).fit([scan], ["GE"])
    with pytest.raises(UsageError, match=r"as many.*sites.*1, one for each image.*Got: 2"):
        Harmonizer("GE", voxel_mm=MM).fit([scan], ["GE", "COI"])
    with pytest.raises(UsageError, match="which site made each"):
        Harmonizer("GE", voxel_mm=MM).fit([scan], None)
    with pytest.raises(DataError, match="no images"):
        Harmonizer("GE", voxel_mm=MM).fit([], [])


@pytest.mark.parametrize("flag", ["longitudinal", "skull_strip", "sloppy"])
def test_a_word_is_no_flag(on_grid, flag):
    """Any word counts as true in Python."""
    scans = [on_grid.scan(i, "GE") for i in range(2)]
    with pytest.raises(UsageError, match=rf"neither yes nor no \[{flag}\].*'no'"):
        Harmonizer("GE", voxel_mm=MM, **{flag: "no"}).fit(scans, ["GE"] * 2)


def test_several_scans_and_files_of_profiles_are_no_target(on_grid, tmp_path, coi):
    scan = on_grid.scan(5, "GE")
    file = tmp_path / "coi.safetensors"
    coi.save(file)
    for target, told in (
        ([scan], r"neither an image nor a profile.*Got: list.*SiteProfile\.from_images"),
        (file, r"file of a profile.*coi\.safetensors.*SiteProfile\.load"),
        (str(file), r"file of a profile.*SiteProfile\.load"),
    ):
        with pytest.raises(UsageError, match=told):
            harmonize(scan, target, voxel_mm=MM)
    with pytest.raises(UsageError, match=r"not an image.*Got: list.*Harmonizer"):
        harmonize([scan], coi)


def test_the_scan_that_cannot_be_used_is_named(native):
    """In a list of scans in memory only its place says which."""
    good = native.image(0)
    rng = np.random.default_rng(0)
    for data, told in (
        (np.zeros(good.shape, np.float32), "no contrast"),
        (rng.normal(100, 5, good.shape).astype(np.float32), "does not look like a brain|no brain"),
    ):
        bad = nib.Nifti1Image(data, good.affine)
        with pytest.raises(ImageError, match=rf"({told}) \[image 2\]"):
            Harmonizer("COI", voxel_mm=MM, sloppy=True).fit([good, bad], ["COI", "GE"])
        with pytest.raises(ImageError, match=rf"({told}) \[image 2\]"):
            native.harmonizer.transform([good, data], "GE", affines=[None, good.affine])


def test_covariates_of_a_table_and_what_is_none(on_grid):
    scans = [on_grid.scan(i, "GE") for i in range(2)]
    table = pd.DataFrame({"age": [20, 31.5], "sex": [0, 1]})
    profile = SiteProfile.from_images(scans, name="GE", voxel_mm=MM, covariates=table)
    known = profile.image_profile.scan_measures.covariates
    assert {key: list(values) for key, values in known.items()} == {
        "age": [20, 31.5],
        "sex": [0, 1],
    }
    for wrong, told in (
        ({"sex": ["M", "F"]}, r"must be numbers \[sex\].*'M'.*0 and 1"),
        ([20, 30], r"must have names \[covariates\].*Got: list"),
    ):
        for fit in (
            lambda given: SiteProfile.from_images(scans, voxel_mm=MM, covariates=given),
            lambda given: Harmonizer("GE", voxel_mm=MM).fit(scans, ["GE"] * 2, covariates=given),
        ):
            with pytest.raises(UsageError, match=told):
                fit(wrong)


def test_a_scan_that_would_lose_its_contrast(on_grid, ge, caplog):
    """GE shows less of it than PRISMA: twice that is too little."""
    scan = on_grid.scan(5, "GE")
    others = [on_grid.scan(i, "PRISMA") for i in range(5)]
    prisma = SiteProfile.from_images(others, name="PRISMA", voxel_mm=MM)
    with pytest.raises(OutOfRange, match=r"take contrast away.*on_ood=\"warn\""):
        harmonize(scan, ge, source=prisma, on_ood="error")
    assert np.array_equal(harmonize(scan, ge, source=prisma), scan)
    assert 'left as it is; --on-ood warn (in Python, on_ood="warn")' in caplog.text
    caplog.clear()
    assert not np.array_equal(harmonize(scan, ge, source=prisma, on_ood="warn"), scan)
    # What is done already is not recommended.
    assert "harmonized all the same" in caplog.text and "--on-ood warn" not in caplog.text
    assert "--on-ood leave" in caplog.text
