"""Files for Nipoppy, Neurodesk and conda: as they are made today, and right as far as can be told
without those places."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jinja2
import pytest
import yaml

from bids_harmony.bids.naming import harmonized_path, mask_path, sidecar_path
from bids_harmony.bids.scan import Scan, SiteEvidence
from bids_harmony.cli.boutiques import IMAGE, descriptor
from bids_harmony.cli.parser import parse_settings
from lab.recipes import NAME, ROOT, conda_name, files, requirements, version

FILES = files()
BUNDLE = ROOT / "recipes/nipoppy"
RECIPE = ROOT / "recipes/neurodesk/bidsharmony"


@pytest.mark.parametrize("name", sorted(FILES))
def test_the_committed_file_is_what_is_made_now(name):
    assert (ROOT / name).read_text(encoding="utf-8") == FILES[name], "run python -m lab.recipes"


def test_nothing_else_lies_there():
    there = {p.relative_to(ROOT).as_posix() for p in (ROOT / "recipes").rglob("*") if p.is_file()}
    assert there == set(FILES)


def test_every_place_has_the_version_of_the_release():
    assert re.fullmatch(r"\d+\.\d+\.\d+", version())
    image = json.loads((ROOT / "boutiques.json").read_text())["container-image"]["image"]
    recipes = [yaml.safe_load((RECIPE / f"{n}.yaml").read_text()) for n in ("build", "fulltest")]
    told = {
        json.loads((BUNDLE / "config.json").read_text())["VERSION"],
        json.loads((BUNDLE / "descriptor.json").read_text())["tool-version"],
        image.rpartition(":")[2],
        *(recipe["version"] for recipe in recipes),
    }
    assert told == {version()}
    assert f'{{% set version = "{version()}" %}}' in FILES["recipes/conda/meta.yaml"]


def test_no_image_or_package_is_named_as_if_it_could_be_fetched():
    # A name of this machine alone; no registry is asked for it.
    assert IMAGE == f"localhost/{NAME}:{version()}"
    config = json.loads((BUNDLE / "config.json").read_text())
    assert set(config["CONTAINER_INFO"]) == {"FILE"}
    for name in ("neurodesk/bidsharmony/build.yaml", "conda/meta.yaml"):
        assert "PyPI has no bids_harmony yet" in (ROOT / "recipes" / name).read_text()
    page = (ROOT / "docs/ways.md").read_text()
    assert "Nothing is published yet" in page


def command_line(invocation: dict) -> list[str]:
    """As Boutiques fills in the descriptor's command line."""
    words = []
    for entry in descriptor()["inputs"]:
        if entry["id"] not in invocation:
            continue
        value = invocation[entry["id"]]
        flag = entry.get("command-line-flag")
        if entry["type"] == "Flag":
            assert value is True
            words.append(flag)
            continue
        words += [flag] if flag else []
        words += [str(v) for v in (value if entry.get("list") else [value])]
    return words


FILLED = {
    "[[NIPOPPY_DPATH_BIDS]]": "/study/bids",
    "[[NIPOPPY_DPATH_PIPELINE_OUTPUT]]": "/study/derivatives/bids_harmony/output",
    "[[NIPOPPY_DPATH_PIPELINE_WORK]]": "/study/scratch/work",
    "[[NIPOPPY_PARTICIPANT_ID]]": "01",
    "[[NIPOPPY_BIDS_PARTICIPANT_ID]]": "sub-01",
    "[[NIPOPPY_BIDS_SESSION_ID]]": "ses-A",
    "[[TARGET_SITE]]": "COI",
}


def filled(name: str) -> dict:
    text = (BUNDLE / name).read_text()
    for key, value in FILLED.items():
        text = text.replace(key, value)
    assert "[[" not in text
    return json.loads(text)


def test_what_nipoppy_runs_is_what_the_parser_takes():
    invocation = filled("invocation.json")
    assert set(invocation) <= {entry["id"] for entry in descriptor()["inputs"]}
    settings = parse_settings(command_line(invocation))
    assert settings.participant_labels == ("01",) and settings.target_site == "COI"
    assert settings.longitudinal and settings.memory_mb == 8192 and settings.nprocs == 2
    assert str(settings.output_dir) == FILLED["[[NIPOPPY_DPATH_PIPELINE_OUTPUT]]"]
    group = parse_settings(command_line(filled("invocation-group.json")))
    assert group.analysis_level == "group" and group.output_dir == settings.output_dir
    hpc = json.loads((BUNDLE / "hpc.json").read_text())
    assert (hpc["CORES"], hpc["MEMORY"]) == (str(invocation["nprocs"]), invocation["mem"])


def test_the_tracker_finds_what_the_program_writes(tmp_path):
    path = tmp_path / "bids/sub-01/ses-A/anat/sub-01_ses-A_acq-mp_T1w.nii.gz"
    entities = {"subject": "01", "session": "A", "datatype": "anat"}
    scan = Scan(path, entities, "T1w", {}, SiteEvidence("A", "test"))
    image = harmonized_path(tmp_path, scan, "COI")
    for one in (image, sidecar_path(image), mask_path(tmp_path, scan)):
        one.parent.mkdir(parents=True, exist_ok=True)
        one.touch()
    patterns = filled("tracker.json")["PATHS"]
    assert len(patterns) == 3
    for pattern in patterns:
        assert len(list(tmp_path.glob(pattern))) == 1, pattern
    image.unlink()
    assert not list(tmp_path.glob(patterns[0]))


def checked(variable: str, script: str, cwd: Path) -> str:
    """Output of a script under the Python of another place's own checks."""
    python = os.environ.get(variable)
    if not python:
        pytest.skip(f"{variable} names no Python with its checks")
    done = subprocess.run([python, "-c", script], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_nipoppy_takes_the_bundle(tmp_path):
    script = (
        "from nipoppy.pipeline_validation import check_pipeline_bundle\n"
        f"config = check_pipeline_bundle({str(BUNDLE)!r}, strict=True)\n"
        "print([step.NAME for step in config.STEPS])"
    )
    assert "['harmonize', 'group']" in checked("NIPOPPY_PYTHON", script, tmp_path)


def test_neurodesk_takes_the_recipe():
    script = (
        "import yaml; from builder.validation import *\n"
        f"p = {str(RECIPE)!r}\n"
        "r = yaml.safe_load(open(p + '/build.yaml'))\n"
        "validate_recipe_dict(r); validate_recipe_metadata(r)\n"
        "validate_fulltest_contract(p + '/fulltest.yaml', recipe_name=r['name'],\n"
        "    recipe_version=r['version']); print('taken')\n"
    )
    clone = Path(os.environ.get("NEUROCONTAINERS", "."))
    assert "taken" in checked("NEUROCONTAINERS_PYTHON", script, clone)


def test_names_that_neurodesk_allows():
    build = yaml.safe_load((RECIPE / "build.yaml").read_text())
    test = yaml.safe_load((RECIPE / "fulltest.yaml").read_text())
    assert build["name"] == test["name"] == RECIPE.name and "_" not in build["name"]
    assert build["icon"].startswith("data:image/svg+xml;base64,")


TESTS = yaml.safe_load((RECIPE / "fulltest.yaml").read_text())["tests"]


@pytest.mark.parametrize(
    "test", [t for t in TESTS if t["name"] != "self-test"], ids=lambda test: test["name"]
)
def test_what_neurodesk_will_see_in_its_image(test, tmp_path):
    """All but the self-test, which has tests of its own, with the program of this checkout."""
    program = f"{shlex.quote(sys.executable)} -m bids_harmony"
    command = re.sub(rf"(?<![\w./]){NAME}(?= )", program, test["command"])
    command = command.replace("${output_dir}", str(tmp_path))
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == test.get("expected_exit_code", 0), done.stderr
    told = test.get("expected_output_contains", [])
    for words in [told] if isinstance(told, str) else told:
        # The version of a checkout is that of its commit.
        assert words.removesuffix(version()) in done.stdout


def test_conda_asks_for_all_that_pip_asks_for():
    text = FILES["recipes/conda/meta.yaml"]
    recipe = yaml.safe_load(jinja2.Template(text).render(PYTHON="python"))
    assert recipe["package"] == {"name": NAME, "version": version()}
    assert recipe["about"]["license"] == "Apache-2.0" and recipe["build"]["noarch"] == "python"
    assert "setuptools >=77" in recipe["requirements"]["host"]
    run = text.partition("  run:")[2].partition("\ntest:")[0]
    listed = re.findall(r"^    - (.+)$", run, re.MULTILINE)
    assert listed[0] == "python >=3.11"
    assert listed[1:] == [conda_name(one) for one in requirements()]
    assert "pytorch >=2.4" in listed and "matplotlib-base >=3.8" in listed
    assert len(listed) == 1 + len(requirements()) > 20
    assert f"- {NAME} = {NAME}.cli.main:main" in text


def test_the_page_names_every_way(tmp_path):
    page = (ROOT / "docs/ways.md").read_text()
    for way in (
        "Docker",
        "Apptainer",
        "pip",
        "conda",
        "Nipoppy",
        "Neurodesk",
        "Boutiques",
        "BABS",
    ):
        assert f"| {way}" in page, way
    for target in re.findall(r"\]\((\.\./recipes/[^)#]+)\)", page):
        assert (ROOT / "docs" / target).exists(), target
    assert Path(ROOT / "recipes").is_dir()
