"""Adapters record why they failed and keep no environment."""

from __future__ import annotations

import errno
import logging

import pytest

from bids_harmony.exceptions import ExitCode, ImageError, InputOutputError, Terminated, TryAgain
from bids_harmony.interfaces.base import Adapter, Failure, read_failure, write_failure


class _Raise(Adapter):
    def __init__(self, error):
        super().__init__()
        self._error = error

    def _adapt(self, folder):
        if self._error is not None:
            raise self._error
        return {}


def test_an_error_of_ours_is_recorded_and_raised(tmp_path):
    error = ImageError("bad voxels", where="scan.nii", expected="numbers", got="NaN")
    with pytest.raises(ImageError):
        _Raise(error).run(cwd=str(tmp_path))
    assert read_failure(tmp_path) == Failure("ImageError", str(error), ExitCode.BAD_DATA)


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device", "out.nii"), MemoryError()]
)
def test_a_full_disk_and_full_memory_ask_to_try_again(tmp_path, error):
    with pytest.raises(TryAgain):
        _Raise(error).run(cwd=str(tmp_path))
    failure = read_failure(tmp_path)
    assert failure.exit_code == ExitCode.TRY_AGAIN


def test_a_disk_that_fails_in_a_library_has_its_code(tmp_path):
    with pytest.raises(InputOutputError, match=r"comparison\.npz"):
        _Raise(OSError(errno.EIO, "Input/output error", "comparison.npz")).run(cwd=str(tmp_path))
    assert read_failure(tmp_path).exit_code == ExitCode.INPUT_OUTPUT


@pytest.mark.parametrize("stop", [KeyboardInterrupt, Terminated])
def test_a_step_cannot_keep_a_stop_to_itself(tmp_path, stop):
    """Nipype's own run makes a failed node of it, and goes on with the next."""
    with pytest.raises(stop):
        _Raise(stop()).run(cwd=str(tmp_path), ignore_exception=True)


def test_any_other_error_has_the_unspecified_code(tmp_path):
    with pytest.raises(ZeroDivisionError):
        _Raise(ZeroDivisionError("by zero")).run(cwd=str(tmp_path))
    assert read_failure(tmp_path).exit_code == ExitCode.UNSPECIFIED


def test_no_failure_no_record(tmp_path):
    result = _Raise(None).run(cwd=str(tmp_path))
    assert read_failure(tmp_path) is None
    assert result.runtime.environ == {}


def test_record_round_trip(tmp_path):
    write_failure(TryAgain("full"), tmp_path / "new")
    assert read_failure(tmp_path / "new") == Failure("TryAgain", "full", 75)


def test_only_the_step_that_makes_the_output_remarks_on_its_file(tmp_path, caplog):
    from nipype.interfaces.base import BaseInterfaceInputSpec, File

    from bids_harmony.io.remarks import remark

    class Quiet(Adapter):
        class input_spec(BaseInterfaceInputSpec):
            in_file = File()

        def _adapt(self, folder):
            for file in ("a.nii", "a.nii", "mask.nii"):
                remark(logging.getLogger("bids_harmony"), str(tmp_path / file), "two forms")
            return {}

    class Telling(Quiet):
        _tells_of = ("in_file",)

    for kind in (Quiet, Telling, Quiet):
        kind(in_file=str(tmp_path / "a.nii")).run(cwd=str(tmp_path))
    warned = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert warned == [f"{tmp_path / 'a.nii'}: two forms"]
