"""The program as a whole: one exit code with its meaning, nothing written where it must not."""

from __future__ import annotations

import ast
import errno
import json
import os
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest

from bids_harmony.cli import participant
from bids_harmony.cli.main import main
from bids_harmony.exceptions import DataError, ExitCode, MissingInput, Terminated, TryAgain
from bids_harmony.sites.profile_files import write_profiles


def snapshot(folder: Path) -> dict[str, bytes | None]:
    return {str(p): p.read_bytes() if p.is_file() else None for p in folder.rglob("*")}


def last_line(text: str) -> str:
    return text.strip().splitlines()[-1]


def test_success_is_said_once_at_the_end(call, workflow, cohort, tmp_path):
    before = snapshot(cohort.root)
    code, _, err = call()
    assert code == 0
    assert err.count("successfully") == 1 and "exit code 0" in last_line(err)
    assert snapshot(cohort.root) == before
    ((settings, scans, log_dir),) = workflow.calls
    assert settings.target_site == "COI" and len(scans) == 5
    assert {p.name for p in log_dir.iterdir()} == {
        "settings.toml", "status.json", "bids_harmony.log",
    }  # fmt: skip
    assert json.loads((log_dir / "status.json").read_text())["exit_code"] == 0
    assert "exit code 0" in last_line((log_dir / "bids_harmony.log").read_text())
    assert (tmp_path / "out/dataset_description.json").is_file()


def test_flags_of_other_apps_are_told_of(call, workflow):
    code, _, told = call("--low_mem", "--nprocs", "1", "--omp-nthreads", "4")
    assert code == 0 and "--low-mem changes nothing" in told
    assert "--omp-nthreads 4 is more than --nprocs allows; taken: 1" in told
    settings, _, log_dir = workflow.calls[0]
    assert settings.omp_nthreads == 1
    assert "--low-mem changes nothing" in (log_dir / "bids_harmony.log").read_text()
    code, _, told = call("--fs-subjects-dir", "/fs")
    assert code == 64 and "-d fmriprep=PATH" in told


def test_train(call, workflow):
    assert call(level="train")[0] == 0
    assert workflow.calls[0][0].analysis_level == "train"


def test_processes_beside_the_first_only_train(call, workflow, monkeypatch, tmp_path):
    room = types.ModuleType("bids_harmony.training.adapt")
    given = []
    room.train_model = lambda scans, settings, out_dir: given.append((scans, out_dir))
    monkeypatch.setitem(sys.modules, "bids_harmony.training.adapt", room)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    assert call(level="train")[0] == 0
    assert given == [((), tmp_path / "out" / "models")] and not workflow.calls
    assert not (tmp_path / "out").exists()
    call("--dry-run", level="train")
    monkeypatch.setenv("RANK", "0")
    assert call(level="train")[0] == 0
    assert len(given) == 1 and len(workflow.calls) == 1


def test_the_workers_server_starts_before_the_dataset_is_looked_at(call, workflow, monkeypatch):
    order = []
    monkeypatch.setattr("bids_harmony.workflows.workers.start_server", lambda: order.append("on"))
    look = participant.look_ahead
    monkeypatch.setattr(
        participant, "look_ahead", lambda settings: order.append("look") or look(settings)
    )
    call("--nprocs", "2")
    assert order == ["on", "look"]
    one = ("--nprocs", "2", "--participant-label", "01")  # may have a single scan
    for words in (("--nprocs", "1"), ("--nprocs", "2", "--dry-run"), one):
        order.clear()
        call(*words)
        assert order == ["look"], words
    order.clear()
    call("--nprocs", "2", "--boilerplate-only")
    assert order == []


def test_scans_and_sites_are_found_without_the_network(cohort, tmp_path):
    """Its import takes longer than all the rest, and workers may start before it."""
    write_profiles(tmp_path / "models", [], 2.0)
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from bids_harmony.bids.dataset import find_scans\n"
        "from bids_harmony.cli.participant import find_target, model_sites\n"
        "from bids_harmony.settings import Settings\n"
        "data, out, model = map(Path, sys.argv[1:])\n"
        "settings = Settings(data, out, 'participant', target_site='coi', model_dir=model)\n"
        "sites = model_sites(settings)\n"
        "print(find_target(settings, find_scans(settings, known_sites=sites), sites))\n"
        "print(*(name for name in ('torch', 'ants', 'nilearn') if name in sys.modules))"
    )
    words = [str(cohort.root), str(tmp_path / "out"), str(tmp_path / "models")]
    run = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert run.stdout == "COI\n\n", run.stderr


def test_one_bad_subject_does_not_stop_the_others(call, workflow, cohort):
    (cohort.root / "sub-02/anat/sub-02_T2w.json").write_text("{,}")
    code, _, err = call()
    assert len(workflow.calls[0][1]) == 4
    assert code == 65 and last_line(err).endswith("Exit code 65: bad data")
    assert "sub-02_T2w.json, line 1" in err and "successfully" not in err
    assert call("--stop-on-first-crash")[0] == 65 and len(workflow.calls) == 1


def test_failures_of_two_kinds_are_unspecified(call, workflow, cohort):
    (cohort.root / "sub-02/anat/sub-02_T2w.json").write_text("{,}")
    workflow.answer = ExitCode.TRY_AGAIN
    assert call()[0] == 1
    workflow.answer = ExitCode.BAD_DATA
    assert call()[0] == 65


@pytest.mark.parametrize(
    ("raised", "code", "told"),
    [
        (DataError("Bad voxels", where="x.nii"), 65, "Bad voxels"),
        (MissingInput("No model", hint="Train first."), 66, "Train first"),
        (TryAgain("A worker was killed"), 75, "killed"),
        (OSError(errno.ENOSPC, "No space left on device", "/out/x"), 75, "/out/x"),
        (OSError(errno.EIO, "Input/output error", "/out/x"), 74, "/out/x"),
        (OSError(errno.EROFS, "Read-only file system", "/out/x"), 73, "read-only"),
        (ImportError("No module named 'amico'", name="amico"), 127, "amico"),
        (MemoryError(), 75, "--batch-size"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 75, "--batch-size"),
        (ImportError("x.so: failed to map segment from shared object"), 75, "Out of memory"),
        (KeyboardInterrupt(), 130, "Interrupted"),
        (Terminated(), 143, "SIGTERM"),
        (ZeroDivisionError("division by zero"), 1, "fault of the program"),
    ],
    ids=lambda v: type(v).__name__ if isinstance(v, BaseException) else None,
)
def test_every_failure_has_its_code(call, workflow, tmp_path, raised, code, told):
    workflow.answer = raised
    got, _, err = call()
    assert got == code and told in err
    assert f"Exit code {code}: " in last_line(err)
    assert "Traceback" not in err
    (log_dir,) = (tmp_path / "out/logs").iterdir()
    assert json.loads((log_dir / "status.json").read_text())["exit_code"] == code
    if code not in (130, 143):
        assert "Traceback" in (log_dir / "bids_harmony.log").read_text()


def test_sigterm_ends_a_run_with_its_last_words(call, workflow, monkeypatch, tmp_path):
    before = signal.getsignal(signal.SIGTERM)

    def wait_for_the_signal(*words, **more):
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("it went on")

    monkeypatch.setattr(workflow, "run_participant", wait_for_the_signal)
    code, _, err = call()
    assert code == 143 and "SIGTERM" in err
    assert last_line(err).endswith("Exit code 143: terminated")
    (status,) = (tmp_path / "out/logs").glob("*/status.json")
    record = json.loads(status.read_text())
    assert (record["state"], record["exit_code"]) == ("failed", 143)
    assert signal.getsignal(signal.SIGTERM) == before


def test_debug_shows_the_traceback(call, workflow):
    workflow.answer = ZeroDivisionError("division by zero")
    assert "Traceback" in call("--debug")[2]


def test_input_that_is_not_bids(call, cohort, tmp_path):
    (cohort.root / "dataset_description.json").unlink()
    code, _, err = call()
    assert code == 16 and "dataset_description.json" in err
    assert not (tmp_path / "out").exists()
    assert main([str(tmp_path / "none"), str(tmp_path / "out"), "train"]) == 66


def test_nothing_selected(call, workflow):
    assert call("--participant-label", "99")[0] == 18
    assert call("--modalities", "FLAIR")[0] == 18


@pytest.mark.parametrize("where", [".", "out", "sub-01/x", "derivatives"])
def test_output_in_the_input(call, workflow, cohort, where):
    before = snapshot(cohort.root)
    code, _, err = call(out=cohort.root / where)
    assert code == 73 and "never written" in err and "derivatives/bids_harmony" in err
    assert snapshot(cohort.root) == before


def test_output_in_the_input_behind_a_link(call, workflow, cohort, tmp_path):
    (tmp_path / "link").symlink_to(cohort.root)
    assert call(out=tmp_path / "link/out")[0] == 73


def test_output_below_derivatives(call, workflow, cohort):
    assert call(out=cohort.root / "derivatives/ours")[0] == 0
    # The next run does not take the first one's output for input.
    assert call(out=cohort.root / "derivatives/ours")[0] == 0
    assert len(workflow.calls[1][1]) == 5


def test_work_folder_in_the_input(call, workflow, cohort):
    assert call("-w", str(cohort.root / "work"))[0] == 73


def test_output_that_cannot_be_made(call, workflow, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = call(out=tmp_path / "file/out")
    assert code == 73 and "file/out" in err


@pytest.mark.parametrize(
    "failure",
    [OSError(errno.ENOSPC, "No space left on device", "status.json"), MemoryError()],
    ids=["disk", "memory"],
)
@pytest.mark.parametrize(("answer", "ends"), [(ExitCode.DONE, 75), (ExitCode.BAD_DATA, 65)])
def test_nothing_left_at_the_last_word(call, workflow, monkeypatch, failure, answer, ends):
    """The status cannot be written: that is no success, and no other failure than before."""
    real = os.replace

    def fails(source, target):
        if Path(target).name == "status.json" and workflow.calls:
            raise failure
        real(source, target)

    monkeypatch.setattr(os, "replace", fails)
    workflow.answer = answer
    code, _, err = call()
    assert code == ends and "successfully" not in err
    assert "status could not be written" in err and "Traceback" not in err


def test_wrong_usage(capsys):
    assert main(["--nonsense"]) == 64
    assert "Exit code 64" in last_line(capsys.readouterr().err)
    assert main(["a", "b", "cohort"]) == 17


def test_as_a_module():
    run = subprocess.run(
        [sys.executable, "-m", "bids_harmony", "--version"], capture_output=True, text=True
    )
    assert run.returncode == 0 and run.stdout.startswith("bids_harmony 0.")
    run = subprocess.run([sys.executable, "-m", "bids_harmony"], capture_output=True, text=True)
    assert run.returncode == 64


def test_train_leaves_diffusion_series_out(call, workflow, cohort):
    cohort.image("sub-01/dwi/sub-01_dwi", InstitutionName="COI")
    for kind in ("bval", "bvec"):
        (cohort.root / f"sub-01/dwi/sub-01_dwi.{kind}").write_text("0 1000\n")
    # Another one cannot be used, which is no concern of training.
    cohort.image("sub-02/dwi/sub-02_dwi", InstitutionName="COI")
    code, _, told = call(level="train")
    assert code == 0
    assert "1 diffusion series are left out" in told
    assert {scan.modality for scan in workflow.calls[0][1]} == {"T1w", "T2w"}


#: What a worker would find, in a process that began as the program does.
_BLAS_THREADS = """
import subprocess, sys
from bids_harmony.cli import participant
from bids_harmony.cli.main import main
main(["--version"])
found = (
    "import numpy, scipy.linalg, threadpoolctl as t;"
    "print([p['num_threads'] for p in t.threadpool_info() if p['user_api'] == 'blas'])"
)
sys.exit(subprocess.run([sys.executable, "-c", found]).returncode)
"""


def test_workers_multiply_with_one_thread():
    """On a host of many processors each would else begin that many threads."""
    environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", _BLAS_THREADS], env=environment, capture_output=True, text=True
    )
    found = ast.literal_eval(done.stdout.splitlines()[-1])
    assert found and set(found) == {1}, done.stderr


@pytest.mark.parametrize("dry", [True, False])
@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--model", "nowhere"], 66),
        (["--derivatives", "fmriprep=nowhere"], 66),
        (["--site-map", "nowhere.tsv"], 66),
        (["--bids-filter-file", "nowhere.json"], 66),
        (["--target-image", "nowhere_T1w.nii.gz"], 66),
        (["--use-plugin", "nowhere.yml"], 66),
        (["--report-3d", "nowhere"], 66),
        (["--config-file", "nowhere.toml"], 66),
        (["-w", "a_file/work"], 73),
        (["--target-site", "Mars"], 65),
        (["--source-site", "NEW", "--target-site", "Mars"], 65),
        (["--source-site", "NEW"], 0),
        (["--modalities", "T2w", "--target-site", "GE"], 65),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else str(v),
)
def test_what_is_wrong_with_options_is_said_at_once_and_by_the_plan(
    call, workflow, tmp_path, monkeypatch, words, code, dry
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a_file").write_text("")
    found, _, told = call(*words, *(["--dry-run"] if dry else []))
    assert found == code, told
    assert code == 0 or not workflow.calls
    if code and "nowhere" in " ".join(words):
        assert "nowhere" in told
