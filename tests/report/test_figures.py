"""Figures: what they show, that they fit, that they are safe and the same every time."""

from __future__ import annotations

import io
import itertools
import re
import struct
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.text import Text
from PIL import Image

from harness.analysis.summary import summarise
from harness.report import figures
from harness.report.chart import Axis, Chart, Curve, Curves, Dots, Key, Mark
from harness.report.charts import make_charts
from harness.report.figures import breadth, draw, round_ticks, shortened
from harness.report.style import BAND, GRID, INK, look
from tests.builders import (
    LABELS,
    MANY_LABELS,
    TASK,
    make_quality,
    make_record,
    make_setup,
    make_task,
    measured,
)
from tests.report.reading import Page

HOSTILE = "<script>alert(1)</script>\"'&@ $\\frac{1}{2}$ \x1b[31m\x00\x0b\u202e\ufffe ]]>"
STYLE = look(make_setup())


@pytest.fixture(scope="module")
def charts():
    return {it.name: it for it in make_charts(summarise([TASK], measured(blocks=3)))}


@pytest.fixture(scope="module")
def drawings(charts):
    return {name: draw(it) for name, it in charts.items()}


def one_panel(panel, **fields) -> Chart:
    return Chart("name", "speed", "title", "what it shows", (panel,), **fields)


def titles(markup):
    """The tips of a figure, line by line."""
    return [
        it.text.split("\n") for it in ElementTree.fromstring(markup).iter() if "title" in it.tag
    ]


def test_every_chart_is_drawn_whole(drawings):
    assert list(drawings) == [
        "ratios",
        "throughput",
        "quality",
        "phase-times",
        "break-even",
        "memory",
        "drift",
    ]
    for drawing in drawings.values():
        assert drawing.png.startswith(b"\x89PNG")
        wide, tall = struct.unpack(">II", drawing.png[16:24])
        _, _, *size = map(float, ElementTree.fromstring(drawing.svg).attrib["viewBox"].split())
        assert (wide, tall) == pytest.approx([it * figures.DPI / 72 for it in size], abs=2)
        assert len(drawing.png) > 5000
        assert len(drawing.panels) == len(drawing.chart.panels)
        assert len(drawing.keys) == len(drawing.chart.legend)


def test_a_picture_shows_the_colours_of_the_page(drawings):
    picture = Image.open(io.BytesIO(drawings["throughput"].png)).convert("RGB")
    assert picture.getpixel((2, 2)) == (255, 255, 255)
    colors = {"#{:02x}{:02x}{:02x}".format(*it) for _, it in picture.getcolors(1 << 24)}
    looks = [look(make_setup(label=it)) for it in LABELS]
    assert {BAND, GRID, INK, *(it.color.lower() for it in looks)} <= colors


def test_the_page_shows_the_svg_that_is_saved(drawings):
    """The same marks with the same values, in the colours of the page's theme."""
    for drawing in drawings.values():
        assert titles(drawing.svg) == [it for panel in drawing.panels for it in titles(panel)]
        assert "var(" not in drawing.svg
        for part in drawing.panels:
            assert INK not in part
            assert "var(--" in part
            shapes = set(re.findall(r'href="#([^"]*)"', part))
            assert shapes <= drawing.shapes.keys()
            assert 'id="' not in part
        assert "url(" not in drawing.svg


def test_a_mark_has_name_value_and_interval(charts, drawings):
    panel = charts["throughput"].panels[0]
    tips = titles(drawings["throughput"].panels[0])
    assert sorted(it[0] for it in tips) == sorted(name for name, _ in panel.rows)
    for _, value, interval in tips:
        assert value.endswith(" examples/s")
        assert interval.startswith("(range of 3: ")


def test_the_same_run_gives_the_same_bytes_whatever_a_matplotlibrc_says(charts, drawings):
    import matplotlib as mpl

    other = {"font.size": 30, "lines.linewidth": 9, "svg.hashsalt": "salt", "svg.fonttype": "path"}
    with mpl.rc_context({**other, "path.sketch": (5, 50, 2), "text.parse_math": True}):
        assert draw(charts["memory"]) == drawings["memory"]


def test_text_of_strangers_is_text():
    mark = Mark(STYLE, 2.0, 1.0, 3.0, HOSTILE, name=HOSTILE, words=HOSTILE, bounds=HOSTILE)
    dots = Dots(HOSTILE, Axis(HOSTILE, "seconds"), ((HOSTILE, (mark,)),))
    curve = Curve(STYLE, ((1.0, 1.0), (2.0, 3.0)), name=HOSTILE)
    x, y = Axis(HOSTILE, "epoch", at=(1.0,)), Axis(HOSTILE, "error")
    curves = Curves(HOSTILE, x, y, (curve,), 1.0)
    for panel in (dots, curves):
        drawing = draw(replace(one_panel(panel, legend=(Key(HOSTILE, STYLE),)), title=HOSTILE))
        ElementTree.fromstring(drawing.svg)
        for part in (*drawing.panels, *drawing.keys):
            page = Page(part)
            assert {tag for tag, _ in page.tags} <= {
                *("svg", "g", "path", "text", "title", "circle", "use")
            }
        tips = [it for tip in titles(drawing.panels[0]) for it in tip]
        assert any("<script>alert(1)</script>\"'&@ $\\frac{1}{2}$" in it for it in tips)
        for whole in (drawing.svg, *drawing.panels):
            assert not set(whole) & set("\x1b\x00\x0b\u202e\ufffe")


def test_throughput_shows_estimate_and_interval(charts):
    panel = charts["throughput"].panels[0]
    assert panel.title == "digits-mlp · train"
    assert panel.rows[0][0] == "pytorch:eager"
    for _, (mark,) in panel.rows:
        assert (mark.low, mark.high) == (None, None)  # three blocks have no interval
    six = make_charts(summarise([TASK], measured(blocks=6)))
    panel = next(it for it in six if it.name == "throughput").panels[0]
    for _, (mark,) in panel.rows:
        assert mark.low < mark.value < mark.high


def test_memories_are_never_on_one_axis(charts):
    incremental, *others = charts["memory"].panels
    assert [it.x.name for it in others] == ["peak RSS, total", "logical peak"]
    assert incremental.x.name == "peak RSS, incremental"
    for other in others:
        assert other.title == incremental.title
        assert [name for name, _ in incremental.rows] == [name for name, _ in other.rows]


def test_quality_has_a_band_around_each_median_and_the_target(charts):
    epochs, seconds = charts["quality"].panels
    assert epochs.target == seconds.target == TASK.target
    assert epochs.curves[0].points[0][0] == 1
    assert seconds.curves[0].points[0][0] < 1
    rows = {row.setup.label: row for row in summarise([TASK], measured(blocks=3)).qualities[0].rows}
    for curve in epochs.curves:
        row = rows[curve.name]
        after_first = [it.quality.epochs[0].quality for it in row.trainings]
        assert curve.band
        assert curve.bounds[0] == (min(after_first), max(after_first))
        assert len(curve.bounds) == len(curve.points) == len(row.bands)
    assert " to " in titles(draw(charts["quality"]).panels[0])[-1][1]


def test_one_seed_has_no_band():
    chart = next(
        it for it in make_charts(summarise([TASK], measured(blocks=1))) if it.name == "quality"
    )
    assert not any(curve.band for panel in chart.panels for curve in panel.curves)


def test_colour_by_framework_and_marker_by_mode():
    looks = {label: look(make_setup(label=label)) for label in MANY_LABELS}
    assert looks["pytorch:eager"].color == looks["pytorch:compile"].color
    assert looks["pytorch:eager"].color != looks["tensorflow:graph"].color
    known = [it.marker for label, it in looks.items() if not label.startswith("other")]
    assert len(set(known)) == len(known)
    assert len({(it.color, it.marker, it.dashes) for it in looks.values()}) == len(MANY_LABELS)


def test_long_names_are_cut_in_the_middle():
    cut = shortened("a-" * 60 + "[batch_size=32]", 26)
    assert breadth(cut) == 26
    assert cut.startswith("a-")
    assert cut.endswith("size=32]")
    assert shortened("short", 26) == "short"
    assert breadth(shortened("\N{CJK UNIFIED IDEOGRAPH-65E5}" * 30, 26)) <= 26


def test_no_text_leaves_the_figure_or_lies_on_another():
    """Many setups, long names, large numbers; measured by matplotlib."""
    task = make_task("n" * 110)
    records = measured([task], [*MANY_LABELS, "framework-with-a-long-name:mode"], blocks=2, speed=3)
    for chart in make_charts(summarise([task], records)):
        with figures.settings():
            figure = figures.make_sheet(chart).figure
            figure.draw_without_rendering()
            texts = [it for it in figure.findobj(Text) if it.get_text() and it.get_visible()]
            axes_texts = {it for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)
                          for it in axis.findobj(Text)}  # fmt: skip
            boxes = [it.get_window_extent() for it in texts if it not in axes_texts]
        assert len(boxes) > 15
        for box in boxes:
            assert 0 <= box.x0 < box.x1 <= figure.bbox.x1, chart.name
            assert 0 <= box.y0 < box.y1 <= figure.bbox.y1, chart.name
        for one, other in itertools.combinations(boxes, 2):
            # Boxes have room above and below their letters.
            assert not one.padded(-1.5).overlaps(other.padded(-1.5)), chart.name


def test_a_figure_of_very_many_panels_is_a_picture_that_can_be_opened(charts, monkeypatch):
    monkeypatch.setattr(figures, "TALLEST", 400)
    chart = replace(charts["throughput"], panels=charts["throughput"].panels * 4)
    picture = Image.open(io.BytesIO(draw(chart).png))
    assert 300 < picture.height <= 400


def test_what_is_not_saved_is_the_same_on_the_page(charts, drawings):
    drawing = draw(charts["ratios"], saved=False)
    files = {"svg": drawings["ratios"].svg, "png": drawings["ratios"].png}
    assert (drawing.svg, drawing.png) == ("", b"")
    assert replace(drawing, **files) == drawings["ratios"]


def test_a_missing_count_is_named_and_zero_is_a_count():
    axis = Axis("axis", "bytes")
    empty = draw(one_panel(Dots("title", axis, (("a", ()), ("b", ())))))
    assert empty.svg.count("not counted") == 2
    zero = Dots("t", axis, (("a", (Mark(STYLE, 0.0, text="0 B"),)),))
    assert "0 B" in draw(one_panel(zero)).svg
    assert "not counted" not in draw(one_panel(zero)).svg


def test_a_zero_is_at_the_left_end_of_a_log_axis():
    marks = (Mark(STYLE, 0.0), Mark(STYLE, 1e6))
    drawing = draw(one_panel(Dots("t", Axis("a", "bytes", log=True), (("r", marks),))))
    zero, other = (float(it) for it in re.findall(r'<use x="([^"]*)"', drawing.panels[0]))
    left, _, wide, _ = map(float, re.search(r'viewBox="([^"]*)"', drawing.panels[0])[1].split())
    assert left < zero < other < left + wide


def test_a_flat_curve_has_a_scale():
    record = make_record(make_setup(), quality=make_quality([0.1, 0.1]))
    (chart,) = make_charts(summarise([TASK], [record]))
    assert chart.name == "quality"
    assert draw(chart).png


def test_a_chart_of_nothing_is_empty():
    assert draw(Chart("n", "speed", "t", "a", ())).panels == ()


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (1e-3, 2.0, [1e-3, 1e-2, 1e-1, 1]),
        (0.4, 12.0, [0.5, 1.0, 2.0, 5.0, 10.0]),
        (0.36, 1.05, [0.4, 0.5, 0.7, 1.0]),
        (0.71, 1.04, [0.8, 0.9, 1.0]),
        (0.0081, 0.0089, [0.0082, 0.0084, 0.0086, 0.0088]),
    ],
)
def test_a_log_axis_has_ticks_however_narrow_it_is(low, high, ticks):
    assert round_ticks(low, high, 5, log=True) == ticks


def test_a_linear_axis_has_round_ticks():
    assert round_ticks(0.0, 1.0, 4) == [0.0, 0.25, 0.5, 0.75, 1.0]


@given(st.floats(1e-9, 1e9), st.floats(1.0001, 1e6), st.integers(2, 9))
def test_ticks_of_a_log_axis_lie_within_it_and_are_few(low, factor, count):
    ticks = round_ticks(low, low * factor, count, log=True)
    assert all(low <= it <= low * factor for it in ticks)
    assert 1 <= len(ticks) <= 2 * count + 2
