"""`export` and `schema`: a run's data, and what its JSON files look like, for other programs."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

from harness.errors import UsageError, unknown
from harness.report.exports import FORMATS, schema_text, schemas, written
from harness.report.frames import FRAMES
from harness.results import lines_of
from harness.runs.files import write_whole

STDOUT = "-"
FORMAT_ALIASES = {"md": "markdown", "pq": "parquet"}
_SUFFIXES = {".json": "json", ".parquet": "parquet", ".md": "markdown"}
"""By the file's name; a format that is not supported is refused, not written as CSV."""


def export(name: str | None, output: Path, what: str, format_: str | None, to: str) -> None:
    """Write one tidy frame of a run. Raises UsageError before anything is written."""
    if what not in FRAMES:
        raise unknown("frame", what, FRAMES)
    chosen = format_ or _SUFFIXES.get(Path(to).suffix, "csv")
    if chosen not in FORMATS:
        raise unknown("format", chosen, FORMATS, FORMAT_ALIASES)
    if chosen == "parquet" and to == STDOUT and sys.stdout.isatty():
        raise UsageError("Parquet is not text; name a file for it with --to")
    info, lines = lines_of(name, output, what)
    put(written(lines, chosen, what, info), to)


def schema(name: str | None, write: Path | None) -> None:
    """Print one JSON Schema, or the names of all; or write all into a directory."""
    known = schemas()
    if write is not None:
        for each, it in known.items():
            put([schema_text(it).encode()], str(write / f"{each}.json"))
    elif name is None:
        print("\n".join(known))
    elif name in known:
        print(schema_text(known[name]), end="")
    else:
        raise unknown("schema", name, known)


def put(content: Iterable[bytes], to: str) -> None:
    """Pieces to standard output, or into a file that appears whole or not at all.

    Raises UsageError where it cannot be written.
    """
    if to == STDOUT:
        try:
            for it in content:
                sys.stdout.buffer.write(it)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            # Whoever read it has enough; Python would complain of the same once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    path = Path(to)
    if path.is_dir() or "\0" in to:
        raise UsageError(f"{to}: not a file; name one to write to")
    try:
        write_whole(path, content)
    except OSError as error:
        raise UsageError(f"{to}: cannot write here: {error.strerror or error}") from None
