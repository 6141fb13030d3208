"""Which attempts of a run's blocks count."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from harness.records import Record


def last_attempts(records: Iterable[Record]) -> list[Record]:
    """Of every block the records of one attempt: of the last that came to its end, if one did."""
    everything = list(records)
    blocks: dict[tuple[object, ...], dict[int, list[Record]]] = defaultdict(dict)
    for it in everything:
        blocks[*it.setup.arena, it.block].setdefault(it.attempt, []).append(it)
    counted = {
        key: max((_ended(of_one), attempt) for attempt, of_one in attempts.items())[1]
        for key, attempts in blocks.items()
    }
    return [it for it in everything if it.attempt == counted[*it.setup.arena, it.block]]


def _ended(attempt: Iterable[Record]) -> int:
    """How many trials of an attempt have ended; a twin may be left out of a later one."""
    return sum(it.status != "interrupted" and not it.setup.twin for it in attempt)
