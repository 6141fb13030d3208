"""Charts of sweeps: throughput over what was varied, and who is fastest where."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from harness.analysis.summary import Summary, Table
from harness.analysis.sweeps import Sweep, sweeps
from harness.cells import Setup
from harness.report import format as fmt
from harness.report.chart import Chart, Curve, Curves, Dots, Key, Mark, keys, side_by_side
from harness.report.safe_text import line
from harness.report.style import FAINT, Look, Places, Scope, label, lane_mark, look

UNDECIDED = Look(FAINT, "o", ())
Points = dict[tuple[int, ...], Table]


def sweep(summary: Summary, _: Places) -> Chart:
    """Throughput over the parameter with the most values; the others have panels of their own."""
    found = sweeps(summary.tables)
    return Chart(
        name="sweeps",
        section="speed",
        title="Throughput over what was varied",
        alt="Lines on log axes of examples per second over a parameter of the task or the number "
        "of threads, one for every setup, with intervals over blocks; the tables of this section "
        "hold the same numbers.",
        panels=side_by_side(_pairs([it for own in found for it in _lines(own, summary)])),
        legend=keys((it for own in found for it in _setups(own, summary)), line=True),
    )


def crossover(summary: Summary, _: Places) -> Chart:
    """Who is fastest at every combination of the two parameters with the most values."""
    found = sweeps(summary.tables)
    winners = [
        row.cell.setup
        for own in found
        for table in _tables(own, summary).values()
        for row in table.rows
        if row.cell.setup.label == table.winner
    ]
    return Chart(
        name="crossover",
        section="speed",
        title="Who is fastest where",
        alt="A map of the fastest setup at every value of what was varied, with a ring where no "
        "setup is told apart from all others; the tables of this section say the same.",
        panels=side_by_side(_pairs([it for own in found for it in _maps(own, summary)])),
        legend=(*keys(winners), Key("no winner", UNDECIDED, hollow=True)) if found else (),
    )


def _pairs(panels: Sequence[Curves | Dots]) -> list[Sequence[Curves | Dots]]:
    return [panels[n : n + 2] for n in range(0, len(panels), 2)]


def _tables(own: Sweep, summary: Summary) -> Points:
    return {values: summary.tables[number] for values, number in own.points}


def _setups(own: Sweep, summary: Summary) -> Iterable[Setup]:
    return (row.cell.setup for it in _tables(own, summary).values() for row in it.rows)


def _lines(own: Sweep, summary: Summary) -> list[Curves]:
    """A panel for every combination of all parameters but the first."""
    (name, values), *_ = own.axes
    apart: dict[tuple[int, ...], Points] = defaultdict(dict)
    for place, table in _tables(own, summary).items():
        apart[place[1:]][place] = table
    return [
        Curves(
            title=_title(own, others, 1),
            axis=_words(name),
            unit="setting",
            up="examples/s",
            up_unit="examples/s",
            curves=tuple(_curve(it, name, points) for it in _labels(points)),
            log=True,
            log_over=True,
            thin=True,
            scope=_scope(own),
            at=tuple(map(float, values)),
        )
        for others, points in sorted(apart.items())
    ]


def _labels(points: Points) -> list[str]:
    return sorted({row.cell.setup.label for it in points.values() for row in it.rows})


def _curve(name: str, axis: str, points: Points) -> Curve:
    rows = [
        (place[0], row)
        for place, table in sorted(points.items())
        for row in table.rows
        if row.cell.setup.label == name
    ]
    setup = rows[0][1].cell.setup
    speeds = [(value, row.examples_per_second) for value, row in rows]
    return Curve(
        look(setup),
        tuple((float(value), it.estimate) for value, it in speeds),
        name=label(setup),
        bounds=tuple(
            (it.low, it.high) if it.low is not None and it.high is not None else None
            for _, it in speeds
        ),
        told=tuple(
            (f"{label(setup)}, {_words(axis)} {value:,}", f"{told} examples/s", bounds)
            for value, it in speeds
            for told, bounds in (fmt.number_interval(it),)
        ),
    )


def _maps(own: Sweep, summary: Summary) -> list[Dots]:
    """A panel for every combination of all parameters but the first two; a row a value."""
    (name, values), *others = own.axes
    apart: dict[tuple[int, ...], dict[tuple[int, ...], list[Mark]]] = defaultdict(dict)
    for place, table in sorted(_tables(own, summary).items()):
        apart[place[2:]].setdefault(place[1:2], []).append(_fastest(table, name, place[0]))
    return [
        Dots(
            title=_title(own, rest, 2),
            axis=_words(name),
            unit="setting",
            rows=tuple(
                (f"{_words(others[0][0])} {place[0]:,}" if place else "fastest", tuple(marks))
                for place, marks in rows.items()
            ),
            log=True,
            scope=_scope(own),
            at=tuple(map(float, values)),
            level=True,
        )
        for rest, rows in apart.items()
    ]


def _fastest(table: Table, axis: str, value: int) -> Mark:
    winner = next((it for it in table.rows if it.cell.setup.label == table.winner), None)
    style = look(winner.cell.setup) if winner else UNDECIDED
    name = f"{_words(axis)} {value:,}: {label(winner.cell.setup) if winner else 'no winner'}"
    text = "" if winner else "?"
    told = (line(table.sentence), "")
    return Mark(style, float(value), text=text, hollow=winner is None, name=name, told=told)


def _title(own: Sweep, others: tuple[int, ...], skipped: int) -> str:
    fixed = [
        f"{_words(name)} {value:,}"
        for (name, _), value in zip(own.axes[skipped:], others, strict=True)
    ]
    return ", ".join((f"{line(own.task)} · {own.phase}{lane_mark(own.lane)}", *fixed))


def _words(name: str) -> str:
    return name.replace("_", " ")


def _scope(own: Sweep) -> Scope:
    """Of no task: the panel is about several, whose names differ."""
    return Scope("", own.device, own.lane)
