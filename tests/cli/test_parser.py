"""The command line: spellings, units, what wins, and what is said about mistakes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bids_harmony.cli.parser import parse_settings
from bids_harmony.exceptions import UnknownLevel, UsageError
from bids_harmony.methods.registry import REGISTRY
from bids_harmony.settings import Settings, TrainingSettings

BASE = ["bids", "out", "participant", "--target-site", "COI"]


def test_defaults_are_those_of_the_settings():
    asked = parse_settings(BASE)
    here = Path.cwd()
    assert asked == Settings(
        bids_dir=here / "bids",
        output_dir=here / "out",
        analysis_level="participant",
        target_site="COI",
    )


@pytest.mark.parametrize(
    ("words", "field", "value"),
    [
        ("--participant-label sub-01 02", "participant_labels", ("01", "02")),
        ("--participant_label 01", "participant_labels", ("01",)),
        ("--session-label ses-A", "session_labels", ("A",)),
        ("--session-id A B", "session_labels", ("A", "B")),
        ("--modalities T1w T2w", "modalities", ("T1w", "T2w")),
        ("-d fp=/a", "derivatives", {"fp": Path("/a")}),
        ("--derivatives /x/fmriprep", "derivatives", {"fmriprep": Path("/x/fmriprep")}),
        ("--skip-bids-validation", "skip_bids_validation", True),
        ("--skip_bids_validation", "skip_bids_validation", True),
        ("--skip-bids-validator", "skip_bids_validation", True),
        ("--source-site GE", "source_site", "GE"),
        ("--site-map /m.tsv", "site_map", Path("/m.tsv")),
        ("--model /m", "model_dir", Path("/m")),
        ("-w /w", "work_dir", Path("/w")),
        ("--work-dir /w", "work_dir", Path("/w")),
        ("--clean-workdir", "clean_workdir", True),
        ("--keep-workdir never", "keep_workdir", "never"),
        *[
            (f"{flag} 1", "nprocs", 1)
            for flag in (
                "--nprocs", "--nthreads", "--n-cpus", "--n_cpus", "--ncpus", "--n_procs",
            )
        ],
        ("--omp-nthreads 1", "omp_nthreads", 1),
        ("--mem 4G", "memory_mb", 4096),
        ("--mem-mb 4000", "memory_mb", 4000),
        ("--mem_mb 4000", "memory_mb", 4000),
        ("--mem-gb 4", "memory_mb", 4096),
        ("--use-plugin /p.yml", "plugin_file", Path("/p.yml")),
        ("--nipype-plugin-file /p.yml", "plugin_file", Path("/p.yml")),
        ("--device cuda:1", "device", "cuda:1"),
        ("--batch-size 4", "batch_size", 4),
        ("--output-spaces native MNI152NLin2009aSym", "output_spaces",
         ("native", "MNI152NLin2009aSym")),
        ("--output-spaces MNI152NLin2009cAsym:res-02 anat", "output_spaces",
         ("MNI152NLin2009cAsym:res-2", "T1w")),
        ("--template-dir /t", "template_dir", Path("/t")),
        ("--output-layout raw", "output_layout", "raw"),
        ("--output-layout bids", "output_layout", "derivative"),
        ("--participant_labels 01", "participant_labels", ("01",)),
        ("-m T1w", "modalities", ("T1w",)),
        ("--random-seed 5", "random_seed", 5),
        ("--stop-on-first-crash", "stop_on_first_crash", True),
        ("--dry-run", "dry_run", True),
        ("--sloppy", "sloppy", True),
        ("--reports-only", "reports_only", True),
        ("--boilerplate-only", "boilerplate_only", True),
        ("--boilerplate_only", "boilerplate_only", True),
        ("--report-output-level session", "report_output_level", "session"),
        ("--report-3d /niivue", "report_3d", Path("/niivue")),
        ("--debug", "debug", "yes"),
        ("--debug pdb", "debug", "pdb"),
        ("--debug all", "debug", "yes"),
        ("-vv", "verbosity", 2),
        ("--notrack", "verbosity", 0),
        ("--skull-strip", "skull_strip", True),
        ("--n4", "n4", True),
        ("--bank-size 3 --keep 0.5", "training", TrainingSettings(bank_size=3, keep=0.5)),
        *[(f"--method {name}", "method", name) for name in REGISTRY],
        ("--paired-steps 9 --paired-width 8 --cgan-epochs 2", "training",
         TrainingSettings(paired_steps=9, paired_width=8, cgan_epochs=2)),
        ("--simix-epochs 3 --simix-mixing 0.2 --paired-per-site --ssimh-corner 4", "training",
         TrainingSettings(simix_epochs=3, simix_mixing=0.2, paired_per_site=True,
                          ssimh_corner=4)),
        ("--no-resume", "training", TrainingSettings(resume=False)),
        ("--no-relative --aan replace --grid 1 --recursion mean", "training",
         TrainingSettings(relative=False, aan="replace", grid=1, recursion="mean")),
        ("--epochs 3 --patience 0 --accumulate 4 --train-precision bf16", "training",
         TrainingSettings(epochs=3, patience=0, accumulate=4, precision="bf16")),
        ("--art-target prototype --identity-weight 2", "training",
         TrainingSettings(art_target="prototype", identity_weight=2.0)),
    ],
)  # fmt: skip
def test_flags_and_their_aliases(words, field, value):
    assert getattr(parse_settings([*BASE, *words.split()]), field) == value


def test_relative_paths_become_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    asked = parse_settings([*BASE, "--site-map", "m.tsv", "-d", "a=../b", "--model", "./x"])
    assert asked.site_map == tmp_path / "m.tsv"
    assert asked.derivatives["a"] == tmp_path.parent / "b"
    assert asked.model_dir == tmp_path / "x"


def test_command_line_wins_over_the_file(tmp_path):
    path = tmp_path / "s.toml"
    path.write_text(
        'target_site = "GE"\nbids_dir = "/elsewhere"\nbatch_size = 2\nn4 = true\nverbosity = 1\n'
        "[training]\nkeep = 0.5\nbank_size = 3\n"
    )
    words = ["bids", "out", "participant", "--config-file", str(path), "--batch-size", "4"]
    asked = parse_settings([*words, "--no-n4", "--bank-size", "5"])
    assert (asked.target_site, asked.batch_size, asked.n4) == ("GE", 4, False)
    assert asked.bids_dir == Path.cwd() / "bids"
    assert (asked.training.keep, asked.training.bank_size) == (0.5, 5)
    assert asked.verbosity == 1


def test_settings_of_a_run_can_be_asked_again(tmp_path):
    first = parse_settings([*BASE, "--participant-label", "01", "--mem", "3G", "--keep", "0.7"])
    path = tmp_path / "s.toml"
    path.write_text(first.to_toml())
    assert parse_settings(["bids", "out", "participant", "--config-file", str(path)]) == first


def test_filter_file_of_derivatives(tmp_path):
    path = tmp_path / "f.json"
    path.write_text(json.dumps({"mask": {"desc": "brain"}, "transform": {"acq": None}}))
    asked = parse_settings([*BASE, "--deriv-filter-file", str(path), "--copy-derivatives"])
    assert asked.derivative_filters == {"mask": {"desc": "brain"}, "transform": {"acq": None}}
    assert asked.copy_derivatives
    again = tmp_path / "s.toml"
    again.write_text(asked.to_toml())
    assert parse_settings(["bids", "out", "participant", "--config-file", str(again)]) == asked
    for wrong in ({"surface": {}}, {"mask": "brain"}, [], {"mask": {"desc": {"a": 1}}}):
        path.write_text(json.dumps(wrong))
        with pytest.raises(UsageError, match=r"f\.json"):
            parse_settings([*BASE, "--deriv-filter-file", str(path)])


def test_filter_file(tmp_path):
    path = tmp_path / "f.json"
    path.write_text(json.dumps({"t1w": {"session": None}}))
    asked = parse_settings([*BASE, "--bids-filter-file", str(path)])
    assert asked.bids_filters == {"T1w": {"session": None}}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["bids", "out"], "analysis_level|participant"),
        ([*BASE, "--nonsense"], "--nonsense"),
        ([*BASE, "--target"], "--target"),  # No abbreviations: they break when flags are added.
        ([*BASE, "--modalities", "bold"], "bold"),
        ([*BASE, "--participant-label", "a_b"], "a_b"),
        ([*BASE, "--mem", "lots"], "lots"),
        ([*BASE, "--mem", "8"], "--mem 8G"),
        ([*BASE, "--mem-gb", "0.2"], "Less memory than the program"),
        ([*BASE, "--nprocs", "x"], "x"),
        ([*BASE, "--output-spaces", "MNI305"], "MNI305"),
        (["bids", "out", "participant"], "--target-site"),
        ([*BASE, "--method", "magic"], "magic"),
        *[(["bids", "out", "train", "--method", m], "--target-site") for m in ("ssimh", "cgan")],
        (["bids", "out", "train", "--method", "simix"], "trained for one target site"),
        ([*BASE, "--paired-width", "0"], "paired_width"),
    ],
)
def test_wrong_usage(words, told):
    with pytest.raises(UsageError, match=told) as caught:
        parse_settings(words)
    assert caught.value.exit_code == 64


def test_unknown_level_lists_those_there_are():
    with pytest.raises(UnknownLevel, match="participant or train") as caught:
        parse_settings(["bids", "out", "cohort"])
    assert caught.value.exit_code == 17


@pytest.mark.parametrize("flag", ["--reports-only", "--boilerplate-only"])
def test_texts_need_no_target(flag):
    assert parse_settings(["bids", "out", "participant", flag]).target_site is None


def test_training_needs_no_target():
    assert parse_settings(["bids", "out", "train"]).target_site is None


def test_method_counts_at_both_levels():
    words = ["--method", "cgan", "--target-site", "COI"]
    for level in ("train", "participant"):
        asked = parse_settings(["bids", "out", level, *words])
        assert (asked.method, asked.target_site) == ("cgan", "COI")


@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_help_imports_nothing_heavy(flag):
    """What makes `--help` slow is what it imports."""
    code = (
        "import sys\nfrom bids_harmony.cli.main import main\n"
        f"code = main(['{flag}'])\n"
        "print('\\n'.join(sys.modules), file=sys.stderr)\nsys.exit(code)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert run.returncode == 0 and "bids_harmony" in run.stdout
    tops = {name.partition(".")[0] for name in run.stderr.split()}
    heavy = {"numpy", "scipy", "torch", "ants", "nibabel", "nilearn", "nipype", "bids", "pandas",
             "matplotlib", "skimage", "tomli_w", "psutil"}  # fmt: skip
    assert not tops & heavy
    assert "bids_harmony" in tops


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--nprocs 0", "[--nprocs] Got: 0"),
        ("--n_cpus 0", "[--nprocs] Got: 0"),
        ("--omp-nthreads 0", "[--omp-nthreads] Got: 0"),
        ("--batch-size 0", "[--batch-size] Got: 0"),
        ("--nprocs -2", "[nprocs] Got: -2"),
        ("--mem 0", "'0' is not a memory size"),
    ],
)
def test_no_processors_at_all_are_refused(words, told):
    with pytest.raises(UsageError) as caught:
        parse_settings([*BASE, *words.split()])
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            "--longitudinal --subject-anatomical-reference sessionwise",
            "--longitudinal and --subject-anatomical-reference sessionwise",
        ),
        (
            "--subject-anatomical-reference=sessionwise --longitudinal",
            "--subject-anatomical-reference=sessionwise and --longitudinal",
        ),
        ("--longitudinal --no-longitudinal", "--longitudinal and --no-longitudinal"),
        ("--mem 4G --mem-gb 2", "--mem 4G and --mem-gb 2"),
        ("--nprocs 2 --n_cpus 3", "--nprocs 2 and --n_cpus 3"),
        ("--target-site GE", "--target-site COI and --target-site GE"),
        ("--debug --debug pdb", "--debug and --debug pdb"),
        ("-d /a/fmriprep -d /b/fmriprep", "/a/fmriprep and /b/fmriprep, both called fmriprep"),
    ],
)
def test_two_things_of_one_setting_are_refused(words, told):
    with pytest.raises(UsageError) as caught:
        parse_settings([*BASE, *words.split()])
    assert f"Got: {told}" in str(caught.value)


def test_what_is_said_twice_alike_is_fine():
    words = "--mem 4G --mem-gb 4 --longitudinal --subject-anatomical-reference unbiased -v -vv"
    asked = parse_settings([*BASE, *words.split()])
    assert (asked.memory_mb, asked.longitudinal, asked.verbosity) == (4096, True, 3)


def test_lists_that_are_given_twice_are_joined():
    words = "--participant-label 01 --participant_label sub-02 -d a=/x -d b=/y -m T1w -m T2w"
    asked = parse_settings([*BASE, *words.split()])
    assert asked.participant_labels == ("01", "02") and asked.modalities == ("T1w", "T2w")
    assert asked.derivatives == {"a": Path("/x"), "b": Path("/y")}
