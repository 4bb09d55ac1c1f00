"""Names that are paths, links that lead elsewhere, trees without an end."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from bids_harmony.bids.dataset import find_scans
from bids_harmony.bids.naming import harmonized_path, mask_path, report_path, summary_path
from bids_harmony.bids.run_records import unit_of
from bids_harmony.bids.scan import Scan, SiteEvidence
from bids_harmony.bids.site import canonical_site
from bids_harmony.cli.folders import check_output_links
from bids_harmony.cli.parser import parse_settings
from bids_harmony.exceptions import BidsHarmonyError, CannotCreateOutput, UsageError
from bids_harmony.sites.profile_cache import ProfileCache
from tests.raw_dataset import cohort, raw

__all__ = ["cohort", "raw"]

SITES = (
    "..", "../../etc", "/etc/passwd", "a/b", "a\\b", "C:\\x", "\x00", "a\nb", "<script>", "~",
    "-rf", "$(id)", "%2e%2e", "COI\u202e", "x" * 5000, ".", "con",
)  # fmt: skip


@pytest.mark.parametrize("site", SITES, ids=range(len(SITES)))
def test_no_site_name_leads_out_of_the_output_folder(site, tmp_path):
    out = tmp_path / "out"
    image = tmp_path / "bids" / "sub-1" / "anat" / "sub-1_T1w.nii.gz"
    scan = Scan(image, {"subject": "1", "datatype": "anat"}, "T1w", {}, SiteEvidence(site, "x"))
    assert ProfileCache(out / "banks", 1.0).path(site, "T1w").parent == out / "banks"
    name = canonical_site(site) or ""
    assert name.isprintable() or "\u202e" in name
    try:
        target = harmonized_path(out, scan, site)
    except UsageError as error:
        assert "letter or digit" in str(error)
        return
    assert target.parent == out / "sub-1" / "anat"
    assert summary_path(target).parent == out / "sub-1" / "summaries"


@pytest.mark.parametrize("label", ["..", "../x", "a/b", "", "-", "a b", "\x00", "1;rm"])
@pytest.mark.parametrize("option", ["--participant-label", "--session-label"])
def test_labels_are_letters_and_digits(option, label):
    with pytest.raises(UsageError):
        parse_settings(["b", "o", "participant", "--target-site", "COI", option, label])


def test_names_of_logs_are_no_paths(tmp_path):
    for text in ("sub-../../x_T1w", "sub-/etc_T1w", "..", "sub-_T1w"):
        assert unit_of(text) is None or "/" not in unit_of(text).label
    assert report_path(tmp_path, "1", None).parent == tmp_path


def test_rows_of_tables_that_name_other_places(cohort):
    cohort.table("participants.tsv", "participant_id site", "../../etc COI", "sub-02 COI")
    cohort.table("sub-01/sub-01_scans.tsv", "filename site", "/etc/passwd X", "../../../x.nii Y")
    cohort.table("sub-01/sub-01_sessions.tsv", "session_id site", "../.. Z")
    selection = find_scans(cohort.settings())
    assert {scan.label for scan in selection.scans} >= {"sub-01_T1w", "sub-02_T1w"}
    for scan in selection.scans:
        assert mask_path(Path("/out"), scan).is_relative_to("/out")


def test_trees_without_an_end_are_left(cohort):
    """Two links to the folder they lie in make 2^40 paths."""
    for name in ("ses-1", "ses-2", "anat/anat", "anat/ses-1"):
        (cohort.root / "sub-01" / name).symlink_to(cohort.root / "sub-01")
    (cohort.root / "sub-02" / "ses-1").symlink_to(cohort.root)
    start = time.monotonic()
    selection = find_scans(cohort.settings())
    assert time.monotonic() - start < 20
    assert {"sub-01_T1w", "sub-02_T1w"} <= {scan.label for scan in selection.scans}


def test_names_that_steer_a_terminal_stay_text(cohort, caplog):
    cohort.image(
        "sub-01/anat/sub-01_T1w",
        InstitutionName="COI\x1b[2J\x1b]0;owned\x07",
        Manufacturer="G\x1bE",
    )
    (scan,) = (s for s in find_scans(cohort.settings()).scans if s.subject == "01")
    assert scan.site.site == "COI [2J ]0;owned" and scan.site.vendor == "G E"
    assert "\x1b" not in caplog.text


def test_links_in_the_output_do_not_lead_into_the_input(cohort, tmp_path):
    settings = cohort.settings()
    subject = settings.output_dir / "sub-01"
    subject.mkdir(parents=True)
    check_output_links(settings.output_dir, ["01", "02"])
    (subject / "anat").symlink_to(cohort.root / "sub-01" / "anat")
    with pytest.raises(CannotCreateOutput, match="leads out of the output folder"):
        check_output_links(settings.output_dir, ["01", "02"])
    check_output_links(settings.output_dir, ["02"])
    (settings.output_dir / "sub-02").symlink_to(tmp_path)
    with pytest.raises(CannotCreateOutput, match="sub-02"):
        check_output_links(settings.output_dir, ["02"])


def test_a_sidecar_that_never_ends_is_the_problem_of_its_scan(cohort):
    import os

    sidecar = cohort.root / "sub-01/anat/sub-01_T1w.json"
    sidecar.unlink()
    os.mkfifo(sidecar)
    selection = find_scans(cohort.settings())
    (problem,) = selection.problems
    assert isinstance(problem.error, BidsHarmonyError) and "pipe" in str(problem.error)
