"""Scripts for a cluster: what they say, and that a shell runs them as they are meant."""

from __future__ import annotations

import os
import shlex
import subprocess
import tomllib

import pytest

from bids_harmony.bids.dataset import find_scans
from bids_harmony.cli.main import main
from bids_harmony.cli.slurm import render, units_of
from bids_harmony.settings import Settings
from lab import slurm_example
from lab.slurm_example import EXAMPLE, example


@pytest.fixture
def write(cohort, tmp_path, capsys):
    """Write scripts for the cohort, into folders whose names a shell would trip over."""
    out, scripts = tmp_path / "the $out put", tmp_path / "it's scripts"

    def call(*words, level="participant"):
        code = main(
            [str(cohort.root), str(out), level, "--write-slurm", str(scripts),
             "-w", str(tmp_path / "w"), *words]
        )  # fmt: skip
        return code, scripts, capsys.readouterr().err

    return call


@pytest.fixture
def pretended(tmp_path):
    """Programs in the place of sbatch and of ours, which write down their words."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, answer in (("sbatch", 'echo $((100 + $(wc -l < "$SEEN")))";cluster"'), ("ours", "")):
        program = folder / name
        program.write_text(f'#!/usr/bin/env bash\nprintf "%q " "$@" >> "$SEEN"; echo >> "$SEEN"\n'
                           f'{answer}\nexit "${{CODE:-0}}"\n')  # fmt: skip
        program.chmod(0o755)
    return folder


def shell(script, *words, seen, bin_folder, **environment):
    seen.write_text("")
    done = subprocess.run(
        ["bash", str(script), *words], capture_output=True, text=True,
        env=os.environ | environment
        | {"SEEN": str(seen), "PATH": f"{bin_folder}:{os.environ['PATH']}"},
    )  # fmt: skip
    return done, [shlex.split(line) for line in seen.read_text().splitlines()]


def test_nothing_but_scripts_is_written(write, tmp_path):
    code, scripts, told = write("--target-site", "coi")
    assert code == 0 and "submit.sh" in told
    assert {p.name for p in scripts.iterdir()} == {
        "cluster.sh", "submit.sh", "participant.sbatch", "group.sbatch", "participants.txt",
        "settings.toml",
    }  # fmt: skip
    assert not (tmp_path / "the $out put").exists() and not (tmp_path / "w").exists()
    assert (scripts / "participants.txt").read_text().splitlines() == [
        "sub-01", "sub-02", "sub-03 ses-COI", "sub-03 ses-GE",
    ]  # fmt: skip


def test_options_travel_in_the_settings_file(write):
    write("--target-site", "coi", "--skull-strip", "--modalities", "T1w", "--nprocs", "3",
          "--mem", "5G", "--session-label", "GE", "--random-seed", "7")  # fmt: skip
    _, scripts, _ = write("--target-site", "coi", "--skull-strip", "--nprocs", "3", "--mem", "5G")
    text = (scripts / "settings.toml").read_text()
    record = tomllib.loads(text)
    assert record["skull_strip"] is True and record["target_site"] == "COI"
    said_by_scripts = {"bids_dir", "output_dir", "analysis_level", "work_dir", "nprocs",
                       "omp_nthreads", "memory_mb", "dry_run", "write_slurm"}  # fmt: skip
    assert not set(record) & said_by_scripts
    job = (scripts / "participant.sbatch").read_text()
    assert "--cpus-per-task=3" in job and "--mem=5120M" in job


def test_a_shell_gives_the_task_its_words(write, pretended, tmp_path):
    _, scripts, _ = write("--target-site", "COI")
    cluster = scripts / "cluster.sh"
    cluster.write_text(cluster.read_text() + "PROGRAM=(ours)\n")
    task = {"SLURM_ARRAY_TASK_ID": "1", "SLURM_CPUS_PER_TASK": "2", "CODE": "66"}
    done, (words,) = shell(
        scripts / "participant.sbatch", "2", seen=tmp_path / "seen", bin_folder=pretended, **task
    )
    assert done.returncode == 66, done.stderr  # the program's own code
    assert words[:3] == [
        str(tmp_path / "bids"), str(tmp_path / "the $out put"), "participant",
    ]  # fmt: skip
    settings = Settings.from_dict(_parsed(words))
    assert settings.participant_labels == ("03",) and settings.session_labels == ("COI",)
    assert settings.target_site == "COI" and settings.nprocs == 2
    assert settings.work_dir == tmp_path / "w" / "sub-03_ses-COI"
    # A whole participant takes the sessions from the settings file.
    done, (words,) = shell(
        scripts / "participant.sbatch", seen=tmp_path / "seen", bin_folder=pretended, **task
    )
    assert "--session-label" not in words and "sub-01" in words
    done, calls = shell(
        scripts / "participant.sbatch", "9", seen=tmp_path / "seen", bin_folder=pretended, **task
    )
    assert done.returncode == 64 and not calls and "no line 10" in done.stderr


def _parsed(words):
    from bids_harmony.cli.parser import parse_words

    return parse_words(words)


def test_the_chain_waits_as_it_should(write, pretended, tmp_path):
    _, scripts, _ = write("--target-site", "COI", level="train")
    done, calls = shell(
        scripts / "submit.sh", seen=tmp_path / "seen", bin_folder=pretended,
        ARRAY_SIZE="3", CPU_PARTITION="long", MAX_RUNNING="9",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [
        "train", "101", "participant", "102", "participant", "103", "group", "104",
    ]  # fmt: skip
    train, first, second, group = calls
    assert train[-1].endswith("/train.sbatch") and "--dependency" not in train
    for call, array, offset in ((first, "1-3%9", "0"), (second, "1-1%9", "3")):
        assert call[call.index("--dependency") + 1] == "afterok:101"
        assert call[call.index("--array") + 1] == array and call[-1] == offset
    assert group[group.index("--dependency") + 1] == "afterok:101,afterany:102:103"
    assert all("--kill-on-invalid-dep=yes" in call for call in calls[1:])
    assert all(call[call.index("--partition") + 1] == "long" for call in calls)
    done, calls = shell(
        scripts / "submit.sh", "--no-train", "--no-group", seen=tmp_path / "seen",
        bin_folder=pretended, PARTICIPANT_GPUS="2", GPU_PARTITION="cards", ACCOUNT="lab",
    )  # fmt: skip
    (only,) = calls
    assert only[only.index("--gres") + 1] == "gpu:2" and "--dependency" not in only
    assert only[only.index("--partition") + 1] == "cards"
    assert only[only.index("--account") + 1] == "lab"


def test_group_follows_participants_that_failed(write, pretended, tmp_path):
    _, scripts, _ = write("--target-site", "COI")
    _, calls = shell(scripts / "submit.sh", seen=tmp_path / "seen", bin_folder=pretended)
    assert len(calls) == 2
    assert calls[1][calls[1].index("--dependency") + 1] == "afterany:101"
    done, _ = shell(scripts / "submit.sh", seen=tmp_path / "seen", bin_folder=pretended, CODE="1")
    assert done.returncode == 1  # a refused submission is not passed over


def test_training_takes_a_process_per_card(write, pretended, tmp_path):
    _, scripts, _ = write("--target-site", "COI", "--device", "cuda", level="train")
    cluster = scripts / "cluster.sh"
    assert "TRAIN_GPUS=${TRAIN_GPUS:-1}" in cluster.read_text()
    cluster.write_text(cluster.read_text() + "PROGRAM=(ours one)\nTORCHRUN=(ours torchrun)\n")
    for cards, first in (("1", "one"), ("4", "torchrun")):
        _, (words,) = shell(
            scripts / "train.sbatch", seen=tmp_path / "seen", bin_folder=pretended,
            SLURM_GPUS_ON_NODE=cards, SLURM_CPUS_PER_TASK="8",
        )  # fmt: skip
        assert words[0] == first
    assert words[:6] == ["torchrun", "--standalone", "--nproc-per-node", "4", "-m", "bids_harmony"]
    assert words[8] == "train"


def test_what_the_user_wrote_about_the_cluster_stays(write):
    _, scripts, _ = write("--target-site", "COI")
    (scripts / "cluster.sh").write_text("mine\n")
    (scripts / "submit.sh").write_text("old\n")
    write("--target-site", "COI")
    assert (scripts / "cluster.sh").read_text() == "mine\n"
    assert (scripts / "submit.sh").read_text() != "old\n"


@pytest.mark.parametrize(
    ("words", "level", "code", "told"),
    [
        (("--target-site", "MARS"), "participant", 65, "does not exist"),
        ((), "train", 64, "--target-site"),
        (("--target-site", "COI"), "group", 64, "chain"),
        (("--target-site", "COI", "--participant-label", "77"), "participant", 18, "sub-77"),
    ],
    ids=["target", "no-target", "level", "nobody"],
)
def test_what_cannot_run_is_refused(write, words, level, code, told):
    got, scripts, err = write(*words, level=level)
    assert got == code and told in err and not scripts.exists()


def test_scans_that_will_be_refused_are_told_and_get_no_job(cohort, write):
    cut = cohort.root / "sub-01/anat/sub-01_T1w.nii.gz"
    cut.write_bytes(cut.read_bytes()[:60])
    code, scripts, told = write("--target-site", "COI")
    assert code == 0 and "Left out: sub-01_T1w: the file is truncated" in told
    assert "sub-01" not in (scripts / "participants.txt").read_text().split()
    # As the dry run has it.
    assert write("--target-site", "COI", "--dry-run")[0] == 74


def test_where_every_scan_will_be_refused_the_code_is_that_of_the_dry_run(cohort, write):
    words = ("--target-site", "COI", "--participant-label", "01", "--bank-scans", "1")
    cut = cohort.root / "sub-01/anat/sub-01_T1w.nii.gz"
    cut.write_bytes(cut.read_bytes()[:60])
    code, scripts, told = write(*words)
    assert code == 74 == write(*words, "--dry-run")[0]
    assert "No scan can be used" in told and not scripts.exists()


def test_scripts_never_go_into_the_input(cohort, tmp_path, capsys):
    words = [str(cohort.root), str(tmp_path / "out"), "participant", "--target-site", "COI"]
    assert main([*words, "--write-slurm", str(cohort.root / "code")]) == 73
    assert "--write-slurm" in capsys.readouterr().err


def test_sessions_that_need_each_other_are_one_job(cohort):
    """The T2w of a session without a T1w goes to the reference through another session's."""
    cohort.image("sub-03/ses-GE/anat/sub-03_ses-GE_T2w", Manufacturer="GE")
    scans = find_scans(cohort.settings()).scans
    assert [u.line for u in units_of(scans)][2:] == ["sub-03 ses-COI", "sub-03 ses-GE"]
    cohort.image("sub-03/ses-MR/anat/sub-03_ses-MR_T2w", Manufacturer="GE")
    units = units_of(find_scans(cohort.settings()).scans)
    assert [u.line for u in units] == ["sub-01", "sub-02", "sub-03"]
    assert [len(u.scans) for u in units] == [1, 2, 4]


def test_the_committed_example_is_what_is_written_now():
    files = render(example())
    assert {p.name: p.read_text() for p in EXAMPLE.iterdir() if p.suffix != ".md"} == files


def test_one_target_makes_all_that_follows_the_options(monkeypatch, tmp_path):
    rule = (EXAMPLE.parents[1] / "Makefile").read_text().partition("\nboutiques.json:")[2]
    assert "-m lab.slurm_example" in rule.partition("\n\n")[0]
    monkeypatch.setattr(slurm_example, "EXAMPLE", tmp_path)
    assert slurm_example.main() == 0
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == render(example())


def test_sessions_that_share_a_space_are_one_job(cohort):
    units = units_of(find_scans(cohort.settings(longitudinal=True)).scans)
    assert [u.line for u in units] == ["sub-01", "sub-02", "sub-03"]
    assert [len(u.scans) for u in units] == [1, 2, 2]


@pytest.mark.parametrize("name", sorted(render(example())))
def test_scripts_are_shell(name, tmp_path):
    if not name.endswith((".sh", ".sbatch")):
        pytest.skip("no script")
    script = tmp_path / name
    script.write_text(render(example())[name])
    assert subprocess.run(["bash", "-n", str(script)], capture_output=True).returncode == 0
