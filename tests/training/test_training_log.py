"""The log of a training: rows as they come, and a cut where training goes on."""

import math

from bids_harmony.training.training_log import TrainingLog, read_log


def rows(count, start=0):
    return [{"step": i, "loss": 1 / (i + 3), "validation": None} for i in range(start, count)]


def test_rows_come_back_exactly(tmp_path):
    log = TrainingLog(tmp_path / "log.csv")
    for row in rows(3):
        log.write(row)
    log.write({"step": 3, "loss": 0.1, "validation": 0.25})
    found = read_log(tmp_path / "log.csv")
    assert [row["loss"] for row in found] == [1 / 3, 1 / 4, 1 / 5, 0.1]
    assert found[3]["validation"] == 0.25 and math.isnan(found[0]["validation"])


def test_going_on_removes_later_rows_and_a_torn_line(tmp_path):
    path = tmp_path / "log.csv"
    log = TrainingLog(path)
    for row in rows(5):
        log.write(row)
    whole = path.read_bytes()
    path.write_bytes(whole + b"5,0.1")
    log = TrainingLog(path, 3)
    assert [row["step"] for row in read_log(path)] == [0, 1, 2]
    for row in rows(5, 3):
        log.write(row)
    assert path.read_bytes() == whole


def test_a_new_training_begins_a_new_log(tmp_path):
    path = tmp_path / "log.csv"
    TrainingLog(path).write(rows(1)[0])
    TrainingLog(path)
    assert read_log(path) == []
