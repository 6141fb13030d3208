"""A real browser for the page: Chromium, headless, and the page watched while it is open.

The page is opened as its readers do, from disk, and may ask for nothing but its own file.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
ABSENT = f"no browser: install one of {', '.join(NAMES)}, or name it in SAMESTEP_CHROMIUM"
READY = "html[data-ready]"
"""How the page says that its controls work."""
SIZE = {"width": 1280, "height": 900}


def find_chromium() -> str | None:
    """The Chromium that SAMESTEP_CHROMIUM names, else the first on the path; None without one."""
    named = os.environ.get("SAMESTEP_CHROMIUM")
    return named or next((found for it in NAMES if (found := shutil.which(it))), None)


@contextmanager
def launched(path: str) -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    # Without a sandbox it runs as root too, and it opens nothing but our own files.
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Browser, path: Path, **options: Any) -> Iterator[Page]:
    """The file in a window of its own; `options` are those of a browser context.

    Raises AssertionError at the end if the page has logged an error, opened a dialog or another
    page, or asked for anything but its own file.
    """
    complaints: list[str] = []
    address = path.as_uri()

    def ask(request: Any) -> None:
        if not request.url.startswith((address, "data:", "blob:")):
            complaints.append(f"asked for {request.url}")

    def log(message: Any) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{message.type}: {message.text}")

    def dialog(box: Any) -> None:
        complaints.append(f"dialog: {box.message}")
        box.dismiss()

    context = browser.new_context(viewport=SIZE, reduced_motion="reduce", **options)
    try:
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", ask)
        page.on("console", log)
        page.on("pageerror", lambda error: complaints.append(f"thrown: {error}"))
        page.on("dialog", dialog)
        page.on("popup", lambda other: complaints.append(f"opened {other.url}"))
        page.goto(address)
        if options.get("java_script_enabled", True):
            page.wait_for_selector(READY, state="attached")
        yield page
    finally:
        context.close()
    assert not complaints, complaints


def reopen(page: Page) -> None:
    """The same page from its beginning."""
    page.goto(page.url.partition("#")[0])
    page.wait_for_selector(READY, state="attached")


def unfold(page: Page) -> None:
    """Open what a reader has to ask for: tables that repeat others or go into detail."""
    page.evaluate("document.querySelectorAll('details.folded').forEach((it) => { it.open = true })")
