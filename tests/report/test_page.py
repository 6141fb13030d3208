"""The page: self-contained, well-formed, inert."""

from __future__ import annotations

import base64
import hashlib
import re

import pytest

from harness.report import format as fmt
from harness.report.sections import everything
from harness.report.write import write_report
from tests.builders import LABELS
from tests.report.reading import Page


@pytest.fixture(scope="module")
def html(written):
    return written.text("report.html")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_asks_nothing_of_any_network(html, page):
    assert not re.search(r"https?://", html)
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "img")
        assert not any(it.startswith("on") for it in attributes)
        assert "src" not in attributes
        href = attributes.get("href") or "#"
        assert href.startswith(("#", "data:text/csv;", "data:application/json;"))
    assert "@import" not in html
    assert all(it.startswith("#") for it in re.findall(r"url\(([^)]*)\)", html))


def test_only_its_own_script_may_run(html, page):
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [it["content"] for tag, it in page.tags if tag == "meta" and "http-equiv" in it]
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert not re.search(r"\b(eval|Function|innerHTML|fetch|XMLHttpRequest|import)\b", script)


def test_ids_are_unique_and_every_link_has_its_target(page):
    assert len(page.ids) == len(set(page.ids))
    links = {it["href"] for _, it in page.tags if it.get("href")}
    links = {it for it in links if not it.startswith("data:")}
    assert {it.removeprefix("#") for it in links} <= set(page.ids)


def test_every_mark_has_its_name_and_value(html, page):
    plots = [it for _, it in page.tags if it.get("class") == "plot"]
    assert len(plots) > 15
    assert all(it["role"] == "group" and len(it["aria-label"]) > 20 for it in plots)
    marks = re.findall(r'<circle class="mark"[^>]*><title>(.*?)</', html, re.S)
    assert len(marks) == html.count('class="mark"')
    assert all(len(it.split("\n")) >= 2 for it in marks)


def test_saved_figures_have_the_numbers_of_the_tables(written):
    svg = written.text("figures/ratios.svg")
    for table in written.summary.tables:
        for pair in table.pairs:
            value, bounds = fmt.interval(pair.speed, "ratio")
            tip = f"{pair.label}, {pair.verdict}\n{value}\n95 % interval {bounds}</title>"
            assert tip in svg


def test_parts_stand_in_order(html):
    parts = ["short", "speed", "phases", "memory", "quality", "sameness", "noise", "failures"]
    parts += ["method", "everything", "cells", "samples", "downloads", "repeat"]
    places = [html.index(f'<section id="{it}"') for it in parts]
    assert places == sorted(places)


def test_the_page_carries_its_data(written, html):
    """Sent alone, it still has them."""
    carried = dict(re.findall(r'<a href="data:[^"]*;base64,([^"]*)" download="([^"]*)"', html))
    assert list(carried.values()) == ["results.csv", "trainings.csv", "run.json"]
    for data, name in carried.items():
        assert base64.b64decode(data) == (written.directory / name).read_bytes()


def test_what_is_too_large_lies_beside_the_page(monkeypatch, written, tmp_path):
    sizes = sorted((written.directory / it).stat().st_size for it in ("results.csv", "run.json"))
    monkeypatch.setattr("harness.report.page.CARRIED", sum(sizes) // 2)
    write_report(written.run, tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert '<a href="run.json" download="run.json">' in html
    assert '<a href="results.csv"' not in html


def test_a_long_report_saves_overviews_only_and_shows_all(monkeypatch, written, html, tmp_path):
    monkeypatch.setattr("harness.report.write.LONG", 0)
    done = []
    paths = write_report(written.run, tmp_path, lambda *it: done.append(it))
    long = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "base64" not in long
    assert long.count('<div class="panel"') == html.count('<div class="panel"')
    saved = {it.name for it in paths if it.parent.name == "figures"}
    assert saved == {"ratios.png", "ratios.svg"}
    assert (tmp_path / "report.md").read_text(encoding="utf-8").count("(figures/") == 2
    assert done[0][0] == 0
    assert [it for it, _ in done] == sorted(it for it, _ in done)
    assert len({total for _, total in done}) == 1


def test_every_cell_leads_to_its_samples(written, page, html):
    table = page.tables["Every cell"]
    rows = [row for table in written.summary.tables for row in table.rows]
    assert len(table) == 1 + len(rows)
    links = re.findall(r'href="#(raw-\d+)"', html)
    assert len(links) == len(rows)
    assert set(links) <= set(page.ids)
    count = len(written.run.records[0].phase("train").samples)
    assert html.count(f"{count * 9} samples in 9 blocks</summary>") == len(rows)


def test_too_many_samples_are_summed_up(monkeypatch, written):
    whole = everything(written.run, written.summary)
    monkeypatch.setattr("harness.report.sections.MANY", 10)
    short = everything(written.run, written.summary)
    texts = [it.samples[0].grid.rows[0][2].text for it in (whole, short)]
    times = [float(it) for it in texts[0].split()]
    assert len(times) == 7
    assert texts[1] == f"{min(times):.4g} – {max(times):.4g} (7)"
    assert "samestep.sqlite" in short.samples[0].notes[0]
    assert not whole.samples[0].notes


def test_every_table_can_be_seen_against_each_of_its_rows(html):
    articles = re.findall(
        r"<article[^>]* data-shown-baseline=\"([^\"]*)\">(.*?)</article>", html, re.S
    )
    assert len(articles) == 4
    for own, article in articles:
        others = re.findall(r'<template data-baseline="([^"]*)"', article)
        assert {own, *others} == set(LABELS)


def test_says_what_matters(written, page):
    text = " ".join("".join(page.text).split())
    assert "NumPy reference, PyTorch and TensorFlow on 2 tasks" in text
    assert "Xeon(R) Platinum 8481C" in text
    assert "6 blocks" in text
    assert "all blocks done after 98.2 s" in text
    assert "95 % confidence" in text
    assert "python -m harness run --task 'digits-*'" in text
    assert written.run.info.commit in text
    assert "killed by signal 11" in text
    assert "Segmentation fault" in text
    assert "mnist-*" in text


def test_claims_nothing_about_sameness(page):
    text = "".join(page.text).lower()
    assert "proved" not in text
    assert "parity" not in text


def test_responsive_printable_and_dark(html):
    for rule in ("light-dark(", "@media print", 'name="viewport"', "max-width"):
        assert rule in html
