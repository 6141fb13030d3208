"""What the doctor measures: short, in its own process, with NumPy alone.

These are first impressions of a machine, not measurements of anything that is compared.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import threadpoolctl
from numpy.typing import NDArray

REPEAT_SECONDS, SAMPLE_SECONDS = 2.0, 0.025
PRODUCT_SIZE = 256
TICKS = 2000


def blas() -> tuple[tuple[str, int], ...]:
    """NumPy's BLAS with the threads that it would take; empty where none is known."""
    pools = [it for it in threadpoolctl.threadpool_info() if it["user_api"] == "blas"]
    # SciPy may have brought one of its own.
    own = [it for it in pools if "numpy" in it["filepath"]] or pools
    return tuple((f"{it['internal_api']} {it['version']}", int(it["num_threads"])) for it in own)


def tick() -> float:
    """Seconds between two readings of the clock that differ: its step, or what reading it costs."""
    steps = []
    for _ in range(TICKS):
        begin = now = time.perf_counter()
        while now == begin:
            now = time.perf_counter()
        steps.append(now - begin)
    return float(np.median(steps))


def denormal_ratio() -> float:
    """Time of a product of denormal float32 numbers ÷ that of normal ones, 1 where equally fast."""
    half, result = np.float32(0.5), np.empty(4096, np.float32)

    def seconds(values: NDArray[np.float32]) -> float:
        begin = time.perf_counter()
        for _ in range(20):
            np.multiply(values, half, out=result)
        return time.perf_counter() - begin

    normal = np.full(4096, 1.0, np.float32)
    denormal = np.full(4096, 1e-39, np.float32)
    times = [(seconds(denormal), seconds(normal)) for _ in range(20)]
    return min(it[0] for it in times) / min(it[1] for it in times)


def repeats(threads: int, seconds: float = REPEAT_SECONDS) -> tuple[float, ...]:
    """Log ratios of the times of one matrix product and itself, which take turns.

    The first of a pair is the second of the next, so that no drift favours either.
    """
    with threadpoolctl.threadpool_limits(threads):
        return tuple(_repeats(seconds))


def _repeats(seconds: float) -> list[float]:
    generator = np.random.default_rng(0)
    left, right = generator.random((2, PRODUCT_SIZE, PRODUCT_SIZE), dtype=np.float32)
    result: NDArray[Any] = np.empty_like(left)
    run = _timer(lambda: np.matmul(left, right, out=result))
    # The shortest, so that a busy machine does not make samples of it too short.
    shortest = min(run(5) / 5 for _ in range(5))
    iterations = max(1, round(SAMPLE_SECONDS / shortest))
    ratios: list[float] = []
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        first, second = run(iterations), run(iterations)
        ratios.append(math.log(first / second) * (-1) ** len(ratios))
    return ratios


def _timer(call: Callable[[], object]) -> Callable[[int], float]:
    def run(iterations: int) -> float:
        begin = time.perf_counter()
        for _ in range(iterations):
            call()
        return time.perf_counter() - begin

    return run
