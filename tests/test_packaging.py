"""`bids_harmony.workflows` is importable from a checkout, an editable install and a wheel."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ["setup.cfg", "pyproject.toml", "README.md", "LICENSE", "bids_harmony", "workflows"]
TELLS_VERSION = ["pyproject.toml", ".gitattributes", ".git_archival.txt"]
RELEASE = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools_scm"][
    "fallback_version"
]
SHOW = """
import bids_harmony, bids_harmony.workflows
print(bids_harmony.workflows.__file__)
print(bids_harmony.__version__)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """Copy what a fresh clone holds, so that builds leave nothing in the working tree."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in (*SHIPPED, ".gitattributes", ".git_archival.txt"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, copy / name)
    return copy


def _python(code: str, cwd: Path) -> list[str]:
    """Run code without any site-packages, so that only what the test put there can be found."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    run = subprocess.run(
        [sys.executable, "-S", "-c", code],
        cwd=cwd,
        env=env | {"PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.splitlines()


def _pip(*arguments: str | Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        *map(str, arguments),
        "--no-deps",
        "--no-build-isolation",
    ]
    run = subprocess.run(
        [*command, "--no-index", "--disable-pip-version-check", "-q"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.fixture(scope="module")
def wheel(checkout, tmp_path_factory):
    out = tmp_path_factory.mktemp("dist")
    _pip("wheel", checkout, "-w", out)
    (built,) = out.glob("bids_harmony-*.whl")
    return built


def test_plain_checkout(checkout):
    file, version = _python(SHOW, cwd=checkout)
    assert Path(file).resolve() == checkout / "workflows" / "__init__.py"
    assert version == RELEASE


def test_wheel(wheel, tmp_path):
    target = tmp_path / "site"
    _pip("install", wheel, "--target", target)
    # Another project of that name beside the package must not be taken for ours.
    (target / "workflows").mkdir()
    (target / "workflows" / "__init__.py").write_text("raise RuntimeError('not ours')\n")
    code = f"import sys; sys.path.insert(0, {str(target)!r})\n{SHOW}"
    file, version = _python(code, cwd=tmp_path)
    assert Path(file) == target / "bids_harmony" / "workflows" / "__init__.py"
    assert wheel.name.startswith(f"bids_harmony-{version}-")
    assert version == RELEASE  # no repository here


def test_version_is_the_tag(tmp_path, monkeypatch):
    """In a clone, and in a tarball that git makes of it."""
    if "$Format" not in (ROOT / ".git_archival.txt").read_text(encoding="utf-8"):
        pytest.skip("this tree is such a tarball: what git fills in is filled in")
    clone, tarball = tmp_path / "clone", tmp_path / "tarball"
    clone.mkdir()
    tarball.mkdir()
    for name in TELLS_VERSION:
        shutil.copy(ROOT / name, clone)
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]

    def git(*words: str) -> bytes:
        return subprocess.check_output(["git", "-C", str(clone), *who, *words])

    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "one")
    git("tag", "-am", "release", "v3.4.5")
    archives = tmp_path / "a.tar", tmp_path / "b.tar"
    archives[0].write_bytes(git("archive", "HEAD"))
    assert _scm_version(clone) == "3.4.5"
    (clone / "more").touch()
    git("add", ".")
    git("commit", "-qm", "two")
    assert _scm_version(clone).startswith("3.4.5.post1.dev1+g")
    archives[1].write_bytes(git("archive", "HEAD"))
    for archive, version in zip(archives, ("3.4.5", "3.4.5.post1.dev1+g"), strict=True):
        shutil.unpack_archive(archive, tarball)
        assert _scm_version(tarball).startswith(version)


def _scm_version(folder: Path) -> str:
    command = [sys.executable, "-m", "setuptools_scm"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SETUPTOOLS_SCM")}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


def test_wheel_of_a_source_distribution(checkout, wheel, tmp_path):
    """Holds the same files, and the version that the source distribution was made with."""
    told = os.environ | {"SETUPTOOLS_SCM_PRETEND_VERSION_FOR_BIDS_HARMONY": "3.4.5"}
    command = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", tmp_path]
    run = subprocess.run([*command, checkout], env=told, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    _pip("wheel", tmp_path / "bids_harmony-3.4.5.tar.gz", "-w", tmp_path)
    (built,) = tmp_path.glob("bids_harmony-3.4.5-*.whl")
    assert _code_and_data(built) == _code_and_data(wheel)


def _code_and_data(wheel: Path) -> set[str]:
    return {n for n in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in n}


def test_the_release_stands_in_the_list_of_changes():
    changes = (ROOT / "CHANGES.md").read_text(encoding="utf-8")
    assert re.findall(r"^## \[?([\d.]+)", changes, flags=re.M)[0] == RELEASE


def test_wheel_holds_every_module_once(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    modules = {n for n in names if n.endswith(".py")}
    on_disk = {
        str(p.relative_to(ROOT))
        for p in (ROOT / "bids_harmony").rglob("*.py")
        if "__pycache__" not in p.parts
    }
    on_disk |= {
        "bids_harmony/" + str(p.relative_to(ROOT)) for p in (ROOT / "workflows").rglob("*.py")
    }
    assert modules == on_disk
    assert any(n.endswith("licenses/LICENSE") for n in names)


def test_wheel_holds_the_data_files(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    data = ROOT / "bids_harmony" / "data"
    missing = {
        str(p.relative_to(ROOT))
        for p in data.rglob("*")
        if p.is_file() and "__pycache__" not in p.parts
    } - names
    assert not missing


def test_wheel_is_small(wheel):
    assert wheel.stat().st_size < 15e6
    model = [
        i for i in zipfile.ZipFile(wheel).infolist()
        if i.filename.startswith("bids_harmony/data/model/")
    ]  # fmt: skip
    assert model and sum(i.file_size for i in model) < 10e6
    # No format that can carry code.
    assert not [
        i.filename
        for i in zipfile.ZipFile(wheel).infolist()
        if i.filename.endswith((".pt", ".pth", ".pkl"))
    ]


def test_editable_install(checkout, tmp_path):
    target = tmp_path / "site"
    _pip("install", "-e", checkout, "--target", target)
    file, _ = _python(f"import site; site.addsitedir({str(target)!r})\n{SHOW}", cwd=tmp_path)
    assert Path(file).resolve() == checkout / "workflows" / "__init__.py"


def test_wheel_holds_the_templates_of_pages(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    templates = list((ROOT / "bids_harmony" / "reports" / "templates").iterdir())
    assert len(templates) >= 4
    assert {str(p.relative_to(ROOT)) for p in templates} <= names
