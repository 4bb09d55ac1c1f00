"""A clone without content: the plan says so for the scans concerned, with the command."""

from __future__ import annotations

import pytest

from bids_harmony.bids.dataset import find_scans
from bids_harmony.bids.inventory import check_dataset
from bids_harmony.cli.participant import find_target
from bids_harmony.exceptions import NotBidsError, NotFetched, SiteError
from bids_harmony.workflows.precomputed import leave_out_without_masks
from tests.pointers import COMMAND, KINDS, not_fetched

SERIES = "sub-01/dwi/sub-01_dwi"


@pytest.fixture
def with_series(cohort):
    cohort.image(SERIES, InstitutionName="COI")
    (cohort.root / f"{SERIES}.bval").write_text("0 1000 1000 1000\n")
    (cohort.root / f"{SERIES}.bvec").write_text("0 1 0 0\n0 0 1 0\n0 0 0 1\n")
    return cohort


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "costs"),
    [
        ("sub-01/anat/sub-01_T1w.nii.gz", {"sub-01_T1w"}),
        ("sub-01/anat/sub-01_T1w.json", {"sub-01_T1w"}),
        ("sub-01/sub-01_T1w.json", {"sub-01_T1w"}),
        (f"{SERIES}.nii.gz", {"sub-01_dwi"}),
        (f"{SERIES}.bval", {"sub-01_dwi"}),
        (f"{SERIES}.bvec", {"sub-01_dwi"}),
        ("sub-01/sub-01_scans.tsv", {"sub-01_T1w", "sub-01_dwi"}),
        ("sub-01/sub-01_sessions.tsv", {"sub-01_T1w", "sub-01_dwi"}),
    ],
)
def test_the_scans_concerned_are_left_out(with_series, name, costs, kind):
    everything = {scan.label for scan in find_scans(with_series.settings()).scans}
    path = not_fetched(with_series.root / name, kind)
    selection = find_scans(with_series.settings())
    assert {problem.label for problem in selection.problems} == costs
    assert {scan.label for scan in selection.scans} == everything - costs
    for problem in selection.problems:
        assert problem.error.exit_code == 66
        assert COMMAND[kind] in str(problem.error) and str(path) in str(problem.error)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["participants.tsv", "T1w.json", "dataset_description.json"])
def test_what_all_inherit_ends_the_run(cohort, name, kind):
    path = not_fetched(cohort.root / name, kind)
    with pytest.raises(NotFetched, match=COMMAND[kind]) as caught:
        find_scans(cohort.settings())
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_the_description_is_no_bad_data(raw, kind):
    not_fetched(raw.root / "dataset_description.json", kind)
    with pytest.raises(NotFetched, match=COMMAND[kind]):
        check_dataset(raw.root)


def test_a_target_whose_scans_are_elsewhere_is_not_called_wrong(raw):
    raw.image("sub-01/anat/sub-01_T1w", InstitutionName="COI")
    raw.image("sub-02/anat/sub-02_T1w", InstitutionName="GE")
    settings = raw.settings()
    not_fetched(raw.root / "sub-01/anat/sub-01_T1w.json", "unlocked")
    with pytest.raises(NotFetched, match="datalad get"):
        find_target(settings, find_scans(settings))
    (raw.root / "sub-01/anat/sub-01_T1w.json").write_text('{"InstitutionName": "HUH"}')
    with pytest.raises(SiteError):
        find_target(settings, find_scans(settings))


@pytest.mark.parametrize(
    "name",
    ["sub-01/._sub-01_scans.tsv", "sub-01/._sub-01_sessions.tsv", "sub-01/anat/._sub-01_T1w.json"],
)
def test_names_that_begin_with_a_dot_are_no_bids_files(cohort, name):
    """AppleDouble files, which macOS leaves on USB sticks and network drives."""
    apple = bytes.fromhex("00051607000200004d6163204f532058") + b"\xb0\xff" * 40
    (cohort.root / name).write_bytes(apple)
    selection = find_scans(cohort.settings())
    assert selection.problems == () and len(selection.scans) == 5


@pytest.mark.parametrize("kind", KINDS)
def test_a_given_mask_that_is_not_here_is_not_made_anew(cohort, tmp_path, kind):
    derivatives = tmp_path / "masks"
    mask = derivatives / "sub-01/anat/sub-01_desc-brain_mask.nii.gz"
    not_fetched(mask, kind)
    settings = cohort.settings(derivatives={"masks": derivatives})
    selection = leave_out_without_masks(settings, find_scans(settings))
    (problem,) = selection.problems
    assert problem.label == "sub-01_T1w" and problem.error.exit_code == 66
    assert COMMAND[kind] in str(problem.error) and str(mask) in str(problem.error)
    assert len(selection.scans) == 4


def test_a_subject_that_is_a_subdataset_is_not_absent(cohort):
    """Clones without --recursive leave an empty folder for each."""
    (cohort.root / "sub-04").mkdir()
    # Nothing speaks of subdatasets: a folder that is empty.
    assert find_scans(cohort.settings()).problems == ()
    (cohort.root / ".gitmodules").write_text('[submodule "sub-04"]\n\tpath = sub-04\n')
    selection = find_scans(cohort.settings())
    (problem,) = selection.problems
    assert problem.label == "sub-04" and problem.error.exit_code == 66
    assert f"datalad get -n {cohort.root}/sub-04" in str(problem.error)
    assert len(selection.scans) == 5


def test_a_subject_that_is_a_link_to_nowhere_is_not_absent(cohort):
    (cohort.root / "sub-04").symlink_to("../elsewhere/sub-04")
    selection = find_scans(cohort.settings())
    (problem,) = selection.problems
    assert problem.label == "sub-04" and problem.error.exit_code == 66
    assert len(selection.scans) == 5


def test_an_empty_input_may_be_a_subdataset(tmp_path):
    with pytest.raises(NotBidsError, match="datalad get -n"):
        check_dataset(tmp_path)
