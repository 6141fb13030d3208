"""Figures tell the value and the interval of every mark, to a mouse and to a keyboard."""

from __future__ import annotations

import re

import pytest

from tests.report.browser.looking import settle

INTERVAL = re.compile(r"\d.*–.*\d")


@pytest.fixture
def tip(page):
    return page.locator("#tip")


def mark(page, chart="throughput"):
    return page.locator(f"figure[data-chart={chart}] svg:visible .mark").first


def told(tip):
    return [tip.locator(f".tip-{it}").inner_text().strip() for it in ("name", "value", "interval")]


def test_hovering_tells_name_value_and_interval(page, tip):
    assert not tip.is_visible()
    mark(page).scroll_into_view_if_needed()
    settle(page)  # to scroll hides what is told
    mark(page).hover()
    name, value, interval = told(tip)
    assert tip.is_visible()
    assert name in page.locator("#cells").inner_text()
    assert value.split()[0] in page.locator("#speed table").all_inner_texts()[0]
    assert INTERVAL.search(interval)
    page.mouse.move(0, 0)
    assert not tip.is_visible()


def test_the_keyboard_reaches_every_mark_of_a_panel(page, tip):
    panel = page.locator("figure[data-chart=throughput] svg:visible").first
    marks = panel.locator(".mark")
    count = marks.count()
    assert count == 3
    assert panel.locator("[tabindex='0']").count() == 1
    panel.locator(".mark[tabindex='0']").focus()
    seen = []
    page.keyboard.press("Home")
    for _ in range(count):
        assert tip.is_visible()
        seen.append(told(tip)[0])
        assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith(
            seen[-1]
        )
        page.keyboard.press("ArrowRight")
    assert len(set(seen)) == count
    page.keyboard.press("End")
    assert told(tip)[0] == seen[-1]
    page.keyboard.press("Escape")
    assert not tip.is_visible()


def test_a_tip_stays_inside_the_window(page, tip):
    page.set_viewport_size({"width": 360, "height": 640})
    for it in page.locator("figure[data-chart=throughput] svg:visible .mark").all():
        it.scroll_into_view_if_needed()
        it.focus()
        box = tip.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 360


COLORS = """() => [...document.querySelectorAll("svg .mark")].map((it) => {
  const name = it.getAttribute("aria-label") ?? it.querySelector("title").textContent;
  return [name.split(/[\\n,]/)[0].trim(), getComputedStyle(it).getPropertyValue("--c")];
})"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_framework_has_one_colour_in_all_figures_and_no_other_has_it(page, scheme):
    page.emulate_media(color_scheme=scheme)
    colors = {}
    for name, color in page.evaluate(COLORS):
        framework = re.search(r"\b(pytorch|tensorflow|reference)\b", name)
        if framework:
            colors.setdefault(framework[1], set()).add(color)
    assert sorted(colors) == ["pytorch", "reference", "tensorflow"]
    assert all(len(it) == 1 for it in colors.values()), colors
    assert len(set.union(*colors.values())) == 3
