"""`bids_harmony.workflows` is importable from a checkout, an editable install and a wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ["setup.cfg", "pyproject.toml", "README.md", "LICENSE", "bids_harmony", "workflows"]
SHOW = """
import bids_harmony, bids_harmony.workflows
print(bids_harmony.workflows.__file__)
print(bids_harmony.__version__)
"""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """Copy what a fresh clone holds, so that builds leave nothing in the working tree."""
    copy = tmp_path_factory.mktemp("checkout")
    for name in SHIPPED:
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
    file, _ = _python(SHOW, cwd=checkout)
    assert Path(file).resolve() == checkout / "workflows" / "__init__.py"


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
