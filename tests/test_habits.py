"""What CI, contributors and the lowest versions rely on says the same as the files it is about."""

from __future__ import annotations

import configparser
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]


def _bounds() -> dict[str, str]:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"].split("\n")
    return dict(re.fullmatch(r"(\S+) >= (\S+)", line).groups() for line in lines if line)


def test_lowest_versions_are_the_bounds_of_the_requirements():
    text = (ROOT / "constraints-minimum.txt").read_text(encoding="utf-8")
    pins = dict(line.split("==") for line in text.splitlines() if not line.startswith("#"))
    assert pins == _bounds()


def test_ci_asks_what_runs_here_of_every_python_that_is_told():
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    told = re.findall(r"Python :: (3\.\d+)", config["metadata"]["classifiers"])
    assert jobs["all"]["strategy"]["matrix"]["python"] == told
    assert jobs["all"]["steps"][-1]["run"] == ".ci/run"
    assert jobs["minimum"]["steps"][-2]["with"]["python-version"] == told[0]
    assert config["options"]["python_requires"] == f">={told[0]}"
    assert "minimum:" in (ROOT / "Makefile").read_text()


def test_hooks_have_the_pinned_ruff():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    (ruff,) = [r["rev"] for r in hooks if "ruff" in r["repo"]]
    assert f"\nruff=={ruff.removeprefix('v')}\n" in (ROOT / "constraints.txt").read_text()


@pytest.mark.parametrize("name", ["bug", "feature"])
def test_forms_for_issues_warn_of_participants(name):
    form = yaml.safe_load((ROOT / f".github/ISSUE_TEMPLATE/{name}.yml").read_text())
    assert {"name", "description", "body"} <= set(form)
    assert "articipant" in str(form["body"])
    asked = {part.get("id") for part in form["body"]}
    if name == "bug":
        assert {"command", "version", "log"} <= asked


def test_places_and_commands_that_contributors_are_told_exist():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    places = set(re.findall(r"`([\w.-]+/[\w./-]*|[\w-]+\.(?:md|toml|txt|cfg|json))`", text))
    assert len(places) > 15
    assert not {p for p in places if not (ROOT / p).exists() and not p.startswith("build/")}
    targets = set(re.findall(r"^([\w.-]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    assert set(re.findall(r"`make ([\w.-]+)", text)) <= targets


def test_reasons_of_mutants_are_of_lines_that_are_there():
    allowed = tomllib.loads((ROOT / "tests/mutants_allowed.toml").read_text(encoding="utf-8"))
    for entry in allowed.get("mutant", ()):
        assert set(entry) == {"file", "before", "after", "reason"} and entry["reason"]
        lines = [line.strip() for line in (ROOT / entry["file"]).read_text().splitlines()]
        assert set(entry["before"].split("\n")) <= set(lines), entry
