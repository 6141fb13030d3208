"""What a choice among the setups of one table rests on, beside the table itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from harness.analysis.compare import Entry, pair_of
from harness.analysis.ranking import Eligibility, closest_first
from harness.analysis.startup import HeadStart, head_start
from harness.analysis.tables import Table
from harness.analysis.verdicts import Pair, judged
from harness.tasks.frozen import Frozen


class Grounds(Frozen):
    """One table's leader against all others, and its first starter against all others.

    Only setups that may be ranked count. The leader is the winner, or else the first row
    of the table; `rivals` are its comparisons, each judged by itself. `first` starts in the
    shortest median time (None where no start was timed); `head_starts` are its leads. Who shares
    no block with them is missing.
    """

    table: Table
    leader: str | None
    rivals: tuple[Pair, ...]
    first: str | None
    head_starts: tuple[HeadStart, ...]

    @property
    def ranked(self) -> tuple[str, ...]:
        """The labels of all setups that may be ranked."""
        return tuple(it.cell.setup.label for it in self.table.rows if not it.unranked)


def grounds(table: Table, entries: Iterable[Entry], eligibility: Eligibility) -> Grounds:
    """Those of a table; `entries` are the ones that it was made of."""
    timed = {it.setup.label: it for it in entries}
    starts = {
        row.cell.setup.label: row.starts[0].total.estimate
        for row in table.rows
        if not row.unranked and row.starts and not row.starts[0].cold and row.starts[0].total
    }
    ranked = [it.cell.setup.label for it in table.rows if not it.unranked]
    leader = table.winner or next(iter(ranked), None)
    first = min(starts, key=lambda it: (starts[it], it), default=None)
    return Grounds(
        table=table,
        leader=leader,
        rivals=_rivals(table, leader, ranked, timed, eligibility) if leader else (),
        first=first,
        head_starts=_leads(table, first, ranked, timed) if first else (),
    )


def _rivals(
    table: Table,
    leader: str,
    ranked: Iterable[str],
    timed: Mapping[str, Entry],
    eligibility: Eligibility,
) -> tuple[Pair, ...]:
    found: list[Pair] = []
    for label in ranked:
        if label != leader:
            ours, theirs = timed[leader], timed[label]
            pair = pair_of(ours, theirs, table.phase, table.margin, table.disturbed)
            reason = eligibility.of_pair(ours, theirs)
            if pair:
                found += judged([pair], {leader: reason}) if reason else [pair]
    return closest_first(found, timed, table.phase)


def _leads(
    table: Table, first: str, ranked: Iterable[str], timed: Mapping[str, Entry]
) -> tuple[HeadStart, ...]:
    return tuple(
        found
        for label in ranked
        if label != first and (found := head_start(timed[first], timed[label], table.phase))
    )
