"""The demonstration in miniature: every part of it, too coarse and too short to mean anything."""

import json

import pytest

from lab.demo import main


@pytest.mark.e2e
def test_the_demonstration_runs_and_scores_every_method(tmp_path, capsys):
    folder = tmp_path / "demo"
    code = main(
        [
            str(folder), "--voxel-mm", "6", "--training-per-site", "3", "--travelling", "1",
            "--twin-steps", "2", "--twin-people", "2", "--twin-scanners", "2",
            "--adapt-steps", "1", "--modalities", "T1w",
        ]
    )  # fmt: skip
    assert code == 0
    table = json.loads((folder / "table.json").read_text())
    methods = {row["method"] for row in table["rows"]}
    assert methods >= {
        "none",
        "blur",
        "histogram",
        "histogram-relative",
        "ihf",
        "ihf-adapted",
        "ceiling",
    }
    by_method = {r["method"]: r for r in table["rows"] if r["variant"] == "sharp"}
    assert by_method["ceiling"]["rmse"] < by_method["none"]["rmse"]
    assert by_method["ihf"]["rmse"] < by_method["none"]["rmse"]
    assert len(table["scans"]) == 3 * len(table["rows"])
    assert (folder / "figures" / "travelling.png").stat().st_size > 10_000
    printed = capsys.readouterr().out
    assert str(folder / "out") in printed and "not for diagnosis" in printed
