"""What a run tells: labels of scans, and nothing of the people or of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bids_harmony.bids.redaction import Redactor, without_folders
from bids_harmony.settings import Settings
from tests.e2e.program import NO_NETWORK, REPOSITORY, without_network
from tests.raw_dataset import cohort, raw

__all__ = ["cohort", "raw"]

NAME, BORN = "Mustermann^Erika", "19640812"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("see /home/me/data/log.txt.", "see <path>/log.txt."),
        ("[/data/raw/sub-01/anat/a.nii.gz]", "[<bids_dir>/sub-01/anat/a.nii.gz]"),
        ("'/data/raw'", "'<bids_dir>'"),
        ("/data/rawer/x", "<path>/x"),
        ("in ~/secret/plans.tsv", "in <path>/plans.tsv"),
        ("https://bids-standard.github.io/a/b", "https://bids-standard.github.io/a/b"),
        ("sub-01/anat/sub-01_T1w", "sub-01/anat/sub-01_T1w"),
        ("s/mm2, T1w/T2w, 1/2/3", "s/mm2, T1w/T2w, 1/2/3"),
        ("</div><p/> bids:raw:sub-01/x", "</div><p/> bids:raw:sub-01/x"),
        ("/My Disk/raw/x of /My Disk/raw", "<output_dir>/x of <output_dir>"),
    ],
)
def test_folders_are_taken_out_of_texts(text, told):
    folders = {"/data/raw": "<bids_dir>", "/My Disk/raw": "<output_dir>"}
    assert without_folders(text, folders) == told


def test_every_folder_of_the_settings_has_a_name(tmp_path):
    settings = Settings(
        tmp_path / "My Data", tmp_path / "My Data" / "derivatives" / "out", "participant",
        work_dir=tmp_path / "wo rk", derivatives={"fits": tmp_path / "a b" / "fits"},
        site_map=tmp_path / "si tes.tsv", target_site="COI",
    )  # fmt: skip
    redactor = Redactor(settings)
    record = redactor.record(settings.to_dict())
    assert str(tmp_path) not in str(record)
    assert record["output_dir"] == "<output_dir>" and record["work_dir"] == "<work_dir>"
    assert record["derivatives"] == {"fits": "<path>/fits"}
    assert record["site_map"] == "<path>/si tes.tsv"
    assert redactor.text(f"{tmp_path}/My Data/sub-01") == "<bids_dir>/sub-01"


@pytest.fixture
def told(cohort, tmp_path):
    """Run the participant level, in two workers without network, on scans that cannot be used."""
    person = {"PatientName": NAME, "PatientBirthDate": BORN}
    cohort.image("sub-01/anat/sub-01_T1w", InstitutionName="COI", **person)
    cohort.table("participants.tsv", "participant_id name birth", f"sub-01 {NAME} {BORN}")
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(NO_NETWORK)

    def run(*words: str) -> tuple[int, str, Path]:
        out = tmp_path / "out"
        command = [
            sys.executable, "-m", "bids_harmony", str(cohort.root), str(out), "participant",
            "--target-site", "COI", "--participant-label", "01", "-w", str(tmp_path / "work"),
            "--device", "cpu", "--nprocs", "2", "--omp-nthreads", "1", "-v", *words,
        ]  # fmt: skip
        path = os.pathsep.join([str(site), str(REPOSITORY)])
        env = os.environ | {"PYTHONPATH": path, "SECRET_TOKEN": "hunter2"}
        done = subprocess.run(
            [*without_network(), *command], env=env, cwd=tmp_path, capture_output=True, text=True
        )
        return done.returncode, done.stdout + done.stderr, out

    return run


def test_nothing_of_the_person_and_nothing_of_the_machine(told, tmp_path):
    code, screen, out = told("--anonymize-provenance")
    assert code == 65, screen
    logs = [path for path in out.rglob("*") if path.is_file()]
    names = {path.name.partition("-")[0] for path in logs}
    assert {"settings.toml", "status.json", "bids_harmony.log", "crash"} <= names
    everything = screen
    for path in logs:
        text = path.read_text(errors="replace")
        assert str(tmp_path) not in text, path
        assert str(REPOSITORY) not in text, path
        everything += text
    assert any("<bids_dir>/sub-01/anat/sub-01_T1w.nii.gz" in p.read_text() for p in logs)
    for secret in (NAME, "Mustermann", BORN, "hunter2", "a connection to", "was asked for"):
        assert secret not in everything


def test_pages_sidecars_and_tables_never_name_folders(told, tmp_path):
    code, screen, out = told()
    assert code == 65, screen
    others = [p for p in out.rglob("*") if p.is_file() and "logs" not in p.relative_to(out).parts]
    assert {p.suffix for p in others} >= {".html", ".json", ".tsv"}
    for path in others:
        assert str(tmp_path) not in path.read_text(errors="replace"), path
    assert str(tmp_path) in next(out.glob("logs/*/settings.toml")).read_text()


def test_sidecars_leave_the_person_out():
    from bids_harmony.bids.raw_layout import raw_sidecar
    from bids_harmony.bids.scan import Scan, SiteEvidence
    from bids_harmony.bids.sidecar import harmonized_sidecar

    metadata = {
        "PatientName": NAME, "PatientBirthDate": BORN, "EchoTime": 0.003,
        "Odd": float("nan"), "OddToo": [1.0, float("inf")],
    }  # fmt: skip
    root = Path("/bids")
    scan = Scan(root / "sub-1_T1w.nii.gz", {}, "T1w", metadata, SiteEvidence("COI", "test"))
    record = harmonized_sidecar(
        scan, root, target="COI", method="ihf", resume_hash="0", skull_stripped=False
    )
    for written in (record, raw_sidecar(metadata, record, [])):
        assert written["EchoTime"] == 0.003
        assert not {"PatientName", "PatientBirthDate", "Odd", "OddToo"} & set(written)
