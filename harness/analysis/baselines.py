"""Every other choice of a baseline: the tables of a summary against each of their rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from harness.analysis.compare import Entry, entries
from harness.analysis.contest import Contest
from harness.analysis.ranking import Eligibility
from harness.analysis.tables import Table
from harness.certificates import Certificate
from harness.records import Record


def rebased(
    tables: Iterable[Table], records: Iterable[Record], certificates: Iterable[Certificate]
) -> tuple[tuple[Table, ...], ...]:
    """For each table the same one against each of its rows that is not its baseline, in order.

    `records` and `certificates` are those that the tables were made of. Their break-evens stay
    those of the first baseline, which they name.
    """
    eligibility = Eligibility(certificates)
    groups: dict[tuple[object, ...], list[Record]] = defaultdict(list)
    for it in records:
        if not it.setup.twin:
            groups[it.setup.ranking].append(it)
    timed = {
        ranking: {setup.label: it for setup, it in entries(own).items()}
        for ranking, own in groups.items()
    }
    return tuple(_others(it, timed[it.rows[0].cell.setup.ranking], eligibility) for it in tables)


def _others(table: Table, timed: dict[str, Entry], eligibility: Eligibility) -> tuple[Table, ...]:
    labels = [it.cell.setup.label for it in table.rows]
    ranked = [it.cell.setup.label for it in table.rows if not it.unranked]
    contest = Contest(timed, labels, ranked, table.phase, table.margin, eligibility)
    return tuple(
        table.model_copy(update=dict(contest.against(label)))
        for label in labels
        if label != table.baseline
    )
