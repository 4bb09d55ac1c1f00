"""Errors of system and libraries in our words."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bids_harmony.exceptions import UsageError, from_system

# What CPython 3.11 raises where it finds no memory for a frame.
DAMAGED = (
    SystemError("error return without exception set"),
    TypeError("'frame' object is not callable"),
)
_ASK = """
import resource
from pathlib import Path
from bids_harmony.exceptions import UsageError, from_system

pages = int(Path("/proc/self/statm").read_text().split()[0])
# The end of memory leaves some scraps.
left = pages * resource.getpagesize() + (4 << 20)
resource.setrlimit(resource.RLIMIT_AS, (left, resource.RLIM_INFINITY))
reason = from_system({error!r})
print(int(reason.exit_code), reason.__cause__ is not None, reason)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("error", DAMAGED, ids=lambda e: type(e).__name__)
def test_any_error_without_memory_is_one_of_memory(error):
    asked = [sys.executable, "-c", _ASK.format(error=error)]
    told = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert told.startswith("75 True Out of memory") and str(error) in told


@pytest.mark.parametrize("error", DAMAGED, ids=lambda e: type(e).__name__)
def test_with_memory_the_same_error_is_a_fault_of_the_program(error):
    assert from_system(error) is None


def test_sentences_end_before_the_next_begins():
    assert str(UsageError("No images", expected="one")) == "No images. Expected: one."
    assert str(UsageError("Which?", hint="Say.")) == "Which? Say."
    assert str(UsageError("No images")) == "No images"
    assert str(UsageError("No images", where="a", got="0")) == "No images [a] Got: 0."
