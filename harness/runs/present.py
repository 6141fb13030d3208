"""Whether a database that is open still lies where it was opened."""

from __future__ import annotations

import os
import sqlite3

from harness.errors import StoreError


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
