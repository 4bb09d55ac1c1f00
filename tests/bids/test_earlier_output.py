"""Nothing of the output is overwritten unread."""

from __future__ import annotations

import pytest

from bids_harmony.bids.dataset import find_scans
from bids_harmony.bids.dataset_files import write_dataset_files
from bids_harmony.bids.derivative import link_file, merge_table, write_json
from bids_harmony.bids.earlier_output import check_dataset_files, leave_out_unread
from bids_harmony.cli import group
from bids_harmony.exceptions import CannotCreateOutput, NotFetched
from bids_harmony.group.covariates import read_covariates
from bids_harmony.interfaces.derivatives import copy_output
from bids_harmony.io.reading import object_or_empty
from tests.output_folder import add_scan
from tests.pointers import COMMAND, KINDS, not_fetched


def _state(path):
    return path.readlink() if path.is_symlink() else path.read_bytes()


@pytest.mark.parametrize("kind", KINDS)
def test_no_writer_replaces_what_is_not_here(tmp_path, kind):
    path = not_fetched(tmp_path / "a/b.tsv", kind)
    before = _state(path)
    source = tmp_path / "source"
    source.write_text("x")
    for write in (
        lambda: merge_table(path, [{"id": "new"}], key="id"),
        lambda: write_json(path, {}),
        lambda: link_file(source, path),
        lambda: copy_output(str(source), path),
        lambda: object_or_empty(path),
    ):
        with pytest.raises(NotFetched, match=COMMAND[kind]):
            write()
        assert _state(path) == before


def test_two_sites_of_one_label(cohort):
    """Names of files hold letters and digits alone: that of the second site is taken."""
    settings = cohort.settings(target_site="UCL 1-1")
    write_dataset_files(settings)
    check_dataset_files(settings, "UCL 1-1")
    check_dataset_files(settings, "UCL 12")
    with pytest.raises(CannotCreateOutput, match="site UCL 1-1") as caught:
        check_dataset_files(settings, "UCL 11")
    assert "--site-map" in str(caught.value)


@pytest.mark.parametrize("text", ["name\tx\nold\t5\n", "id\tx\na\tb\tc\n", "\x00\xff\n"])
def test_a_table_of_another_kind_is_left_as_it_is(tmp_path, text):
    path = tmp_path / "a.tsv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(CannotCreateOutput, match="column id") as caught:
        merge_table(path, [{"id": "new"}], key="id")
    assert caught.value.exit_code == 73 and path.read_bytes() == text.encode("latin-1")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("sub-02/sub-02_scans.tsv", 3),
        ("sub-02/sub-02_scans.json", 3),
        ("sub-02/anat/sub-02_desc-harmonizedCOI_T1w.json", 3),
        ("sub-02/anat/sub-02_desc-harmonizedCOI_T1w.nii.gz", 4),
        ("sub-02/anat/sub-02_desc-brain_mask.nii.gz", 4),
    ],
)
def test_the_plan_leaves_out_scans_whose_output_is_not_here(cohort, name, left, kind):
    settings = cohort.settings()
    path = not_fetched(settings.output_dir / name, kind)
    selection = leave_out_unread(settings, find_scans(settings), "COI")
    assert len(selection.scans) == left and len(selection.problems) == 5 - left
    for problem in selection.problems:
        assert problem.label.startswith("sub-02") and problem.error.exit_code == 66
        assert COMMAND[kind] in str(problem.error) and str(path) in str(problem.error)


@pytest.mark.parametrize(
    "name", ["dataset_description.json", "README.md", "descriptions.tsv", "descriptions.json"]
)
def test_files_of_the_whole_output(cohort, name):
    settings = cohort.settings()
    write_dataset_files(settings)
    check_dataset_files(settings, "COI")
    not_fetched(settings.output_dir / name, "locked")
    for write in (
        lambda: check_dataset_files(settings, "COI"),
        lambda: write_dataset_files(settings),
    ):
        with pytest.raises(NotFetched, match="datalad get"):
            write()


@pytest.mark.parametrize("kind", KINDS)
def test_covariates_are_not_lost_silently(tmp_path, kind):
    not_fetched(tmp_path / "participants.tsv", kind)
    with pytest.raises(NotFetched, match=COMMAND[kind]):
        read_covariates(tmp_path, [])


@pytest.mark.parametrize(
    "name", ["bids/participants.tsv", "out/sub-01/anat/sub-01_desc-harmonizedCOI_T1w.json"]
)
def test_the_plan_of_the_group_says_what_is_not_here(cohort, tmp_path, name):
    settings = cohort.settings(analysis_level="group", dry_run=True)
    sidecar = add_scan(settings.output_dir, "T1w")
    sidecar.with_suffix(".nii.gz").write_bytes(b"an image")
    assert group.run(settings) == 0
    not_fetched(tmp_path / name, "unlocked")
    with pytest.raises(NotFetched, match="datalad get"):
        group.run(settings)
