"""The Python door and the command line's steps give the same voxels and header, bit for bit."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from bids_harmony import harmonize
from bids_harmony.interfaces.anatomy import BrainFromImage, RegisterToReference
from bids_harmony.interfaces.harmonization import Harmonize, PrepareForTraining
from bids_harmony.methods.profile_encoder import encoder_and_cells
from bids_harmony.model.shipped import SHIPPED_MODEL
from bids_harmony.sites.image_profile import MOST_CODED, build_profile
from bids_harmony.sites.prepared_scans import TrainingScan, load_scans
from bids_harmony.sites.profile_cache import ProfileCache
from bids_harmony.sites.profile_files import profile_digest
from tests.api.conftest import MM


@pytest.fixture(scope="module")
def steps(native, tmp_path_factory):
    """Mask, transform and prepared scan of each, and the cache that the workflow makes of them."""
    folder = tmp_path_factory.mktemp("steps")
    fits, ready = [], []
    for number, (path, site) in enumerate(zip(native.paths, native.sites, strict=True)):

        def run(interface, name, number=number):
            place = folder / f"{number}_{name}"
            place.mkdir()
            return interface.run(cwd=str(place)).outputs

        brain = run(BrainFromImage(in_file=str(path)), "mask")
        found = run(
            RegisterToReference(
                in_file=str(path), mask_file=brain.mask_file, modality="T1w", sloppy=True
            ),
            "register",
        )
        fit = {
            "in_file": str(path),
            "mask_file": brain.mask_file,
            "mask_kind": brain.kind,
            "xfm_file": found.xfm_file,
        }
        prepared = run(PrepareForTraining(**fit, voxel_mm=MM), "prepare").prepared_file
        fits.append(fit)
        label = path.name.partition(".")[0]
        ready.append(TrainingScan(label, f"{number}", "T1w", site, prepared))
    encoder, cells = encoder_and_cells()
    cache = ProfileCache(folder / "banks", MM)
    for site in set(native.sites):
        scans = load_scans([scan for scan in ready if scan.site == site], MM)
        profile = build_profile(
            site, "T1w", [(s.label, s.data, s.mask, s.scale) for s in scans], encoder,
            cells=cells, voxel_mm=MM, coded=MOST_CODED,
        )  # fmt: skip
        cache.write(profile, {})
    return fits, cache


def harmonized_by_steps(fit, cache, site, folder, **options):
    interface = Harmonize(
        **fit, method=options.pop("method", "ihf"), model_dir=str(SHIPPED_MODEL),
        model_sha256="", identity="", cache_dir=str(cache.folder), voxel_mm=MM, modality="T1w",
        source_site=site, target_site="COI", **options,
    )  # fmt: skip
    return nib.load(interface.run(cwd=str(folder)).outputs.out_file)


def test_profiles_are_the_profiles_of_the_cache(native, steps):
    _, cache = steps
    for site in ("COI", "GE"):
        profile, _ = cache.read(site, "T1w")
        assert profile_digest(native.harmonizer.profiles_[site].image_profile) == profile_digest(
            profile
        )


def asked_of_one_scan(native):
    """Parameters without the one that is about several scans of a person."""
    asked = native.harmonizer.get_params()
    del asked["longitudinal"]
    return asked


def assert_same(image, other):
    assert np.array_equal(image.dataobj.get_unscaled(), other.dataobj.get_unscaled())
    assert image.header.binaryblock == other.header.binaryblock


@pytest.mark.parametrize("seen", [True, False])
def test_transform_gives_what_the_workflow_writes(native, steps, tmp_path, seen):
    fits, cache = steps
    theirs = harmonized_by_steps(fits[2], cache, "GE", tmp_path)
    if seen:  # by `fit`, so that it is not registered again
        ours = native.harmonizer.transform(native.paths[2], "GE")
    else:
        profiles = native.harmonizer.profiles_
        asked = asked_of_one_scan(native) | {"target": profiles["COI"]}
        ours = harmonize(native.paths[2], source=profiles["GE"], **asked)
    assert_same(ours, theirs)
    changed = np.asarray(ours.dataobj) != np.asarray(native.image(2).dataobj)
    assert changed.mean() > 0.1


def test_a_stripped_scan_by_another_method(native, steps, tmp_path):
    from bids_harmony import harmonize

    fits, cache = steps
    options = {"method": "histogram", "skull_strip": True}
    theirs = harmonized_by_steps(fits[2], cache, "GE", tmp_path, **options)
    profiles = native.harmonizer.profiles_
    asked = asked_of_one_scan(native) | options | {"target": profiles["COI"]}
    assert_same(harmonize(native.paths[2], source=profiles["GE"], **asked), theirs)
