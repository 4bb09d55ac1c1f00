"""What a plan knows: refusals that headers, tables and the model tell, with the run's code."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest

from bids_harmony.bids.dataset import find_scans
from bids_harmony.cli.plan import format_plan
from bids_harmony.exceptions import ExitCode, MissingInput, UsageError
from bids_harmony.workflows.forecast import foresee
from tests.raw_dataset import raw

__all__ = ["raw"]

DIRECTIONS = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0.6, 0.8, 0]]).T


def series(raw, name, b=1000.0, n_volumes=5, bvals=None):
    path = raw.image(f"{name}_dwi", InstitutionName=name[4].upper())
    data = np.random.default_rng(0).integers(0, 900, (8, 8, 8, n_volumes)).astype(np.int16)
    nib.save(nib.Nifti1Image(data, np.diag([20.0, 20, 20, 1])), path)
    values = [0.0] + [b] * 4 if bvals is None else bvals
    np.savetxt(raw.root / f"{name}_dwi.bval", [values], fmt="%g")
    np.savetxt(raw.root / f"{name}_dwi.bvec", DIRECTIONS, fmt="%g")
    return path


def forecast(raw, **options):
    settings = raw.settings(**{"target_site": "T"} | options)
    found = foresee(settings, find_scans(settings))
    return [s.label for s in found.scans], {p.label: p.error for p in found.problems}


@pytest.fixture
def people(raw):
    """sub-a at A, sub-t at T, a T1w each."""
    for name in "at":
        raw.image(f"sub-{name}/anat/sub-{name}_T1w", InstitutionName=name.upper())
    return raw


def test_nothing_is_wrong(people):
    assert forecast(people) == (["sub-a_T1w", "sub-t_T1w"], {})


def test_a_modality_that_the_target_does_not_show(people):
    people.image("sub-a/anat/sub-a_T2w", InstitutionName="A")
    for who in ((), ("a",)):
        scans, problems = forecast(people, participant_labels=who)
        assert "sub-a_T1w" in scans and set(problems) == {"sub-a_T2w"}
        assert problems["sub-a_T2w"].exit_code == ExitCode.BAD_DATA
        assert "Nothing shows the target site's T2w images" in str(problems["sub-a_T2w"])
    people.image("sub-t/anat/sub-t_T2w", InstitutionName="T")
    assert forecast(people, participant_labels=("a",)) == (["sub-a_T1w", "sub-a_T2w"], {})


def test_images_that_are_cut_off_or_of_another_shape(people):
    cut = people.root / "sub-a/anat/sub-a_T1w.nii.gz"
    cut.write_bytes(cut.read_bytes()[:500])
    four = people.image("sub-a/anat/sub-a_run-2_T1w", InstitutionName="A")
    nib.save(nib.Nifti1Image(np.ones((8, 8, 8, 3), np.int16), np.diag([20.0, 20, 20, 1])), four)
    scans, problems = forecast(people)
    assert scans == ["sub-t_T1w"]
    assert problems["sub-a_T1w"].exit_code == ExitCode.INPUT_OUTPUT
    assert problems["sub-a_run-2_T1w"].exit_code == ExitCode.BAD_DATA


def test_the_target_s_only_scan_is_cut_off(people):
    cut = people.root / "sub-t/anat/sub-t_T1w.nii.gz"
    cut.write_bytes(cut.read_bytes()[:500])
    scans, problems = forecast(people)
    assert scans == [] and {e.exit_code for e in problems.values()} == {ExitCode.INPUT_OUTPUT}
    assert "No usable scan shows the site T" in str(problems["sub-a_T1w"])
    # Another one of the site will do, however many come before it.
    people.image("sub-zz/anat/sub-zz_T1w", InstitutionName="T")
    scans, problems = forecast(people, bank_scans=1, participant_labels=("a",))
    assert scans == ["sub-a_T1w"] and not problems


def test_a_look_whose_scans_are_not_here_is_not_called_absent(people):
    people.image("sub-a/anat/sub-a_T2w", InstitutionName="A")
    series(people, "sub-a/dwi/sub-a")
    away = people.image("sub-t/anat/sub-t_T2w", InstitutionName="T")
    away.unlink()
    away.symlink_to("../../.git/annex/objects/xx/key")
    series(people, "sub-t/dwi/sub-t")
    (people.root / "sub-t/dwi/sub-t_dwi.bval").write_text("/annex/objects/MD5E-s9--0a.bval\n")
    for who in ((), ("a",)):
        scans, problems = forecast(people, participant_labels=who)
        assert "sub-a_T1w" in scans and {"sub-a_T2w", "sub-a_dwi"} <= set(problems)
        assert {e.exit_code for e in problems.values()} == {ExitCode.MISSING_INPUT}
        assert f"datalad get {away}" in str(problems["sub-a_T2w"])
        assert "T2w scans that would show how T looks are not here" in str(problems["sub-a_T2w"])


def test_a_claimed_site_needs_no_scans_elsewhere(people):
    assert forecast(people, source_site="NEW", participant_labels=("a",)) == (["sub-a_T1w"], {})


def test_given_images(people, tmp_path):
    look = tmp_path / "look_T1w.nii.gz"
    look.write_bytes((people.root / "sub-t/anat/sub-t_T1w.nii.gz").read_bytes())
    given = {"target_site": "elsewhere", "target_images": (look,)}
    assert forecast(people, **given) == (["sub-a_T1w", "sub-t_T1w"], {})
    people.image("sub-a/anat/sub-a_FLAIR", InstitutionName="A")
    scans, problems = forecast(people, **given)
    assert list(problems) == ["sub-a_FLAIR"] and len(scans) == 2
    told = str(problems["sub-a_FLAIR"])
    assert "FLAIR scans have no target" in told and "Got: T1w alone" in told
    assert "--modalities T1w." in told and "no sites at all" not in told
    # The same for all scans, which are told of it at once.
    people.image("sub-t/anat/sub-t_FLAIR", InstitutionName="T")
    _, problems = forecast(people, **given)
    assert {str(error) for error in problems.values()} == {told}
    series(people, "sub-a/dwi/sub-a")
    _, problems = forecast(people, **given)
    assert "dwi scans have no target" in str(problems["sub-a_dwi"])
    look.write_bytes(look.read_bytes()[:400])
    _, problems = forecast(people, **given)
    assert problems["sub-a_T1w"].exit_code == ExitCode.INPUT_OUTPUT


def test_series_without_a_shell_like_the_target_s(raw):
    series(raw, "sub-t/dwi/sub-t", 1000.0)
    series(raw, "sub-a/dwi/sub-a", 1050.0)
    series(raw, "sub-b/dwi/sub-b", 3000.0)
    everyone = ["sub-a_dwi", "sub-b_dwi", "sub-t_dwi"]
    settings = raw.settings(target_site="T")
    found = foresee(settings, find_scans(settings))
    assert [s.label for s in found.scans] == everyone and found.problems == ()
    (told,) = [text for text in found.warnings if "shells" in text]
    assert told.startswith("sub-b_dwi: b=3000 s/mm2 is not shown by both")
    assert "(its own: b=3000; target: b=1000)" in told
    assert told in format_plan(settings, found)
    for strict in ({"strict_shells": True}, {"dwi_mode": "volume"}):
        scans, problems = forecast(raw, **strict)
        assert scans == ["sub-a_dwi", "sub-t_dwi"]
        assert problems["sub-b_dwi"].exit_code == ExitCode.BAD_DATA
        assert "target shells b=1000" in str(problems["sub-b_dwi"])
        assert forecast(raw, participant_labels=("b",), **strict)[1].keys() == {"sub-b_dwi"}


def test_tables_that_do_not_fit_the_series(raw):
    series(raw, "sub-t/dwi/sub-t")
    series(raw, "sub-a/dwi/sub-a", n_volumes=6)
    series(raw, "sub-b/dwi/sub-b", bvals=[0, 1000, 1000, np.nan, 1000])
    scans, problems = forecast(raw)
    assert scans == ["sub-t_dwi"]
    assert {e.exit_code for e in problems.values()} == {ExitCode.BAD_DATA}
    assert "number of b-values" in str(problems["sub-a_dwi"])


def test_no_series_of_the_target(people):
    series(people, "sub-a/dwi/sub-a")
    scans, problems = forecast(people)
    assert scans == ["sub-a_T1w", "sub-t_T1w"]
    assert "Nothing shows the target site's diffusion series" in str(problems["sub-a_dwi"])


def test_models_and_methods_that_are_not_there(people, tmp_path):
    settings = people.settings(target_site="T", model_dir=tmp_path / "nowhere")
    with pytest.raises(MissingInput, match="There is no model"):
        foresee(settings, find_scans(settings))
    series(people, "sub-a/dwi/sub-a")
    settings = replace(
        settings, model_dir=None, method="histogram", modalities=("dwi",), target_site="A"
    )
    assert len(foresee(settings, find_scans(settings)).scans) == 1
    (problem,) = foresee(replace(settings, method="ssimh"), find_scans(settings)).problems
    assert isinstance(problem.error, UsageError)


def test_series_go_to_the_mean_of_sites_with_the_shells_that_all_show(raw):
    series(raw, "sub-a/dwi/sub-a", 1000.0)
    scans, problems = forecast(raw, target_site="mean")
    assert scans == [] and "two sites" in str(problems["sub-a_dwi"])
    series(raw, "sub-b/dwi/sub-b", 1050.0)
    series(raw, "sub-b/dwi/sub-b_run-2", 3000.0)
    settings = raw.settings(target_site="mean")
    found = foresee(settings, find_scans(settings))
    assert len(found.scans) == 3 and found.problems == ()
    told, other = found.warnings
    assert told.startswith("Diffusion series: not in the mean, because not all sites show it: ")
    assert "b=3000 of " in told and "b=1000" not in told
    assert other.startswith("sub-b_run-2_dwi: b=3000 s/mm2 is not shown by both sites")
    scans, problems = forecast(raw, target_site="mean", strict_shells=True)
    assert scans == ["sub-a_dwi", "sub-b_dwi"]
    assert problems["sub-b_run-2_dwi"].exit_code == ExitCode.BAD_DATA
    series(raw, "sub-c/dwi/sub-c", 3000.0)
    _, problems = forecast(raw, target_site="mean")
    assert {e.exit_code for e in problems.values()} == {ExitCode.BAD_DATA}
    assert "no shell in common" in str(problems["sub-a_dwi"])
