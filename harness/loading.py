"""Results from wherever they lie: a results directory, a run's folder, a `run.json`."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.analysis.blocks import CellBlocks, cell_blocks
from harness.analysis.summary import Summary, summarise_run
from harness.errors import NotComparable, UsageError, first_problem, unknown
from harness.frameworks import default_modes
from harness.records import Run, RunInfo
from harness.report.document import RUN_SCHEMA_VERSION, RunDocument, read_document
from harness.report.tidy import FRAMES, tidy
from harness.runs.store import FILE, open_existing

if TYPE_CHECKING:
    import pandas as pd

DOCUMENT = "run.json"


class Results:
    """One run: what is known of it (`info`), its rows (`summary`), and its `run` with all records.

    Made of a `run.json` alone it has no records: then `run` and the frames of raw values raise
    UsageError.
    """

    def __init__(self, run: Run | None, document: RunDocument | None = None) -> None:
        self._run = run
        self._document = document

    def __repr__(self) -> str:
        return f"<samestep results {self.info.name!r}, {', '.join(self.tasks)}>"

    @property
    def run(self) -> Run:
        """The run as it stands in the store, every record with its raw samples."""
        if self._run is None:
            raise UsageError(
                f"a {DOCUMENT} alone has no raw samples; load the results directory they lie in"
            )
        return self._run

    @property
    def info(self) -> RunInfo:
        return self._known.run if self._run is None else self._run.info

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of its tasks."""
        return tuple(it.name for it in (self._run or self._known).tasks)

    @functools.cached_property
    def summary(self) -> Summary:
        """All rows of its report."""
        return (
            self._known.summary if self._run is None else summarise_run(self._run, default_modes())
        )

    @functools.cached_property
    def blocks(self) -> tuple[CellBlocks, ...]:
        """Every cell by its blocks: what another run is compared with."""
        return self._known.blocks if self._run is None else cell_blocks(self._run, self.summary)

    def frame(self, what: str = "cells") -> pd.DataFrame:
        """A tidy frame of the run; `FRAMES` of `harness.report.tidy` has the names and columns.

        Raises UsageError for a name that it has not.
        """
        if what not in FRAMES:
            raise unknown("frame", what, FRAMES)
        if not FRAMES[what].raw:
            bare = Run(info=self.info, tasks=(), records=(), stopped_by=None, seconds=None)
            return tidy(bare, self.summary, what)
        return tidy(self.run, self.summary, what)

    @property
    def _known(self) -> RunDocument:
        assert self._document is not None
        return self._document


def load(path: Path, run: str | None = None) -> Results:
    """What lies at a path; see `harness.load`. Raises UsageError, StoreError, NotComparable."""
    if path.is_file():
        return Results(None, _document(path))
    if (path / FILE).is_file():
        return _stored(path, run)
    if run is None and (path.parent / FILE).is_file():
        return _stored(path.parent, path.name)
    if run is None and (path / DOCUMENT).is_file():
        return Results(None, _document(path / DOCUMENT))
    return _stored(path, run)


def find(name: str | None, output: Path) -> Results:
    """A run as the command line names it: a path, or a name in the results directory `output`.

    Without a name it is the latest one there.
    """
    path = Path(name or "")
    # A run that has no folder, because no report was written, has a path all the same.
    if name and (path.exists() or (len(path.parts) > 1 and (path.parent / FILE).is_file())):
        return load(path)
    return _stored(output, name)


def _stored(directory: Path, name: str | None) -> Results:
    with open_existing(directory) as store:
        runs = store.runs()
        if not runs:
            raise UsageError(f"{directory}: there is no run here yet")
        return Results(store.load(name or runs[-1]))


def _document(path: Path) -> RunDocument:
    from pydantic import ValidationError

    try:
        content: Any = json.loads(path.read_bytes())
        version = content["schema_version"]
        if version == RUN_SCHEMA_VERSION:
            return read_document(content)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except ValidationError as error:
        raise UsageError(f"{path}: not a {DOCUMENT} of a run: {first_problem(error)}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path}: not a {DOCUMENT} of a run: {error}") from None
    raise NotComparable(
        f"{path}: of schema {version}, and this samestep reads {RUN_SCHEMA_VERSION}; write it "
        "again where its store is: python -m harness report"
    )
