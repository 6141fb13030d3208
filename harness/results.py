"""Results from wherever they lie: a results directory, a run's folder, a `run.json`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_core import from_json

from harness.analysis.run_comparison import CellBlocks, Comparison, cell_blocks, compare_runs
from harness.analysis.summary import Summary, summarise_run
from harness.errors import NotComparable, UsageError, first_problem, unknown
from harness.frameworks import framework_facts
from harness.records import Record, Run, RunInfo
from harness.report.columns import Line
from harness.report.document import RUN_SCHEMA_VERSION, RunDocument, read_document
from harness.report.frames import FRAMES, tidy
from harness.runs.store import FILE, open_existing

if TYPE_CHECKING:
    import pandas as pd

DOCUMENT = "run.json"


class Results:
    """One run: what is known of it (`info`), its rows (`summary`), and its `run` with all records.

    Made of a `run.json` alone it has no records: then `run` and the frames of raw values raise
    UsageError.
    """

    def __init__(self, source: Run | RunDocument) -> None:
        self._source = source
        self.info: RunInfo = source.info if isinstance(source, Run) else source.run
        self.tasks: tuple[str, ...] = tuple(it.name for it in source.tasks)

    def __repr__(self) -> str:
        return f"<samestep results {self.info.name!r}, {', '.join(self.tasks)}>"

    @property
    def run(self) -> Run:
        """The run as it stands in the store, every record with its raw samples."""
        if isinstance(self._source, Run):
            return self._source
        raise UsageError(
            f"a {DOCUMENT} alone has no raw samples; load the results directory they lie in"
        )

    @functools.cached_property
    def summary(self) -> Summary:
        """All rows of its report."""
        source = self._source
        if isinstance(source, Run):
            return summarise_run(source, framework_facts())
        return source.summary

    @functools.cached_property
    def blocks(self) -> tuple[CellBlocks, ...]:
        """Every cell by its blocks: what another run is compared with."""
        source = self._source
        return cell_blocks(source, self.summary) if isinstance(source, Run) else source.blocks

    def frame(self, what: str = "cells") -> pd.DataFrame:
        """A tidy frame of the run; `FRAMES` of `harness.report.frames` has the names and columns.

        Raises UsageError for a name that it has not.
        """
        if what not in FRAMES:
            raise unknown("frame", what, FRAMES)
        return tidy(self.lines(what), what)

    def lines(self, what: str) -> Iterable[Line]:
        """The rows of a frame, as plain values by column."""
        frame = FRAMES[what]
        bare = Run(info=self.info, tasks=(), records=(), stopped_by=None, seconds=None)
        return frame.lines(self.run if frame.raw else bare, lambda: self.summary)


Place = tuple[Path, str | None]
"""A `run.json`, or a results directory with the name of a run (None for the latest)."""


def load(path: Path, run: str | None = None) -> Results:
    """What lies at a path; see `harness.load`. Raises UsageError, StoreError, NotComparable."""
    return _loaded(_at(path, run))


def find(name: str | None, output: Path, tables: bool = True) -> Results:
    """A run as the command line names it: a path, or a name in the results directory `output`.

    Without a name it is the latest one there. Without `tables` those of a `run.json` are not read.
    """
    return _loaded(_named(name, output), tables)


def _loaded(place: Place, tables: bool = True) -> Results:
    path, run = place
    if path.is_file():
        return Results(_document(path, tables))
    with open_existing(path) as store:
        return Results(store.load(run or store.latest()))


def compare(a: Results, b: Results) -> Comparison:
    """Compare two runs cell by cell. Raises NotComparable if they have no cell in common."""
    for each in (a, b):
        if len(each.info.machines) > 1:
            raise NotComparable(
                f"{each.info.name} holds {len(each.info.machines)} machines; compare the runs that "
                "it was made of"
            )
        if not each.blocks:
            raise NotComparable(f"{each.info.name} has no cell that was timed")
    comparison = compare_runs(
        a.info, a.blocks, b.info, b.blocks, (a.summary.qualities, b.summary.qualities)
    )
    if not comparison.tables:
        why = comparison.apart[0] if comparison.apart else None
        detail = f": {why.cell}: {why.reason}" if why else ": each has its baseline only"
        raise NotComparable(f"{a.info.name} and {b.info.name} have no cell in common{detail}")
    return comparison


def lines_of(
    name: str | None, output: Path, what: str
) -> tuple[RunInfo, Callable[[], Iterable[Line]]]:
    """A run that is named as for `find`, and what gives the rows of a frame.

    What needs no statistics is read from the store as it is asked for: samples may be more than
    memory holds.
    """
    (path, run), frame = _named(name, output), FRAMES[what]
    if path.is_file() or frame.source == "summary":
        results = _loaded((path, run))
        return results.info, lambda: results.lines(what)
    with open_existing(path) as store:
        head = store.head(run or store.latest())
    if frame.source == "certificates":
        return head.info, lambda: Results(head).lines(what)
    return head.info, lambda: frame.filled(_records(path, head.info.name))


def _records(directory: Path, run: str) -> Iterator[Record]:
    with open_existing(directory) as store:
        yield from store.records(run)


def _named(name: str | None, output: Path) -> Place:
    path = Path(name or "")
    # A run that has no folder, because no report was written, has a path all the same.
    if name and (path.exists() or (len(path.parts) > 1 and (path.parent / FILE).is_file())):
        return _at(path)
    return output, name


def _at(path: Path, run: str | None = None) -> Place:
    if run is None and not (path.is_file() or (path / FILE).is_file()):
        if (path.parent / FILE).is_file():
            return path.parent, path.name
        if (path / DOCUMENT).is_file():
            return path / DOCUMENT, None
    return path, run


def _document(path: Path, tables: bool) -> RunDocument:
    try:
        content: Any = from_json(path.read_bytes())
        version = content["schema_version"]
        if version == RUN_SCHEMA_VERSION:
            return read_document(content, tables)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        why = first_problem(error) if isinstance(error, ValidationError) else error
        raise UsageError(f"{path}: not a {DOCUMENT} of a run: {why}") from None
    raise NotComparable(
        f"{path}: of schema {version}, and this samestep reads {RUN_SCHEMA_VERSION}; write it "
        "again where its store is: python -m harness report"
    )
