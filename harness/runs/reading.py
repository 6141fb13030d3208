"""What a store holds, read back as values. Damage shows as whatever SQLite or Pydantic raises."""

from __future__ import annotations

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from pydantic import TypeAdapter

from harness.cells import Setup
from harness.certificates import Certificate
from harness.errors import UsageError, unknown
from harness.records import Record, Run, RunInfo, Sample
from harness.runs.schema import version
from harness.tasks.spec import Task

SAMPLE = tuple(Sample.model_fields)
SAMPLES = TypeAdapter(tuple[Sample, ...])


def names(connection: sqlite3.Connection) -> list[str]:
    """Of all runs, in the order in which they were added: the clock may have been set back."""
    rows = connection.execute("SELECT run FROM runs ORDER BY rowid")
    return [str(name) for (name,) in rows]


def read_run(connection: sqlite3.Connection, name: str) -> Run:
    """See `Store.load`."""
    found = read_head(connection, name)
    return found.model_copy(update={"records": tuple(read_records(connection, name, found.tasks))})


def read_head(connection: sqlite3.Connection, name: str) -> Run:
    """The run without its records."""
    row = connection.execute("SELECT info FROM runs WHERE run = ?", (name,)).fetchone()
    if row is None:
        there = names(connection)
        raise unknown("run", name, there) if there else UsageError("there is no run here yet")
    specs = connection.execute("SELECT spec FROM tasks WHERE run = ? ORDER BY rowid", (name,))
    stops = connection.execute(
        "SELECT rule, seconds FROM stops WHERE run = ? ORDER BY rowid", (name,)
    ).fetchall()
    return Run(
        info=RunInfo.model_validate_json(row[0]),
        tasks=tuple(Task.model_validate_json(spec) for (spec,) in specs),
        records=(),
        stopped_by=stops[-1][0] if stops else None,
        seconds=sum(seconds for _, seconds in stops) if stops else None,
        certificates=tuple(_certificates(connection, name)),
    )


def begun(connection: sqlite3.Connection, run: str) -> dict[tuple[object, ...], int]:
    """See `Store.attempts`."""
    found: dict[tuple[object, ...], int] = {}
    rows = connection.execute(
        "SELECT setup, block, max(attempt) FROM started WHERE run = ? GROUP BY setup, block",
        (run,),
    )
    for setup, block, attempt in rows:
        key = (*Setup.model_validate_json(setup).arena, block)
        found[key] = max(attempt, found.get(key, 0))
    return found


def _certificates(connection: sqlite3.Connection, run: str) -> Iterator[Certificate]:
    if version(connection) < 2:
        return
    rows = connection.execute(
        "SELECT c.key, c.certificate FROM proven p JOIN certificates c ON c.id = p.certificate "
        "WHERE p.run = ? ORDER BY c.id",
        (run,),
    )
    # A later proof of the same setup, in a resumed run, replaces the earlier one.
    found: dict[Setup, Certificate] = {}
    for key, text in rows:
        it = Certificate.model_validate_json(text)
        if it.key != key:
            raise ValueError(f"a certificate of {it.setup.id} under the key of another one")
        found[it.setup] = it
    yield from found.values()


@dataclass(frozen=True)
class _Trial:
    """A trial by its row in `started`, and its status in `ended`, if it has one."""

    name: str
    block: int
    attempt: int
    setup: Setup
    status: str | None


def read_records(
    connection: sqlite3.Connection, run: str, tasks: Iterable[Task]
) -> Iterator[Record]:
    """One at a time, for all samples of a run may be many. Raises ValueError for records that
    contradict their run, which has these tasks."""
    known = {(it.name, it.digest) for it in tasks}
    # A store of schema 1 that is only read has fewer columns.
    there = {row[1] for row in connection.execute("PRAGMA table_info(samples)")}
    columns = [name for name in SAMPLE if name in there]
    for trial in _last_attempts(_trials(connection, run)):
        if (trial.setup.task, trial.setup.digest) not in known:
            raise ValueError(f"trials of tasks that the run does not have: {trial.setup.task}")
        yield _record(connection, trial, columns)


def _trials(connection: sqlite3.Connection, run: str) -> list[_Trial]:
    setups: dict[str, Setup] = {}
    rows = connection.execute(
        "SELECT s.trial, s.block, s.attempt, s.setup, e.status FROM started s "
        "LEFT JOIN ended e USING (trial) WHERE s.run = ? ORDER BY s.rowid",
        (run,),
    )
    found = []
    for name, block, attempt, text, status in rows:
        if text not in setups:
            setups[text] = Setup.model_validate_json(text)
        found.append(_Trial(name, block, attempt, setups[text], status))
    return found


def _record(connection: sqlite3.Connection, trial: _Trial, columns: Sequence[str]) -> Record:
    if trial.status is None:
        return Record(
            trial=trial.name,
            block=trial.block,
            attempt=trial.attempt,
            setup=trial.setup,
            status="interrupted",
            error="the run ended before the trial did",
        )
    (text,) = connection.execute(
        "SELECT record FROM ended WHERE trial = ?", (trial.name,)
    ).fetchone()
    record = Record.model_validate_json(text)
    if trial != _Trial(record.trial, record.block, record.attempt, record.setup, record.status):
        raise ValueError(f"the record of trial {trial.name} is of another one")
    samples = _samples(connection, trial.name, columns)
    phases = [it.model_copy(update={"samples": samples.get(it.phase, ())}) for it in record.phases]
    return record.model_copy(update={"phases": tuple(phases)})


def _samples(
    connection: sqlite3.Connection, trial: str, columns: Sequence[str]
) -> dict[str, tuple[Sample, ...]]:
    """One trial's by phase: they lie together in the store's own order."""
    rows = connection.execute(
        f"SELECT phase, {', '.join(columns)} FROM samples WHERE trial = ? ORDER BY phase, round",
        (trial,),
    )
    found: dict[str, tuple[Sample, ...]] = {}
    for phase, own in groupby(rows, itemgetter(0)):
        fields = [dict(zip(columns, values[1:], strict=True)) for values in own]
        for it in fields:
            # SQLite has no lists: a text holds them.
            it["readings"] = json.loads(readings) if (readings := it.get("readings")) else ()
        found[phase] = SAMPLES.validate_python(fields)
    return found


def _last_attempts(trials: Sequence[_Trial]) -> list[_Trial]:
    """Of every block the trials of one attempt: of the last that came to its end, if one did."""
    blocks: dict[tuple[object, ...], dict[int, list[_Trial]]] = defaultdict(dict)
    for it in trials:
        blocks[*it.setup.arena, it.block].setdefault(it.attempt, []).append(it)
    counted = {
        key: max((_ended(of_one), attempt) for attempt, of_one in attempts.items())[1]
        for key, attempts in blocks.items()
    }
    return [it for it in trials if it.attempt == counted[*it.setup.arena, it.block]]


def _ended(attempt: Iterable[_Trial]) -> int:
    """How many trials of an attempt have ended; a twin may be left out of a later one."""
    return sum(it.status not in (None, "interrupted") and not it.setup.twin for it in attempt)
