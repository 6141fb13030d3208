"""Names that try to be more than text stay text, whatever is done with the page."""

from __future__ import annotations

import pytest

from tests.report.browser import hostile as names
from tests.report.browser.chromium import opened
from tests.report.browser.looking import unfold


@pytest.fixture(scope="module")
def window(browser, hostile):
    with opened(browser, hostile) as page:
        unfold(page)
        yield page


def struck(page):
    return page.evaluate("window.struck")


def test_nothing_of_theirs_runs_as_it_is_opened(window):
    assert struck(window) is None
    made = window.evaluate("document.querySelectorAll('img, iframe, object, embed').length")
    assert made == 0
    handlers = """[...document.querySelectorAll("*")].flatMap((it) => [...it.attributes])
      .filter((it) => it.name.startsWith("on") || /^\\s*javascript:/i.test(it.value)).length"""
    assert window.evaluate(handlers) == 0


def test_they_are_all_shown_as_text(window):
    text = " ".join(window.locator("body").inner_text().split())
    for it in names.STRIKES:
        assert " ".join(it.replace("\u2028\u2029", " ").split()) in text
    assert "\u202e" not in window.content()


def test_nothing_of_theirs_runs_when_all_controls_are_used(window):
    for select in window.locator("#controls select").all():
        for value in [it.get_attribute("value") for it in select.locator("option").all()]:
            select.select_option(value)
            assert struck(window) is None
        select.select_option(index=0)
    # By the page itself: to bring each into view, as a mouse would, takes most of a minute.
    window.locator("main button:visible").evaluate_all("all => all.forEach(it => it.click())")
    for mark in window.locator("svg:visible .mark").all()[:40]:
        mark.focus()
    for field in window.locator("main input:visible").all():
        field.fill(names.STRIKES[0])
        field.fill("")
    assert struck(window) is None
    assert window.evaluate("document.querySelectorAll('img, iframe').length") == 0


def test_a_task_of_such_a_name_can_be_chosen(window):
    choice = window.locator("#show-task")
    values = [it.get_attribute("value") for it in choice.locator("option").all()]
    assert len(values) == 5
    for value in values[1:]:
        choice.select_option(value)
        articles = window.locator("main article[data-task]:visible")
        assert articles.count() >= 2
        assert {it.get_attribute("data-task") for it in articles.all()} == {value}
    choice.select_option("")


def test_a_name_that_every_object_has_can_be_the_baseline(window):
    choice = window.locator("#baseline")
    for key in names.KEYS:
        (value,) = [
            it.get_attribute("value")
            for it in choice.locator("option").all()
            if it.get_attribute("value").startswith(f"{key}:")
        ]
        choice.select_option(value)
        first = window.locator("#speed article[data-baselines]").first
        assert first.get_attribute("data-shown-baseline") == value
    choice.select_option("")
