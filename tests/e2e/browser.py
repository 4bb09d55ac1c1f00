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

__all__ = ["NAMES", "NARROW", "assert_nothing_beyond", "open_alone", "sync_api"]

#: Browsers that will do.
NAMES = ("chromium", "chromium-browser", "google-chrome")
#: As wide as a telephone, in pixels.
NARROW = 390


@contextlib.contextmanager
def open_alone(
    browser: Any, path: Path, *, refused: tuple[str, ...] = (), wait_until: str = "load"
) -> Iterator[Any]:
    """The open page of a reader without network; afterwards nothing may have gone wrong.

    `refused` are the kinds of words in the console that may not be there; by default all.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    opened = context.new_page()
    wrong: list[str] = []
    asked: list[str] = []

    def hear(message: Any) -> None:
        if not refused or message.type in refused:
            wrong.append(f"{message.type}: {message.text}")

    opened.on("console", hear)
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto(path.as_uri(), wait_until=wait_until)
    yield opened
    context.close()
    assert wrong == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]


def assert_nothing_beyond(page: Any, width: int) -> None:
    """With all its parts opened, a page so many pixels wide need not be scrolled sideways."""
    page.set_viewport_size({"width": width, "height": 800})
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    beyond = page.evaluate(
        """width => [...document.querySelectorAll("main *, header *")]
        .filter(e => e.getClientRects().length && e.getBoundingClientRect().right > width + 1)
        .map(e => e.tagName + " " + e.textContent.slice(0, 60))""",
        width,
    )
    assert beyond == []
