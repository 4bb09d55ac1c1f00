"""A look learnt on some people and applied to all: ``--profile-filter``."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from bids_harmony.bids.dataset import find_scans
from bids_harmony.bids.dataset_files import write_dataset_files
from bids_harmony.cli.participant import look_ahead
from bids_harmony.cli.plan import format_plan
from bids_harmony.cli.problems import told_once
from bids_harmony.exceptions import ExitCode, NothingSelected, UsageError
from bids_harmony.sites.profile_files import profile_digest
from bids_harmony.workflows.base import run_participant
from bids_harmony.workflows.profiles import profile_cache

CONTROLS = "group == 'control'"


def add_person(settings, label, like):
    folder = settings.bids_dir / f"sub-{label}" / "anat"
    folder.mkdir(parents=True)
    for source in (settings.bids_dir / f"sub-{like}" / "anat").glob("*_T1w*"):
        shutil.copy(source, folder / source.name.replace(f"sub-{like}", f"sub-{label}"))


def table(settings, **groups):
    rows = [f"sub-{label.removeprefix('p')}\t{group}\n" for label, group in groups.items()]
    (settings.bids_dir / "participants.tsv").write_text("participant_id\tgroup\n" + "".join(rows))


@pytest.fixture
def patients(settings):
    """Controls 01 of A and 02 of B, a patient at each: 03 and 04, with the other's contrast."""
    add_person(settings, "03", like="02")
    add_person(settings, "04", like="01")
    for label, site in (("03", "A"), ("04", "B")):
        sidecar = settings.bids_dir / f"sub-{label}/anat/sub-{label}_T1w.json"
        sidecar.write_text(json.dumps({"InstitutionName": site, "Manufacturer": "Siemens"}))
    table(settings, p01="control", p02="control", p03="patient", p04="patient")
    return replace(
        settings, model_dir=None, modalities=("T1w",), keep_workdir="never", covariates=(),
        profile_filter=CONTROLS,
    )  # fmt: skip


def run(settings):
    write_dataset_files(settings)
    log_dir = settings.output_dir / "logs" / "run"
    code = run_participant(settings, find_scans(settings).scans, log_dir=log_dir)
    return code, json.loads((log_dir / "status.json").read_text())["scans"]


def profiles(settings):
    cache = profile_cache(settings)
    found = {site: cache.read(site, "T1w") for site in "AB"}
    return {site: profile_digest(own[0]) for site, own in found.items() if own}


def sidecar(settings, label):
    path = settings.output_dir / f"sub-{label}/anat/sub-{label}_desc-harmonizedB_T1w.json"
    return json.loads(path.read_text())


def test_the_profile_is_that_of_a_dataset_with_only_these_people(patients, tmp_path):
    code, states = run(patients)
    assert code == ExitCode.DONE and len(states) == 4
    record = sidecar(patients, "03")
    assert record["SourceSiteScans"] == ["sub-01_T1w"]
    assert record["TargetSiteScans"] == ["sub-02_T1w"]
    assert record["ProfileFilter"] == CONTROLS
    alone = replace(
        patients, bids_dir=tmp_path / "alone", output_dir=tmp_path / "alone_out",
        work_dir=tmp_path / "alone_work", profile_filter=None,
    )  # fmt: skip
    ignored = shutil.ignore_patterns("sub-03", "sub-04", "participants.tsv")
    shutil.copytree(patients.bids_dir, alone.bids_dir, ignore=ignored)
    run(alone)
    assert profiles(patients) == profiles(alone)
    assert "ProfileFilter" not in sidecar(alone, "01")
    # Who shows a site decides what is made of its scans.
    everyone = replace(patients, output_dir=tmp_path / "all", profile_filter=None)
    run(everyone)
    assert set(profiles(everyone).values()).isdisjoint(profiles(patients).values())
    assert sidecar(everyone, "01")["SiteBanksSHA256"] != record["SiteBanksSHA256"]


def test_another_filter_or_another_group_makes_profiles_anew(patients):
    run(patients)
    first = profiles(patients)
    run(replace(patients, profile_filter="group == 'patient'"))
    second = profiles(patients)
    assert first["A"] != second["A"] and first["B"] != second["B"]
    run(patients)
    assert profiles(patients) == first
    # A diagnosis that was corrected: nobody of A is a control now, and no old profile stands in.
    table(patients, p01="patient", p02="control", p03="control", p04="patient")
    assert run(patients)[0] == ExitCode.DONE
    assert sidecar(patients, "01")["SourceSiteScans"] == ["sub-03_T1w"]


def test_a_site_without_such_people_is_told_with_the_columns(patients):
    table(patients, p01="patient", p02="control", p03="patient", p04="patient")
    _, found, selection = look_ahead(patients)
    assert [scan.label for scan in selection.scans] == ["sub-02_T1w", "sub-04_T1w"]
    problems = {problem.label: problem.error for problem in selection.problems}
    assert set(problems) == {"sub-01_T1w", "sub-03_T1w"}
    for error in problems.values():
        assert error.exit_code == ExitCode.BAD_DATA
        assert "nobody who shows the T1w images of A" in str(error)
        assert "group ('control', 'patient')" in str(error)
    # A method that does not ask for the scan's own site goes on.
    assert len(look_ahead(replace(patients, method="histogram"))[2].scans) == 4
    plan = format_plan(patients, selection, refused=found)
    assert f"People with {CONTROLS}, who show how sites look: A 0 of 2, B 1 of 2" in plan
    # The run itself says the same of scans that no plan has refused.
    code, states = run(patients)
    assert code == ExitCode.BAD_DATA
    assert {label for label, state in states.items() if state["state"] == "failed"} == set(
        problems
    )
    assert "nobody who shows" in states["sub-01_T1w"]["message"]


def test_without_anybody_at_the_target_nothing_can_be_done(patients):
    table(patients, p01="control", p02="patient", p03="control", p04="patient")
    selection = look_ahead(patients)[2]
    assert not selection.scans and len(selection.problems) == 4
    assert "the T1w images of B" in str(selection.problems[0].error)
    assert len(told_once(selection.problems)) == 1


def test_a_query_that_nobody_fits_is_one_error_before_the_run(patients):
    table(patients, p01="patient", p02="patient", p03="patient", p04="patient")
    with pytest.raises(NothingSelected, match="none of 4 fits"):
        look_ahead(patients)


def test_a_query_that_fails_stops_the_run_before_it_begins(patients):
    with pytest.raises(UsageError, match="gruop"):
        look_ahead(replace(patients, profile_filter="gruop == 'control'"))


def test_the_level_train_refuses_it(patients):
    with pytest.raises(UsageError, match="--participant-label"):
        replace(patients, analysis_level="train")
