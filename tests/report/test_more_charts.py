"""What the charts of starts, peaks, sweeps, memory and drift show, as data."""

from __future__ import annotations

import math
import re

import pytest

from harness.analysis.summary import summarise
from harness.analysis.tables import sweeps
from harness.records import Limits
from harness.report.charts import make_charts
from harness.report.figures import draw
from harness.report.style import FAINT, look
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.costs import least_bytes
from harness.tasks.variants import parse_settings, variants
from tests.builders import (
    TASK,
    certified,
    make_phase,
    make_record,
    make_setup,
    make_task,
    measured,
)

A, B = "pytorch:eager", "tensorflow:graph"


def charts(tasks, records):
    summary = summarise(tasks, records, certified(records))
    return summary, {it.name: it for it in make_charts(summary)}


def start(label, block, step, seconds):
    """A trial whose start takes so many seconds beyond its steps."""
    phase = make_phase([step] * 3).model_copy(update={"first_call": step, "second_call": step})
    return make_record(
        make_setup(label=label), block, phases=(phase,), import_seconds=seconds, build_seconds=0.0
    )


@pytest.fixture(scope="module")
def panel():
    records = [
        start(label, block, step * (1 + 1e-4 * block), begin)
        for label, step, begin in ((A, 3e-3, 1.0), (B, 2e-3, 2.0))
        for block in range(9)
    ]
    (panel,) = charts([TASK], records)[1]["break-even"].panels
    return panel


class TestBreakEven:
    def test_a_line_is_the_start_and_its_steps(self, panel):
        for curve, (begin, step) in zip(panel.curves, ((2.0, 2e-3), (1.0, 3e-3)), strict=True):
            assert curve.points[0][0] == 1
            for n, seconds in curve.points:
                assert seconds == pytest.approx(begin + n * step, rel=1e-3)

    def test_the_ring_stands_where_the_lines_cross(self, panel):
        ((seconds, ring),) = panel.rings
        assert ring.low < ring.value < ring.high
        assert ring.value == pytest.approx(1000, rel=0.01)
        assert seconds == pytest.approx(4.0, rel=0.01)
        assert ring.words.startswith(f"{B} overtakes {A} after 1,000 steps")


def test_a_start_of_another_phase_has_no_line():
    panels = charts([TASK], measured())[1]["break-even"].panels
    assert [it.title for it in panels] == ["digits-mlp · train"]


def test_efficiency_is_the_share_of_the_peak():
    records = [
        it.model_copy(update={"limits": Limits(peak_flops=1e11 * (1 + 0.001 * it.block))})
        for it in measured(trains=False)
    ]
    summary, made = charts([TASK], records)
    panel = made["efficiency"].panels[0]
    rows = summary.tables[0].rows
    assert [mark.value for _, (mark,) in panel.rows] == [
        row.efficiency.of_peak.estimate for row in rows
    ]
    assert all(mark.low < mark.value < mark.high for _, (mark,) in panel.rows)


def test_without_a_measured_peak_there_is_no_efficiency():
    assert "efficiency" not in charts([TASK], measured(trains=False))[1]


def test_the_least_possible_stands_below_every_peak():
    panels = charts([TASK], measured(trains=False))[1]["memory"].panels
    least = [least_bytes(TASK, phase, "float32") for phase in ("train", "predict")]
    for panel in panels:
        name, marks = panel.rows[-1]
        assert name == "least possible"
        assert [it.value for it in marks] == least


def test_drift_is_each_ratio_around_its_median():
    summary, made = charts([TASK], measured(trains=False))
    panel = made["drift"].panels[0]
    strips = [it for it in summary.noise[0].strips if it.phase == "train"]
    assert [it.name for it in panel.curves] == [f"{it.label} ÷ {it.baseline}" for it in strips]
    for curve, strip in zip(panel.curves, strips, strict=True):
        assert [x for x, _ in curve.points] == list(range(9))
        assert [math.log1p(y) for _, y in curve.points] == pytest.approx(
            [log for _, log in strip.points]
        )
        assert sorted(y for _, y in curve.points)[4] == pytest.approx(0, abs=1e-12)


def test_a_setup_against_itself_is_dotted_in_its_own_colour():
    twins = [
        it.model_copy(update={"setup": it.setup.model_copy(update={"twin": True})})
        for it in measured(labels=[A], trains=False, seed=1)
    ]
    made = charts([TASK], [*measured(trains=False), *twins])[1]
    key = next(it for it in made["drift"].legend if it.text == f"{A} again")
    own = look(make_setup(label=A))
    assert (key.look.color, key.look.marker) == (own.color, own.marker)
    assert key.look.dashes != own.dashes


def test_one_block_has_no_drift():
    assert "drift" not in charts([TASK], measured(blocks=1))[1]


SLOPES = {A: (4e-4, 1e-6), B: (1e-4, 4e-6), "reference:eager": (9e-4, 9e-6)}
"""Seconds per step: overhead, and so much for an example."""


def swept(*settings):
    tasks = variants(CATALOGUE["teacher"], parse_settings(settings))
    records = [
        make_record(
            make_setup(task, label, threads=threads),
            block,
            {"train": [(over + each * task.batch) * (1 + 0.001 * block)] * 3},
        )
        for task in tasks
        for threads in (1, 2)
        for label, (over, each) in SLOPES.items()
        for block in range(9)
    ]
    return tasks, records


@pytest.fixture(scope="module")
def made():
    return charts(*swept("batch_size=32,100,512"))


class TestSweeps:
    def test_axes_are_what_varies_most_values_first(self, made):
        summary, _ = made
        (found,) = sweeps(summary.tables)
        assert found.task == "teacher"
        assert found.axes == (("batch_size", (32, 100, 512)), ("threads", (1, 2)))
        for (batch, threads), number in found.points:
            table = summary.tables[number]
            assert (table.task.batch, table.threads) == (batch, threads)

    def test_throughput_over_the_parameter_with_intervals(self, made):
        summary, drawn = made
        row = drawn["sweeps"].panels
        assert [it.title for it in row] == [
            "teacher · train, threads 1",
            "teacher · train, threads 2",
        ]
        assert row[0].x.at == (32, 100, 512)
        assert (row[0].x.log, row[0].y.log) == (True, True)
        for curve in row[0].curves:
            rows = [
                it
                for table in summary.tables
                for it in table.rows
                if table.threads == 1 and it.cell.setup.label == curve.name
            ]
            speeds = sorted((it.examples_per_second for it in rows), key=lambda it: it.estimate)
            assert [y for _, y in curve.points] == [it.estimate for it in speeds]
            assert list(curve.bounds) == [(it.low, it.high) for it in speeds]

    def test_who_is_fastest_where_and_where_nobody_is(self, made):
        """One is faster in small batches, another in large ones, and at 100 they are level."""
        _, drawn = made
        (panel,) = drawn["crossover"].panels
        assert [name for name, _ in panel.rows] == ["threads 1", "threads 2"]
        for _, marks in panel.rows:
            small, level, large = marks
            assert [it.value for it in marks] == [32, 100, 512]
            assert small.look == look(make_setup(label=B))
            assert large.look == look(make_setup(label=A))
            assert (level.look.color, level.hollow, level.text) == (FAINT, True, "?")
            assert level.words.startswith("No winner: ")
        assert [it.text for it in drawn["crossover"].legend] == [A, B, "no winner"]

    def test_marks_of_a_row_are_level(self, made):
        (panel,) = draw(made[1]["crossover"]).panels
        assert len(set(re.findall(r'<use [^>]*y="([^"]*)"', panel))) == 2

    def test_every_panel_draws(self, made):
        drawn = [draw(made[1][it]) for it in ("sweeps", "crossover")]
        assert all(it.png.startswith(b"\x89PNG") for it in drawn)


def test_tasks_of_other_names_are_no_sweep():
    tasks = [make_task("one"), make_task("two", batch_size=64)]
    summary, made = charts(tasks, measured(tasks, blocks=1, trains=False))
    assert sweeps(summary.tables) == ()
    assert not {"sweeps", "crossover"} & made.keys()


def test_what_is_no_number_sets_sweeps_apart():
    tasks = variants(
        CATALOGUE["teacher"], parse_settings(["activation=relu,tanh", "batch_size=32,full"])
    )
    found = sweeps(charts(tasks, measured(tasks, blocks=1, trains=False))[0].tables)
    assert {it.task for it in found} == {"teacher[activation=relu]", "teacher[activation=tanh]"}
    assert found[0].axes == (("batch_size", (32, CATALOGUE["teacher"].data.shape.train)),)


def test_every_chart_says_what_it_shows():
    _, made = charts(*swept("width=8,16", "batch_size=32,64"))
    for it in made.values():
        assert len(it.alt) > 60
        assert "section" in it.alt
        assert all(panel.title for panel in it.panels)
