"""The core of a proof: two adapters in lock step, then how the examined one conducts itself.

`truth` is the reference in float64. Both get the same batches, in the order of the shared start,
epoch after epoch; every tensor of every step is compared while it is there, so that nothing is
written and nothing stale can be read.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import cast

from harness.adapter import Adapter, Options, Setting
from harness.cells import Dtype, Lane
from harness.certificates import UNPROVABLE, Divergence, Finding, Tolerance
from harness.differences import Difference
from harness.proof import conduct, lockstep, rounding
from harness.proof.lockstep import FEWEST_ROWS
from harness.proof.drive import Rows, Truth, in_float64
from harness.proof.rounding import excuses
from harness.tasks.datasets import Arrays
from harness.tasks.spec import Task
from harness.tasks.start import Start
from harness.tolerances import limits

STEP_FLOPS = 2e8
"""Floating-point operations of one step of many that are compared: larger batches are cut to fewer
rows. One step is compared at the full batch besides (`conduct.full_batch`)."""
WEIGHT_STEPS = 6e7
"""Weights times steps: of larger models fewer steps are compared."""
FEWEST_STEPS = 10


@dataclass(frozen=True)
class Examination:
    """What was found; `divergence` has one entry a step, `rows` is the compared batches' size."""

    findings: tuple[Finding, ...]
    divergence: tuple[Divergence, ...]
    settings: dict[str, Setting]
    rows: int


def examine(
    adapter: Adapter,
    truth: Truth,
    task: Task,
    start: Start,
    arrays: Arrays,
    options: Options,
    *,
    steps: int,
    tolerance: Tolerance,
    lane: Lane = "identical",
) -> Examination:
    """Hold `adapter`, just built with `options`, to `truth` over so many steps.

    `truth` is the reference's adapter, just built: mode eager, float64, on the CPU. In the
    idiomatic lane `adapter` is an `Idiom` and goes through its own loop. Raises what the adapter
    raises while numbers are compared; later an exception is the failure of one check.
    """
    dtype, rows = cast("Dtype", options.dtype), rows_compared(task)
    work = list(itertools.islice(batches(task, start, arrays, rows), steps))
    fewest = rounding.fewest_compared(len(work))
    begun = lockstep.at_the_start(adapter, truth, start, dtype)
    keep, rounded = {conduct.AGAIN, len(work)}, None
    excused: Callable[[Mapping[lockstep.Place, Difference]], dict[lockstep.Place, float]]
    excused = rounding.nothing_excused
    if dtype == "float32":
        keep.add(fewest)
        rounded = type(truth)(task, start, replace(in_float64(options), dtype=dtype))
        excused = partial(excuses, truth, start, options, work)
    lock = lockstep.run(adapter, truth, lane, dtype, work, keep, rounded)
    settings = adapter.settings()  # later checks ask for batches of other sizes
    bounds = limits(tolerance, dtype)
    allowed = excused(rounding.sought(lock, bounds))
    lost = rounding.lost(lock, bounds, allowed)
    compared = lock.up_to(lost[0] - 1) if lost else lock
    found = (
        Finding(check="start", ok=begun.size == 0, detail=str(begun) if begun.size else ""),
        *lockstep.findings(compared, bounds, allowed),
    )
    if lost and lost[0] <= fewest:
        why = f"the reference in float32 differs as much: {lost[1]}, step {lost[0]}: "
        found += (Finding(check=UNPROVABLE, ok=False, detail=f"{why}{lock.rounded[lost]}"),)
        compared = lock
    elif all(it.ok for it in found):
        steps = fewest if lost else len(work)
        bench = conduct.Bench(
            adapter,
            truth,
            lane,
            start,
            options,
            dtype,
            work[:steps],
            arrays,
            lock,
            limits("exact", dtype),
            excused,
        )
        found += conduct.conduct(bench)
    return Examination(found, tuple(compared.divergence), settings, rows)


def rows_compared(task: Task) -> int:
    """Rows of a compared batch: the task's own unless a step would cost more than STEP_FLOPS."""
    affordable = int(STEP_FLOPS / (6 * task.parameters))
    return min(task.batch, max(FEWEST_ROWS, affordable))


def steps_compared(task: Task, steps: int) -> int:
    """How many of the steps that are asked for can be afforded, FEWEST_STEPS at the least."""
    return min(steps, max(FEWEST_STEPS, int(WEIGHT_STEPS / task.parameters)))


def batches(task: Task, start: Start, arrays: Arrays, rows: int) -> Iterator[Rows]:
    """The rows of every step, epoch after epoch without end."""
    for epoch in itertools.count():
        for chosen in start.epoch_order(epoch)[:, :rows]:
            yield Rows(arrays.x_train[chosen], arrays.y_train[chosen])
