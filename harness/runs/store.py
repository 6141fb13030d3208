"""The store: one SQLite file per results directory, from which everything else can be made again.

Rows are only ever inserted. A trial has a row in `started` before its process exists and one in
`ended` after it, written in one transaction with its raw samples; WAL with synchronous=FULL keeps
whatever was acknowledged through a kill of the runner.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import filelock

from harness.cells import Setup
from harness.errors import StoreError, UsageError, unknown
from harness.records import SCHEMA_VERSION, Record, Run, RunInfo, Sample
from harness.tasks.spec import Task

FILE = "samestep.sqlite"
APPLICATION_ID = 0x73616D65  # "same": tells our file from anyone else's
SCHEMA = """
CREATE TABLE runs (
    run TEXT PRIMARY KEY, created REAL NOT NULL, info TEXT NOT NULL
) STRICT;
CREATE TABLE tasks (
    run TEXT NOT NULL REFERENCES runs, digest TEXT NOT NULL, spec TEXT NOT NULL,
    PRIMARY KEY (run, digest)
) STRICT;
CREATE TABLE started (
    trial TEXT PRIMARY KEY, run TEXT NOT NULL REFERENCES runs, block INTEGER NOT NULL,
    attempt INTEGER NOT NULL, setup TEXT NOT NULL, at REAL NOT NULL
) STRICT;
CREATE TABLE ended (
    trial TEXT PRIMARY KEY REFERENCES started, status TEXT NOT NULL, record TEXT NOT NULL,
    at REAL NOT NULL
) STRICT;
CREATE TABLE samples (
    trial TEXT NOT NULL REFERENCES ended, phase TEXT NOT NULL, round INTEGER NOT NULL,
    turn INTEGER NOT NULL, iterations INTEGER NOT NULL, seconds REAL NOT NULL,
    cpu_seconds REAL NOT NULL, voluntary_switches INTEGER NOT NULL,
    involuntary_switches INTEGER NOT NULL, steal_seconds REAL,
    PRIMARY KEY (trial, phase, round)
) STRICT;
CREATE TABLE stops (
    run TEXT NOT NULL REFERENCES runs, rule TEXT NOT NULL, seconds REAL NOT NULL, at REAL NOT NULL
) STRICT;
"""
TABLES = ("runs", "tasks", "started", "ended", "samples", "stops")
BUSY_SECONDS = 30.0


class Store:
    """Reads and writes one results directory. Use as a context manager."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def add_run(self, info: RunInfo, tasks: tuple[Task, ...]) -> None:
        with self._writing():
            self._connection.execute(
                "INSERT INTO runs VALUES (?, ?, ?)",
                (info.name, time.time(), info.model_dump_json()),
            )
            self._connection.executemany(
                "INSERT INTO tasks VALUES (?, ?, ?)",
                [(info.name, task.digest, task.model_dump_json()) for task in tasks],
            )

    def start(self, run: str, trial: str, block: int, attempt: int, setup: Setup) -> None:
        with self._writing():
            self._connection.execute(
                "INSERT INTO started VALUES (?, ?, ?, ?, ?, ?)",
                (trial, run, block, attempt, setup.model_dump_json(), time.time()),
            )

    def end(self, record: Record) -> None:
        """The terminal row of a trial, and its samples, or neither."""
        bare = [phase.model_copy(update={"samples": ()}) for phase in record.phases]
        text = record.model_copy(update={"phases": tuple(bare)}).model_dump_json()
        rows = [
            (record.trial, phase.phase, *(getattr(sample, name) for name in Sample.model_fields))
            for phase in record.phases
            for sample in phase.samples
        ]
        with self._writing():
            self._connection.execute(
                "INSERT INTO ended VALUES (?, ?, ?, ?)",
                (record.trial, record.status, text, time.time()),
            )
            self._connection.executemany(
                f"INSERT INTO samples VALUES (?, ?, {', '.join('?' * len(Sample.model_fields))})",
                rows,
            )

    def stop(self, run: str, rule: str, seconds: float) -> None:
        """Note which rule ended the run; a resumed run has one such row for each time."""
        with self._writing():
            self._connection.execute(
                "INSERT INTO stops VALUES (?, ?, ?, ?)", (run, rule, seconds, time.time())
            )

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            with self._connection:
                yield
        except sqlite3.Error as error:
            raise StoreError(f"the store could not be written: {error}") from error

    def runs(self) -> list[str]:
        """Names, oldest first."""
        rows = self._connection.execute("SELECT run FROM runs ORDER BY created, rowid")
        return [name for (name,) in rows]

    def load(self, name: str) -> Run:
        """A run with all its records; raises UsageError where there is none of this name.

        Of a block that was begun again only the last attempt counts: pairs share an attempt. A
        trial without a terminal row is `interrupted`.
        """
        row = self._connection.execute("SELECT info FROM runs WHERE run = ?", (name,)).fetchone()
        if row is None:
            known = self.runs()
            raise unknown("run", name, known) if known else UsageError("there is no run here yet")
        tasks = self._connection.execute(
            "SELECT spec FROM tasks WHERE run = ? ORDER BY rowid", (name,)
        )
        stops = self._connection.execute(
            "SELECT rule, seconds FROM stops WHERE run = ? ORDER BY rowid", (name,)
        ).fetchall()
        return Run(
            info=RunInfo.model_validate_json(row[0]),
            tasks=tuple(Task.model_validate_json(spec) for (spec,) in tasks),
            records=tuple(_last_attempts(self._records(name))),
            stopped_by=stops[-1][0] if stops else None,
            seconds=sum(seconds for _, seconds in stops) if stops else None,
        )

    def _records(self, run: str) -> Iterator[Record]:
        samples = self._samples(run)
        rows = self._connection.execute(
            "SELECT s.trial, s.block, s.attempt, s.setup, e.record FROM started s "
            "LEFT JOIN ended e USING (trial) WHERE s.run = ? ORDER BY s.rowid",
            (run,),
        )
        for trial, block, attempt, setup, text in rows:
            if text is None:
                yield Record(
                    trial=trial,
                    block=block,
                    attempt=attempt,
                    setup=Setup.model_validate_json(setup),
                    status="interrupted",
                    error="the run ended before the trial did",
                )
                continue
            record = Record.model_validate_json(text)
            phases = [
                it.model_copy(update={"samples": tuple(samples.get((trial, it.phase), ()))})
                for it in record.phases
            ]
            yield record.model_copy(update={"phases": tuple(phases)})

    def _samples(self, run: str) -> dict[tuple[str, str], list[Sample]]:
        samples: dict[tuple[str, str], list[Sample]] = {}
        names = list(Sample.model_fields)
        rows = self._connection.execute(
            f"SELECT trial, phase, {', '.join(names)} FROM samples JOIN started USING (trial) "
            "WHERE run = ? ORDER BY trial, phase, round",
            (run,),
        )
        for trial, phase, *values in rows:
            sample = Sample.model_validate(dict(zip(names, values, strict=True)))
            samples.setdefault((trial, phase), []).append(sample)
        return samples


def _last_attempts(records: Iterator[Record]) -> list[Record]:
    everything = list(records)
    last: dict[tuple[object, ...], int] = {}
    for record in everything:
        key = (*record.setup.arena, record.block)
        last[key] = max(record.attempt, last.get(key, 0))
    return [it for it in everything if it.attempt == last[(*it.setup.arena, it.block)]]


def create(directory: Path) -> Store:
    """Open the store of a directory for writing, making both where they do not exist.

    Raises StoreError for a file that is not a store, or of a newer schema.
    """
    path = directory / FILE
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Two processes that create the file at once would meet a locked database.
        with filelock.FileLock(directory / f".{FILE}.lock", timeout=BUSY_SECONDS):
            connection = sqlite3.connect(path, timeout=BUSY_SECONDS)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA foreign_keys = ON")
            if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                _make_schema(connection, path)
    except (OSError, sqlite3.Error, filelock.Timeout) as error:
        raise StoreError(f"{path}: {error}") from error
    _check(connection, path)
    return Store(connection)


def open_existing(directory: Path) -> Store:
    """Open a store for reading only; raises UsageError where there is none."""
    path = directory / FILE
    if not path.is_file():
        raise UsageError(f"{directory}: no results here; make some with: python -m harness run")
    try:
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)
        _check(connection, path)
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from error
    return Store(connection)


def _make_schema(connection: sqlite3.Connection, path: Path) -> None:
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreError(f"{path}: a database, but not one of samestep's")
    guards = "".join(
        f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table} "
        "BEGIN SELECT RAISE(ABORT, 'rows of the store are never changed'); END;"
        for table in TABLES
        for verb in ("UPDATE", "DELETE")
    )
    connection.executescript(
        f"BEGIN; {SCHEMA} {guards} PRAGMA application_id = {APPLICATION_ID};"
        f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    )


def _check(connection: sqlite3.Connection, path: Path) -> None:
    identity = connection.execute("PRAGMA application_id").fetchone()[0]
    schema = connection.execute("PRAGMA user_version").fetchone()[0]
    if identity != APPLICATION_ID:
        raise StoreError(f"{path}: a database, but not one of samestep's")
    if schema > SCHEMA_VERSION:
        raise StoreError(
            f"{path}: written by a newer samestep (schema {schema}; this one reads up to "
            f"{SCHEMA_VERSION}); upgrade to read it"
        )
