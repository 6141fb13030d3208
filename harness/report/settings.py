"""What every worker really ran with, side by side."""

from __future__ import annotations

from collections import defaultdict

from harness.adapter import Setting
from harness.analysis.settings import SettingRow, side_by_side
from harness.records import Record, Run
from harness.report import format as fmt
from harness.report.content import Column, Grid, Section, Value
from harness.report.inert import line
from harness.report.looks import lane_mark, place, scope


def sections(run: Run) -> tuple[Section, ...]:
    """One section an arena and lane whose workers told their settings."""
    groups: dict[tuple[object, ...], dict[str, list[Record]]] = defaultdict(
        lambda: defaultdict(list)
    )
    for it in run.records:
        if it.status == "ok" and it.settings and not it.setup.twin:
            groups[it.setup.ranking][it.setup.label].append(it)
    return tuple(_section(by_label, n) for n, by_label in enumerate(groups.values(), start=1))


def _section(by_label: dict[str, list[Record]], number: int) -> Section:
    labels = sorted(by_label)
    setup = by_label[labels[0]][0].setup
    rows = side_by_side({label: by_label[label] for label in labels})
    columns = (
        Column("setting", "name"),
        *(Column(line(label), "text") for label in labels),
        Column("alike", "text"),
        Column("meaning", "text"),
    )
    broken = [line(it.name) for it in rows if it.differs and it.must_agree]
    return Section(
        anchor=f"settings-{number}",
        task=line(setup.task),
        phase=f"settings{lane_mark(setup.lane)}",
        place=place(setup),
        lead=f"They differ in what must agree: {', '.join(broken)}."
        if broken
        else "All agree in what must agree.",
        grid=Grid(columns, tuple(_row(it, labels) for it in rows)),
        scope=scope(setup),
    )


def _row(row: SettingRow, labels: list[str]) -> tuple[Value, ...]:
    alike = "differs" if row.differs else "yes"
    return (
        Value(line(row.name), "must agree" if row.must_agree else ""),
        *(Value(_shown(row.values.get(label))) for label in labels),
        Value(alike if sum(row.values.get(it) is not None for it in labels) > 1 else fmt.NONE),
        Value(line(row.meaning)),
    )


def _shown(value: Setting) -> str:
    if value is None:
        return fmt.NONE
    if isinstance(value, bool):
        return "yes" if value else "no"
    return line(str(value))
