"""What is taken from folders that are named as the pipelines' own tests list their outputs.

sMRIPrep and fMRIPrep: ``.circleci/*_outputs.txt`` of their repositories, of August 2026; QSIPrep:
``qsiprep/tests/data/*_outputs.txt``. Several T1w: sMRIPrep's ``workflows/outputs.py`` writes a
``from-orig_to-T1w`` for each of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_harmony.bids.scan import Scan, SiteEvidence
from bids_harmony.cli.overview import further_words
from bids_harmony.settings import Settings
from bids_harmony.workflows.given import find_given
from bids_harmony.workflows.precomputed import find_precomputed, given_mask, steps_of_mask

SPACES = ("MNI152NLin2009cAsym", "MNI152Lin", "MNI152NLin2009cAsym_res-2")
ANATOMY = ("desc-brain_mask.json", "desc-brain_mask.nii.gz", "desc-preproc_T1w.json")
ANATOMY += ("desc-preproc_T1w.nii.gz", "dseg.nii.gz")
TISSUES = tuple(f"label-{t}_probseg.nii.gz" for t in ("CSF", "GM", "WM"))


def fmriprep(stem: str, *spaces: str) -> list[str]:
    """As fMRIPrep's ds054 and ds210, and sMRIPrep's ds054."""
    names = [*ANATOMY, *TISSUES]
    for space in spaces:
        names += [f"space-{space}_{name}" for name in (*ANATOMY, *TISSUES)]
        if "_res-" not in space:
            names += [
                f"from-{space}_to-T1w_mode-image_xfm.h5",
                f"from-T1w_to-{space}_mode-image_xfm.h5",
            ]
    return [f"{stem}_{name}" for name in names]


def with_surfaces(stem: str) -> list[str]:
    """As sMRIPrep's ds005, which has no template."""
    return [
        *fmriprep(stem),
        *(f"{stem}_{name}" for name in (
            "desc-aparcaseg_dseg.nii.gz", "desc-aseg_dseg.nii.gz", "desc-ribbon_mask.json",
            "desc-ribbon_mask.nii.gz", "from-fsnative_to-T1w_mode-image_xfm.txt",
            "from-T1w_to-fsnative_mode-image_xfm.txt", "hemi-L_desc-cortex_mask.json",
            "hemi-L_desc-cortex_mask.label.gii", "hemi-L_space-fsLR_den-32k_white.surf.gii",
            "space-fsLR_den-91k_thickness.dscalar.nii", "space-fsLR_den-91k_thickness.json",
        )),
    ]  # fmt: skip


def qsiprep(stem: str) -> list[str]:
    """As QSIPrep's forrest_gump and maternal_brain_project."""
    names = (
        "from-ACPC_to-MNI152NLin2009cAsym_mode-image_xfm.h5",
        "from-ACPC_to-anat_mode-image_xfm.mat",
        "from-MNI152NLin2009cAsym_to-ACPC_mode-image_xfm.h5",
        "from-anat_to-ACPC_mode-image_xfm.mat",
        "space-ACPC_desc-aseg_dseg.nii.gz",
        "space-ACPC_desc-brain_mask.nii.gz",
        "space-ACPC_desc-preproc_T1w.json",
        "space-ACPC_desc-preproc_T1w.nii.gz",
        "space-ACPC_dseg.nii.gz",
    )
    return [f"{stem}_{name}" for name in names]


@pytest.fixture
def look(tmp_path):
    """What is taken for a raw T1w: names of mask, its steps, steps, transform, tissues."""

    def at(raw: str, *names: str):
        folder = tmp_path / "derived"
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"x")
        entities = dict(part.split("-") for part in Path(raw).name.split("_")[:-1])
        long = {"subject": entities["sub"], "datatype": "anat"}
        if "ses" in entities:
            long["session"] = entities["ses"]
        scan = Scan(tmp_path / "bids" / raw, long, "T1w", {}, SiteEvidence("A", "test"))
        settings = Settings(
            tmp_path / "bids", tmp_path / "out", "participant", target_site="A",
            derivatives={"other": folder},
        )  # fmt: skip
        mask = given_mask(scan, settings)
        given = find_given(scan, settings)

        def short(path: Path | None) -> str | None:
            return path and path.relative_to(folder).as_posix()

        return {
            "mask": short(mask),
            "mask_steps": [short(p) for p in steps_of_mask(mask, scan, settings)] if mask else [],
            "steps": [short(p) for p in given.to_anatomy] if given else [],
            "transform": short(given.reference) if given else None,
            "tissues": {k: short(v) for k, v in given.tissues.items()} if given else {},
            "scan": scan,
            "settings": settings,
        }

    return at


@pytest.mark.parametrize("spaces", [SPACES[:1], SPACES, SPACES[1::-1]])
def test_fmriprep_of_one_t1w(look, spaces):
    found = look("sub-02/anat/sub-02_T1w.nii.gz", *fmriprep("sub-02/anat/sub-02", *spaces))
    stem = "sub-02/anat/sub-02"
    assert found["mask"] == f"{stem}_desc-brain_mask.nii.gz" and not found["mask_steps"]
    assert found["transform"] == f"{stem}_from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm.h5"
    assert found["tissues"] == {t: f"{stem}_label-{t}_probseg.nii.gz" for t in ("GM", "WM", "CSF")}


def test_images_on_a_grid_of_2_mm_alone_have_no_transform_and_no_mask(look):
    """As ``--derivatives`` of somebody who kept the template's images only."""
    stem = "sub-02/anat/sub-02"
    names = [n for n in fmriprep(stem, SPACES[2]) if "_space-" in n]
    found = look("sub-02/anat/sub-02_T1w.nii.gz", *names)
    assert (found["mask"], found["transform"], found["tissues"]) == (None, None, {})


def test_smriprep_with_surfaces_and_no_template(look):
    found = look("sub-01/anat/sub-01_T1w.nii.gz", *with_surfaces("sub-01/anat/sub-01"))
    # Neither ribbon nor cortex is a brain; fsnative is no template.
    assert found["mask"] == "sub-01/anat/sub-01_desc-brain_mask.nii.gz"
    assert found["transform"] is None and set(found["tissues"]) == {"GM", "WM", "CSF"}


SESSIONS = {
    "A": "sub-01/ses-A/anat/sub-01_ses-A_acq-mp_run-1",
    "B": "sub-01/ses-B/anat/sub-01_ses-B_run-2",
}


@pytest.mark.parametrize("session", SESSIONS)
def test_several_t1w_in_one_folder_of_the_person(look, session):
    """Raw data have sessions; the mean of all T1w lies in ``sub-01/anat``."""
    steps = [f"{stem}_from-orig_to-T1w_mode-image_xfm.txt" for stem in SESSIONS.values()]
    stem = SESSIONS[session]
    found = look(f"{stem}_T1w.nii.gz", *fmriprep("sub-01/anat/sub-01", *SPACES), *steps)
    own = [f"{stem}_from-orig_to-T1w_mode-image_xfm.txt"]
    assert found["mask"] == "sub-01/anat/sub-01_desc-brain_mask.nii.gz"
    assert found["mask_steps"] == found["steps"] == own
    assert found["transform"] == (
        "sub-01/anat/sub-01_from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm.h5"
    )


@pytest.mark.parametrize("session", ["A", "B"])
def test_a_session_each(look, session):
    """As with ``--subject-anatomical-reference sessionwise``."""
    stems = [f"sub-01/ses-{s}/anat/sub-01_ses-{s}" for s in "AB"]
    names = [name for stem in stems for name in fmriprep(stem, *SPACES[:1])]
    stem = f"sub-01/ses-{session}/anat/sub-01_ses-{session}"
    found = look(f"{stem}_T1w.nii.gz", *names)
    assert found["mask"] == f"{stem}_desc-brain_mask.nii.gz" and not found["steps"]
    assert found["transform"].startswith(stem)
    assert all(path.startswith(stem) for path in found["tissues"].values())


def test_qsiprep_of_one_session_with_a_further_entity(look):
    raw = "sub-01/ses-forrestgump/anat/sub-01_ses-forrestgump_rec-autobox"
    first = f"{raw}_from-orig_to-anat_mode-image_xfm.txt"
    found = look(f"{raw}_T1w.nii.gz", *qsiprep("sub-01/anat/sub-01"), first)
    stem = "sub-01/anat/sub-01"
    way = [first, f"{stem}_from-anat_to-ACPC_mode-image_xfm.mat"]
    assert found["mask"] == f"{stem}_space-ACPC_desc-brain_mask.nii.gz"
    assert found["mask_steps"] == found["steps"] == way
    assert found["transform"] == f"{stem}_from-ACPC_to-MNI152NLin2009cAsym_mode-image_xfm.h5"
    # It writes a segmentation and no probabilities.
    assert found["tissues"] == {}


def test_qsiprep_before_its_files_had_an_acpc(look):
    """QSIPrep 0.x: a space T1w that is ACPC's, and no way there: nothing can be used of it."""
    stem = "sub-01/anat/sub-01"
    names = [n.replace("ACPC", "T1w") for n in qsiprep(stem) if "from-anat" not in n]
    found = look("sub-01/anat/sub-01_T1w.nii.gz", *names)
    assert found["mask"] is None


def test_what_is_taken_is_told(look, caplog):
    caplog.set_level("INFO", logger="bids_harmony")
    found = look("sub-02/anat/sub-02_T1w.nii.gz", *fmriprep("sub-02/anat/sub-02", *SPACES))
    find_precomputed(found["scan"], found["settings"], "hash")
    assert (
        "sub-02_T1w: reused: mask from other: sub-02/anat/sub-02_desc-brain_mask.nii.gz; "
        "transform from other: sub-02/anat/sub-02_from-T1w_to-MNI152NLin2009cAsym_mode-image_xfm"
        ".h5; tissue maps from other"
    ) in caplog.text
    told = dict(further_words(found["settings"], [found["scan"]]))
    assert told["Reused of derivatives"] == (
        "brain masks of 1 scans, transforms of 1 scans, tissue maps of 1 scans"
    )
