"""Timing inside a worker, with an adapter that only counts."""

from __future__ import annotations

import threading
import time

import pytest

from harness.worker import measure
from harness.worker.counters import Counters, PeakRSS, read_counters
from harness.worker.measure import prepare_phase, settle, take_sample


class Counting:
    """Counts what it is asked; a step takes a given time."""

    def __init__(self, seconds: float = 0.0005) -> None:
        self.calls: list[str] = []
        self._seconds = seconds

    def train_step(self, batch):
        self.calls.append(f"train {batch}")
        time.sleep(self._seconds)
        return batch

    def predict(self, batch):
        self.calls.append(f"predict {batch}")
        return batch

    def reset(self):
        self.calls.append("reset")

    def synchronize(self):
        self.calls.append("synchronize")

    def reset_device_memory(self):
        self.calls.append("reset device memory")

    def device_memory(self):
        return None


def test_a_sample_begins_from_the_start_and_is_synchronised_once_at_its_end():
    adapter = Counting()
    sample, last = take_sample(adapter, "train", ["a", "b"], 5, 3, 1)
    assert adapter.calls == [
        "train a",  # untimed: wakes threads, fills caches
        "reset",
        "synchronize",
        *("train a", "train b", "train a", "train b", "train a"),
        "synchronize",
    ]
    assert last == "a"
    assert (sample.round, sample.turn, sample.iterations) == (3, 1, 5)
    assert sample.seconds >= 5 * 0.0005
    assert sample.step_seconds == sample.seconds / 5


def test_first_calls_warm_up_and_calibration_are_kept():
    adapter = Counting()
    record = prepare_phase(adapter, "train", ["a", "b", "c"], 0.05, 0.02)
    assert adapter.calls[0] == "reset"
    assert record.first_call >= 0.0005
    assert record.second_call >= 0.0005
    assert len(record.warmup) >= 10
    assert sum(record.warmup) >= 0.02
    assert record.staged_batches == 3
    # About 0.05 s of steps that take a little more than 0.5 ms.
    assert 1 <= record.iterations <= 100
    assert len([it for it in adapter.calls if it.startswith("train")]) == len(record.warmup) + 2


def test_every_reading_of_the_warm_up_is_synchronised():
    adapter = Counting()
    record = prepare_phase(adapter, "predict", ["a"], 0.001, 0.0001)
    steps = adapter.calls[adapter.calls.index("predict a") :]
    assert steps == ["predict a", "synchronize"] * (len(record.warmup) + 2)


def test_a_slow_step_is_not_warmed_up_for_ever():
    record = prepare_phase(Counting(0.03), "train", ["a"], 0.05, 0.001)
    assert len(record.warmup) == 1
    assert record.iterations in (1, 2)


def test_a_turn_ends_when_no_thread_works_any_more():
    stop = time.perf_counter() + 0.15

    def spin():
        while time.perf_counter() < stop:
            pass

    spinner = threading.Thread(target=spin)
    spinner.start()
    settle()
    assert time.perf_counter() >= stop
    spinner.join()


def test_a_thread_that_never_rests_does_not_hold_the_turn(monkeypatch):
    monkeypatch.setattr(measure, "SETTLE_LIMIT", 0.05)
    rest = threading.Event()

    def spin():
        while not rest.is_set():
            pass

    spinner = threading.Thread(target=spin)
    spinner.start()
    settle()
    rest.set()
    spinner.join()


def test_counters_grow_with_work():
    before = read_counters()
    sum(number * number for number in range(300_000))
    time.sleep(0.001)
    spent = read_counters().since(before)
    assert spent.cpu_seconds > 0
    assert spent.voluntary_switches >= 1
    assert Counters(1, 2, 3, None).since(Counters(0, 0, 0, 1.0)).steal_seconds is None


def test_the_peak_sees_what_was_allocated_after_the_reset_only():
    peak = PeakRSS()
    bytearray(64_000_000)
    peak.reset()
    if peak.incremental() is None:
        pytest.skip("this kernel does not let the mark be reset")
    small = peak.incremental()
    block = bytearray(b"x" * 32_000_000)
    assert small < 16_000_000
    assert peak.incremental() >= 32_000_000
    assert peak.total() > peak.incremental()
    del block


def test_a_mark_that_cannot_be_reset_is_unknown_not_zero(tmp_path, monkeypatch):
    monkeypatch.setattr("harness.worker.counters.PROC", tmp_path)
    peak = PeakRSS()
    peak.reset()
    assert peak.incremental() is None
    assert peak.total() is None
    assert read_counters().steal_seconds is None
