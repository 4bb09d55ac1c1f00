"""How Sphinx builds the documentation: `make docs`. Needs no network."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any, get_origin

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
# `lab` lies at the top of the repository: an example simulates a dataset with it.
sys.path[:0] = [str(HERE), str(ROOT)]

import api_pages  # noqa: E402

import bids_harmony  # noqa: E402

project = "bids_harmony"
author = "the authors of bids_harmony"
copyright = author
version = release = bids_harmony.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "sphinx_gallery.gen_gallery",
]
source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["gallery/*.ipynb", "gallery/*.py"]
templates_path = ["templates"]
html_static_path = ["static"]
html_css_files = ["site.css"]

html_theme = "furo"
html_title = "bids_harmony"
html_show_copyright = False
html_theme_options = {"announcement": "Research software. Not for diagnosis."}

myst_heading_anchors = 3
myst_enable_extensions = ["attrs_block"]

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
numpydoc_show_class_members = False

# One core, as on the smallest machine that builds this.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
sphinx_gallery_conf = {
    "examples_dirs": [str(ROOT / "examples" / "gallery")],
    "gallery_dirs": ["gallery"],
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "min_reported_time": 0,
    "matplotlib_animations": False,
    "image_scrapers": ("matplotlib",),
    "abort_on_example_error": False,
}

#: Links of Markdown files, up to their anchors.
LINK = re.compile(r"\[([^\]\[]*)\]\((?!https?:|#|mailto:)([^)#\s]+)([^)]*)\)")


def for_the_site(text: str, start: Path) -> str:
    """Turn links that work in the repository into links of the site.

    Files outside `docs` become downloads; folders stay names. Pictures stay as they are.

    Parameters
    ----------
    text : str
        Markdown.
    start : Path
        The folder from which its links start.
    """

    def turned(found: re.Match[str]) -> str:
        words, link, anchor = found.groups()
        target = (start / link).resolve()
        if target.is_dir():
            return words
        relative = Path(os.path.relpath(target, HERE)).as_posix()
        picture = text[found.start() - 1 : found.start()] == "!"
        outside = relative.startswith("..") and not picture
        return f"[{words}]({'path:' if outside else ''}{relative}{anchor})"

    return LINK.sub(turned, text)


def page_read(app: Any, docname: str, content: list[str]) -> None:
    """Pages lie in `docs`."""
    if str(app.env.doc2path(docname)).endswith(".md"):
        content[0] = for_the_site(content[0], HERE)


def file_included(app: Any, path: Path, parent: str, content: list[str]) -> None:
    """The README lies at the top of the repository."""
    if Path(path).name == "README.md":
        content[0] = for_the_site(content[0], ROOT)


def not_ours(app: Any, what: str, name: str, obj: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what scikit-learn adds to estimators, and aliases of types."""
    added = name.startswith("set_") and name.endswith("_request")
    return True if added or get_origin(obj) is not None else None


def setup(app: Any) -> None:
    """Register what is done before pages are read."""
    # Before autosummary reads them: pages of an earlier build may tell of modules that are gone.
    app.connect("config-inited", lambda app, config: api_pages.write(HERE / "api" / "rooms"))
    app.connect("source-read", page_read)
    app.connect("include-read", file_included)
    app.connect("autodoc-skip-member", not_ours)
