"""The store: one SQLite file per results directory, from which everything else can be made again.

Rows are only ever inserted. A trial has a row in `started` before its process exists and one in
`ended` after it, written in one transaction with its raw samples. WAL with synchronous=FULL keeps
what was acknowledged if the runner is killed. Around every transaction it is checked that the file
still lies where it was opened.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from harness.cells import Setup
from harness.certificates import Certificate
from harness.errors import StoreError, UsageError, unknown
from harness.records import SCHEMA_VERSION, Record, Run, RunInfo, Sample
from harness.runs.files import LockHeld, held, refuse_network, within
from harness.tasks.spec import Task

FILE = "samestep.sqlite"
PARTS = ("", "-wal", "-shm", "-journal")
"""What SQLite adds to the name of a database for the files beside it."""
BUSY_SECONDS = 30.0
DAMAGE = (sqlite3.Error, ValueError, TypeError, OverflowError, MemoryError, RecursionError)
"""What reading raises for torn pages, broken JSON and values of another type."""

APPLICATION_ID = 0x73616D65  # "same": marks the file as a store of samestep
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
    pressure_seconds REAL, load REAL, loss REAL, readings TEXT,
    PRIMARY KEY (trial, phase, round)
) STRICT;
CREATE TABLE stops (
    run TEXT NOT NULL REFERENCES runs, rule TEXT NOT NULL, seconds REAL NOT NULL, at REAL NOT NULL
) STRICT;
-- A proof outlives the run that asked for it: `proven` says which certificates a run had.
CREATE TABLE certificates (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, certificate TEXT NOT NULL, at REAL NOT NULL
) STRICT;
CREATE INDEX certificates_by_key ON certificates (key);
CREATE TABLE proven (
    run TEXT NOT NULL REFERENCES runs, certificate INTEGER NOT NULL REFERENCES certificates,
    PRIMARY KEY (run, certificate)
) STRICT;
"""
TABLES = ("runs", "tasks", "started", "ended", "samples", "stops", "certificates", "proven")

Objects = frozenset[tuple[str, str, str, str]]
"""What `sqlite_master` has: type, name, table and statement of every table, index and trigger."""


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make a database, new or not, ready to be written. Raises StoreError, with nothing changed."""
    if version(connection) == 0:
        make(connection, path)
    check(connection, path)
    # Only after the check, because this is written into the file.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def make(connection: sqlite3.Connection, path: Path) -> None:
    """Lay out a new store; raises StoreError for a database of another program."""
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreError(f"{path}: a database, but not one of samestep's")
    connection.executescript(
        f"BEGIN; {SCHEMA} {guards(TABLES)}"
        f"PRAGMA application_id = {APPLICATION_ID};"
        f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    )


def guards(tables: Iterable[str]) -> str:
    """Triggers that let no row of these tables be changed or deleted."""
    return "".join(
        f"CREATE TRIGGER {table}_no_{verb} BEFORE {verb} ON {table} "
        "BEGIN SELECT RAISE(ABORT, 'rows of the store are never changed'); END;"
        for table in tables
        for verb in ("UPDATE", "DELETE")
    )


def version(connection: sqlite3.Connection) -> int:
    """The schema of an open database; 0 before one is made."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Raises StoreError for a database that is not a store, of a newer schema, or damaged."""
    identity = connection.execute("PRAGMA application_id").fetchone()[0]
    schema = version(connection)
    if identity != APPLICATION_ID:
        raise StoreError(f"{path}: a database, but not one of samestep's")
    if schema > SCHEMA_VERSION:
        raise StoreError(
            f"{path}: written by a newer samestep (schema {schema}; this one reads up to "
            f"{SCHEMA_VERSION}); upgrade to read it"
        )
    try:
        # Before any statement reads a table: views and triggers of a foreign file would run.
        objects = _objects(connection)
        known = _standard_objects() if schema == SCHEMA_VERSION else frozenset()
        if objects != known:
            foreign = sorted(name for _, name, *_ in objects - known)
            what = f"{foreign[0]!r} is another" if foreign else "some are missing"
            raise StoreError(
                f"{path}: its tables, indices and triggers are not those that samestep makes "
                f"({what}); nothing was read from it"
            )
        (problem,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except UnicodeDecodeError:
        problem = "SQLite's report quotes bytes that are not text"
    if problem != "ok":
        raise StoreError(f"{path}: damaged ({problem}); restore it from a copy")


@functools.cache
def _standard_objects() -> Objects:
    """What every store consists of."""
    with closing(sqlite3.connect(":memory:")) as new:
        make(new, Path())
        return _objects(new)


def _objects(connection: sqlite3.Connection) -> Objects:
    """White space in statements does not count."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT 100")
    return frozenset(
        (str(kind), str(name), str(table), " ".join(str(sql).split()))
        for kind, name, table, sql in rows
    )


class StoreGone(StoreError):
    """The file is no longer there, or another one is: what was written to it is lost."""


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


SAMPLE_FIELDS = tuple(Sample.model_fields)
SAMPLES = TypeAdapter(tuple[Sample, ...])


class StoredTrial(NamedTuple):
    """A trial by its row in `started`, and its status in `ended`, if it has one."""

    name: str
    block: int
    attempt: int
    setup: Setup
    status: str | None

    @property
    def of(self) -> tuple[object, ...]:
        """Its block: the group, and the number in it."""
        return (*self.setup.group, self.block)


def _last_attempts(trials: Sequence[StoredTrial]) -> list[StoredTrial]:
    """Of every block the trials of one attempt: of the last that came to its end, if one did."""
    ended: dict[tuple[object, ...], Counter[int]] = defaultdict(Counter)
    for trial in trials:
        # A twin may be left out of a later attempt.
        whole = trial.status not in (None, "interrupted") and not trial.setup.twin
        ended[trial.of][trial.attempt] += whole
    counted = {
        block: max(attempts, key=lambda it: (attempts[it], it)) for block, attempts in ended.items()
    }
    return [it for it in trials if it.attempt == counted[it.of]]


class Store:
    """Reads and writes one results directory. Use as a context manager."""

    def __init__(self, connection: sqlite3.Connection, path: Path = Path(FILE)) -> None:
        self._connection = connection
        self._path = path
        self._opened = _identity(path)
        self._together = False

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def add_run(self, info: RunInfo, tasks: tuple[Task, ...]) -> None:
        with self._writing():
            self._insert("runs", [(info.name, time.time(), info.model_dump_json())])
            self._insert("tasks", [(info.name, it.digest, it.model_dump_json()) for it in tasks])

    def start(self, run: str, trial: str, block: int, attempt: int, setup: Setup) -> None:
        row = (trial, run, block, attempt, setup.model_dump_json(), time.time())
        with self._writing():
            self._insert("started", [row])

    def end(self, record: Record) -> None:
        """The terminal row of a trial, and its samples, or neither."""
        bare = [phase.model_copy(update={"samples": ()}) for phase in record.phases]
        text = record.model_copy(update={"phases": tuple(bare)}).model_dump_json()
        samples = [
            (record.trial, phase.phase, *_values(sample))
            for phase in record.phases
            for sample in phase.samples
        ]
        with self._writing():
            self._insert("ended", [(record.trial, record.status, text, time.time())])
            self._insert(f"samples (trial, phase, {', '.join(SAMPLE_FIELDS)})", samples)

    def stop(self, run: str, rule: str, seconds: float) -> None:
        """Note which rule ended the run; a resumed run has one such row for each time."""
        with self._writing():
            self._insert("stops", [(run, rule, seconds, time.time())])

    def add_certificate(self, certificate: Certificate) -> None:
        """Keep the outcome of a proof; of several with one key the latest counts."""
        row = (certificate.key, certificate.model_dump_json(), time.time())
        with self._writing():
            self._insert("certificates (key, certificate, at)", [row])

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
        self._refuse_gone()
        try:
            with self._connection:
                yield
        except (sqlite3.Error, OverflowError) as error:
            raise StoreError(f"the store could not be written: {error}") from error
        self._refuse_gone()  # what was committed to a deleted file is lost

    def _insert(self, table: str, rows: Sequence[Sequence[object]]) -> None:
        if rows:
            marks = ", ".join("?" * len(rows[0]))
            self._connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)

    def _refuse_gone(self) -> None:
        """Raises StoreGone. In WAL mode SQLite does not notice that its file was deleted: it goes
        on, and what it acknowledges is lost when it is closed."""
        if _identity(self._path) != self._opened:
            raise StoreGone(f"{self._path}: deleted or replaced while it was being written to")

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except DAMAGE as error:
            why = str(error).partition("\n")[0]
            raise StoreError(
                f"{self._path}: damaged ({type(error).__name__}: {why}); restore it from a copy, "
                "or save what is whole with: sqlite3 FILE .recover"
            ) from error

    def _rows(self, statement: str, *values: object) -> sqlite3.Cursor:
        return self._connection.execute(statement, values)

    def runs(self) -> list[str]:
        """Names in the order in which the runs were added. Raises StoreError."""
        with self._reading():
            return [str(name) for (name,) in self._rows("SELECT run FROM runs ORDER BY rowid")]

    def latest(self) -> str:
        """The name of the run that was added last. Raises UsageError where there is none."""
        runs = self.runs()
        if not runs:
            here = self._path.parent
            raise UsageError(f"{here}: no run yet; make one with: python -m harness run")
        return runs[-1]

    def load(self, name: str) -> Run:
        """A run with all its records; raises UsageError where there is none of this name, and
        StoreError where it cannot be understood.

        Of a block that was begun again only the last attempt that came to its end counts: pairs
        share an attempt. A trial without a terminal row is `interrupted`.
        """
        with self._reading():
            head = self.head(name)
            return head.model_copy(update={"records": tuple(self._records(name, head.tasks))})

    def head(self, name: str) -> Run:
        """The same without any record."""
        with self._reading():
            info = self._rows("SELECT info FROM runs WHERE run = ?", name).fetchone()
            if info is None:
                self.latest()  # raises where there is no run at all
                raise unknown("run", name, self.runs())
            specs = self._rows("SELECT spec FROM tasks WHERE run = ? ORDER BY rowid", name)
            stops = self._rows(
                "SELECT rule, seconds FROM stops WHERE run = ? ORDER BY rowid", name
            ).fetchall()
            return Run(
                info=RunInfo.model_validate_json(info[0]),
                tasks=tuple(Task.model_validate_json(spec) for (spec,) in specs),
                records=(),
                stopped_by=stops[-1][0] if stops else None,
                seconds=sum(seconds for _, seconds in stops) if stops else None,
                certificates=self._certificates(name),
            )

    def records(self, name: str) -> Iterator[Record]:
        """The records of `load`, one at a time: they may be more than memory holds."""
        with self._reading():
            yield from self._records(name, self.head(name).tasks)

    def attempts(self, run: str) -> dict[tuple[object, ...], int]:
        """How often every block was begun, by group and number."""
        with self._reading():
            counts: dict[tuple[object, ...], int] = {}
            for trial in self._trials(run):
                counts[trial.of] = max(trial.attempt, counts.get(trial.of, 0))
            return counts

    def certificate(self, key: str) -> Certificate | None:
        """The latest certificate with this key."""
        with self._reading():
            row = self._rows(
                "SELECT certificate FROM certificates WHERE key = ? ORDER BY id DESC LIMIT 1", key
            ).fetchone()
            return Certificate.model_validate_json(row[0]) if row else None

    def _certificates(self, run: str) -> tuple[Certificate, ...]:
        # A later proof of the same setup, in a resumed run, replaces the earlier one.
        by_setup: dict[Setup, Certificate] = {}
        for key, text in self._rows(
            "SELECT c.key, c.certificate FROM proven p JOIN certificates c ON c.id = p.certificate "
            "WHERE p.run = ? ORDER BY c.id",
            run,
        ):
            certificate = Certificate.model_validate_json(text)
            if certificate.key != key:
                raise ValueError(
                    f"a certificate of {certificate.setup.id} under the key of another"
                )
            by_setup[certificate.setup] = certificate
        return tuple(by_setup.values())

    def _records(self, run: str, tasks: Iterable[Task]) -> Iterator[Record]:
        """Raises ValueError for records that contradict their run, which has these tasks."""
        known = {(it.name, it.digest) for it in tasks}
        for trial in _last_attempts(self._trials(run)):
            if (trial.setup.task, trial.setup.digest) not in known:
                raise ValueError(f"trials of tasks that the run does not have: {trial.setup.task}")
            yield self._record(trial)

    def _trials(self, run: str) -> list[StoredTrial]:
        setup_of = functools.cache(Setup.model_validate_json)
        rows = self._rows(
            "SELECT s.trial, s.block, s.attempt, s.setup, e.status FROM started s "
            "LEFT JOIN ended e USING (trial) WHERE s.run = ? ORDER BY s.rowid",
            run,
        )
        return [
            StoredTrial(name, block, attempt, setup_of(setup), status)
            for name, block, attempt, setup, status in rows
        ]

    def _record(self, trial: StoredTrial) -> Record:
        if trial.status is None:
            return Record(
                trial=trial.name,
                block=trial.block,
                attempt=trial.attempt,
                setup=trial.setup,
                status="interrupted",
                error="the run ended before the trial did",
            )
        (text,) = self._rows("SELECT record FROM ended WHERE trial = ?", trial.name).fetchone()
        record = Record.model_validate_json(text)
        stated = (record.trial, record.block, record.attempt, record.setup, record.status)
        if tuple(trial) != stated:
            raise ValueError(f"the record of trial {trial.name} is of another one")
        samples = self._samples(trial.name)
        phases = (
            it.model_copy(update={"samples": samples.get(it.phase, ())}) for it in record.phases
        )
        return record.model_copy(update={"phases": tuple(phases)})

    def _samples(self, trial: str) -> dict[str, tuple[Sample, ...]]:
        """The samples of one trial by phase: they lie together in the order of the store."""
        fields = ", ".join(SAMPLE_FIELDS)
        rows = self._rows(
            f"SELECT phase, {fields} FROM samples WHERE trial = ? ORDER BY phase, round", trial
        )
        by_phase: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for phase, *values in rows:
            sample = dict(zip(SAMPLE_FIELDS, values, strict=True))
            # SQLite has no lists: a text holds them.
            sample["readings"] = json.loads(sample["readings"] or "[]")
            by_phase[phase].append(sample)
        return {phase: SAMPLES.validate_python(it) for phase, it in by_phase.items()}


def _values(sample: Sample) -> list[object]:
    """A sample's values in the order of `SAMPLE_FIELDS`; its readings as JSON, if it has any."""
    values = sample.model_dump()
    values["readings"] = json.dumps(sample.readings) if sample.readings else None
    return [values[name] for name in SAMPLE_FIELDS]


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
            return _opened(path, "mode=rwc", prepare)
    except OSError as error:
        raise StoreError(f"{path}: {error}") from error
    except LockHeld as holder:
        raise StoreError(f"{path}: kept busy by {holder}") from None


def open_existing(directory: Path) -> Store:
    """Open a store for reading only; raises UsageError where there is none, and StoreError for a
    file that is damaged, not a store, or of a newer schema."""
    path = directory / FILE
    if not path.is_file():
        raise UsageError(f"{directory}: no results here; make some with: python -m harness run")
    # In a read-only directory SQLite cannot make the index of its log. Without a log it needs none.
    log = path.with_name(f"{FILE}-wal")
    fixed = not os.access(directory, os.W_OK) and not (log.exists() and log.stat().st_size)
    return _opened(path, "immutable=1" if fixed else "mode=ro", check)


def _opened(
    path: Path, parameters: str, accept: Callable[[sqlite3.Connection, Path], None]
) -> Store:
    """The store in a file that `accept` does not refuse; the parameters are those of SQLite's URIs.

    SQL functions with side effects do not run for its schema, and its pages are checked.
    """
    uri = f"{path.resolve().as_uri()}?{parameters}"
    with contextlib.ExitStack() as undo:
        try:
            connection = sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)
            undo.callback(connection.close)
            connection.execute("PRAGMA trusted_schema = OFF")
            connection.execute("PRAGMA cell_size_check = ON")
            accept(connection, path)
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from error
        undo.pop_all()
    return Store(connection, path)
