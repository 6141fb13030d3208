"""Charts as inline SVG: the same marks as the figures', as text that is inert and told in words."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from harness.analysis.summary import summarise
from harness.report import panels
from harness.report.chart import Chart, Curve, Curves, Dots, Mark
from harness.report.charts import make_charts
from harness.report.style import look
from harness.report.svg import MARKERS, palette, picture, plot
from tests.builders import LABELS, TASK, make_setup, measured
from tests.report.reading import Page

HOSTILE = "<script>alert(1)</script>\"'&@"
STYLE = look(make_setup())


@pytest.fixture(scope="module")
def charts():
    return {it.name: it for it in make_charts(summarise([TASK], measured(blocks=3)))}


def marks_of(drawn):
    return re.findall(r"<g class=\"mark [^>]*><title>(.*?)</title>", drawn, re.DOTALL)


def test_both_renderers_draw_the_same_marks(charts):
    for chart in charts.values():
        given = [it for row in chart.panels for it in row if it]
        for panel, shown in zip(given, picture(chart).plots, strict=True):
            sketch = panels.sketch(panel, 3.0)
            tips = [it.tip for it in sketch.dots]
            tips += [tip for it in sketch.curves for tip in it.tips if tip]
            _, drawn = shown.drawn[0]
            assert sorted(marks_of(drawn)) == sorted("\n".join(filter(None, it)) for it in tips)


def test_a_mark_says_name_value_and_interval(charts):
    (panel, _), *_ = charts["throughput"].panels
    said = [it.split("\n") for it in marks_of(plot(panel).drawn[0][1])]
    assert [it[0] for it in said] == [name for name, _ in panel.rows]
    assert all(it[1].endswith(" examples/s") and it[2].startswith("95 % interval (") for it in said)


def test_positions_are_shares_of_the_axis(charts):
    for chart in charts.values():
        for shown in picture(chart).plots:
            for _, drawn in shown.drawn:
                shares = [float(it) for it in re.findall(r' c?x="([-\d.e]+)%"', drawn)]
                assert shares
                assert all(-0.01 <= it <= 100.01 for it in shares)


def test_the_other_axis_is_drawn_where_it_shows_something(charts):
    axes = {
        name: [axis for axis, _ in picture(chart).plots[0].drawn] for name, chart in charts.items()
    }
    assert axes == {
        "ratios": ["log"],
        "throughput": ["linear", "log"],
        "quality": ["linear"],
        "phase-times": ["log", "linear"],
        "break-even": ["log"],
        "memory": ["linear", "log"],
        "drift": ["linear"],
    }


def test_a_zero_stands_at_the_edge_of_a_log_axis():
    marks = (Mark(STYLE, 0.0), Mark(STYLE, 1e6))
    (_, drawn) = plot(Dots("t", "a", "bytes", (("r", marks),), log=True)).drawn[0]
    assert re.findall(r'<use [^>]*x="([^"]*)"', drawn)[0] == "0%"


def test_panels_of_one_row_have_names_of_their_own(charts):
    """Beside each other they share them; in the page each stands for itself."""
    shown = picture(charts["memory"]).plots
    assert len(shown) == 3
    for it in shown:
        assert it.title == "digits-mlp"
        assert all(f">{label}</text>" in it.drawn[0][1] for label in LABELS)


def test_hostile_names_are_text():
    row = (HOSTILE, (Mark(STYLE, 2.0, 1.0, 3.0, HOSTILE, name=HOSTILE, told=(HOSTILE, HOSTILE)),))
    dots = Dots(HOSTILE, HOSTILE, "seconds", (row,))
    curves = Curves(HOSTILE, HOSTILE, "epoch", HOSTILE, "error", (), 1.0, HOSTILE)
    points = ((1.0, 1.0), (2.0, 3.0))
    curves = replace(curves, curves=(Curve(STYLE, points, name=HOSTILE),))
    for panel in (dots, curves):
        for _, drawn in plot(panel).drawn:
            page = Page(drawn)
            assert {tag for tag, _ in page.tags} <= {
                "div", "svg", "path", "text", "g", "title", "line", "circle", "use"
            }  # fmt: skip
            assert HOSTILE in "".join(page.text)
            assert all("alert" not in (it.get("class") or "") for _, it in page.tags)


def test_colours_are_classes_with_one_rule_each(charts):
    rules = palette(charts.values())
    used = {it for chart in charts.values() for p in picture(chart).plots for _, d in p.drawn
            for it in re.findall(r'class="[^"]*\b(c-[0-9a-f]{6})', d)}  # fmt: skip
    assert len(used) == 3
    assert sorted(re.findall(r"\.(c-[0-9a-f]{6})\{", rules)) == sorted(used)


def test_every_marker_has_its_shape(charts):
    ids = set(re.findall(r'id="([^"]*)"', MARKERS))
    for chart in charts.values():
        shown = picture(chart)
        for markup in (
            *(key for key, _ in shown.legend),
            *(d for p in shown.plots for _, d in p.drawn),
        ):
            assert set(re.findall(r'href="#([^"]*)"', markup)) <= ids


def test_a_chart_of_nothing_is_empty():
    assert picture(Chart("n", "speed", "t", "a", ())).plots == ()
