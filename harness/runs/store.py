"""The store: one SQLite file per results directory, from which everything else can be made again.

Rows are only ever inserted. A trial has a row in `started` before its process exists and one in
`ended` after it, written in one transaction with its raw samples; WAL with synchronous=FULL keeps
whatever was acknowledged through a kill of the runner.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.cells import Setup
from harness.certificates import Certificate
from harness.errors import StoreError, UsageError
from harness.records import Record, Run, RunInfo, Sample
from harness.runs.locks import Held, held
from harness.runs.places import refuse_network, within
from harness.runs.present import Present
from harness.runs.reading import SAMPLE, begun, names, read_head, read_records, read_run
from harness.runs.schema import check, connect, damaged, prepare
from harness.tasks.spec import Task

FILE = "samestep.sqlite"
BUSY_SECONDS = 30.0
PARTS = ("", "-wal", "-shm", "-journal")
"""What SQLite adds to the name of a database for the files beside it."""
DAMAGE = (sqlite3.Error, ValueError, TypeError, OverflowError, MemoryError, RecursionError)
"""What rows are that cannot be understood: torn pages, broken JSON, values of another kind."""


class Store:
    """Reads and writes one results directory. Use as a context manager."""

    def __init__(self, connection: sqlite3.Connection, path: Path = Path(FILE)) -> None:
        self._connection = connection
        self._there = Present(connection)
        self._path = path
        self._together = False

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
            (record.trial, phase.phase, *_columns(sample))
            for phase in record.phases
            for sample in phase.samples
        ]
        with self._writing():
            self._connection.execute(
                "INSERT INTO ended VALUES (?, ?, ?, ?)",
                (record.trial, record.status, text, time.time()),
            )
            self._connection.executemany(
                f"INSERT INTO samples (trial, phase, {', '.join(SAMPLE)}) "
                f"VALUES (?, ?, {', '.join('?' * len(SAMPLE))})",
                rows,
            )

    def stop(self, run: str, rule: str, seconds: float) -> None:
        """Note which rule ended the run; a resumed run has one such row for each time."""
        with self._writing():
            self._connection.execute(
                "INSERT INTO stops VALUES (?, ?, ?, ?)", (run, rule, seconds, time.time())
            )

    def add_certificate(self, certificate: Certificate) -> None:
        """Keep the outcome of a proof; of several with one key the latest counts."""
        with self._writing():
            self._connection.execute(
                "INSERT INTO certificates (key, certificate, at) VALUES (?, ?, ?)",
                (certificate.key, certificate.model_dump_json(), time.time()),
            )

    def certificate(self, key: str) -> Certificate | None:
        """The latest certificate with this key."""
        with self._reading():
            row = self._connection.execute(
                "SELECT certificate FROM certificates WHERE key = ? ORDER BY id DESC LIMIT 1",
                (key,),
            ).fetchone()
            return Certificate.model_validate_json(row[0]) if row else None

    def relate(self, run: str, keys: Iterable[str]) -> None:
        """Note that a run relied on the latest certificates with these keys."""
        with self._writing():
            self._connection.executemany(
                "INSERT OR IGNORE INTO proven SELECT ?, max(id) FROM certificates WHERE key = ? "
                "HAVING max(id) IS NOT NULL",
                [(run, key) for key in keys],
            )

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Everything that is written within appears at once, or, on any exception, not at all."""
        with self._writing():
            self._together = True
            try:
                yield
            finally:
                self._together = False

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        if self._together:
            yield
            return
        self._there.check()
        try:
            with self._connection:
                yield
        except (sqlite3.Error, OverflowError) as error:
            raise StoreError(f"the store could not be written: {error}") from error
        # Only now, after the commit, what was written can be said to be kept.
        self._there.check()

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except DAMAGE as error:
            raise damaged(self._path, error) from error

    def runs(self) -> list[str]:
        """Names, oldest first. Raises StoreError where they cannot be read."""
        with self._reading():
            return names(self._connection)

    def load(self, name: str) -> Run:
        """A run with all its records; raises UsageError where there is none of this name, and
        StoreError where it cannot be understood.

        Of a block that was begun again only the last attempt that came to its end counts: pairs
        share an attempt. A trial without a terminal row is `interrupted`.
        """
        with self._reading():
            return read_run(self._connection, name)

    def head(self, name: str) -> Run:
        """The same without any record."""
        with self._reading():
            return read_head(self._connection, name)

    def records(self, name: str) -> Iterator[Record]:
        """The records of `load`, one at a time: they may be more than memory holds."""
        with self._reading():
            tasks = read_head(self._connection, name).tasks
            yield from read_records(self._connection, name, tasks)

    def attempts(self, run: str) -> dict[tuple[object, ...], int]:
        """How often every block was begun, by arena and number."""
        with self._reading():
            return begun(self._connection, run)


def create(directory: Path) -> Store:
    """Open the store of a directory for writing, making both where they do not exist.

    Raises StoreError, with nothing changed, for a file that is damaged, not a store, or of a newer
    schema, and for a network file system; UsageError for a link.
    """
    path = directory / FILE
    for part in PARTS:
        within(directory, FILE + part)
    try:
        refuse_network(directory)
        directory.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():
            raise StoreError(f"{path}: not a file")
        # Two processes that create the file at once would meet a locked database.
        with held(within(directory, f".{FILE}.lock"), BUSY_SECONDS):
            connection = connect(path, timeout=BUSY_SECONDS)
            try:
                prepare(connection, path)
            except BaseException:
                connection.close()
                raise
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{path}: {error}") from error
    except Held as holder:
        raise StoreError(f"{path}: kept busy by {holder}") from None
    return Store(connection, path)


def open_existing(directory: Path) -> Store:
    """Open a store for reading only; raises UsageError where there is none, and StoreError for a
    file that is damaged, not a store, or of a newer schema."""
    path = directory / FILE
    if not path.is_file():
        raise UsageError(f"{directory}: no results here; make some with: python -m harness run")
    uri = path.resolve().as_uri()
    # Where nothing can be written SQLite cannot lay down the index of its log, and without a log
    # it needs none.
    log = path.with_name(f"{FILE}-wal")
    still = not os.access(directory, os.W_OK) and not (log.exists() and log.stat().st_size)
    connection = connect(f"{uri}?{'immutable=1' if still else 'mode=ro'}", uri=True)
    try:
        check(connection, path)
    except BaseException as error:
        connection.close()
        if isinstance(error, sqlite3.Error):
            raise StoreError(f"{path}: {error}") from error
        raise
    return Store(connection, path)


def _columns(sample: Sample) -> list[object]:
    """A sample's values in the order of `SAMPLE`; its readings as JSON, if it has any."""
    values = sample.model_dump()
    values["readings"] = json.dumps(sample.readings) if sample.readings else None
    return [values[name] for name in SAMPLE]
