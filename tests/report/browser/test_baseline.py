"""Another baseline shows the ratios and verdicts that the analysis gives for it."""

from __future__ import annotations

import pytest

from harness.analysis.pairs import entries, pair_of
from harness.analysis.verdicts import judged
from harness.report import format as fmt
from tests.builders import MANY_LABELS
from tests.report.browser import runs
from tests.report.browser.chromium import opened
from tests.report.browser.runs import UNPROVEN
from tests.report.reading import words

RECORDS = runs.near().records
BASELINES = [it for it in MANY_LABELS if it != UNPROVEN]


@pytest.fixture(scope="module")
def window(browser, near):
    with opened(browser, near) as page:
        yield page


def shown(page, article="article[data-baselines]"):
    """Name → ratio and verdict, of the first table of speed."""
    rows = page.locator(f"#speed {article}").first.locator("table tbody tr")
    return {
        words(it.locator("th code").inner_text()): (
            words(it.locator("[data-role=ratio]").inner_text()),
            words(it.locator("[data-role=verdict]").inner_text()),
        )
        for it in rows.all()
    }


def expected(records, baseline):
    timed = {it.setup.label: it for it in entries(records).values()}
    pairs = [pair_of(timed[it], timed[baseline], "train") for it in timed if it != baseline]
    barred = (
        {UNPROVEN: "not proven"} if baseline != UNPROVEN else dict.fromkeys(timed, "not proven")
    )
    found = {
        it.label: (" ".join(fmt.interval(it.speed, "ratio")), it.verdict)
        for it in judged(pairs, barred)
    }
    return found | {baseline: (fmt.SAME, "baseline")}


def test_the_run_has_verdicts_of_every_kind():
    kinds = {it for label in BASELINES for _, it in expected(RECORDS, label).values()}
    assert kinds == {"faster", "slower", "equivalent", "cannot tell", "not ranked", "baseline"}


@pytest.mark.parametrize("baseline", BASELINES)
def test_ratios_and_verdicts_are_those_to_the_baseline(window, baseline):
    window.locator("#baseline").select_option(baseline)
    assert shown(window) == expected(RECORDS, baseline)
    article = window.locator("#speed article[data-baselines]").first
    assert article.get_attribute("data-shown-baseline") == baseline
    assert baseline in words(article.locator("th[data-role=ratio]").inner_text())


def test_the_first_baseline_comes_back(window):
    choice = window.locator("#baseline")
    choice.select_option("reference:replay")
    assert shown(window) != expected(RECORDS, "pytorch:eager")
    choice.select_option("")
    assert shown(window) == expected(RECORDS, "pytorch:eager")


def test_sentences_follow(window):
    article = window.locator("#speed article[data-baselines]").first
    choice = window.locator("#baseline")

    def told():
        anchor = article.locator("[id^=speed-]").first.get_attribute("id")
        short = window.locator(f"#short li[data-of={anchor}] .verdict").inner_text()
        return article.locator(".lead").inner_text(), short

    choice.select_option("")
    lead, short = told()
    assert lead == short
    choice.select_option("tensorflow:graph")
    lead, short = told()
    assert lead == short
