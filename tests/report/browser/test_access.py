"""Read by a screen reader, used with a keyboard, printed, or opened without script."""

from __future__ import annotations

from tests.report.browser.chromium import opened
from tests.report.browser.looking import axe, look, settle, unfold

PAPER = "() => getComputedStyle(document.body).backgroundColor"


def test_axe_finds_nothing_serious(page):
    unfold(page)
    assert axe(page) == []
    # All that another theme changes is colours.
    page.emulate_media(color_scheme="dark")
    assert axe(page, "color-contrast") == []


def test_axe_does_find(page):
    page.evaluate("() => document.body.append(document.createElement('button'))")
    assert any("button-name" in it for it in axe(page, "button-name"))


def dark(page):
    """Whether the page stands on dark paper."""
    red, green, blue = (int(it) for it in page.evaluate(PAPER)[4:-1].split(",")[:3])
    return max(red, green, blue) < 80


def test_the_theme_is_the_readers_until_another_is_chosen(page):
    assert not dark(page)
    page.emulate_media(color_scheme="dark")
    assert dark(page)
    page.select_option("#theme", "light")
    assert not dark(page)
    page.emulate_media(color_scheme="light")
    page.select_option("#theme", "dark")
    assert dark(page)
    assert not look(page, "faint")["faint"]
    page.select_option("#theme", "auto")
    assert not dark(page)


def test_printed_it_is_whole_and_has_no_controls(page):
    page.emulate_media(media="print", color_scheme="dark")
    page.set_viewport_size({"width": 720, "height": 1000})  # A4 within its margins
    settle(page)
    assert not dark(page), "paper is white"
    # The buttons in a table's head are its titles.
    controls = page.locator("#controls, nav, .tools, button:not(th button), select, input")
    assert controls.count() > 5
    assert not [it for it in controls.all() if it.is_visible()]
    assert page.locator("svg:visible").count() >= 5
    found = look(page)
    assert not any(found.values()), found
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")


def test_without_script_it_is_whole_and_offers_nothing_that_would_not_work(browser, small):
    with opened(browser, small, java_script_enabled=False) as page:
        controls = page.locator("#controls, button, select, input")
        assert not [it for it in controls.all() if it.is_visible()]
        found = look(page)
        assert not any(found.values()), found
