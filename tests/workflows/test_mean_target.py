"""The mean of all sites as the target: ``--target-site mean``."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.bids.dataset import find_scans
from bids_harmony.bids.dataset_files import write_dataset_files
from bids_harmony.bids.run_records import Unit, read_runs
from bids_harmony.cli.participant import look_ahead
from bids_harmony.exceptions import CannotCreateOutput, ExitCode, SiteError, UsageError
from bids_harmony.reports.subject import subject_page
from bids_harmony.sites.profile_files import profile_digest
from bids_harmony.workflows.base import run_participant
from bids_harmony.workflows.image_profiles import ImageProfiles
from bids_harmony.workflows.profiles import profile_cache


@pytest.fixture
def to_mean(settings):
    """Sites A (01) and B (02), which shows another contrast."""
    path = settings.bids_dir / "sub-02/anat/sub-02_T1w.nii.gz"
    image = nib.load(path)
    data = np.asarray(image.dataobj, np.float32)
    bent = np.power(data / data.max(), 2.5) * data.max()
    nib.save(nib.Nifti1Image(bent.astype(np.int16), None, image.header), path)
    return replace(
        settings, model_dir=None, modalities=("T1w",), keep_workdir="never", target_site="mean",
        method="histogram-relative",
    )  # fmt: skip


def run(settings):
    write_dataset_files(settings)
    log_dir = settings.output_dir / "logs" / "run"
    code = run_participant(settings, find_scans(settings).scans, log_dir=log_dir)
    return code, json.loads((log_dir / "status.json").read_text())["scans"]


def images(settings, label):
    out = settings.output_dir / f"sub-{label}/anat/sub-{label}_desc-harmonizedmean_T1w.nii.gz"
    source = settings.bids_dir / f"sub-{label}/anat/sub-{label}_T1w.nii.gz"
    return [np.asarray(nib.load(path).dataobj, np.float32) for path in (source, out)]


def test_all_sites_go_to_the_mean_and_none_is_left_as_it_is(to_mean):
    code, states = run(to_mean)
    assert code == ExitCode.DONE and {s["state"] for s in states.values()} == {"done"}
    distances = []
    for label in ("01", "02"):
        source, out = images(to_mean, label)
        assert np.abs(out - source).mean() > 0.5, label
        sidecar = to_mean.output_dir / f"sub-{label}/anat/sub-{label}_desc-harmonizedmean_T1w.json"
        record = json.loads(sidecar.read_text())
        evidence = record["SiteEvidence"]
        assert evidence["TargetIsMeanOf"] == {"A": 1, "B": 1}
        assert (evidence["SourcePeople"], evidence["TargetPeople"]) == (1, 2)
        assert record["HarmonizationTarget"] == "mean"
        assert record["TargetSiteScans"] == ["sub-01_T1w", "sub-02_T1w"]
        distances.append(evidence["Contrasts"]["GreyToWhite"]["RawLogDifference"])
    # As far from one as from the other, and half of what is between them.
    assert distances[0] == pytest.approx(-distances[1], rel=1e-4) and abs(distances[0]) > 0.05
    described = (to_mean.output_dir / "descriptions.tsv").read_text()
    assert "desc-harmonizedmean\tHarmonized to the mean of all sites" in described
    out = to_mean.output_dir
    page = subject_page(out, Unit("01", None), read_runs(out), out)
    assert "which is the mean of A (1), B (1), each counting once" in page
    assert "The target is no site, but the mean of the sites A, B: each counts once" in page


def test_the_next_job_finds_the_mean_and_a_new_site_makes_another(to_mean, monkeypatch):
    run(to_mean)
    first = profile_digest(profile_cache(to_mean).read("mean", "T1w")[0])
    with monkeypatch.context() as patch:
        patch.setattr(ImageProfiles, "make", lambda *_: pytest.fail("profiles were made again"))
        assert {s["state"] for s in run(to_mean)[1].values()} == {"skipped"}
        # Whoever is selected, the mean is that of all.
        alone = replace(to_mean, participant_labels=("01",))
        assert {s["state"] for s in run(alone)[1].values()} == {"skipped"}
    folder = to_mean.bids_dir / "sub-03" / "anat"
    folder.mkdir(parents=True)
    for path in (to_mean.bids_dir / "sub-01/anat").glob("*_T1w*"):
        shutil.copy(path, folder / path.name.replace("sub-01", "sub-03"))
    (folder / "sub-03_T1w.json").write_text(json.dumps({"InstitutionName": "C"}))
    _, states = run(to_mean)
    assert {s["state"] for s in states.values()} == {"done"} and len(states) == 3
    mean = profile_cache(to_mean).read("mean", "T1w")[0]
    assert profile_digest(mean) != first
    assert mean.scan_measures.people_of_sites() == {"A": 1, "B": 1, "C": 1}


def test_one_site_has_no_mean(to_mean):
    shutil.rmtree(to_mean.bids_dir / "sub-02")
    selection = look_ahead(to_mean)[2]
    (problem,) = selection.problems
    assert not selection.scans and isinstance(problem.error, SiteError)
    assert "two sites" in str(problem.error) and "Got: A." in str(problem.error)
    code, states = run(to_mean)
    assert code == ExitCode.BAD_DATA and "two sites" in states["sub-01_T1w"]["message"]


@pytest.mark.parametrize(("name", "hint"), [("mean", "site-map"), ("Mean", "target-site Mean")])
def test_a_site_that_is_called_mean_is_not_taken_for_it(to_mean, name, hint):
    sidecar = to_mean.bids_dir / "sub-02/anat/sub-02_T1w.json"
    sidecar.write_text(json.dumps({"InstitutionName": name}))
    with pytest.raises(SiteError, match=hint):
        look_ahead(to_mean)
    # The site itself can be had by its name, if that is written otherwise.
    if name == "Mean":
        assert look_ahead(replace(to_mean, target_site="Mean"))[0].target_site == "Mean"


def test_methods_that_know_only_their_sites_are_refused(to_mean):
    with pytest.raises(UsageError, match="histogram-relative"):
        look_ahead(replace(to_mean, method="cgan"))


def test_images_at_a_site_of_that_label_are_not_mixed_with_those_at_the_mean(to_mean):
    given = to_mean.bids_dir / "sub-02/anat/sub-02_T1w.nii.gz"
    named = replace(to_mean, target_images=(given,))
    assert not named.to_mean
    write_dataset_files(named)
    with pytest.raises(CannotCreateOutput, match="another"):
        look_ahead(to_mean)


def test_no_session_is_of_a_site_called_mean(to_mean):
    (to_mean.bids_dir / "sub-01" / "anat").rename(to_mean.bids_dir / "moved")
    folder = to_mean.bids_dir / "sub-01" / "ses-mean" / "anat"
    folder.mkdir(parents=True)
    for path in (to_mean.bids_dir / "moved").glob("*_T1w*"):
        path.rename(folder / path.name.replace("sub-01", "sub-01_ses-mean"))
    shutil.rmtree(to_mean.bids_dir / "moved")
    assert {scan.site.site for scan in find_scans(to_mean).scans} == {"A", "B"}
