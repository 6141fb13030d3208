"""One browser for all tests here, and the reports that they open in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from harness.report import figures
from harness.report.figures import draw
from harness.report.write import write_report
from tests.report.browser import hostile as names
from tests.report.browser import runs
from tests.report.browser.chromium import (
    ABSENT,
    SIZE,
    find_chromium,
    launched,
    opened,
    reopen,
    unfold,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    path = find_chromium()
    if path is None:
        pytest.skip(ABSENT)
    with launched(path) as found:
        yield found


@pytest.fixture(scope="session")
def small(written) -> Path:
    """Two tasks, three frameworks, a crash; small enough to be read as a whole."""
    return written.directory / "report.html"


def _page(run, directory) -> Path:
    """Without pictures beside it, which take as long again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figures, "draw", lambda chart, saved: draw(chart, saved=False))
        write_report(run, directory)
    return directory / "report.html"


@pytest.fixture(scope="session")
def near(tmp_path_factory) -> Path:
    return _page(runs.near(), tmp_path_factory.mktemp("near"))


@pytest.fixture(scope="session")
def crowded(tmp_path_factory) -> Path:
    return _page(runs.crowded(), tmp_path_factory.mktemp("crowded"))


@pytest.fixture(scope="session")
def hostile(tmp_path_factory) -> Path:
    return _page(names.run(), tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="module")
def small_window(browser, small) -> Iterator[Page]:
    with opened(browser, small) as found:
        yield found


@pytest.fixture
def page(small_window) -> Page:
    """The small report as if just opened; a window for each test would take most of their time."""
    small_window.evaluate("localStorage.clear()")
    small_window.set_viewport_size(SIZE)
    small_window.emulate_media(media="screen", color_scheme="light")
    small_window.mouse.move(0, 0)
    reopen(small_window)
    unfold(small_window)
    return small_window
