"""Diffusion series through the program: raw, preprocessed, and bad in every way."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from tests.e2e.program import (
    TARGET,
    Finished,
    assert_whole,
    digests,
    run,
    snapshot,
    validator_errors,
    written_for,
)

pytestmark = pytest.mark.e2e

#: Label of each series and the folder of its images; the first is of the target site.
SERIES = {
    "sub-COI01_dwi": "sub-COI01/dwi",
    "sub-GE01_dwi": "sub-GE01/dwi",
    "sub-T01_ses-GE_dwi": "sub-T01/ses-GE/dwi",
}
# Without covariates the first by name stand for a site.
FIRST_TWO = ("--bank-scans", "2", "--covariates")
PEOPLE = ("--participant-label", "COI01", "GE01", "T01", *FIRST_TWO)
BAD = SERIES["sub-T01_ses-GE_dwi"] + "/sub-T01_ses-GE_dwi"
#: Maps that are there where the extra is installed.
NODDI = ("noddi_param-ndi", "noddi_param-odi") if find_spec("amico") else ()
KINDS = (".nii.gz", ".json", ".bval", ".bvec")


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """Two people at each of two sites and a traveller, two shells of ten directions. Read only."""
    from bids_harmony.phantom.cohort import CohortPlan
    from lab.diffusion_cohort import write_diffusion_cohort

    folder = tmp_path_factory.mktemp("series")
    plan = CohortPlan(
        sites=(TARGET, "GE"), target=TARGET, training_per_site=2, travelling=1, voxel_scale=4.0
    )
    write_diffusion_cohort(folder, plan, direction_share=0.34)
    return folder / "bids"


@pytest.fixture(scope="module")
def harmonized(raw, tmp_path_factory) -> Finished:
    """One person of each site and the traveller, from nothing. Read only."""
    folder = tmp_path_factory.mktemp("harmonized_series")
    return run(raw, folder / "out", *PEOPLE, work=folder / "work")


def output_of(out: Path, label: str) -> Path:
    stem = f"{label.removesuffix('_dwi')}_desc-harmonized{TARGET}_dwi"
    return out / SERIES[label] / f"{stem}.nii.gz"


def beside(image: Path, kind: str) -> Path:
    return image.with_name(image.name.replace(".nii.gz", kind))


def test_every_series_is_done_and_valid_bids(harmonized):
    assert harmonized.code == 0, harmonized.told
    assert harmonized.states == dict.fromkeys(SERIES, "done")
    assert_whole(harmonized.out)
    assert validator_errors(harmonized.out) == []


@pytest.mark.parametrize("label", SERIES)
def test_series_keeps_its_form_and_its_tables_to_the_byte(harmonized, raw, label):
    source, result = raw / SERIES[label] / f"{label}.nii.gz", output_of(harmonized.out, label)
    before, after = (gzip.decompress(path.read_bytes()) for path in (source, result))
    assert before[:352] == after[:352] and len(before) == len(after)
    assert (before == after) is (label == "sub-COI01_dwi")
    for kind in (".bval", ".bvec"):
        assert beside(result, kind).read_bytes() == beside(source, kind).read_bytes()
    person = label.removesuffix("_dwi")
    mask = nib.load(result.with_name(f"{person}_desc-brain_mask.nii.gz"))
    assert mask.shape == nib.load(source).shape[:3]
    assert result.with_name(
        f"{person}_from-dwi_to-MNI152NLin2009aSym_mode-image_xfm.txt"
    ).is_file()
    (figure,) = harmonized.out.glob(f"sub-*/figures/{beside(result, '.png').name}")
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_sidecar_and_table_tell_what_was_done(harmonized):
    image = output_of(harmonized.out, "sub-T01_ses-GE_dwi")
    sidecar = json.loads(beside(image, ".json").read_text())
    assert sidecar["DiffusionMode"] == "rish" and sidecar["Shells"] == [1000.0, 2000.0]
    # The site's own people stand for it, also those that were not asked for.
    assert sidecar["SourceSiteScans"] == ["sub-GE01_dwi", "sub-GE02_dwi"]
    assert sidecar["TargetSiteScans"] == ["sub-COI01_dwi", "sub-COI02_dwi"]
    assert sidecar["EchoTime"] == 0.098 and len(sidecar["Sources"]) == 3
    # Two people a site support little change of the mean b=0.
    assert sidecar["HarmonizationQuality"]["b0_rmse_brain"] > 0
    table = image.parents[1] / "sub-T01_ses-GE_scans.tsv"
    columns = table.read_text().splitlines()[0].split("\t")
    assert set(json.loads(table.with_suffix(".json").read_text())) == set(columns)


def test_maps_before_and_after_lie_beside_the_series(harmonized):
    image = output_of(harmonized.out, "sub-T01_ses-GE_dwi")
    shape = nib.load(image).shape[:3]
    stem = "sub-T01_ses-GE_model"
    for state in ("source", f"harmonized{TARGET}"):
        for name in ("tensor_param-fa", "tensor_param-md", *NODDI):
            path = image.with_name(f"{stem}-{name}_desc-{state}_dwimap.nii.gz")
            assert nib.load(path).shape == shape
            assert np.any(nib.load(path).get_fdata() > 0)
            assert beside(path, ".json").is_file()
    sidecar = json.loads(beside(image, ".json").read_text())
    measured = sidecar["DiffusionQuality"]
    for state in ("source", "harmonized"):
        assert 0.3 < measured[f"fa_wm_median_{state}"] < 0.9
        if NODDI:
            assert 0.3 < measured[f"ndi_wm_median_{state}"] < 0.9
    table = image.parents[1] / "sub-T01_ses-GE_scans.tsv"
    assert "fa_wm_median_harmonized" in table.read_text().splitlines()[0].split("\t")
    figures = {p.name for p in harmonized.out.glob("sub-T01/figures/*_dwi_*.png")}
    assert {name.rpartition("_")[2] for name in figures} == {"maps.png", "densities.png"}


def test_summaries_hold_what_was_fitted(harmonized):
    from bids_harmony.quality.summary import load_summary

    for label in SERIES:
        stem = output_of(harmonized.out, label).name.removesuffix(".nii.gz")
        (path,) = harmonized.out.glob(f"sub-*/summaries/{stem}.npz")
        summary = load_summary(path)
        assert summary.parameters[:4] == ("fa", "md", "ad", "rd")
        assert ("ndi" in summary.parameters) == bool(NODDI)
        fa, md = summary.regions[0, :2]
        assert np.isfinite(fa).sum() > 50 and np.nanmedian(fa) > 0.2
        assert 3e-4 < np.nanmedian(md) < 1.2e-3
        own_site = label == "sub-COI01_dwi"
        assert np.array_equal(*summary.regions, equal_nan=True) == own_site
    record = json.loads(
        beside(output_of(harmonized.out, "sub-T01_ses-GE_dwi"), ".json").read_text()
    )["DiffusionQuality"]
    path = harmonized.out / f"sub-T01/summaries/sub-T01_ses-GE_desc-harmonized{TARGET}_dwi.npz"
    white = load_summary(path).tissues[:, 0, 1]
    expected = [record[f"fa_wm_median_{state}"] for state in ("source", "harmonized")]
    np.testing.assert_allclose(white, expected, rtol=1e-5)


def test_traveller_comes_nearer_to_what_the_target_would_have_seen(harmonized, raw):
    label = "sub-T01_ses-GE_dwi"
    twin_path = raw.parent / "twins" / SERIES[label] / "sub-T01_ses-GE_desc-twin_dwi.nii.gz"
    twin = nib.load(twin_path).get_fdata()
    bvals = np.loadtxt(raw / f"{BAD}.bval")
    brain = nib.load(
        output_of(harmonized.out, label).with_name("sub-T01_ses-GE_desc-brain_mask.nii.gz")
    )
    inside = np.asarray(brain.dataobj) > 0

    def distance(path: Path) -> float:
        """RMSE of the mean b=0 in the brain, each in units of its own mean."""
        means = [
            data[..., bvals < 50].mean(-1)[inside] for data in (nib.load(path).get_fdata(), twin)
        ]
        one, other = (mean / mean.mean() for mean in means)
        return float(np.sqrt(np.mean((one - other) ** 2)))

    assert distance(output_of(harmonized.out, label)) < 0.8 * distance(raw / f"{BAD}.nii.gz")


@pytest.fixture
def again(raw, harmonized, tmp_path) -> Callable[..., Finished]:
    """Run once more, on a copy of input and output that the test may spoil."""
    shutil.copytree(raw, tmp_path / "bids")
    shutil.copytree(harmonized.out, tmp_path / "out")

    def rerun(*words: str) -> Finished:
        return run(tmp_path / "bids", tmp_path / "out", *(words or PEOPLE), work=tmp_path / "work")

    return rerun


def test_what_is_there_is_not_made_again(again, tmp_path):
    out = tmp_path / "out"
    before = digests(out / "sub-T01") | digests(out / "models")
    finished = again()
    assert finished.code == 0 and set(finished.states.values()) == {"skipped"}
    assert "Profile of" not in finished.told
    beside(output_of(out, "sub-T01_ses-GE_dwi"), ".bvec").unlink()
    finished = again()
    assert finished.states["sub-T01_ses-GE_dwi"] == "done"
    assert finished.states["sub-GE01_dwi"] == "skipped"
    assert digests(out / "sub-T01") | digests(out / "models") == before


def test_without_fits_there_is_no_summary(again, tmp_path):
    """That of the run before, which was of another image, is gone."""
    label = "sub-T01_ses-GE_dwi"
    finished = again("--participant-label", "T01", *FIRST_TWO, "--dwi-fits")
    assert finished.code == 0 and finished.states[label] == "done", finished.told
    assert output_of(tmp_path / "out", label).is_file()
    assert not list((tmp_path / "out").glob("sub-T01/summaries/*"))
    assert list((tmp_path / "out").glob("sub-GE01/summaries/*"))


def test_force_is_fitted_where_it_is_asked_for_and_tells_how_sure_it_is(again, tmp_path):
    from bids_harmony.quality.summary import load_summary

    words = ("--dwi-fits", "tensor", "force", "--sloppy")
    finished = again("--participant-label", "T01", *FIRST_TWO, *words)
    assert finished.code == 0, finished.told
    image = output_of(tmp_path / "out", "sub-T01_ses-GE_dwi")
    shape = nib.load(image).shape[:3]
    for state in ("source", f"harmonized{TARGET}"):
        maps = {}
        for name in ("nd", "dispersion", "csffraction", "ndiqr", "dispersioniqr"):
            stem = f"sub-T01_ses-GE_model-force_param-{name}_desc-{state}_dwimap"
            path = image.with_name(f"{stem}.nii.gz")
            maps[name] = nib.load(path).get_fdata()
            assert maps[name].shape == shape and 0 <= maps[name].min() < maps[name].max() <= 1
            assert json.loads(beside(path, ".json").read_text())["Units"] == "1"
        inside = maps["nd"] > 0
        assert 0.01 < np.median(maps["ndiqr"][inside]) < 0.3
    measured = json.loads(beside(image, ".json").read_text())["DiffusionQuality"]
    assert 0.3 < measured["nd_wm_median_source"] < 0.9
    path = tmp_path / f"out/sub-T01/summaries/sub-T01_ses-GE_desc-harmonized{TARGET}_dwi.npz"
    assert {"fa", "nd", "dispersion", "ndiqr"} <= set(load_summary(path).parameters)
    assert "FORCE" in (tmp_path / "out/logs/CITATION.md").read_text()
    assert validator_errors(tmp_path / "out") == []


def no_tables(stem: Path) -> None:
    Path(f"{stem}.bvec").unlink()


def change_table(kind: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path], None]:
    def spoil(stem: Path) -> None:
        np.savetxt(f"{stem}.{kind}", change(np.loadtxt(f"{stem}.{kind}", ndmin=2)), fmt="%.6f")

    return spoil


with_other_shells = change_table("bval", lambda b: 1.6 * b)


def with_nan(bvecs: np.ndarray) -> np.ndarray:
    bvecs[:, np.abs(bvecs).sum(axis=0) > 0] = np.nan
    return bvecs


def one_volume(stem: Path) -> None:
    image = nib.load(f"{stem}.nii.gz")
    first = nib.Nifti1Image(np.asarray(image.dataobj)[..., 0], image.affine)
    nib.save(first, f"{stem}.nii.gz")


@pytest.mark.parametrize(
    ("spoil", "code", "told"),
    [
        (no_tables, 66, ["directions", "missing", "sub-T01_ses-GE_dwi.bvec"]),
        (change_table("bval", lambda b: b[:, :-1]), 65, ["number of b-values", ".bval"]),
        (change_table("bval", np.zeros_like), 65, ["No volume is diffusion-weighted", ".bval"]),
        (change_table("bvec", lambda v: 0.5 * v), 65, ["not of unit length", ".bvec"]),
        (change_table("bvec", with_nan), 65, ["not finite", ".bvec"]),
        (with_other_shells, 65, ["no shell like", "b=1600", "b=2000"]),
        (one_volume, 65, ["not a series of volumes", f"{BAD}.nii.gz"]),
    ],
    ids=["no-bvec", "count", "all-b0", "length", "NaN", "shells", "3-D"],
)
def test_a_bad_series_has_its_code_and_leaves_the_output_as_it_was(
    again, tmp_path, spoil, code, told
):
    bids, out = tmp_path / "bids", tmp_path / "out"
    spoil(bids / BAD)
    before, outputs = snapshot(bids), digests(out / "sub-T01")
    finished = again(*PEOPLE, "--strict-shells")
    assert finished.code == code, finished.told
    for words in told:
        assert words in finished.told
    assert "Traceback" not in finished.told
    failed = finished.scans["sub-T01_ses-GE_dwi"]
    assert (failed["state"], failed["exit_code"]) == ("failed", code)
    assert {finished.states[label] for label in SERIES if "T01" not in label} == {"skipped"}
    assert digests(out / "sub-T01") == outputs and snapshot(bids) == before
    assert_whole(out)


def test_shells_that_the_target_lacks_are_harmonized_without_it_and_told(again, tmp_path):
    with_other_shells(tmp_path / "bids" / BAD)
    plan = again("--participant-label", "T01", *FIRST_TWO, "--dry-run")
    finished = again("--participant-label", "T01", *FIRST_TWO, "--dwi-fits")
    assert plan.code == finished.code == 0, finished.told
    image = output_of(finished.out, "sub-T01_ses-GE_dwi")
    told = json.loads(beside(image, ".json").read_text())["ShellsWithoutEqual"]
    assert told["Shells"] == [1600.0, 3200.0] and "mean b=0" in told["Done"]
    for text in (plan.shown, finished.told):
        assert f"sub-T01_ses-GE_dwi: {told['Note']}" in text
    (page,) = finished.out.glob("sub-T01_ses-GE.html")
    assert "b=1600, b=3200 s/mm2 is not shown by both sites" in page.read_text()
    before = nib.load(tmp_path / f"bids/{BAD}.nii.gz").get_fdata()
    assert not np.array_equal(nib.load(image).get_fdata(), before)


def test_a_transposed_table_is_read_and_said(again, tmp_path):
    change_table("bvec", np.transpose)(tmp_path / "bids" / BAD)
    finished = again()
    assert finished.code == 0 and finished.states["sub-T01_ses-GE_dwi"] == "done"
    assert "one direction a line" in finished.told
    copy = beside(output_of(finished.out, "sub-T01_ses-GE_dwi"), ".bvec")
    assert copy.read_bytes() == (tmp_path / "bids" / f"{BAD}.bvec").read_bytes()


def test_a_bad_series_is_not_among_those_that_show_a_site(again, tmp_path):
    one_volume(tmp_path / "bids/sub-GE01/dwi/sub-GE01_dwi")
    finished = again("--participant-label", "T01", *FIRST_TWO)
    assert finished.code == 0, finished.told
    sidecar = beside(output_of(finished.out, "sub-T01_ses-GE_dwi"), ".json")
    # The traveller's own series at GE takes the place of the bad one.
    shown = json.loads(sidecar.read_text())["SourceSiteScans"]
    assert shown == ["sub-GE02_dwi", "sub-T01_ses-GE_dwi"]
    assert "Not among the scans that show a site" in finished.told


def test_a_given_series_stands_for_the_target(again, tmp_path):
    for kind in KINDS:
        shutil.copy(
            tmp_path / f"bids/sub-COI02/dwi/sub-COI02_dwi{kind}", tmp_path / f"my_dwi{kind}"
        )
    words = ("--participant-label", "T01", *FIRST_TWO, "--target-site", "mine")
    finished = again(*words, "--target-image", str(tmp_path / "my_dwi.nii.gz"))
    assert finished.code == 0, finished.told
    (sidecar,) = finished.out.glob("sub-T01/ses-GE/dwi/*harmonizedmine_dwi.json")
    assert json.loads(sidecar.read_text())["TargetSiteScans"] == ["my_dwi"]
    assert not [name for name in written_for(finished.out, "T01") if "my_dwi" in name]
    (tmp_path / "my_dwi.bval").unlink()
    finished = again(*words, "--target-image", str(tmp_path / "my_dwi.nii.gz"))
    assert finished.code == 66 and "my_dwi.bval" in finished.told


def test_training_leaves_series_out(raw, tmp_path):
    finished = run(raw, tmp_path / "out", level="train", work=tmp_path / "work")
    assert finished.code == 18 and "diffusion series" in finished.told
    assert not list((tmp_path / "out").glob("sub-*"))


def test_preprocessed_series(raw, harmonized, tmp_path):
    """A derivative as QSIPrep leaves it: masks beside the series, names with space and desc."""
    bids = tmp_path / "qsiprep"
    bids.mkdir()
    (bids / "dataset_description.json").write_text(
        json.dumps(
            {
                "Name": "qsiprep",
                "BIDSVersion": "1.9.0",
                "DatasetType": "derivative",
                "GeneratedBy": [{"Name": "qsiprep", "Version": "1.0.0"}],
            }
        )
    )
    for person in ("COI01", "GE01"):
        folder = bids / f"sub-{person}" / "dwi"
        folder.mkdir(parents=True)
        stem = folder / f"sub-{person}_space-ACPC"
        for kind in KINDS:
            source = raw / f"sub-{person}/dwi/sub-{person}_dwi{kind}"
            shutil.copy(source, f"{stem}_desc-preproc_dwi{kind}")
        mask = harmonized.out / f"sub-{person}/dwi/sub-{person}_desc-brain_mask.nii.gz"
        shutil.copy(mask, f"{stem}_desc-brain_mask.nii.gz")
    before = snapshot(bids)
    finished = run(bids, tmp_path / "out", "--bank-scans", "1", work=tmp_path / "work")
    assert finished.code == 0, finished.told
    stem = "sub-GE01_space-ACPC"
    assert (
        f"mask of the dataset itself: {bids}/sub-GE01/dwi/{stem}_desc-brain_mask" in finished.told
    )
    written = written_for(finished.out, "GE01")
    assert {f"dwi/{stem}_desc-harmonized{TARGET}_dwi{kind}" for kind in KINDS} < set(written)
    assert not [name for name in written if "preproc" in name]
    copy, source = (
        f / f"sub-GE01/dwi/{stem}_desc-brain_mask.nii.gz" for f in (finished.out, bids)
    )
    assert np.array_equal(nib.load(copy).dataobj, nib.load(source).dataobj)
    assert snapshot(bids) == before
    assert validator_errors(finished.out) == []
