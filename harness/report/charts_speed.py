"""Charts of what stands behind the speed: how near to the device’s peak, and when a start pays."""

from __future__ import annotations

import math
from collections.abc import Sequence

from harness.analysis.startup import BreakEven
from harness.analysis.summary import CellRow, Summary, Table
from harness.analysis.words import unknown
from harness.report import format as fmt
from harness.report.arrange import arenas, keys, panel_title, side_by_side, table_scope
from harness.report.chart import Chart, Curve, Curves, Dots, Mark, Spot
from harness.report.inert import line
from harness.report.looks import PLAIN, Places, label, look

POINTS = 6
"""In each decade of a line, which log axes bend."""


def efficiency(summary: Summary, places: Places) -> Chart:
    """The share of the device’s peak that each setup's matrix products reach."""
    tables = [[it for it in arena if _measured(it)] for arena in arenas(summary)]
    return Chart(
        name="efficiency",
        section="speed",
        title="How much of the device’s peak the matrix products reach",
        alt="Dot plot of the floating-point operations of the task's matrix products, as a share "
        "of what the device reaches in one large product, for every task and phase, with "
        "intervals; the tables of this section hold the same shares.",
        panels=side_by_side([[_shares(it, places) for it in arena] for arena in tables if arena]),
    )


def _measured(table: Table) -> bool:
    return any(it.efficiency.of_peak for it in table.rows)


def _shares(table: Table, places: Places) -> Dots:
    peak = "" if table.peak is None else f" of {fmt.number(table.peak.flops.estimate / 1e9)}"
    rows = tuple((label(it.cell.setup), _share(it)) for it in table.rows)
    where = table_scope(table)
    return Dots(panel_title(table, places), f"share{peak} GFLOP/s", "share", rows, scope=where)


def _share(row: CellRow) -> tuple[Mark, ...]:
    it = row.efficiency.of_peak
    if it is None:
        return ()
    text, bounds = fmt.of_peak(it.estimate), ""
    if it.low is not None and it.high is not None:
        bounds = f"({fmt.of_peak(it.low)}–{fmt.of_peak(it.high)})"
        bounds = fmt.NOT_KNOWN if unknown(it) else bounds
    return (
        Mark(look(row.cell.setup), it.estimate, it.low, it.high, text=text, told=(text, bounds)),
    )


def break_even(summary: Summary, places: Places) -> Chart:
    """The time since the start over the steps that are done, start and all."""
    tables = [[it for it in arena if _lines(it)] for arena in arenas(summary)]
    found = [it for arena in tables for it in arena]
    return Chart(
        name="break-even",
        section="phases",
        title="When a slower start has paid: time since the start over steps done",
        alt="Lines on log axes of the time since a process began, its start and so many steps "
        "together, for every task and setup; rings mark where one overtakes the baseline, with "
        "the interval of that step. The tables of this section hold starts, steps and crossings.",
        panels=side_by_side([[_race(it, places) for it in arena] for arena in tables if arena]),
        legend=keys((row.cell.setup for it in found for row, *_ in _lines(it)), line=True),
    )


def _lines(table: Table) -> list[tuple[CellRow, float, float]]:
    """Each row that has a start of its own with it, and its step, in seconds."""
    return [
        (row, start.total.estimate, start.step.estimate)
        for row in table.rows
        if row.starts and (start := row.starts[0]).total and start.step
    ]


def _race(table: Table, places: Places) -> Curves:
    lines, met = _lines(table), [it for it in table.break_evens if it.steps and not it.cold]
    training = table.task.epochs * table.task.steps_per_epoch
    crossings = [it.steps.high or it.steps.estimate for it in met if it.steps]
    decades = math.ceil(math.log10(max(2.0 * max(crossings, default=0), training, 1000)))
    return Curves(
        title=panel_title(table, places),
        axis="steps done",
        unit="step",
        up="time since the start",
        up_unit="seconds",
        curves=tuple(_line(*it, decades) for it in lines),
        log=True,
        log_over=True,
        thin=True,
        scope=table_scope(table),
        spots=tuple(spot for it in met if (spot := _crossing(it))),
    )


def _line(row: CellRow, start: float, step: float, decades: int) -> Curve:
    done = [10 ** (n / POINTS) for n in range(decades * POINTS + 1)]
    points = [(n, start + n * step) for n in done if start + n * step > 0]
    return Curve(
        look(row.cell.setup),
        tuple(points),
        name=label(row.cell.setup),
        told=_told(row, points),
    )


def _told(row: CellRow, points: Sequence[tuple[float, float]]) -> tuple[tuple[str, ...], ...]:
    """A decade's first point says what it is."""
    return tuple(
        (label(row.cell.setup), fmt.seconds(at), f"after {fmt.count(round(n), 'step')}")
        if math.log10(n).is_integer()
        else ()
        for n, at in points
    )


def _crossing(it: BreakEven) -> Spot | None:
    if it.steps is None or it.seconds is None or it.steps.estimate <= 0:
        return None
    verb = "overtakes" if it.verdict == "overtakes" else "is overtaken by"
    steps, bounds = fmt.number_interval(it.steps)
    low = it.steps.low if it.steps.low else None
    said = f"{line(it.label)} {verb} {line(it.baseline)} after {steps} steps"
    return Spot(
        PLAIN,
        it.steps.estimate,
        it.seconds.estimate,
        max(low, 1.0) if low else None,
        it.steps.high,
        ("break-even", said, bounds),
    )
