"""Why a site's profile cannot be had, in the words and with the code of the scan that failed."""

from __future__ import annotations

import pytest

from bids_harmony.exceptions import (
    BidsHarmonyError,
    CannotCreateOutput,
    InputOutputError,
    MissingInput,
    MissingProgram,
    SiteError,
)
from bids_harmony.workflows.status import ScanStatus, why_unseen


def failed(label: str, code: int) -> ScanStatus:
    return ScanStatus(label, "failed", "X", f"Cause of {label}.", code)


@pytest.mark.parametrize(
    ("codes", "kind", "named"),
    [
        ((74,), InputOutputError, "scan0"),
        ((65,), SiteError, "scan0"),
        ((66,), MissingInput, "scan0"),
        ((73,), CannotCreateOutput, "scan0"),
        ((127,), MissingProgram, "scan0"),
        ((1,), BidsHarmonyError, "scan0"),
        # What may pass comes before what will not.
        ((65, 74, 65), InputOutputError, "scan1"),
        ((1, 65), SiteError, "scan1"),
    ],
)
def test_a_look_is_missing_for_the_reason_that_its_scans_failed(codes, kind, named):
    statuses = [failed(f"scan{n}", code) for n, code in enumerate(codes)]
    reason = why_unseen("COI", statuses)
    assert type(reason) is kind and reason.exit_code in codes
    assert "COI" in str(reason) and f"[{named}] Got: Cause of {named}." in str(reason)
    assert ("Run the same command again" in str(reason)) == (kind is InputOutputError)


def test_a_site_without_scans_has_no_reason_to_tell():
    assert why_unseen("COI", []) is None
