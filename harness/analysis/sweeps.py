"""Tables that differ in numbers of a task alone, as `--set` and `--threads` make them."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.tables import Table
from harness.cells import THROUGHPUT, Lane, Phase
from harness.tasks.spec import Frozen
from harness.tasks.variants import origin

THREADS = "threads"


class Sweep(Frozen):
    """One phase and lane of a task at several values of one or more parameters.

    `axes` are the names and values that vary, the one with the most values first; `points` has for
    each combination that was measured the place of its table among the summary's.
    """

    task: str
    phase: Phase
    lane: Lane
    device: str
    dtype: str
    axes: tuple[tuple[str, tuple[int, ...]], ...]
    points: tuple[tuple[tuple[int, ...], int], ...]


def sweeps(tables: Sequence[Table]) -> tuple[Sweep, ...]:
    """Every sweep among the tables of the throughput phases."""
    groups: dict[tuple[object, ...], list[tuple[dict[str, int], int]]] = {}
    for number, table in enumerate(tables):
        if table.phase in THROUGHPUT:
            task, values = _numbers(table)
            key = (task, *values, table.phase, table.lane, table.device, table.dtype)
            groups.setdefault(key, []).append((values, number))
    made = (_sweep(group, tables[group[0][1]]) for group in groups.values())
    return tuple(sweep for sweep in made if sweep)


def _numbers(table: Table) -> tuple[str, dict[str, int]]:
    """The task's name without its numeric settings, and these with the number of threads."""
    base, settings = origin(table.task.name)
    if settings.get("batch_size") == "full":
        settings["batch_size"] = str(table.task.batch)
    numbers = {key: int(value) for key, value in settings.items() if value.isdecimal()}
    rest = ",".join(f"{key}={value}" for key, value in settings.items() if key not in numbers)
    return f"{base}[{rest}]" if rest else base, numbers | {THREADS: table.threads}


def _sweep(group: Sequence[tuple[dict[str, int], int]], first: Table) -> Sweep | None:
    values = {name: sorted({point[name] for point, _ in group}) for name in group[0][0]}
    names = [name for name, numbers in values.items() if len(numbers) > 1]
    names.sort(key=lambda name: -len(values[name]))
    if not names:
        return None
    return Sweep(
        task=_numbers(first)[0],
        phase=first.phase,
        lane=first.lane,
        device=first.device,
        dtype=first.dtype,
        axes=tuple((name, tuple(values[name])) for name in names),
        points=tuple((tuple(point[name] for name in names), number) for point, number in group),
    )
