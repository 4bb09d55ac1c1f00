"""Profiles: what they say, and their files."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from bids_harmony import SiteProfile, harmonize
from bids_harmony.exceptions import DataError, MissingInput, UsageError
from bids_harmony.sites.profile_files import profile_digest
from tests.api.conftest import GRID, MM


def test_what_a_profile_says(coi, on_grid):
    assert repr(coi) == "SiteProfile('COI', 'T1w', scans=5, people=5, voxel_mm=6)"
    assert coi.images == tuple(f"image {i}" for i in range(1, 6))
    mean = coi.mean_image
    assert np.array_equal(mean.affine, GRID.affine) and mean.shape == GRID.shape
    assert mean.header["sform_code"] == 4
    inside = on_grid.people[0].mask
    scans = [on_grid.scan(i, "COI") for i in range(5)]
    scaled = np.mean([s / np.percentile(s[s > 0], 99.5) for s in scans], axis=0)
    assert np.allclose(mean.get_fdata()[inside].mean(), scaled[inside].mean(), rtol=0.05)
    grey, white, csf = coi.tissue_means
    assert csf < grey < white < 1
    assert coi.quantiles.shape == (101,) and (np.diff(coi.quantiles) >= 0).all()


def test_a_profile_cannot_be_changed_through_what_it_shows(coi):
    before = profile_digest(coi.image_profile)
    coi.tissue_means[:] = 0
    coi.quantiles[:] = 0
    np.asarray(coi.mean_image.dataobj)[:] = 0
    assert profile_digest(coi.image_profile) == before


def test_a_file_gives_the_same_profile_and_the_same_image(coi, ge, on_grid, tmp_path):
    path = tmp_path / "new" / "COI_T1w.safetensors"
    coi.save(path)
    read = SiteProfile.load(path)
    assert repr(read) == repr(coi) and profile_digest(read.image_profile) == profile_digest(
        coi.image_profile
    )
    scan = on_grid.scan(5, "GE")
    assert np.array_equal(harmonize(scan, read, source=ge), harmonize(scan, coi, source=ge))
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    copy = pickle.loads(pickle.dumps(coi))
    assert profile_digest(copy.image_profile) == profile_digest(coi.image_profile)


def test_files_that_are_no_profile(tmp_path):
    with pytest.raises(MissingInput, match="no such site profile"):
        SiteProfile.load(tmp_path / "none.safetensors")
    (tmp_path / "text").write_text("no profile")
    with pytest.raises(DataError, match="cannot be read"):
        SiteProfile.load(tmp_path / "text")


def test_one_image_is_a_list_of_one(on_grid):
    scan = on_grid.scan(0, "COI", "T2w")
    one = SiteProfile.from_images(scan, modality="T2w", voxel_mm=MM)
    many = SiteProfile.from_images([scan], modality="T2w", voxel_mm=MM)
    assert profile_digest(one.image_profile) == profile_digest(many.image_profile)
    assert repr(one) == "SiteProfile('', 'T2w', scans=1, people=1, voxel_mm=6)"


def test_images_of_one_name_are_two_people(native, tmp_path):
    """sub-01/T1w.nii and sub-02/T1w.nii."""
    import shutil

    paths = []
    for subject, source in zip(("sub-01", "sub-02"), native.paths, strict=False):
        paths.append(tmp_path / subject / "T1w.nii.gz")
        paths[-1].parent.mkdir()
        shutil.copy(source, paths[-1])
    profile = SiteProfile.from_images(paths, voxel_mm=MM, sloppy=True)
    assert profile.n_people == 2 and profile.images == ("T1w (1)", "T1w (2)")


def test_a_profile_for_another_model(coi, ge, on_grid):
    from dataclasses import replace

    other = replace(
        coi, image_profile=replace(coi.image_profile, codes=coi.image_profile.codes[:, :10])
    )
    with pytest.raises(DataError, match="made for another model"):
        harmonize(on_grid.scan(5, "GE"), other, source=ge)


def test_the_mean_of_sites_is_a_target_that_favours_none(coi, ge, on_grid, tmp_path):
    mean = SiteProfile.mean_of([coi, ge])
    assert repr(mean) == "SiteProfile('mean', 'T1w', scans=10, people=10, voxel_mm=6)"
    mean.save(tmp_path / "mean.safetensors")
    again = SiteProfile.load(tmp_path / "mean.safetensors")
    scans = {site: on_grid.scan(5, site) for site in ("COI", "GE")}
    made = {
        "COI": harmonize(scans["COI"], mean, source=coi),
        "GE": harmonize(scans["GE"], again, source=ge),
    }
    mask = on_grid.people[5].mask

    def apart(pair):
        one, other = (d / np.percentile(d[mask], 99.5) for d in pair.values())
        return np.sqrt(np.mean(np.square(one - other)[mask]))

    assert apart(made) < 0.6 * apart(scans)
    assert all(np.abs(made[site] - scans[site])[mask].mean() > 0 for site in scans)
    for wrong in ([coi], [coi, coi], []):
        with pytest.raises(DataError, match="mean of sites needs"):
            SiteProfile.mean_of(wrong)
    with pytest.raises(UsageError, match="mean of sites is one of their profiles"):
        SiteProfile.mean_of([coi, "GE"])
