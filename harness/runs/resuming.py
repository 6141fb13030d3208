"""What a run has already, and whether it can go on as it began."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.analysis.comparable import differing_facts
from harness.errors import UsageError
from harness.records import Record, Run, Status
from harness.runs import machine
from harness.runs.plan import Plan

RETRIED: tuple[Status, ...] = (
    "interrupted",
    "not-started",
    "failed",
    "crashed",
    "no-result",
    "hung",
    "out-of-memory",
    "diverged",
)
"""What is done again where a run that is resumed is to repeat its failures."""


@dataclass(frozen=True)
class Done:
    """Blocks that a resumed run need not repeat, and how often each was begun.

    The keys are an arena's, and a block's number.
    """

    finished: Mapping[tuple[object, ...], tuple[Record, ...]]
    attempts: Mapping[tuple[object, ...], int]

    def of(self, arena: tuple[object, ...]) -> list[tuple[int, tuple[Record, ...]]]:
        """An arena's finished blocks with their records, in order."""
        found = [(it[0].block, it) for key, it in self.finished.items() if key[:-1] == arena]
        return sorted(found, key=lambda it: it[0])


def finished_blocks(
    records: Iterable[Record],
    attempts: Mapping[tuple[object, ...], int] | None = None,
    *,
    retry: bool = False,
) -> Done:
    """What a resumed run has already: blocks in which no trial was interrupted.

    With `retry` those in which one failed are left out: they are made again, as a whole, for pairs
    share an attempt. What is unsupported is no failure, and would be so again. `attempts` counts
    those as well of which the records have a later or a better one.
    """
    again = RETRIED if retry else ("interrupted",)
    blocks: dict[tuple[object, ...], list[Record]] = defaultdict(list)
    for record in records:
        blocks[*record.setup.arena, record.block].append(record)
    return Done(
        finished={
            key: tuple(of_block)
            for key, of_block in blocks.items()
            if all(it.status not in again for it in of_block)
        },
        attempts=attempts
        or {key: max(it.attempt for it in of_block) for key, of_block in blocks.items()},
    )


def refuse_changed(run: Run, plan: Plan) -> None:
    """Raises UsageError where a run could not go on as it began: other tasks, versions, machine."""
    begun = {it.name: it.digest for it in run.tasks}
    for task in plan.tasks:
        if begun.get(task.name) != task.digest:
            raise _changed(run, f"task {task.name!r} is another one now")
    now = machine.versions()
    known = {it.setup.framework for it in run.records}
    known |= {setup.framework for arena in plan.arenas for setup in arena.setups}
    for name in ("python", *sorted(known)):
        if (before := run.info.versions.get(name)) != now.get(name):
            raise _changed(run, f"{name} was {before or 'absent'} and is {now.get(name, 'absent')}")
    here = machine.fingerprint()
    for fact in differing_facts(run.info.machine, here):
        raise _changed(run, f"{fact} was {run.info.machine[fact]} and is {here[fact]}")


def _changed(run: Run, what: str) -> UsageError:
    return UsageError(f"run {run.info.name!r} cannot go on: {what}; start a new one")
