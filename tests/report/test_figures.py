"""Figures: what they show, that they fit, and that they are the same every time."""

from __future__ import annotations

import contextlib
import errno
import io
import itertools
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from harness.analysis.summary import summarise
from harness.report import apart, figures, panels
from harness.report.canvas import COARSE, FINE, Canvas
from harness.report.chart import Dots, Mark
from harness.report.charts import make_charts
from harness.report.letters import SMALL, line_of, shortened, width
from harness.report.pixels import png
from harness.report.sketch import Scale, Sketch, Text
from harness.report.style import BAND, FAINT, GRID, INK, look
from harness.report.vectors import svg
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


@pytest.fixture(scope="module")
def charts():
    return {it.name: it for it in make_charts(summarise([TASK], measured(blocks=3)))}


def test_every_chart_is_drawn_whole(charts):
    drawings = figures.draw(list(charts.values()))
    assert [it.name for it in drawings] == [
        "ratios",
        "throughput",
        "quality",
        "phase-times",
        "break-even",
        "memory",
        "drift",
    ]
    for drawing in drawings:
        assert drawing.png.startswith(b"\x89PNG")
        wide, tall = struct.unpack(">II", drawing.png[16:24])
        assert wide == figures.WIDTH * FINE
        assert tall > 200
        assert len(drawing.png) > 5000
        assert "<svg" in drawing.svg


def test_colours_in_pictures_are_exactly_those_of_the_page(charts):
    drawing = figures.draw([charts["throughput"]])[0]
    picture = Image.open(io.BytesIO(drawing.png)).convert("RGB")
    assert picture.getpixel((2, 2)) == (255, 255, 255)
    found = {"#{:02x}{:02x}{:02x}".format(*it) for _, it in picture.getcolors(1 << 24)}
    looks = [look(make_setup(label=it)) for it in LABELS]
    assert {BAND, GRID, INK, *(it.color.lower() for it in looks)} <= found


def test_the_same_run_gives_the_same_bytes(charts):
    one, other = (figures.draw([charts["throughput"]])[0] for _ in range(2))
    assert (one.png, one.svg) == (other.png, other.svg)


@pytest.fixture
def free(monkeypatch):
    """Tests that ran before may have left threads, which here are none that hold anything."""
    monkeypatch.setattr(apart, "_may_fork", lambda: True)


def helped(charts, errand=lambda: "errand run", trials=apart.MANY):
    """What a helper brings back: of its errand, and all figures."""
    with apart.Helper(errand, charts, trials) as helper:
        return helper.made(), helper.drawings()


@pytest.mark.usefixtures("free")
def test_a_process_of_its_own_runs_the_errand_and_draws_the_same(charts):
    some = list(charts.values())
    process, drawings = helped(some, os.getpid)
    assert process != os.getpid()
    assert drawings == figures.draw(some)


@pytest.mark.parametrize(
    "why", ["few trials", "another thread", "another system", "no room", "killed"]
)
def test_without_a_second_process_one_does_all(charts, monkeypatch, why):
    some, here = list(charts.values()), os.getpid()
    ended = threading.Event()
    if why in ("no room", "killed"):
        monkeypatch.setattr(apart, "_may_fork", lambda: True)
    match why:
        case "another thread":
            threading.Thread(target=ended.wait).start()
        case "another system":
            monkeypatch.setattr(sys, "platform", "darwin")
            monkeypatch.setattr(threading, "active_count", lambda: 1)
        case "no room":
            monkeypatch.setattr(os, "fork", lambda: raising(OSError(errno.EAGAIN, "no process")))

    def errand():
        if os.getpid() != here and why == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        return os.getpid()

    try:
        found = helped(some, errand, 1 if why == "few trials" else apart.MANY)
    finally:
        ended.set()
    assert found == (here, figures.draw(some))


def raising(error):
    raise error


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize("trials", [1, apart.MANY])
def test_what_an_errand_raises_reaches_who_sent(trials):
    with pytest.raises(ZeroDivisionError):
        helped([], lambda: 1 / 0, trials)


def test_two_share_the_pages(charts, monkeypatch, free):
    """The other process draws the first; what it has not begun this one draws, from the last on."""
    with apart.Helper(int, [charts["ratios"]] * 8, apart.MANY) as helper:
        while not helper._meeting.begun:
            time.sleep(0.01)
        own = []
        monkeypatch.setattr(
            apart, "draw", lambda pages, of: own.extend(pages) or ["own"] * len(pages)
        )
        drawings = helper.drawings()
    theirs = drawings.index("own")
    assert theirs > 0
    assert drawings[theirs:] == ["own"] * len(own)
    assert drawings[:theirs] == figures.draw([charts["ratios"]]) * theirs


@pytest.mark.usefixtures("free")
@pytest.mark.parametrize("trials", [1, apart.MANY])
def test_of_many_pages_each_has_fewer_dots(charts, trials):
    def drawn(pages):
        return helped([charts["ratios"]] * pages, trials=trials)[1]

    few, many = drawn(1), drawn(figures.FEW_PAGES + 1)
    assert many == figures.draw([charts["ratios"]], COARSE) * len(many)
    sizes = [Image.open(io.BytesIO(it.png)).size for it in (few[0], many[0])]
    assert [it[0] / figures.WIDTH for it in sizes] == [FINE, COARSE]
    assert sizes[0][1] / FINE == pytest.approx(sizes[1][1] / COARSE, abs=0.01)


def test_the_second_process_ends_with_the_first():
    """Killed in the midst of it, nothing stays behind."""
    script = """if True:
        import os, time
        from harness.report import apart
        def errand():
            print(os.getpid(), flush=True)
            time.sleep(600)
        apart.Helper(errand, [], apart.MANY).made()
    """
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=root
    ) as process:
        number = int(process.stdout.readline())
        if sys.platform != "linux":
            process.kill()
            pytest.skip("a second process is forked on Linux only")
        assert number != process.pid
        second = psutil.Process(number)
        process.kill()
    for _ in range(1000):
        with contextlib.suppress(psutil.NoSuchProcess):
            if second.status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.01)
                continue
        return
    pytest.fail("the second process lives on")


@pytest.mark.usefixtures("free")
def test_one_that_is_killed_at_once_is_none(charts, monkeypatch):
    """Before it is asked to draw."""
    submit = apart.ProcessPoolExecutor.submit

    def broken(pool, function, *given):
        sent = submit(pool, function, *given)
        with contextlib.suppress(BrokenProcessPool):
            sent.result()
        return sent

    monkeypatch.setattr(apart.ProcessPoolExecutor, "submit", broken)
    here = os.getpid()

    def errand():
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return "done here"

    some = [charts["ratios"]]
    assert helped(some, errand) == ("done here", figures.draw(some))


def test_a_matplotlibrc_changes_nothing(charts):
    import matplotlib as mpl

    plain = figures.draw([charts["memory"]])[0]
    other = {"font.size": 30, "lines.linewidth": 9, "svg.hashsalt": "salt", "path.snap": False}
    with mpl.rc_context({**other, "path.sketch": (5, 50, 2), "path.simplify": False}):
        assert figures.draw([charts["memory"]])[0] == plain


def test_throughput_shows_estimate_and_interval(charts):
    (panel, _), *_ = charts["throughput"].panels
    assert panel.title == "digits-mlp · train"
    assert panel.rows[0][0] == "pytorch:eager"
    for _, (mark,) in panel.rows:
        assert (mark.low, mark.high) == (None, None)  # three blocks have no interval
    six = make_charts(summarise([TASK], measured(blocks=6)))
    (panel, _), *_ = next(it for it in six if it.name == "throughput").panels
    for _, (mark,) in panel.rows:
        assert mark.low < mark.value < mark.high


def test_memories_are_never_on_one_axis(charts):
    ((incremental, *others),) = charts["memory"].panels
    assert [it.axis for it in others] == ["peak RSS, total", "logical peak"]
    assert incremental.axis == "peak RSS, incremental"
    for other in others:
        assert [name for name, _ in incremental.rows] == [name for name, _ in other.rows]


def test_quality_has_a_band_around_each_median_and_the_target(charts):
    ((epochs, seconds),) = charts["quality"].panels
    assert epochs.target == seconds.target == TASK.target
    assert epochs.curves[0].points[0][0] == 1
    assert seconds.curves[0].points[0][0] < 1
    rows = {row.setup.label: row for row in summarise([TASK], measured(blocks=3)).qualities[0].rows}
    for curve in epochs.curves:
        row = rows[curve.name]
        after_first = [it.quality.epochs[0].quality for it in row.trainings]
        assert curve.band[0] == (1, min(after_first), max(after_first))
        assert len(curve.band) == len(curve.points) == len(row.bands)
    drawn = panels.sketch(epochs, 3.0)
    assert [alpha for _, _, alpha in drawn.bands] == [panels.AROUND] * 3
    for stroke, (corners, color, _) in zip(drawn.curves, drawn.bands, strict=True):
        assert stroke.look.color == color
        heights = [y for x, y in corners if x == stroke.points[0][0]]
        assert min(heights) <= stroke.points[0][1] <= max(heights)
    assert " to " in drawn.curves[0].tips[-1][1]


def test_one_seed_has_no_band():
    (chart,) = (
        it for it in make_charts(summarise([TASK], measured(blocks=1))) if it.name == "quality"
    )
    assert not any(curve.band for panel in chart.panels[0] for curve in panel.curves)


def test_colour_by_framework_and_marker_by_mode():
    looks = {label: look(make_setup(label=label)) for label in MANY_LABELS}
    assert looks["pytorch:eager"].color == looks["pytorch:compile"].color
    assert looks["pytorch:eager"].color != looks["tensorflow:graph"].color
    known = [it.marker for label, it in looks.items() if not label.startswith("other")]
    assert len(set(known)) == len(known)
    assert len({(it.color, it.marker, it.dashes) for it in looks.values()}) == len(MANY_LABELS)


def test_long_names_are_cut_in_the_middle_and_fit():
    name = "a-" * 60 + "[batch_size=32]"
    cut = shortened(name, SMALL, 1.9)
    assert width(cut, SMALL) <= 1.9
    assert cut.startswith("a-")
    assert cut.endswith("size=32]")
    assert shortened("short", SMALL, 1.9) == "short"
    assert shortened("\N{CJK UNIFIED IDEOGRAPH-65E5}$x$", SMALL, 1.9) == "\N{WHITE SQUARE}$x$"


def test_no_text_leaves_the_figure_or_lies_on_another():
    """Many setups, long names, large numbers."""
    task = make_task("n" * 110)
    records = measured([task], [*MANY_LABELS, "framework-with-a-long-name:mode"], blocks=2, speed=3)
    for chart in make_charts(summarise([task], records)):
        sheet = figures.sheet(chart)
        boxes = [it.box for it in sheet.lines if it.text]
        assert len(boxes) > 20
        for box in boxes:
            assert 0 <= box.left < box.right <= sheet.wide
            assert 0 <= box.top < box.bottom <= sheet.tall
        for one, other in itertools.combinations(boxes, 2):
            apart = one.right <= other.left or other.right <= one.left
            # Lines of text may touch, as the descenders of one reach for the heads of the next.
            slack = 0.02
            above = one.bottom - slack <= other.top or other.bottom - slack <= one.top
            assert apart or above


def test_letters_are_where_they_are_said_to_be(charts):
    """The measure of a text against the pixels that it takes."""
    line = line_of("gÅ|", 0.5, 0.5, size=40, color="#000000")
    canvas = Canvas(2, 1)
    canvas.lines.append(line)
    dark = np.asarray(Image.open(io.BytesIO(png(canvas))).convert("L")) < 128
    rows, columns = (np.flatnonzero(dark.any(axis=it)) / FINE for it in (1, 0))
    assert line.box.left <= columns[0] < columns[-1] <= line.box.right
    assert columns[-1] - columns[0] > 0.8 * (line.box.right - line.box.left)
    assert line.box.top < rows[0] + 0.15
    assert rows[-1] < line.box.bottom + 0.05
    drawn = svg(canvas)
    assert drawn.count("<use xlink:href=") == 3
    assert "gÅ" not in drawn


def test_the_svg_shows_what_the_png_shows(charts):
    """Both parse, are of one size, and have every mark, line and letter."""
    for page in charts.values():
        canvas = figures.sheet(page)
        root = ElementTree.fromstring(svg(canvas))
        image = Image.open(io.BytesIO(png(canvas)))
        _, _, wide, tall = map(float, root.attrib["viewBox"].split())
        assert (wide, tall) == pytest.approx([72 * it / FINE for it in image.size])
        uses = root.iter("{http://www.w3.org/2000/svg}use")
        named = [it.attrib["{http://www.w3.org/1999/xlink}href"][1:] for it in uses]
        assert named.count("mark-1") == len(next(iter(canvas.marks.values())))
        marks = sum(map(len, canvas.marks.values()))
        assert sum(it.startswith("mark-") for it in named) == marks
        ids = {it.attrib["id"] for it in root.iter() if "id" in it.attrib}
        assert set(named) == ids
        drawn = " ".join(it.attrib.get("d", "") for it in root.iter())
        for lines in (*canvas.strokes.values(), *canvas.curves.values()):
            for (x, y), *_ in lines:
                assert f"M{72 * x:.2f} {72 * y:.2f}L" in drawn


def test_many_panels_go_on_in_another_figure(monkeypatch):
    tasks = [make_task(f"t{number}") for number in range(3)]
    charts = make_charts(summarise(tasks, measured(tasks, blocks=1, trains=False)))
    monkeypatch.setattr(figures, "PAGE", 3.5)
    names = [it.name for it in figures.draw(charts[1:2])]
    assert names == ["throughput", "throughput-2"]


def test_one_phase_alone_stands_two_by_two():
    tasks = [make_task(f"t{number}") for number in range(3)]
    records = measured(tasks, blocks=1, phases=("predict",), trains=False)
    (_, throughput, *_) = make_charts(summarise(tasks, records))
    assert [[bool(it) for it in row] for row in throughput.panels] == [[True, True], [True, False]]


def test_what_was_not_counted_is_said(charts):
    empty = Dots("title", "axis", "bytes", (("a", ()), ("b", ())))
    texts = [it.text for it in panels.sketch(empty, 3.0).texts]
    assert texts.count("not counted") == 2


def test_a_counted_zero_is_no_missing_count(charts):
    mark = Mark(look(make_setup()), 0.0, text="0 B")
    texts = [it.text for it in panels.sketch(Dots("t", "a", "bytes", (("a", (mark,)),)), 3.0).texts]
    assert "0 B" in texts
    assert "not counted" not in texts


def test_a_flat_curve_has_a_scale():
    record = make_record(make_setup(), quality=make_quality([0.1, 0.1]))
    (chart,) = make_charts(summarise([TASK], [record]))
    assert chart.name == "quality"
    assert len(figures.draw([chart])) == 1


def test_scales():
    scale = Scale(0.0, 1.0, 2.0)
    assert scale.at(0.5) == 1.0
    assert scale.ticks(4) == [0.0, 0.25, 0.5, 0.75, 1.0]
    decades = Scale(1e-6, 2.0, 1.0, log=True).ticks(7)
    assert decades == pytest.approx([1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1])
    assert Scale(1e-6, 2.0, 1.0, log=True).at(2.0) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0.4, 12.0, [0.5, 1.0, 2.0, 5.0, 10.0]),
        (0.36, 1.05, [0.4, 0.5, 0.7, 1.0]),
        (0.71, 1.04, [0.8, 0.9, 1.0]),
        (0.0081, 0.0089, [0.0082, 0.0084, 0.0086, 0.0088]),
    ],
)
def test_a_log_axis_has_ticks_however_narrow_it_is(low, high, ticks):
    assert Scale(low, high, 1.0, log=True).ticks(5) == ticks


@given(st.floats(1e-9, 1e9), st.floats(1.0001, 1e6), st.integers(2, 9))
def test_ticks_of_a_log_axis_lie_within_it_and_are_few(low, factor, count):
    ticks = Scale(low, low * factor, 1.0, log=True).ticks(count)
    assert all(low <= it <= low * factor for it in ticks)
    assert 1 <= len(ticks) <= 2 * count + 2


def test_a_line_on_which_marks_are_read_strikes_no_text_through():
    def drawn(*texts):
        sketch, canvas = Sketch(), Canvas(2.0, 1.0)
        sketch.line([(1.0, 0.1), (1.0, 0.9)], FAINT, 1)
        sketch.texts += [Text(x, 0.5, "0.803 ×") for x in texts]
        canvas.add(sketch)
        return png(canvas), svg(canvas)

    across, beside = drawn(0.8), drawn(1.2)
    assert across[1].count("paint-order") == 1
    assert "paint-order" not in beside[1]

    def inked(picture):
        """Pixels of the line's column that are no ground."""
        return int((np.asarray(Image.open(io.BytesIO(picture)).convert("L"))[:, FINE] < 160).sum())

    assert inked(across[0]) < inked(beside[0]) - 5
