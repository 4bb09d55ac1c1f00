"""The writer: whole files or none, only when something changes, and many jobs at once."""

from __future__ import annotations

import errno
import json
import os

import pytest

from bids_harmony.bids.derivative import (
    is_complete,
    merge_table,
    resume_hash,
    write_json,
    write_scans_rows,
    write_text,
)
from bids_harmony.bids.run_log import finish_run, start_run
from bids_harmony.bids.table import read_tsv
from bids_harmony.exceptions import CannotCreateOutput, TryAgain
from bids_harmony.settings import read_settings_file


def test_written_only_when_it_changes(tmp_path):
    path = tmp_path / "new/folder/a.json"
    assert write_json(path, {"b": 1, "a": "é"})
    assert path.read_text(encoding="utf-8") == '{\n  "b": 1,\n  "a": "é"\n}\n'
    before = path.stat()
    assert not write_json(path, {"b": 1, "a": "é"})
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert write_json(path, {"b": 2})
    assert os.listdir(path.parent) == ["a.json"]


def test_nan_is_not_json(tmp_path):
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"psnr": float("nan")})
    assert not os.listdir(tmp_path)


def test_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(TryAgain) as caught:
        write_text(path, "new")
    assert caught.value.exit_code == 75
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["a.txt"]


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotCreateOutput):
        write_text(tmp_path / "file/a.txt", "x")


def test_tables_keep_rows_and_columns_of_others(tmp_path):
    path = tmp_path / "t.tsv"
    merge_table(path, [{"id": "b", "x": 1.23456789}], key="id")
    merge_table(path, [{"id": "a", "y": None}, {"id": "b", "y": "two words"}], key="id")
    assert path.read_text() == "id\tx\ty\na\tn/a\tn/a\nb\t1.23457\ttwo words\n"
    assert not merge_table(path, [{"id": "b", "x": 1.23456789}], key="id")
    merge_table(path, [{"id": "b", "x": float("nan")}], key="id")
    assert read_tsv(path)[1]["x"] == "n/a"


def test_row_that_another_job_overwrote_is_added_again(tmp_path, monkeypatch):
    """The other job read the table before our row was in it, and wrote it after."""
    path = tmp_path / "t.tsv"
    replace, others = os.replace, ["id\nother\n"]

    def slow(source, target):
        replace(source, target)
        if others:
            path.write_text(others.pop())

    monkeypatch.setattr(os, "replace", slow)
    merge_table(path, [{"id": "ours"}], key="id")
    assert [row["id"] for row in read_tsv(path)] == ["other", "ours"]


def test_scans_table(tmp_path):
    image = tmp_path / "sub-01/ses-A/anat/sub-01_ses-A_desc-harmonizedCOI_T1w.nii.gz"
    described = {"psnr_db": {"Description": "Peak signal-to-noise ratio", "Units": "dB"}}
    table = write_scans_rows(tmp_path, "01", "A", {image: {"psnr_db": 24.5}}, described)
    assert table == tmp_path / "sub-01/ses-A/sub-01_ses-A_scans.tsv"
    (row,) = read_tsv(table)
    assert row == {"filename": f"anat/{image.name}", "psnr_db": "24.5"}
    assert json.loads(table.with_suffix(".json").read_text())["psnr_db"]["Units"] == "dB"


def test_resume_hash_does_not_depend_on_order():
    assert resume_hash({"a": 1, "b": (2,)}) == resume_hash({"b": [2], "a": 1})
    assert resume_hash({"a": 1}) != resume_hash({"a": 2})


def test_is_complete(tmp_path):
    sidecar, image = tmp_path / "a_T1w.json", tmp_path / "a_T1w.nii.gz"
    wanted = resume_hash({"model": "x"})
    assert not is_complete(sidecar, wanted)
    write_json(sidecar, {"HarmonizationHash": wanted})
    assert not is_complete(sidecar, wanted)
    image.write_bytes(b"")
    assert not is_complete(sidecar, wanted)
    image.write_bytes(b"x")
    assert is_complete(sidecar, wanted)
    assert not is_complete(sidecar, resume_hash({"model": "y"}))
    sidecar.write_text("{")
    assert not is_complete(sidecar, wanted)


def test_run_log(raw):
    settings = raw.settings(random_seed=7)
    run_log = start_run(settings, command="bids_harmony a b participant")
    assert run_log.folder == settings.output_dir / "logs" / run_log.run_id
    status = run_log.folder / "status.json"
    assert json.loads(status.read_text())["state"] == "running"
    write_json(status, json.loads(status.read_text()) | {"scans": [1]})
    finish_run(run_log, 65)
    record = json.loads(status.read_text())
    assert (record["state"], record["exit_code"], record["meaning"]) == ("failed", 65, "bad data")
    assert record["scans"] == [1]
    finish_run(run_log, 130)
    assert json.loads(status.read_text())["meaning"] == "stopped by a signal"
    # What it was asked can be asked again; what it was, is left behind.
    again = read_settings_file(run_log.folder / "settings.toml")
    assert again["random_seed"] == 7 and "provenance" not in again
    assert "run_id" in (run_log.folder / "settings.toml").read_text()
    assert start_run(settings, command="").run_id != run_log.run_id


def test_only_columns_that_a_table_has_are_described(tmp_path):
    described = {"rmse": {"Description": "one"}, "noise": {"Description": "two"}}
    for name in ("rmse", "noise"):
        image = tmp_path / f"sub-01/anat/sub-01_desc-{name}_T1w.nii.gz"
        table = write_scans_rows(tmp_path, "01", None, {image: {name: 1.0}}, described)
        # Those of earlier rows stay.
        columns = table.read_text().splitlines()[0].split("\t")
        assert set(json.loads(table.with_suffix(".json").read_text())) == set(columns)
    assert set(columns) == {"filename", "rmse", "noise"}
