"""Charts of memory: kinds that are never mixed, beside the least that the mathematics needs."""

from __future__ import annotations

from harness.analysis.summary import Summary, Table
from harness.cells import PHASES, THROUGHPUT, Setup
from harness.report import format as fmt
from harness.report.arrange import arenas, table_scope, task_title
from harness.report.chart import Chart, Dots, Key, Mark
from harness.report.details import PEAKS, amount, counted_peaks
from harness.report.looks import PLAIN, Places, label, look


def memory(summary: Summary, places: Places) -> Chart:
    """Every kind of peak in a panel of its own, and the least possible below each."""
    steady = [it for it in summary.tables if it.phase in THROUGHPUT]
    shown = counted_peaks([row for table in steady for row in table.rows])
    return Chart(
        name="memory",
        section="memory",
        title="Peaks of memory: each kind has its own axis",
        alt="Dot plots of the peaks of memory, each kind apart, for every task, train filled and "
        "predict hollow, above the least that the mathematics needs; the tables of this section "
        "hold the same numbers.",
        panels=tuple(
            tuple(_panel(tables, peak, places, first=peak == shown[0]) for peak in shown)
            for tables in arenas(summary)
        ),
        legend=(Key("train", PLAIN), Key("predict", PLAIN, hollow=True)),
    )


def _panel(tables: list[Table], peak: str, places: Places, *, first: bool) -> Dots:
    cells: dict[Setup, list[Mark]] = {}
    for row in sorted(
        (row for table in tables for row in table.rows),
        key=lambda it: (it.cell.setup.label, PHASES.index(it.cell.phase)),
    ):
        value, setup = amount(row.peaks, peak), row.cell.setup
        marks = cells.setdefault(setup, [])
        if value is not None:
            hollow = row.cell.phase != "train"
            text, name = fmt.memory(value), row.cell.phase
            told = (text, "")
            marks.append(Mark(look(setup), value, text=text, hollow=hollow, name=name, told=told))
    rows = [(label(setup), tuple(marks)) for setup, marks in cells.items()]
    rows.append(("least possible", tuple(_least(it) for it in tables)))
    return Dots(
        title=task_title(tables[0], places) if first else "",
        axis=PEAKS[peak],
        unit="bytes",
        rows=tuple(rows),
        lanes=len(tables),
        names=first,
        scope=table_scope(tables[0]),
    )


def _least(table: Table) -> Mark:
    """What a phase needs whatever the framework, beside every kind of peak."""
    least, hollow = table.rows[0].peaks.least, table.phase != "train"
    text = fmt.memory(least)
    return Mark(PLAIN, least, text=text, hollow=hollow, name=table.phase, told=(text, ""))
