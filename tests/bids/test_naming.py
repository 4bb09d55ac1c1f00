"""File names of derivatives, and links back to the source."""

from __future__ import annotations

from pathlib import Path

import pytest

from bids_harmony.bids import naming
from bids_harmony.bids.scan import Scan, SiteEvidence
from bids_harmony.exceptions import UsageError
from bids_harmony.settings import REPORT_LEVELS


def scan(name: str, modality: str = "T1w", **entities: str) -> Scan:
    return Scan(
        path=Path("/data") / name,
        entities={"subject": "01", "datatype": "anat"} | entities,
        modality=modality,
        metadata={},
        site=SiteEvidence("COI", "--source-site"),
    )


SESSION = scan("sub-01/ses-A/anat/sub-01_ses-A_acq-mp_run-01_T1w.nii.gz", session="A")


def test_names_follow_the_source():
    out = Path("/out")
    folder = out / "sub-01/ses-A/anat"
    stem = "sub-01_ses-A_acq-mp_run-01"
    image = naming.harmonized_path(out, SESSION, "site COI")
    assert image == folder / f"{stem}_desc-harmonizedCOI_T1w.nii.gz"
    assert naming.sidecar_path(image) == folder / f"{stem}_desc-harmonizedCOI_T1w.json"
    assert naming.harmonized_path(out, SESSION, "COI", space="MNI152NLin2009aSym") == (
        folder / f"{stem}_space-MNI152NLin2009aSym_desc-harmonizedCOI_T1w.nii.gz"
    )
    assert naming.mask_path(out, SESSION) == folder / f"{stem}_desc-brain_mask.nii.gz"
    xfm = naming.transform_path(out, SESSION, to="MNI152NLin2009aSym")
    assert xfm == folder / f"{stem}_from-T1w_to-MNI152NLin2009aSym_mode-image_xfm.txt"
    assert SESSION.label == f"{stem}_T1w"


def test_a_summary_lies_in_the_subjects_folder():
    out = Path("/out")
    with_session = naming.summary_path(naming.harmonized_path(out, SESSION, "COI"))
    name = "sub-01_ses-A_acq-mp_run-01_desc-harmonizedCOI_T1w.npz"
    assert with_session == out / "sub-01/summaries" / name
    without = naming.harmonized_path(out, scan("sub-01/anat/sub-01_T1w.nii.gz"), "COI")
    expected = out / "sub-01/summaries/sub-01_desc-harmonizedCOI_T1w.npz"
    assert naming.summary_path(without) == expected


def test_uncompressed_source_gives_compressed_output():
    source = scan("sub-01/anat/sub-01_T1w.nii")
    name = naming.harmonized_path(Path("/out"), source, "COI").name
    assert name == "sub-01_desc-harmonizedCOI_T1w.nii.gz"


def test_masks_of_two_contrasts_do_not_share_a_name():
    t1w = naming.mask_path(Path(), scan("sub-01/anat/sub-01_T1w.nii.gz"))
    t2w = naming.mask_path(Path(), scan("sub-01/anat/sub-01_T2w.nii.gz", "T2w"))
    assert t1w != t2w


def test_space_stands_where_bids_wants_it():
    source = scan("sub-01/anat/sub-01_chunk-2_T1w.nii.gz")
    name = naming.harmonized_path(Path(), source, "COI", space="X").name
    assert name == "sub-01_space-X_chunk-2_desc-harmonizedCOI_T1w.nii.gz"


def test_target_label():
    assert naming.target_label("Philips-Achieva-3T") == "PhilipsAchieva3T"
    assert naming.target_label("GE-SignaHDxt-1.5T") == "GESignaHDxt1p5T"
    assert naming.target_label("Universität Zürich") == "UniversitatZurich"
    with pytest.raises(UsageError):
        naming.target_label("京都")


def test_bids_uri(tmp_path):
    image = tmp_path / "sub-01/anat/sub-01_T1w.nii.gz"
    assert naming.bids_uri(image, tmp_path) == "bids:raw:sub-01/anat/sub-01_T1w.nii.gz"
    assert naming.bids_uri(image, tmp_path, "") == "bids::sub-01/anat/sub-01_T1w.nii.gz"
    with pytest.raises(ValueError):
        naming.bids_uri(tmp_path, image)


def test_bids_uri_does_not_follow_links(tmp_path):
    image = tmp_path / "bids/sub-01_T1w.nii.gz"
    image.parent.mkdir()
    image.symlink_to(tmp_path / "annex")
    assert naming.bids_uri(image, tmp_path / "bids") == "bids:raw:sub-01_T1w.nii.gz"


def test_tables_and_reports():
    assert naming.scans_table_path(Path("o"), "01", "A") == Path(
        "o/sub-01/ses-A/sub-01_ses-A_scans.tsv"
    )
    assert naming.report_path(Path("o"), "01", None) == Path("o/sub-01.html")
    pages = [naming.report_path(Path("o"), "01", "A", level=level) for level in REPORT_LEVELS]
    assert {page.name for page in pages} == {"sub-01_ses-A.html"}
    folders = [page.parent for page in pages]
    assert folders == [Path("o"), Path("o/sub-01"), Path("o/sub-01/ses-A")]


def test_maps_are_named_by_model_parameter_and_series():
    source = scan("sub-01/dwi/sub-01_dir-AP_dwi.nii.gz", "dwi", datatype="dwi")
    folder = Path("/out/sub-01/dwi")
    assert naming.map_path(Path("/out"), source, "fa") == (
        folder / "sub-01_dir-AP_model-tensor_param-fa_desc-source_dwimap.nii.gz"
    )
    assert naming.map_path(Path("/out"), source, "odi", target="site COI") == (
        folder / "sub-01_dir-AP_model-noddi_param-odi_desc-harmonizedCOI_dwimap.nii.gz"
    )


@pytest.mark.parametrize(
    ("image", "change"),
    [
        ("sub-01_desc-harmonizedCOI_T1w", "sub-01_desc-changeCOI_T1w"),
        ("sub-01_desc-scaledHarmonizedCOI_T2w", "sub-01_desc-scaledChangeCOI_T2w"),
        ("sub-harmonized_desc-harmonizedHarmonized1_T1w",
         "sub-harmonized_desc-changeHarmonized1_T1w"),
    ],
)  # fmt: skip
def test_the_change_lies_beside_its_image(tmp_path, image, change):
    paths = naming.change_paths(tmp_path / f"{image}.nii.gz")
    assert paths["change"] == tmp_path / f"{change}.nii.gz"
    assert paths["curves"].name == change.replace("hange", "urves") + ".tsv"
    assert len(set(paths.values())) == 4
