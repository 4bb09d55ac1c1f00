"""Which bval and bvec belong to a series; series among the scans of raw and derived datasets."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_harmony.bids.dataset import find_scans
from bids_harmony.bids.gradient_tables import gradient_tables, is_b0_alone
from bids_harmony.bids.naming import harmonized_path, mask_path, transform_path
from bids_harmony.exceptions import MissingInput

SERIES = "sub-01/dwi/sub-01_dir-AP_run-1_dwi"


def table(raw, name: str) -> Path:
    path = raw.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("0 1000\n")
    return path


@pytest.fixture
def series(raw) -> Path:
    return raw.image(SERIES, InstitutionName="COI")


def test_the_nearest_that_names_most_wins(raw, series):
    bvec = table(raw, f"{SERIES}.bvec")
    for name in (
        "dwi.bval",
        "dir-AP_dwi.bval",
        "sub-01/sub-01_dwi.bval",
        "sub-01/dwi/sub-01_dwi.bval",
        f"{SERIES}.bval",
    ):
        nearest = table(raw, name)
        assert gradient_tables(series, raw.root) == (nearest, bvec), name


@pytest.mark.parametrize("other", ["dir-PA_run-1", "dir-AP_run-2", "dir-AP_run-1_part-phase"])
def test_the_table_of_another_series_is_none(raw, series, other):
    table(raw, f"{SERIES}.bval")
    table(raw, f"sub-01/dwi/sub-01_{other}_dwi.bvec")
    table(raw, "sub-01/dwi/sub-01_dir-AP_run-1_sbref.bvec")
    with pytest.raises(MissingInput, match=r"directions.*sub-01_dir-AP_run-1_dwi\.bvec"):
        gradient_tables(series, raw.root)


def test_a_table_that_was_not_fetched(raw, series):
    table(raw, f"{SERIES}.bval")
    (raw.root / f"{SERIES}.bvec").symlink_to("../../.git/annex/objects/x")
    with pytest.raises(MissingInput, match="datalad get"):
        gradient_tables(series, raw.root)


def test_series_are_scans_and_one_without_tables_stops_no_other(raw, series):
    table(raw, "dwi.bval"), table(raw, "dwi.bvec")
    raw.image("sub-02/dwi/sub-02_dwi", InstitutionName="GE")
    raw.image("sub-02/dwi/sub-02_part-phase_dwi", InstitutionName="GE")
    raw.image("sub-02/dwi/sub-02_sbref", InstitutionName="GE")
    raw.image("sub-02/anat/sub-02_T1w", InstitutionName="GE")
    found = find_scans(raw.settings())
    assert {s.label: s.gradients for s in found.scans} == {
        Path(SERIES).name: (raw.root / "dwi.bval", raw.root / "dwi.bvec"),
        "sub-02_dwi": (raw.root / "dwi.bval", raw.root / "dwi.bvec"),
        "sub-02_T1w": None,
    }
    assert found.scans[0].entities["datatype"] == "dwi"
    (raw.root / "dwi.bvec").rename(raw.root / f"{SERIES}.bvec")
    found = find_scans(raw.settings())
    assert [s.label for s in found.scans] == [Path(SERIES).name, "sub-02_T1w"]
    (problem,) = found.problems
    assert problem.label == "sub-02_dwi" and isinstance(problem.error, MissingInput)
    only = find_scans(raw.settings(modalities=("T1w",)))
    assert [s.label for s in only.scans] == ["sub-02_T1w"] and only.problems == ()


@pytest.fixture
def preprocessed(raw):
    """As QSIPrep leaves it."""
    raw.json(
        "dataset_description.json", Name="qsiprep", BIDSVersion="1.9.0",
        DatasetType="derivative", GeneratedBy=[{"Name": "qsiprep"}],
    )  # fmt: skip
    stem = "sub-01/ses-A/dwi/sub-01_ses-A_space-ACPC"
    raw.image(f"{stem}_desc-preproc_dwi", InstitutionName="COI")
    raw.image(f"{stem}_dwiref")
    raw.image(f"{stem}_desc-brain_mask")
    for extension in (".bval", ".bvec", ".b"):
        table(raw, f"{stem}_desc-preproc_dwi{extension}")
    raw.image("sub-01/anat/sub-01_space-ACPC_desc-preproc_T1w", InstitutionName="COI")
    raw.image("sub-01/anat/sub-01_space-MNI152NLin2009cAsym_desc-preproc_T1w")
    return raw


def test_preprocessed_series_are_found_and_named_by_one_desc(preprocessed):
    settings = preprocessed.settings()
    found = find_scans(settings)
    assert found.problems == ()
    assert [s.label for s in found.scans] == [
        "sub-01_space-ACPC_desc-preproc_T1w",
        "sub-01_ses-A_space-ACPC_desc-preproc_dwi",
    ]
    scan = found.scans[1]
    assert [p.name for p in scan.gradients] == [f"{scan.label}.bval", f"{scan.label}.bvec"]
    out, stem = Path("/out"), "sub-01_ses-A_space-ACPC"
    folder = out / "sub-01/ses-A/dwi"
    assert harmonized_path(out, scan, "COI") == folder / f"{stem}_desc-harmonizedCOI_dwi.nii.gz"
    assert mask_path(out, scan) == folder / f"{stem}_desc-brain_mask.nii.gz"
    on_template = harmonized_path(out, found.scans[0], "COI", space="MNI152NLin2009aSym")
    assert on_template.name == "sub-01_space-MNI152NLin2009aSym_desc-harmonizedCOI_T1w.nii.gz"
    assert transform_path(out, scan, to="X") == folder / f"{stem}_from-dwi_to-X_mode-image_xfm.txt"


def test_series_that_only_desc_tells_apart_do_not_share_a_name(preprocessed):
    stem = "sub-01/ses-A/dwi/sub-01_ses-A_space-ACPC_desc-denoised_dwi"
    preprocessed.image(stem, InstitutionName="COI")
    table(preprocessed, f"{stem}.bval"), table(preprocessed, f"{stem}.bvec")
    series = [s for s in find_scans(preprocessed.settings()).scans if s.modality == "dwi"]
    names = {harmonized_path(Path("/out"), scan, "COI").name for scan in series}
    assert names == {
        "sub-01_ses-A_space-ACPC_desc-harmonizedCOI_dwi.nii.gz",
        "sub-01_ses-A_space-ACPC_desc-denoisedHarmonizedCOI_dwi.nii.gz",
    }
    assert len({mask_path(Path("/out"), scan) for scan in series}) == 2


def tables(raw, name: str, bvals: str, bvecs: list[str]) -> tuple[Path, Path]:
    bval, bvec = table(raw, f"{name}.bval"), table(raw, f"{name}.bvec")
    bval.write_text(bvals + "\n")
    bvec.write_text("\n".join(bvecs) + "\n")
    return bval, bvec


SIX = ["1 0 0 1 1 0 0", "0 1 0 1 0 1 0", "0 0 1 0 1 1 0"]


@pytest.mark.parametrize(
    ("bvals", "bvecs", "alone"),
    [
        ("0 0", ["0 0", "0 0", "0 0"], True),
        ("0\n5\n50", ["0.57 0 nan", "0.57 0 nan", "0.57 0 nan"], True),
        ("0 0 1000", ["0 0 1", "0 0 0", "0 0 0"], False),
        # Weighted after all, in another unit: to be refused with words, not passed over.
        ("1 1 1 1 1 1 0", SIX, False),
        ("1 1 1 1 1 1 0", ["1 0 0", "0 1 0", "0 0 1", "1 1 0", "1 0 1", "0 1 1", "0 0 0"], False),
        ("0 -1", ["0 0", "0 0", "0 0"], False),
        ("0 nan", ["0 0", "0 0", "0 0"], False),
        ("0 zero", ["0 0", "0 0", "0 0"], False),
        ("", ["", "", ""], False),
    ],
)
def test_series_of_b0_alone(raw, bvals, bvecs, alone):
    assert is_b0_alone(*tables(raw, SERIES, bvals, bvecs), 50.0) is alone


def test_a_reversed_series_is_passed_over_and_said(raw):
    for name in ("dir-AP", "dir-PA"):
        raw.image(f"sub-01/dwi/sub-01_{name}_dwi", InstitutionName="A")
    tables(raw, "sub-01/dwi/sub-01_dir-AP_dwi", "0 1000", ["0 1", "0 0", "0 0"])
    tables(raw, "sub-01/dwi/sub-01_dir-PA_dwi", "0 60", ["0 0", "0 0", "0 0"])
    found = find_scans(raw.settings(b0_threshold=60.0))
    assert [s.label for s in found.scans] == ["sub-01_dir-AP_dwi"] and not found.problems
    (note,) = found.notes
    assert "sub-01_dir-PA_dwi.nii.gz" in note and "60 s/mm2" in note
    assert len(find_scans(raw.settings()).scans) == 2
