"""Every other choice of a baseline: the tables of a summary against each of their rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.analysis.compare import Entry, entries
from harness.analysis.contest import Contest
from harness.analysis.efficiency import impossible
from harness.analysis.ranking import Eligibility
from harness.analysis.tables import Table
from harness.cells import Setup
from harness.certificates import Certificate
from harness.records import Record


def rebased(
    tables: Iterable[Table], records: Iterable[Record], certificates: Iterable[Certificate]
) -> tuple[tuple[Table, ...], ...]:
    """For each table the same one against each of its rows that is not its baseline, in order.

    `records` and `certificates` are those that the tables were made of. Their break-evens stay
    those of the first baseline, which they name.
    """
    timed, eligibility, tables = entries(records), Eligibility(certificates), list(tables)
    for arena, task in {it.rows[0].cell.setup.arena: it.task for it in tables}.items():
        alike = [it for it in timed.values() if it.setup.arena == arena and not it.setup.twin]
        eligibility.bar(impossible(task, alike))
    return tuple(_others(it, timed, eligibility) for it in tables)


def _others(
    table: Table, timed: Mapping[Setup, Entry], eligibility: Eligibility
) -> tuple[Table, ...]:
    own = {it.cell.setup.label: timed[it.cell.setup] for it in table.rows}
    ranked = [it.cell.setup.label for it in table.rows if not it.unranked]
    contest = Contest(own, ranked, table.baseline, table.phase, table.margin, eligibility)
    return tuple(
        table.model_copy(update=dict(contest.against(label)))
        for label in own
        if label != table.baseline
    )
