"""samestep: the same MLP in every framework, proved the same, then measured."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.results import Results

__version__ = "0.1.0"


def load(path: str | Path, run: str | None = None) -> Results:
    """A run's results, for notebooks: a results directory, a run's folder in it, or a `run.json`.

    Of a results directory it is the latest run, or the one named. Raises UsageError where there is
    none, StoreError for what cannot be read. See docs/notebooks.md.
    """
    # Importing harness must cost nothing; this brings pydantic and SciPy.
    from harness.results import load as load_results

    return load_results(Path(path), run)
