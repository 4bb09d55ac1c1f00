"""A handful of the campaign's places; ``make faults`` strikes all of them."""

from __future__ import annotations

import pytest

from tests.faults.campaign import chain, places

pytestmark = pytest.mark.e2e

#: Ends of places of the participant level: one in every phase of a run.
AT = {
    "kill": ("mask_brain/mask.nii.gz", "moved out/sub-SIEMENS01/anat/sub-SIEMENS01_desc-brain_mask"
             ".nii.gz", "_T1w_mask.png", "_scans.tsv"),
    "term": ("end participant_wf.sub_SIEMENS01_T1w_wf.fit_wf.register", "harmonizedCOI_T1w.nii.gz",
             "out/sub-SIEMENS01.html"),
    "io": ("start participant_wf.sub_SIEMENS01_T1w_wf.fit_wf.register", "quality.json",
           "harmonizedCOI_T1w.json"),
    "full": ("start participant_wf.sub_SIEMENS01_T1w_wf.anat_harmonize_wf.harmonize",
             "out/sub-SIEMENS01/figures/sub-SIEMENS01_desc-harmonizedCOI_T1w.png"),
    "memory": ("dataset_description.json",),
}  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(world, folders):
    """Places of a run that nothing disturbs, and what it wrote."""
    return places(world, "participant", folders)


@pytest.mark.parametrize("kind", AT)
def test_a_struck_run_says_why_leaves_nothing_half_written_and_is_mended(
    world, folders, undisturbed, kind
):
    found, reference = undisturbed
    if kind == "full" and folders.disk is None:
        pytest.skip("needs a small tmpfs, which cannot be mounted here")
    at = [next(place for place in found if place.endswith(end)) for end in AT[kind]]
    outcomes = list(chain(world, "participant", kind, at, folders, reference))
    assert {outcome.place for outcome in outcomes} == {*at, "end"}
    assert [outcome for outcome in outcomes if outcome.wrong] == []
