"""What `data fetch` and `data verify` do."""

from __future__ import annotations

import sys
from pathlib import Path

from harness.errors import DataError
from harness.tasks import fetch as sources
from harness.tasks.datasets import data_directory
from harness.tasks.mnist import needed


def fetch(name: str, data_dir: Path | None) -> None:
    """Download what is absent or broken of a data set."""
    directory = needed(data_directory(data_dir))
    got = sources.fetch(name, directory, progress=sys.stderr.isatty())
    for path in got:
        print(f"got {path}")
    print(f"{name}: complete in {directory / name}")


def verify(name: str | None, data_dir: Path | None) -> None:
    """Print the state of every file; raises DataError if one that is there is broken."""
    directory = needed(data_directory(data_dir))
    states = [
        state
        for known in ([name] if name else sources.SOURCES)
        for state in sources.verify(known, directory)
    ]
    for state in states:
        print(f"{state.state:9}  {state.path}")
    broken = [state for state in states if state.state not in ("ok", "absent")]
    if broken:
        raise DataError(broken[0].detail)
    if name and any(state.state == "absent" for state in states):
        raise DataError(f"{name} is not complete; get it with: python -m harness data fetch {name}")
