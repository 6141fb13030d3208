"""The tables of the store, how a new one is made and an old one brought up to date."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from harness.errors import StoreError
from harness.records import SCHEMA_VERSION

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
