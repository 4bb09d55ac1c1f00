"""Heads of 1 mm: looks learnt on controls of sites nested in studies, patients brought to the mean
of all sites, and the change undone by nibabel and numpy."""

from __future__ import annotations

import csv
import json

import nibabel as nib
import numpy as np
import pytest

from tests.e2e.program import assert_whole, run, validator_errors

WORDS = (
    "--participant-label", "COI02", "SIEMENS02", "--modalities", "T1w", "--target-site", "mean",
    "--profile-filter", "group == 'control'", "--site-column", "study", "place",
    "--covariates", "--write-change", "--voxel-mm", "2",
)  # fmt: skip


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    """A control (01) and a patient (02) at each of two sites, whole heads, 1 mm. Read only."""
    from bids_harmony.phantom.cohort import CohortPlan, write_cohort

    folder = tmp_path_factory.mktemp("heads")
    plan = CohortPlan(
        sites=("COI", "SIEMENS"), training_per_site=2, travelling=0, modalities=("T1w",)
    )
    write_cohort(folder, plan)
    rows = ["participant_id\tgroup\tstudy\tplace"]
    for study, site in (("ABC", "COI"), ("XYZ", "SIEMENS")):
        rows += [f"sub-{site}01\tcontrol\t{study}\t1", f"sub-{site}02\tpatient\t{study}\t1"]
    (folder / "bids/participants.tsv").write_text("\n".join(rows) + "\n")
    (folder / "bids/participants.json").unlink()
    return folder / "bids"


@pytest.fixture(scope="module")
def done(heads, tmp_path_factory):
    folder = tmp_path_factory.mktemp("mean")
    finished = run(heads, folder / "out", *WORDS, work=folder / "work", nprocs=1)
    assert finished.code == 0, finished.told
    return finished


def image(folder, label, kind=""):
    middle = f"_desc-{kind}mean" if kind else ""
    return nib.load(folder / f"sub-{label}/anat/sub-{label}{middle}_T1w.nii.gz")


@pytest.mark.e2e
def test_patients_go_to_the_mean_of_what_controls_show(heads, done):
    assert set(done.states.values()) == {"done"} and len(done.states) == 2
    for label, site, other in (("COI02", "ABC-1", "XYZ-1"), ("SIEMENS02", "XYZ-1", "ABC-1")):
        record = json.loads(
            (done.out / f"sub-{label}/anat/sub-{label}_desc-harmonizedmean_T1w.json").read_text()
        )
        assert record["HarmonizationSource"]["Site"] == site
        assert record["ProfileFilter"] == "group == 'control'"
        assert record["SourceSiteScans"] == [f"sub-{label[:-1]}1_T1w"]
        assert record["TargetSiteScans"] == ["sub-COI01_T1w", "sub-SIEMENS01_T1w"]
        assert record["SiteEvidence"]["TargetIsMeanOf"] == {site: 1, other: 1}
        page = (done.out / f"sub-{label}.html").read_text()
        assert "the mean of ABC-1 (1), XYZ-1 (1)" in page
        assert "people with <code>group == &#39;control&#39;</code>" in page
        source, harmonized = (
            np.asarray(own.dataobj, np.float64)
            for own in (image(heads, label), image(done.out, label, "harmonized"))
        )
        assert min(source.shape) > 140
        # No site is the target: both are changed.
        changed = np.abs(harmonized - source)[source > 0]
        assert changed.mean() > 0.002 * np.percentile(source, 99.5)
    assert_whole(done.out)
    assert validator_errors(done.out) == []


@pytest.mark.e2e
def test_the_change_is_undone_and_redone_voxel_by_voxel(heads, done):
    for label in ("COI02", "SIEMENS02"):
        source, harmonized = image(heads, label), image(done.out, label, "harmonized")
        change = image(done.out, label, "change")
        assert source.get_data_dtype() == harmonized.get_data_dtype() == np.int16
        redone = source.get_fdata() + change.get_fdata()
        undone = harmonized.get_fdata() - change.get_fdata()
        # Stored in whole numbers: both come back exactly.
        assert np.array_equal(redone, harmonized.get_fdata())
        assert np.array_equal(undone, source.get_fdata())
        for kind in ("fieldout", "fieldin"):
            field = image(done.out, label, kind)
            assert field.shape == source.shape
            assert np.array_equal(field.affine, source.affine)
    with (done.out / "codes_T1w.tsv").open() as stream:
        assert [r["site"] for r in csv.DictReader(stream, delimiter="\t")] == ["ABC-1", "XYZ-1"]


@pytest.mark.e2e
def test_the_level_group_reads_it(heads, done, tmp_path):
    group = run(heads, done.out, work=tmp_path / "work", level="group")
    assert group.code == 0, group.told
    assert "mean" in (done.out / "group.html").read_text()
