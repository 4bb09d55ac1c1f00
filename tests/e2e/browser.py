"""A page as a reader without network sees it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    from playwright import sync_api
except ImportError:
    sync_api = None

__all__ = ["NAMES", "NARROW", "open_alone", "sync_api"]

#: Browsers that will do.
NAMES = ("chromium", "chromium-browser", "google-chrome")
#: As wide as a telephone, in pixels.
NARROW = 390


@contextlib.contextmanager
def open_alone(browser: Any, path: Path) -> Iterator[Any]:
    """The open page of a reader without network; afterwards nothing may have gone wrong."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    opened = context.new_page()
    wrong: list[str] = []
    asked: list[str] = []
    opened.on("console", lambda message: wrong.append(f"{message.type}: {message.text}"))
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(path.as_uri())
    yield opened
    context.close()
    assert wrong == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
