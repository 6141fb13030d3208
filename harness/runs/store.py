"""The store: one SQLite file per results directory, from which everything else can be made again.

Rows are only ever inserted. A trial has a row in `started` before its process exists and one in
`ended` after it, written in one transaction with its raw samples; WAL with synchronous=FULL keeps
whatever was acknowledged through a kill of the runner. Whether the open file still lies where it
was opened is checked around every transaction. A damaged row is read as an error of SQLite or
Pydantic, and reported as StoreError.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sqlite3
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path

from pydantic import TypeAdapter

from harness.cells import Setup
from harness.certificates import Certificate
from harness.errors import StoreError, UsageError, unknown
from harness.records import SCHEMA_VERSION, Record, Run, RunInfo, Sample
from harness.runs.files import LockHeld, held, refuse_network, within
from harness.tasks.spec import Task

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
    pressure_seconds REAL, load REAL, loss REAL, readings TEXT,
    PRIMARY KEY (trial, phase, round)
) STRICT;
CREATE TABLE stops (
    run TEXT NOT NULL REFERENCES runs, rule TEXT NOT NULL, seconds REAL NOT NULL, at REAL NOT NULL
) STRICT;
"""
# A proof outlives the run that asked for it: `proven` says which certificates a run had.
PROOFS = """
CREATE TABLE certificates (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, certificate TEXT NOT NULL, at REAL NOT NULL
) STRICT;
CREATE INDEX certificates_by_key ON certificates (key);
CREATE TABLE proven (
    run TEXT NOT NULL REFERENCES runs, certificate INTEGER NOT NULL REFERENCES certificates,
    PRIMARY KEY (run, certificate)
) STRICT;
"""
# The same as schema 1 had it: with fewer columns in the table of samples.
FIRST_SCHEMA = SCHEMA.replace(
    "    pressure_seconds REAL, load REAL, loss REAL, readings TEXT,\n", ""
)
TABLES = ("runs", "tasks", "started", "ended", "samples", "stops")
PROOF_TABLES = ("certificates", "proven")
# What schema 1 lacks in the table of samples.
ADDED = ("pressure_seconds REAL", "load REAL", "loss REAL", "readings TEXT")


Objects = frozenset[tuple[str, str, str, str]]
"""What `sqlite_master` has: type, name, table and statement of every table, index and trigger."""


def connect(where: str | Path, *, uri: bool = False, timeout: float = 5.0) -> sqlite3.Connection:
    """A connection to a file that a stranger may have made.

    Functions of SQL with side effects do not run for its schema, and its pages are checked.
    """
    connection = sqlite3.connect(where, uri=uri, timeout=timeout)
    connection.execute("PRAGMA trusted_schema = OFF")
    connection.execute("PRAGMA cell_size_check = ON")
    return connection


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make a database ready to be written, be it new or of an older schema.

    Raises StoreError, with nothing changed, for one that `check` refuses.
    """
    if version(connection) == 0:
        make(connection, path)
    check(connection, path)
    # Not before it is known to be ours: this is written into the file.
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    if version(connection) == 1:
        upgrade(connection)


def make(connection: sqlite3.Connection, path: Path) -> None:
    """Lay out a new store; raises StoreError in somebody else's database."""
    if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise StoreError(f"{path}: a database, but not one of samestep's")
    connection.executescript(
        f"BEGIN; {SCHEMA} {PROOFS} {guards(TABLES + PROOF_TABLES)}"
        f"PRAGMA application_id = {APPLICATION_ID};"
        f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    )


def upgrade(connection: sqlite3.Connection) -> None:
    """From schema 1: more is known of a sample, and proofs are kept."""
    added = "".join(f"ALTER TABLE samples ADD COLUMN {column};" for column in ADDED)
    connection.executescript(
        f"BEGIN; {added} {PROOFS} {guards(PROOF_TABLES)}"
        f"PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;"
    )


def guards(tables: Iterable[str]) -> str:
    """Triggers because of which no row of these tables can be changed or deleted."""
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
    """Raises StoreError for a database that is not ours, newer than we are, or damaged."""
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
        # Before any statement reads a table: a stranger's view or trigger would be obeyed.
        _refuse_strange(_objects(connection), schema, path)
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    except UnicodeDecodeError:
        found = "its own findings quote bytes that are no text"
    if found != "ok":
        raise StoreError(f"{path}: damaged ({found}); restore it from a copy")


def _refuse_strange(objects: Objects, schema: int, path: Path) -> None:
    known = _made(schema)
    if objects in known:
        return
    strange = sorted(it[1] for it in objects - frozenset().union(*known))
    what = f"{strange[0]!r} is another" if strange else "some are missing"
    raise StoreError(
        f"{path}: its tables, indices and triggers are not those that samestep makes ({what}); "
        "nothing was read from it"
    )


@functools.cache
def _made(schema: int) -> tuple[Objects, ...]:
    """What a store of a schema may consist of: one that was made, or made by schema 1 and upgraded.

    Empty for a number that no samestep ever wrote.
    """
    if schema not in (1, SCHEMA_VERSION):
        return ()
    with closing(sqlite3.connect(":memory:")) as first:
        first.executescript(f"{FIRST_SCHEMA} {guards(TABLES)}")
        if schema == 1:
            return (_objects(first),)
        upgrade(first)
        with closing(sqlite3.connect(":memory:")) as new:
            make(new, Path())
            return _objects(new), _objects(first)


def _objects(connection: sqlite3.Connection) -> Objects:
    """Spaces and line breaks of statements do not count: versions of SQLite add columns alike but
    for these."""
    rows = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master LIMIT 100")
    return frozenset(
        (str(of), str(name), str(table), " ".join(str(sql).split()))
        for of, name, table, sql in rows
    )


def damaged(path: Path, error: BaseException) -> StoreError:
    """The error for a store whose rows cannot be understood."""
    said = str(error).partition("\n")[0]
    return StoreError(
        f"{path}: damaged ({type(error).__name__}: {said}); restore it from a copy, or save what "
        "is whole with: sqlite3 FILE .recover"
    )


class StoreGone(StoreError):
    """The file is no longer there, or another one is: what was written to it is lost."""


class Present:
    """Remembers which file it was. One that was deleted can be written on, to no avail: SQLite does
    not notice in WAL mode, and what it acknowledges is gone when it is closed."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._path = connection.execute("PRAGMA database_list").fetchone()[2]
        self._was = _identity(self._path)

    def check(self) -> None:
        """Raises StoreGone."""
        if _identity(self._path) != self._was:
            raise StoreGone(f"{self._path}: deleted or replaced while it was being written to")


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


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
        key = (*Setup.model_validate_json(setup).group, block)
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
class _StoredTrial:
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


def _trials(connection: sqlite3.Connection, run: str) -> list[_StoredTrial]:
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
        found.append(_StoredTrial(name, block, attempt, setups[text], status))
    return found


def _record(connection: sqlite3.Connection, trial: _StoredTrial, columns: Sequence[str]) -> Record:
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
    if trial != _StoredTrial(
        record.trial, record.block, record.attempt, record.setup, record.status
    ):
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


def _last_attempts(trials: Sequence[_StoredTrial]) -> list[_StoredTrial]:
    """Of every block the trials of one attempt: of the last that came to its end, if one did."""
    blocks: dict[tuple[object, ...], dict[int, list[_StoredTrial]]] = defaultdict(dict)
    for it in trials:
        blocks[*it.setup.group, it.block].setdefault(it.attempt, []).append(it)
    counted = {
        key: max((_ended(of_one), attempt) for attempt, of_one in attempts.items())[1]
        for key, attempts in blocks.items()
    }
    return [it for it in trials if it.attempt == counted[*it.setup.group, it.block]]


def _ended(attempt: Iterable[_StoredTrial]) -> int:
    """How many trials of an attempt have ended; a twin may be left out of a later one."""
    return sum(it.status not in (None, "interrupted") and not it.setup.twin for it in attempt)


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
        """How often every block was begun, by group and number."""
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
    except LockHeld as holder:
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
