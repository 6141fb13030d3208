"""One report, written once for all tests that only read it."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from harness.analysis.summary import Summary, summarise_run
from harness.frameworks import framework_facts
from harness.records import Run, Unavailable
from harness.report.write import write_report
from tests.builders import ERROR_TASK, TASK, make_failure, make_run, make_setup, measured


class Written(NamedTuple):
    run: Run
    summary: Summary
    directory: Path
    paths: list[Path]

    def text(self, name: str) -> str:
        return (self.directory / name).read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """Two tasks, three frameworks, six blocks, a crash and something unavailable."""
    tasks = [TASK, ERROR_TASK]
    records = [
        *measured(tasks),
        *(make_failure(make_setup(TASK, "tensorflow:xla"), block) for block in range(3)),
    ]
    missing = [Unavailable(what="mnist-*", reason="run `python -m harness data fetch mnist`")]
    run = make_run(records, tasks, unavailable=missing)
    directory = tmp_path_factory.mktemp("report")
    paths = write_report(run, directory)
    return Written(run, summarise_run(run, framework_facts()), directory, paths)
