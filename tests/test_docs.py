"""The documentation says what is there: links, options, modules, examples."""

from __future__ import annotations

import ast
import doctest
import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

from bids_harmony.cli.parser import build_parser

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", *DOCS.glob("*.md")])
GALLERY = sorted((ROOT / "examples" / "gallery").glob("*.py"))
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?")


def of_the_build(name: str) -> ModuleType:
    """Load a module by which the documentation is built."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def anchors(page: Path) -> set[str]:
    """Those of a page's headings, as GitHub and MyST make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    for link, anchor in LINK.findall(page.read_text(encoding="utf-8")):
        target = (page.parent / link).resolve() if link else page
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), f"{link}#{anchor}"


@pytest.mark.parametrize(
    "page", [p for p in PAGES if p.name in ("README.md", "usage.md")], ids=name_of
)
def test_options_that_are_told_of_exist(page):
    options = {flag for action in build_parser()._actions for flag in action.option_strings}
    # Words of pip, docker, torchrun and others stand on lines of their own.
    ours = [
        line
        for line in page.read_text(encoding="utf-8").splitlines()
        if not re.match(r"    (?!bids_harmony )|\| .*torchrun", line)
    ]
    told = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]+", "\n".join(ours)))
    assert told <= options, sorted(told - options)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_that_are_told_of_exist(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(
        r"^([\w.-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE
    )
    for target in re.findall(r"`make ([\w-]+(?:\.json)?)`|^    make (\w+)", text, re.MULTILINE):
        assert max(target) in targets, target
    for script in re.findall(r"python ((?:benchmarks|containers)/\w+\.py)", text):
        assert (ROOT / script).exists(), script
    for module in re.findall(r"-m (bids_harmony(?:\.\w+)+)", text):
        assert importlib.util.find_spec(module), module


def test_tests_that_are_told_of_exist():
    """Rows of `docs/inputs.md` and others name what holds them."""
    files = {path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py")}
    named = re.compile(r"`(?:([\w/]*\btest_\w+\.py)|\.\.\.)?(?:::(test_\w+))?`")
    cases = 0
    for page in PAGES:
        for file, case in named.findall(page.read_text(encoding="utf-8")):
            # Rows may leave out what the row above says: the folder, or the file.
            meant = [path for path in files if path.as_posix().endswith(f"/{file}") or not file]
            assert meant, f"{page.name}: {file}"
            defined = any(f"def {case}(" in files[path] for path in meant)
            assert defined or not case, f"{page.name}: {file}::{case}"
            cases += bool(case)
    assert cases > 50


def test_every_page_is_in_the_table_of_contents():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^([\w/]+)$", index, re.MULTILINE))
    assert {page.stem for page in DOCS.glob("*.md")} - {"index"} <= listed
    for entry in listed - {"gallery/index"}:
        assert list(DOCS.glob(f"{entry}.*")), entry


def test_links_of_the_readme_on_the_site():
    turned = of_the_build("conf").for_the_site
    text = "[a](docs/python.md#slices) ![b](docs/travelling.png) [c](LICENSE) [d](examples/slurm)"
    assert (
        turned(text, ROOT) == "[a](python.md#slices) ![b](travelling.png) [c](path:../LICENSE) d"
    )
    text = "[e](../benchmarks/results/biology.md) [f](https://a.example) [g](#here)"
    assert turned(text, DOCS) == "[e](path:../benchmarks/results/biology.md) " + text[38:]


def test_reference_pages_have_every_module(tmp_path):
    of_the_build("api_pages").write(tmp_path)
    pages = {page.stem: page.read_text(encoding="utf-8") for page in tmp_path.glob("*.rst")}
    told = set(re.findall(r"^\.\. automodule:: (\S+)$", "".join(pages.values()), re.MULTILINE))
    files = [*(ROOT / "bids_harmony").rglob("*.py"), *(ROOT / "workflows").rglob("*.py")]
    there = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in files
        if not path.name.startswith("_")
    }
    assert {name.replace("bids_harmony.workflows", "workflows") for name in told} == there
    assert "bids_harmony.workflows" in pages and "bids_harmony.api" in pages["index"]
    # A room says in a line what it is for.
    for entry in pages["index"].split(":doc:")[1:]:
        assert len(entry.splitlines()[1].strip()) > 20, entry


@pytest.mark.parametrize("script", GALLERY, ids=name_of)
def test_scripts_of_the_gallery(script):
    text = script.read_text(encoding="utf-8")
    tree = ast.parse(text)
    compile(tree, str(script), "exec")
    about = " ".join(ast.get_docstring(tree).split())
    assert "simulated" in about and "not for diagnosis" in about
    assert "plt.show()" in text
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module)
            assert not [a.name for a in node.names if not hasattr(module, a.name)]


def test_there_are_five_scripts():
    assert len(GALLERY) == 5


def examples() -> list[str]:
    """Modules whose docstrings hold examples, but for the public ones (test_public.py)."""
    found = [*(ROOT / "bids_harmony").rglob("*.py"), *(ROOT / "workflows").rglob("*.py")]
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in found
        if re.search(r"^\s+>>> ", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]
    return sorted(n for n in names if not n.startswith("bids_harmony.api."))


@pytest.mark.parametrize("name", examples())
def test_examples_in_docstrings(name):
    module = sys.modules.get(name) or importlib.import_module(name)
    found = doctest.testmod(module)
    assert found.attempted and not found.failed


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
