"""Every dataset of https://github.com/bids-standard/bids-examples gets a plan or a word.

The folder of a clone is named by the environment variable ``BIDS_EXAMPLES``. Most of its images
are empty files: such a scan is refused (74), as the run would.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bids_harmony.exceptions import ExitCode
from tests.examples.program import plan

CLONE = os.environ.get("BIDS_EXAMPLES")
DATASETS = (
    sorted(p.parent for p in Path(CLONE).glob("*/dataset_description.json")) if CLONE else []
)
# Nothing that is said of a dataset is a fault of the program, or one of disk and memory.
SAID = {
    ExitCode.DONE, ExitCode.UNSPECIFIED, ExitCode.NOT_BIDS, ExitCode.NOTHING_SELECTED,
    ExitCode.BAD_DATA, ExitCode.MISSING_INPUT, ExitCode.INPUT_OUTPUT,
}  # fmt: skip


@pytest.mark.skipif(not DATASETS, reason="BIDS_EXAMPLES names no clone of bids-examples")
@pytest.mark.parametrize("bids", DATASETS, ids=lambda path: path.name)
@pytest.mark.parametrize("words", [(), ("--source-site", "X")], ids=["as it is", "with a site"])
def test_a_plan_or_a_word(tmp_path, bids, words):
    look = next(iter(sorted(bids.glob("sub-*/**/*_T1w.nii*"))), None)
    given = ("--target-image", str(look)) if look else ("--target-site", "X")
    made = plan(bids, tmp_path, *given, *words)
    assert made.code in SAID, made.text
    assert "Traceback" not in made.text and "fault of the program" not in made.text
    # Several kinds of refusals make the unspecified code, and nothing else does.
    assert made.code != ExitCode.UNSPECIFIED or len(made.refused) > 1, made.text
    has_scans = any(bids.glob("sub-*/**/anat/*_T1w.nii*"))
    assert made.code == ExitCode.NOTHING_SELECTED or made.scans or made.refused or not has_scans
