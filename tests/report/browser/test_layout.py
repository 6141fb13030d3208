"""The page is whole at every width and in both themes: nothing cut, nothing on top of another."""

from __future__ import annotations

import pytest

from tests.report.browser.chromium import opened
from tests.report.browser.looking import look, settle, unfold

WIDTHS = (360, 768, 1280, 1920)


@pytest.fixture(scope="module", params=["small", "near", "crowded", "hostile"])
def laid(request, browser):
    with opened(browser, request.getfixturevalue(request.param)) as page:
        yield page


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_clipped_or_overlaps(laid, width):
    laid.set_viewport_size({"width": width, "height": 900})
    settle(laid)
    found = look(laid, "overflowing", "clipped", "overlapping", "crumbled")
    assert not any(found.values()), found


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_when_all_is_unfolded(laid, width):
    laid.set_viewport_size({"width": width, "height": 900})
    unfold(laid)
    settle(laid)
    found = look(laid, "overflowing", "clipped", "overlapping", "crumbled")
    assert not any(found.values()), found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_marks_stand_out(laid, scheme):
    laid.emulate_media(color_scheme=scheme)
    found = look(laid, "faint", "pale")
    assert not any(found.values()), found
