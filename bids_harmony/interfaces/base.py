"""What all adapters share: a node's failure is kept as a record that the run can read back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from nipype.interfaces.base import SimpleInterface

from bids_harmony.exceptions import BidsHarmonyError, ExitCode, from_system
from bids_harmony.io.remarks import tell_once
from bids_harmony.resources import give_back_memory

__all__ = ["Adapter", "Failure", "forget_failure", "read_failure", "write_failure"]

_FAILURE_FILE = "error.json"


@dataclass(frozen=True)
class Failure:
    """Why a node failed, in the words of its exception.

    Attributes
    ----------
    error : str
        Name of the exception class.
    message : str
        The whole message, as the user reads it.
    exit_code : int
        Exit code of the BIDS execution specification.
    """

    error: str
    message: str
    exit_code: int

    @classmethod
    def of(cls, error: BaseException) -> Failure:
        """Record of an exception; an exception that is not ours has the unspecified code."""
        code = error.exit_code if isinstance(error, BidsHarmonyError) else ExitCode.UNSPECIFIED
        return cls(type(error).__name__, str(error), int(code))


def write_failure(error: BaseException, folder: Path) -> None:
    """Leave the record of an exception in a node's folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _FAILURE_FILE).write_text(json.dumps(asdict(Failure.of(error)), indent=2) + "\n")


def read_failure(folder: Path) -> Failure | None:
    """Record that a failed node left in its folder, or None when it left none, or half of one."""
    try:
        return Failure(**json.loads((folder / _FAILURE_FILE).read_text()))
    except (FileNotFoundError, json.JSONDecodeError):
        return None


def forget_failure(folder: Path) -> None:
    """Remove the record that an earlier run left: a node may fail before it writes its own."""
    (folder / _FAILURE_FILE).unlink(missing_ok=True)


class Adapter(SimpleInterface):
    """A `SimpleInterface` whose `_adapt` does the work and whose errors are recorded.

    Nipype turns every exception into text on its way through a worker; the record keeps class,
    message and exit code. The environment of the process is dropped from what Nipype stores: it
    may hold passwords and tokens.

    Of what readers remark on their files (`imaging.remarks`), only the step that makes the output
    tells, once: it names those inputs in `_tells_of`.
    """

    _tells_of: tuple[str, ...] = ()

    def run(self, cwd=None, ignore_exception=None, **inputs):
        """Let every exception out: Nipype would keep Ctrl-C and SIGTERM to itself and go on."""
        return super().run(cwd=cwd, ignore_exception=False, **inputs)

    def _adapt(self, folder: Path) -> dict:
        """Run the core function; `folder` is the node's own folder. Return the outputs by name."""
        raise NotImplementedError

    def _run_interface(self, runtime):
        runtime.environ = {}
        folder = Path(runtime.cwd)
        files = {str(getattr(self.inputs, name)) for name in self._tells_of}
        try:
            with tell_once(files):
                self._results.update(self._adapt(folder))
        except Exception as error:
            ours = from_system(error) or error
            _leave_record(ours, folder)
            if ours is error:
                raise
            raise ours from error
        finally:
            give_back_memory()
        return runtime


def _leave_record(error: Exception, folder: Path) -> None:
    try:
        write_failure(error, folder)
    except OSError as unwritten:  # the disk is full: the traceback still carries the message
        error.add_note(f"No record of this failure could be written: {unwritten}")
