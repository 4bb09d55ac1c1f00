"""Sessions of one person: one space and one mask, bit for bit as the command line has them."""

from __future__ import annotations

import logging

import nibabel as nib
import numpy as np
import pytest

from bids_harmony import Harmonizer, simulate
from bids_harmony.api.ready import Recipe
from bids_harmony.api.sessions import locate_sessions
from bids_harmony.exceptions import UsageError
from bids_harmony.imaging.registration import read_transform
from bids_harmony.imaging.volume import read_volume
from bids_harmony.interfaces.harmonization import Harmonize, PrepareForTraining
from bids_harmony.interfaces.sessions import ShareSpace, TakeShared
from bids_harmony.methods.profile_encoder import encoder_and_cells
from bids_harmony.model.shipped import SHIPPED_MODEL
from bids_harmony.sites.image_profile import MOST_CODED, build_profile
from bids_harmony.sites.prepared_scans import TrainingScan, load_scans
from bids_harmony.sites.profile_cache import ProfileCache
from tests.api.conftest import MM

SITES, PEOPLE = ("COI", "GE", "GE"), ("a", "a", "b")
RECIPE = Recipe("T1w", MM, sloppy=True)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """Person a at COI and at GE, b at GE."""
    folder = tmp_path_factory.mktemp("sessions")
    found = [folder / f"sub-{p}_ses-{s}_T1w.nii.gz" for p, s in zip(PEOPLE, SITES, strict=True)]
    for path, person, site in zip(found, (1, 1, 2), SITES, strict=True):
        simulate(person, site, voxel_scale=MM).to_filename(path)
    return found


@pytest.fixture(scope="module")
def fitted(paths):
    asked = Harmonizer("COI", voxel_mm=MM, sloppy=True, longitudinal=True)
    return asked.fit(paths, SITES, people=PEOPLE)


def given(path):
    return RECIPE.given(path, path.name)


def test_scans_of_one_person_lie_rigidly_to_each_other(paths):
    scans = [given(path) for path in paths[:2]]
    found = locate_sessions(RECIPE, scans, [None, None])
    first, second = (found[scan.digest()].world for scan in scans)
    turn = (np.linalg.inv(first) @ second)[:3, :3]
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)
    alone = [RECIPE.ready(scan).prepared.world for scan in scans]
    free = (np.linalg.inv(alone[0]) @ alone[1])[:3, :3]
    assert np.abs(free @ free.T - np.eye(3)).max() > 1e-3


def test_transform_gives_what_the_workflow_writes(paths, fitted, tmp_path):
    def run(interface, name):
        place = tmp_path / name
        place.mkdir()
        return interface.run(cwd=str(place)).outputs

    files = [str(path) for path in paths[:2]]
    share = ShareSpace(
        in_files=files, given_masks=["", ""], steps=[[], []], modality="T1w", sloppy=True
    )
    shared = run(share, "share").shared_file
    fits = []
    for i, file in enumerate(files):
        took = run(TakeShared(in_file=file, shared_file=shared), f"take{i}")
        fits.append(
            {"in_file": file, "mask_file": took.mask_file, "mask_kind": took.kind,
             "xfm_file": took.xfm_file}
        )  # fmt: skip
    # The profile of GE is made of b as well, who shares nothing; that of COI of a alone.
    prepared = run(PrepareForTraining(**fits[0], voxel_mm=MM), "prepare").prepared_file
    encoder, cells = encoder_and_cells()
    (scan,) = load_scans([TrainingScan("x", "a", "T1w", "COI", prepared)], MM)
    wanted = build_profile(
        "COI", "T1w", [(scan.label, scan.data, scan.mask, scan.scale)], encoder,
        cells=cells, voxel_mm=MM, coded=MOST_CODED,
    )  # fmt: skip
    profiles = {site: fitted.profiles_[site].image_profile for site in ("COI", "GE")}
    assert np.array_equal(profiles["COI"].mean_image, wanted.mean_image)
    cache = ProfileCache(tmp_path / "banks", MM)
    for profile in profiles.values():
        cache.write(profile, {})
    step = Harmonize(
        **fits[1], method="ihf", model_dir=str(SHIPPED_MODEL), model_sha256="", identity="",
        cache_dir=str(cache.folder), voxel_mm=MM, modality="T1w", source_site="GE",
        target_site="COI",
    )  # fmt: skip
    theirs = nib.load(run(step, "harmonize").out_file)
    ours = fitted.transform(paths[1])
    assert np.array_equal(ours.dataobj.get_unscaled(), theirs.dataobj.get_unscaled())
    alone = Harmonizer("COI", voxel_mm=MM, sloppy=True).fit(paths, SITES, people=PEOPLE)
    assert not np.array_equal(
        np.asarray(alone.transform(paths[1]).dataobj), np.asarray(ours.dataobj)
    )


def test_heads_have_one_brain_mask_as_the_command_line_s(paths, tmp_path):
    """Masks are given: heads that are simulated have no skull, and keep what they have."""
    files, masks = [str(path) for path in paths[:2]], []
    for i, path in enumerate(files):
        image = nib.load(path)
        brain = nib.Nifti1Image((image.get_fdata() > 0).astype(np.uint8), image.affine)
        masks.append(str(tmp_path / f"mask{i}.nii.gz"))
        nib.save(brain, masks[-1])
    share = ShareSpace(
        in_files=files, given_masks=masks, steps=[[], []], modality="T1w", sloppy=True
    )
    shared = share.run(cwd=str(tmp_path)).outputs.shared_file
    scans = [given(path) for path in paths[:2]]
    found = locate_sessions(RECIPE, scans, masks)
    for i, scan in enumerate(scans):
        place = tmp_path / f"take{i}"
        place.mkdir()
        take = TakeShared(in_file=files[i], shared_file=shared).run(cwd=str(place)).outputs
        here = found[scan.digest()]
        assert here.mask.kind == take.kind == "person"
        assert np.array_equal(here.mask.data, read_volume(take.mask_file).data > 0)
        assert np.array_equal(here.world, read_transform(take.xfm_file))


def test_new_sessions_share_among_themselves(paths, fitted, caplog):
    new = [simulate(5, "GE", scan=n, voxel_scale=MM) for n in (0, 1)]
    together = fitted.transform(new, "GE", people=["c", "c"])
    apart = fitted.transform(new, "GE", people=["c", "d"])
    assert not np.array_equal(np.asarray(together[0].dataobj), np.asarray(apart[0].dataobj))
    assert "was found in fit" not in caplog.text
    caplog.set_level(logging.WARNING)
    fitted.transform(new, "GE", people=["a", "d"])
    assert caplog.text.count("image 1: the space of this person's scans was found in fit") == 1


def test_who_was_scanned_must_be_told(paths, fitted):
    with pytest.raises(UsageError, match="who was scanned"):
        Harmonizer("COI", voxel_mm=MM, sloppy=True, longitudinal=True).fit(paths, SITES)
    new = [simulate(5, "GE", scan=n, voxel_scale=MM) for n in (0, 1)]
    with pytest.raises(UsageError, match="who was scanned"):
        fitted.transform(new, "GE")
    # Of scans that were seen it is known.
    assert len(fitted.transform(paths)) == 3
