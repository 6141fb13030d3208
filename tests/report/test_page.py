"""The page: self-contained, well-formed, inert."""

from __future__ import annotations

import re

import pytest

from tests.report.reading import Page


@pytest.fixture(scope="module")
def html(written):
    return written.text("report.html")


@pytest.fixture(scope="module")
def page(html):
    return Page(html)


def test_asks_nothing_of_any_network_and_runs_nothing(html, page):
    assert not re.search(r"https?://", html)
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "img")
        assert not any(it.startswith("on") for it in attributes)
        assert "src" not in attributes
        assert (attributes.get("href") or "#").startswith("#")
    assert "@import" not in html
    assert all(it.startswith("#") for it in re.findall(r"url\(([^)]*)\)", html))


def test_ids_are_unique_and_every_link_has_its_target(page):
    assert len(page.ids) == len(set(page.ids))
    links = [it["href"] for _, it in page.tags if it.get("href")]
    assert {it.removeprefix("#") for it in links} <= set(page.ids)


def test_figures_have_text_alternatives(page):
    figures = [it for tag, it in page.tags if tag == "svg"]
    assert len(figures) == 5
    assert all(it["role"] == "img" and len(it["aria-label"]) > 50 for it in figures)


def test_parts_stand_in_order(html):
    parts = ["short", "speed", "quality", "phases", "memory", "failures", "method", "repeat"]
    places = [html.index(f'<section id="{it}"') for it in parts]
    assert places == sorted(places)


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
    for rule in ("prefers-color-scheme: dark", "@media print", 'name="viewport"', "max-width"):
        assert rule in html
