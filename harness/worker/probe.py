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
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.adapter import Adapter, Array
from harness.cells import Phase
from harness.records import Limits
from harness.tasks.costs import Product, products
from harness.tasks.spec import Task

Float64 = NDArray[np.float64]
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


class Multiplier(Protocol):
    """What is asked of an adapter to time matrix products."""

    def tensor(self, values: Array) -> Any: ...

    def products(self, pairs: Sequence[tuple[Any, Any]]) -> list[Any]: ...

    def synchronize(self) -> None: ...


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


def measure_limits(
    adapter: Adapter, task: Task, dtype: str, phases: Sequence[Phase] = (), *, threads: int = 0
) -> Limits:
    """Measure all limits; what an adapter cannot do, for whatever reason, is left out.

    With `threads`, those of NumPy too.
    """
    return Limits(
        matmul_error=_tried(matmul_error, adapter),
        flushes_denormals=_tried(flushes_denormals, adapter, dtype),
        plain=Limits.model_validate(_speeds(PlainNumpy(dtype), task, phases, cpu_clock(threads)))
        if threads
        else None,
        **_speeds(adapter, task, phases, time.perf_counter),
    )


def cpu_clock(threads: int) -> Clock:
    """CPU seconds of the process, shared out over its threads: never more than passes of time, and
    what other processes take of a busy machine is not in it."""
    return lambda: time.process_time() / threads


def _speeds(
    multiplier: Multiplier, task: Task, phases: Sequence[Phase], clock: Clock
) -> dict[str, Any]:
    # A latency phase of the same products need not be measured again.
    seconds: dict[tuple[Product, ...], tuple[float | None, float | None]] = {}
    for phase in phases:
        shapes = products(task, phase)
        if shapes not in seconds:
            singles = [SINGLE] * len(shapes)
            seconds[shapes] = (
                _tried(product_seconds, multiplier, shapes, PASS_SECONDS, clock),
                _tried(product_seconds, multiplier, singles, DISPATCH_SECONDS, clock),
            )
    by_phase = {phase: seconds[products(task, phase)] for phase in phases}
    return {
        "peak_flops": _tried(peak_flops, multiplier, clock),
        "product_seconds": {phase: bare for phase, (bare, _) in by_phase.items() if bare},
        "dispatch_seconds": {phase: it for phase, (_, it) in by_phase.items() if it},
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
    found = adapter.to_numpy(adapter.products([(adapter.tensor(left), adapter.tensor(right))])[0])
    error = float(np.abs(found - exact).max() / np.abs(exact).max())
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
    """Normal numbers, the same ones over and over: drawing millions would take longer than the
    product of them."""
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
    """Seconds of all products together, over and over until `enough` are spent; the first time
    does not count."""
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
