"""What the device can do at best, through the very framework that was timed on it.

Measured by a worker after its last sample, in a fraction of a second unless one step of the task
takes as long.
"""

from __future__ import annotations

import functools
import itertools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from harness.adapter import Adapter, Array
from harness.cells import Phase
from harness.records import Limits
from harness.tasks.costs import Product, products
from harness.tasks.spec import Task

Clock = Callable[[], float]
SINGLE = Product(1, 1, 1)
Result = TypeVar("Result")

ROWS, INNER = 128, 512  # of the product whose error is measured
SMALLEST, LARGEST = 256, 4096  # sides of the products whose rate is measured
LONG_ENOUGH = 0.01  # seconds of one product, so that starting it does not count
PEAK_SECONDS, PASS_SECONDS, DISPATCH_SECONDS = 0.15, 0.05, 0.005
MOST_READINGS = 200
TILE = 128
DENORMAL = {"float32": (1e-30, 1e-10), "float64": (1e-300, 1e-20)}
"""Two normal numbers of a dtype whose product is none."""


class PlainNumpy:
    """NumPy's own products: a yardstick that no adapter can set."""

    def __init__(self, dtype: str) -> None:
        self._dtype = dtype

    def tensor(self, values: Array) -> Array:
        return np.ascontiguousarray(values, self._dtype)

    def products(self, pairs: Sequence[tuple[Array, Array]]) -> list[Array]:
        return [left @ right for left, right in pairs]

    def synchronize(self) -> None:
        pass


Multiplier = Adapter | PlainNumpy


def measure_limits(
    adapter: Adapter, task: Task, dtype: str, phases: Sequence[Phase] = (), *, threads: int = 0
) -> Limits:
    """Measure what the adapter can do; with `threads` also the limits of NumPy."""
    return Limits(
        matmul_error=_tried(matmul_error, adapter),
        flushes_denormals=_tried(flushes_denormals, adapter, dtype),
        plain=Limits.model_validate(_speeds(PlainNumpy(dtype), task, phases, cpu_clock(threads)))
        if threads
        else None,
        **_speeds(adapter, task, phases, time.perf_counter),
    )


def cpu_clock(threads: int) -> Clock:
    """CPU seconds of the process, divided by its threads: never more than the time that passes, and
    without what other processes take of a busy machine."""
    return lambda: time.process_time() / threads


def _speeds(
    multiplier: Multiplier, task: Task, phases: Sequence[Phase], clock: Clock
) -> dict[str, Any]:
    @functools.cache  # a latency phase of the same products need not be measured again
    def seconds(shapes: tuple[Product, ...], enough: float) -> float | None:
        return _tried(product_seconds, multiplier, shapes, enough, clock)

    shapes = {phase: products(task, phase) for phase in phases}
    singles = {phase: (SINGLE,) * len(it) for phase, it in shapes.items()}
    bare = {phase: seconds(it, PASS_SECONDS) for phase, it in shapes.items()}
    dispatch = {phase: seconds(it, DISPATCH_SECONDS) for phase, it in singles.items()}
    return {
        "product_seconds": {phase: it for phase, it in bare.items() if it},
        "dispatch_seconds": {phase: it for phase, it in dispatch.items() if it},
        "peak_flops": _tried(peak_flops, multiplier, clock),
    }


def _tried(measure: Callable[..., Result], *arguments: Any) -> Result | None:
    """None if it raises: a probe after the last sample must not cost a worker its samples."""
    try:
        return measure(*arguments)
    except Exception:
        return None


def matmul_error(adapter: Adapter) -> float:
    """The largest error of a product of normal numbers against NumPy in float64, relative to the
    largest entry. The numbers are exact in float32, so only the product is judged."""
    generator = np.random.default_rng(0)
    left = generator.standard_normal((ROWS, INNER), np.float32).astype(np.float64)
    right = generator.standard_normal((INNER, ROWS), np.float32).astype(np.float64)
    exact = left @ right
    (handle,) = adapter.products([(adapter.tensor(left), adapter.tensor(right))])
    error = float(np.abs(adapter.to_numpy(handle) - exact).max() / np.abs(exact).max())
    if not math.isfinite(error):
        raise ArithmeticError("a product of normal numbers is not finite")
    return error


def peak_flops(adapter: Multiplier, clock: Clock = time.perf_counter) -> float:
    """The best rate of a large square product, in FLOP/s.

    The side is doubled until the product takes LONG_ENOUGH, by the shortest of three readings: a
    single one may have been interrupted.
    """
    side = SMALLEST
    while True:
        square = _tensor(adapter, side, side)
        shortest = min(_readings(adapter, [(square, square)], 0.0, clock, fewest=3))
        if shortest >= LONG_ENOUGH or side >= LARGEST:
            readings = _readings(adapter, [(square, square)], PEAK_SECONDS, clock)
            return Product(side, side, side).flops / min(shortest, *readings)
        side *= 2


def product_seconds(
    adapter: Multiplier,
    shapes: Sequence[Product],
    enough: float = PASS_SECONDS,
    clock: Clock = time.perf_counter,
) -> float:
    """The median time of all these products, one after the other, operands staged beforehand."""
    sides = {side for it in shapes for side in ((it.rows, it.inner), (it.inner, it.columns))}
    staged = {side: _tensor(adapter, *side) for side in sides}
    operands = [(staged[it.rows, it.inner], staged[it.inner, it.columns]) for it in shapes]
    return statistics.median(_readings(adapter, operands, enough, clock))


def flushes_denormals(adapter: Adapter, dtype: str) -> bool:
    """Whether a product that is too small to be a normal number comes out as zero."""
    one, other = (adapter.tensor(np.full((8, 8), it)) for it in DENORMAL[dtype])
    return not adapter.to_numpy(adapter.products([(one, other)])[0]).any()


def _tensor(adapter: Multiplier, rows: int, columns: int) -> Any:
    """Normal numbers, repeated: drawing millions would take longer than their product."""
    tile = np.random.default_rng(0).standard_normal((TILE, TILE), np.float32)
    repeats = -(-rows // TILE), -(-columns // TILE)
    return adapter.tensor(np.tile(tile, repeats)[:rows, :columns])


def _readings(
    adapter: Multiplier,
    operands: Sequence[tuple[Any, Any]],
    enough: float,
    clock: Clock,
    fewest: int = 1,
) -> list[float]:
    """Seconds of all products, after a first time, repeated until `enough` are spent."""
    readings: list[float] = []
    for number in itertools.count():
        adapter.synchronize()
        begin = clock()
        adapter.products(operands)
        adapter.synchronize()
        if number:
            readings.append(clock() - begin)
        if len(readings) >= fewest and (sum(readings) >= enough or number >= MOST_READINGS):
            break
    return readings
