"""What the device can do at best, through the very framework that was timed on it.

Asked of a worker after its last sample, and done in a fraction of a second unless one step of the
task takes as long.
"""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.adapter import Adapter
from harness.cells import Phase
from harness.records import Limits
from harness.tasks.costs import Product, products
from harness.tasks.spec import Task

Float64 = NDArray[np.float64]
Result = TypeVar("Result")

ROWS, INNER = 128, 512  # of the product whose error is measured
SMALLEST, LARGEST = 256, 4096  # sides of the products whose rate is measured
LONG_ENOUGH = 0.01  # seconds of one product, so that starting it does not count
PEAK_SECONDS, PASS_SECONDS = 0.15, 0.05
MOST_READINGS = 200
TILE = 128
DENORMAL = {"float32": (1e-30, 1e-10), "float64": (1e-300, 1e-20)}
"""Two normal numbers of a dtype whose product is none."""


def measure_limits(
    adapter: Adapter, task: Task, dtype: str, phases: Sequence[Phase] = ()
) -> Limits:
    """Measure all limits; what an adapter cannot do, for whatever reason, is left out."""
    # A latency phase of the same products need not be measured again.
    seconds: dict[tuple[Product, ...], float | None] = {}
    for phase in phases:
        shapes = products(task, phase)
        if shapes not in seconds:
            seconds[shapes] = _tried(product_seconds, adapter, shapes)
    by_phase = {phase: seconds[products(task, phase)] for phase in phases}
    return Limits(
        matmul_error=_tried(matmul_error, adapter),
        peak_flops=_tried(peak_flops, adapter),
        product_seconds={phase: it for phase, it in by_phase.items() if it is not None},
        flushes_denormals=_tried(flushes_denormals, adapter, dtype),
    )


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
    found = adapter.to_numpy(adapter.product(adapter.tensor(left), adapter.tensor(right)))
    error = float(np.abs(found - exact).max() / np.abs(exact).max())
    if not math.isfinite(error):
        raise ArithmeticError("a product of normal numbers is not finite")
    return error


def peak_flops(adapter: Adapter) -> float:
    """The best rate of a large square product, in FLOP/s.

    The side is doubled until the product takes LONG_ENOUGH, by the shortest of three readings: a
    single one may have been interrupted.
    """
    side = SMALLEST
    while True:
        square = _tensor(adapter, side, side)
        shortest = min(_readings(adapter, [(square, square)], 0.0, fewest=3))
        if shortest >= LONG_ENOUGH or side >= LARGEST:
            readings = _readings(adapter, [(square, square)], PEAK_SECONDS)
            return Product(side, side, side).flops / min(shortest, *readings)
        side *= 2


def product_seconds(adapter: Adapter, shapes: Sequence[Product]) -> float:
    """The median time of all these products, one after the other, operands staged beforehand."""
    sides = {side for it in shapes for side in ((it.rows, it.inner), (it.inner, it.columns))}
    staged = {side: _tensor(adapter, *side) for side in sides}
    operands = [(staged[it.rows, it.inner], staged[it.inner, it.columns]) for it in shapes]
    return statistics.median(_readings(adapter, operands, PASS_SECONDS))


def flushes_denormals(adapter: Adapter, dtype: str) -> bool:
    """Whether a product that is too small to be a normal number comes out as zero."""
    one, other = (adapter.tensor(np.full((8, 8), it)) for it in DENORMAL[dtype])
    return not adapter.to_numpy(adapter.product(one, other)).any()


def _tensor(adapter: Adapter, rows: int, columns: int) -> Any:
    """Normal numbers, the same ones over and over: drawing millions would take longer than the
    product of them."""
    tile = np.random.default_rng(0).standard_normal((TILE, TILE), np.float32)
    repeats = -(-rows // TILE), -(-columns // TILE)
    return adapter.tensor(np.tile(tile, repeats)[:rows, :columns])


def _readings(
    adapter: Adapter, operands: Sequence[tuple[Any, Any]], enough: float, fewest: int = 1
) -> list[float]:
    """Seconds of all products together, over and over until `enough` are spent; the first time
    does not count."""
    readings: list[float] = []
    for number in itertools.count():
        adapter.synchronize()
        begin = time.perf_counter()
        for left, right in operands:
            adapter.product(left, right)
        adapter.synchronize()
        if number:
            readings.append(time.perf_counter() - begin)
        if len(readings) >= fewest and (sum(readings) >= enough or number >= MOST_READINGS):
            break
    return readings
