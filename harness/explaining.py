"""`explain`: one step of a task as a static graph, as the reference captures it."""

from __future__ import annotations

import importlib
from pathlib import Path

from harness.cells import DTYPE_ALIASES, DTYPES, PHASE_ALIASES, THROUGHPUT
from harness.errors import NO_ALIASES, UsageError, unknown
from harness.tasks.spec import Task
from harness.tasks.variants import hints, known_tasks, parse_settings, variants

MAX_BYTES = 4 * 2**30
"""The step is run once, on zeros, to capture it; a larger one would not be readable anyway."""


def explain(
    name: str,
    phase: str,
    rows: int | None,
    dtype: str,
    settings: list[str],
    task_file: Path | None,
) -> None:
    """Print the captured program. Raises UsageError for what does not exist or is too large."""
    known = known_tasks(task_file)
    for what, word, choices, aliases in (
        ("task", name, known, NO_ALIASES),
        ("phase", phase, THROUGHPUT, PHASE_ALIASES),
        ("dtype", dtype, DTYPES, DTYPE_ALIASES),
    ):
        if word not in choices:
            raise unknown(what, word, choices, aliases)
    given = parse_settings(settings)
    chosen = variants(known[name], given)
    if len(chosen) > 1:
        more = "".join(f"; {hint}" for hint in hints(given))
        raise UsageError(f"explain shows one step; give each --set one value{more}")
    (task,) = chosen
    _refuse_huge(task, rows or task.batch)
    # By name, as a worker does: no module of the harness knows a framework.
    reference = importlib.import_module("impls.reference.explain")
    print(reference.explain(task, phase=phase, rows=rows, dtype=dtype))


def _refuse_huge(task: Task, rows: int) -> None:
    needed = 8 * (6 * task.parameters + 3 * rows * sum(task.widths))
    if needed > MAX_BYTES:
        raise UsageError(f"explain would need about {needed / 1e9:.0f} GB for {task.name!r}")
