"""Verdicts on bursts whose times are given, and bursts of a device that has not done its work."""

from __future__ import annotations

import threading
import time

import pytest

from harness.proof.conduct import (
    BURST_SECONDS,
    MOST_ITERATIONS,
    Burst,
    bursts,
    ends_late,
    too_many_threads,
)
from harness.worker.usage import Demand


def burst(threads=1.0, late=0.0, in_line=None):
    asked = max(threads, in_line or 0.0)
    return Burst(seconds=0.1, cpu_seconds=0.1 * threads, asked_seconds=0.1 * asked, late=0.1 * late)


def test_a_look_that_is_now_and_then_slow_is_noise():
    assert not ends_late((burst(late=0.9), burst(late=0.7), burst(late=0.01)))
    assert not ends_late((burst(late=-3.0), burst(late=0.9)))


def test_a_look_that_always_waits_is_for_a_device_that_is_not_done():
    assert "30 %" in ends_late((burst(late=0.9), burst(late=0.3), burst(late=0.8)))


@pytest.mark.parametrize("asked", [1, 2, 8])
def test_as_many_threads_as_asked_for_are_fine_and_one_more_is_not(asked):
    assert not too_many_threads(tuple(burst(asked) for _ in range(5)), asked)
    told = too_many_threads(tuple(burst(asked + 1) for _ in range(5)), asked)
    assert f"{asked} asked for" in told


def test_once_is_chance_and_twice_is_not():
    calm, busy = burst(1.0), burst(2.0)
    assert not too_many_threads((calm, calm, busy, calm, calm), 1)
    assert too_many_threads((calm, busy, calm, busy, calm), 1)


def test_on_a_busy_machine_threads_that_stand_in_line_count():
    """Five threads that get half a core; but a pool beside a pool and its caller are no excess."""
    assert too_many_threads(tuple(burst(0.5, in_line=5.0) for _ in range(5)), 1)
    assert not too_many_threads(tuple(burst(0.5, in_line=2.6) for _ in range(5)), 1)


class Device:
    """Works for so long an iteration; `honest` ones wait for it in `synchronize`."""

    def __init__(self, honest):
        self._honest = honest
        self._until = 0.0

    def work(self, iterations):
        now = time.perf_counter()
        self._until = max(self._until, now) + 0.002 * iterations
        return iterations

    def _wait(self):
        time.sleep(max(0.0, self._until - time.perf_counter()))

    def synchronize(self):
        if self._honest:
            self._wait()

    def look(self, handle):
        self._wait()


@pytest.mark.parametrize("honest", [True, False])
def test_a_clock_that_stops_too_early_is_seen(honest):
    device = Device(honest)
    taken = bursts(device, device.work, device.look)
    assert bool(ends_late(taken)) is not honest
    assert not too_many_threads(taken, 1)


def test_work_that_takes_no_time_ends_all_the_same():
    most = []
    bursts(Device(True), lambda n: most.append(n), lambda handle: None)
    assert max(most) <= MOST_ITERATIONS


def test_a_delay_while_their_length_is_sought_makes_no_burst_too_short():
    """The first two calls build, the third is the first that is timed: others delay it."""
    calls = []

    def work(iterations):
        calls.append(iterations)
        time.sleep(3 * BURST_SECONDS if len(calls) == 3 else 0.001 * iterations)

    taken = bursts(Device(True), work, lambda handle: None)
    assert min(it.seconds for it in taken) >= BURST_SECONDS


def test_what_the_counting_takes_is_not_counted():
    threads = [threading.Thread(target=time.sleep, args=(0.5,)) for _ in range(50)]
    for it in threads:
        it.start()
    before = time.process_time()
    counted = min(Demand().since(1.0)[0] for _ in range(5))
    assert counted < (time.process_time() - before) / 5 / 4
    for it in threads:
        it.join()
