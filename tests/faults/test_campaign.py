"""A handful of the campaign's places; ``make faults`` strikes all of them."""

from __future__ import annotations

import pytest

from tests.faults.campaign import chain, places

pytestmark = pytest.mark.e2e

#: Faults and ends of places of the participant level, in the order of a run: one in every phase.
T1W = (
    ("memory", "dataset_description.json"),
    ("kill", "mask_brain/mask.nii.gz"),
    # Here the interpreter itself finds no memory.
    ("memory", "end participant_wf.sub_SIEMENS01_T1w_wf.fit_wf.mask_brain"),
    ("io", "start participant_wf.sub_SIEMENS01_T1w_wf.fit_wf.register"),
    ("term", "end participant_wf.sub_SIEMENS01_T1w_wf.fit_wf.register"),
    ("kill", "moved out/sub-SIEMENS01/anat/sub-SIEMENS01_desc-brain_mask.nii.gz"),
    ("full", "start participant_wf.sub_SIEMENS01_T1w_wf.anat_harmonize_wf.harmonize"),
    ("io", "quality.json"),
    ("full", "out/sub-SIEMENS01/figures/sub-SIEMENS01_desc-harmonizedCOI_T1w.png"),
    ("term", "harmonizedCOI_T1w.nii.gz"),
    ("io", "harmonizedCOI_T1w.json"),
    ("kill", "_T1w_mask.png"),
    ("kill", "_scans.tsv"),
    ("term", "out/sub-SIEMENS01.html"),
)
SERIES = (
    # The only series that shows its site.
    ("io", "start series_profiles_wf.sub_COI01_dwi_wf.fit_wf.mask_brain"),
    ("io", "_dwi_2mm.json"),
    ("full", "start participant_wf.sub_GE01_dwi_wf.dwi_harmonize_wf.harmonize"),
    ("term", "harmonizedCOI_dwi.nii.gz"),
    ("kill", "harmonizedCOI_dwi.bvec"),
    ("kill", "param-fa_desc-source_dwimap.json"),
)


@pytest.mark.parametrize(
    ("level", "faults"), [("participant", T1W), ("participant-dwi", SERIES)], ids=["T1w", "dwi"]
)
def test_a_struck_run_says_why_leaves_nothing_half_written_and_is_mended(
    world, folders, level, faults
):
    found, reference = places(world, level, folders)
    at = [
        (kind, next(place for place in found if place.endswith(end)))
        for kind, end in faults
        # Needs a small tmpfs, which cannot be mounted everywhere.
        if kind != "full" or folders.disk
    ]
    at.sort(key=lambda fault: found.index(fault[1]))
    outcomes = list(chain(world, level, at, folders, reference))
    assert [outcome for outcome in outcomes if outcome.wrong] == []
    assert [outcome.place for outcome in outcomes] == [*(place for _, place in at), "end"]
