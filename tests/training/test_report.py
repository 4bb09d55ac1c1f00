"""The page that says what a training did."""

from __future__ import annotations

from matplotlib.image import imread

from bids_harmony.training.report import write_training_report
from bids_harmony.training.training_log import TrainingLog

TWINS = {
    "steps": 40, "before": {"network": 0.05}, "unseen": {"network": 0.04}, "kept": True,
    "own_before": {"network": 0.06}, "own_unseen": {"network": 0.03},
}  # fmt: skip
ADAPTATION = {
    "done": True, "kept": False, "reason": "held-out loss 0.3000 -> 0.3100", "steps": 20,
    "held_out_before": 0.3, "held_out_after": 0.31,
}  # fmt: skip


def test_validation_before_and_after_and_what_was_kept(tmp_path):
    profiles = [{"site": "A", "modality": "T1w", "scans": ["sub-01_T1w", "sub-02_T1w"]}]
    made = {"version": "1", "twins": TWINS, "adaptation": ADAPTATION, "banks": profiles}
    text = write_training_report(tmp_path, made).read_text()
    twins = "| synthetic twins | 40 | RMSE on unseen twins "
    assert f"{twins}of the own sites | 0.0600 | 0.0300 | yes |" in text
    assert f"{twins}of any scanners | 0.0500 | 0.0400 | yes |" in text
    assert "| 0.3000 | 0.3100 | no | held-out loss 0.3000 -> 0.3100 |" in text
    assert "| A | T1w | sub-01_T1w, sub-02_T1w |" in text
    assert "not for diagnosis" in text and "training.png" not in text


def test_the_logs_are_drawn(tmp_path):
    log = TrainingLog(tmp_path / "twins_log.csv")
    for step in range(30):
        log.write({"loss": 1 / (1 + step), "validation": 0.5 if step % 10 == 0 else None})
    text = write_training_report(tmp_path, {"twins": TWINS}).read_text()
    assert "![Losses by step](training.png)" in text
    picture = imread(tmp_path / "training.png")
    assert picture.shape[0] > 200 and picture.std() > 0.02


def test_profiles_alone_are_said_to_be_all(tmp_path):
    reason = "no steps were asked for"
    text = write_training_report(tmp_path, {"adaptation": {"done": False, "reason": reason}})
    assert reason in text.read_text()
    assert "Nothing was trained" in write_training_report(tmp_path, {"version": "1"}).read_text()
