"""The page is whole at every width and in both themes: nothing cut, nothing on top of another."""

from __future__ import annotations

import pytest

from tests.report.browser.chromium import opened
from tests.report.browser.looking import look, settle, unfold
from tests.sweeps import sweep

WIDTHS = (360, 768, 1280, 1920)
QUICK_PAGES = ("small", "crowded")
QUICK_WIDTHS = (360, 1280)


def widths():
    return sweep(WIDTHS, QUICK_WIDTHS.__contains__)


@pytest.fixture(
    scope="module",
    params=sweep(("small", "crowded", "near", "hostile"), QUICK_PAGES.__contains__),
)
def laid(request, browser):
    with opened(browser, request.getfixturevalue(request.param)) as page:
        yield page


@pytest.mark.parametrize("width", widths())
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


BESIDE = """() => [
  ...document.querySelectorAll(":is(#phases, #memory) .tables > article"),
].map((it) => {
  const [table] = it.querySelectorAll(".scroll");
  return {
    beside: it.getBoundingClientRect().width < it.parentElement.clientWidth - 1,
    cut: table.scrollWidth > table.clientWidth + 1,
  };
})"""


@pytest.mark.parametrize("width", widths())
def test_tables_stand_beside_each_other_only_where_both_are_whole(laid, width):
    laid.set_viewport_size({"width": width, "height": 900})
    settle(laid)
    found = laid.evaluate(BESIDE)
    assert found
    assert not [it for it in found if it["beside"] and it["cut"]]


def test_where_there_is_room_two_tables_stand_in_a_row(browser, small):
    with opened(browser, small) as page:
        page.set_viewport_size({"width": 1280, "height": 900})
        settle(page)
        assert any(it["beside"] for it in page.evaluate(BESIDE))


def test_a_remark_is_no_column_of_single_words(browser, small):
    """On a telephone the table is scrolled; its rows need not be as tall as the screen."""
    with opened(browser, small) as page:
        page.set_viewport_size({"width": 360, "height": 800})
        settle(page)
        widths = page.evaluate(
            """() => [...document.querySelectorAll("#noise td.text:last-child")]
              .map((it) => it.getBoundingClientRect().width)"""
        )
        assert widths
        assert min(widths) > 180


LINES = """() => [...document.querySelectorAll("#speed tbody th.name")].map((it) => {
  const style = getComputedStyle(it);
  return [style.position, style.borderBottomWidth,
          getComputedStyle(it.closest("table")).borderCollapse];
})"""


def test_a_name_that_stays_while_its_row_is_scrolled_keeps_its_line(browser, small):
    """Collapsed lines are the table's: Chromium paints a sticky cell over them, or not, as the
    fractions of its row's place on the screen have it. No picture shows that every time."""
    with opened(browser, small) as page:
        page.set_viewport_size({"width": 360, "height": 900})
        settle(page)
        found = page.evaluate(LINES)
        assert found
        assert all(it == ["sticky", "1px", "separate"] for it in found)
