"""What the operating system counts."""

from __future__ import annotations

import hashlib
import os
import threading
import time

import numpy as np
import pytest

from harness.worker import system
from harness.worker.measure import settle
from harness.worker.system import PeakRSS, SampleCounters, _ranges, allowed_cores, load, others_work


def test_counters_grow_with_work():
    watch = SampleCounters()
    sum(number * number for number in range(300_000))
    time.sleep(0.001)
    spent = watch.spent()
    assert spent.cpu_seconds > 0
    assert spent.voluntary_switches >= 1
    for of_machine in (spent.steal_seconds, spent.pressure_seconds):
        assert of_machine is None or of_machine >= 0


def machine(folder, steal: int, pressure: int) -> None:
    (folder / "stat").write_text(f"cpu  1 2 3 4 5 6 7 {steal} 0 0\ncpu0 0\n")
    (folder / "pressure").mkdir(exist_ok=True)
    some = f"some avg10=0.00 avg60=0.05 avg300=0.01 total={pressure}"
    (folder / "pressure" / "cpu").write_text(f"{some}\nfull avg10=0.00 total=99\n")


@pytest.mark.parametrize("told", [True, False])
def test_a_thread_that_works_is_seen_while_it_does_and_one_that_waits_is_not(
    tmp_path, monkeypatch, told
):
    if not told:
        monkeypatch.setattr(system, "PROC", tmp_path)
    ends, begun = threading.Event(), threading.Event()

    def waits():
        ends.wait()

    def works():
        begun.set()
        while not ends.is_set():
            hashlib.pbkdf2_hmac("sha256", b"word", b"salt", 20_000)  # without Python's lock

    waiter = threading.Thread(target=waits)
    waiter.start()
    settle()  # what earlier tests have left may still spin
    assert not others_work()
    worker = threading.Thread(target=works)
    worker.start()
    begun.wait()
    time.sleep(0.001)
    seen = [others_work() for _ in range(20)]
    ends.set()
    worker.join()
    waiter.join()
    assert seen.count(True) >= 15
    settle()
    assert not others_work()


@pytest.mark.parametrize(
    ("line", "works"),
    [("7 (pool) R 1", True), ("7 (pool) S 1", False), ("7 (a) R (b) S 1", False), ("", False)],
)
def test_the_name_of_a_thread_is_not_taken_for_its_state(tmp_path, monkeypatch, line, works):
    monkeypatch.setattr(system, "PROC", tmp_path)
    thread = tmp_path / "self" / "task" / "7"
    thread.mkdir(parents=True)
    assert not others_work()  # it ended between two looks
    (thread / "stat").write_text(line)
    assert others_work() is works


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not tell")
def test_the_cores_of_every_thread_count():
    everywhere = sorted(os.sched_getaffinity(0))
    before, ends, begun = allowed_cores(), threading.Event(), threading.Event()

    def pinned():
        os.sched_setaffinity(0, everywhere[-1:])
        begun.set()
        ends.wait()

    thread = threading.Thread(target=pinned)
    thread.start()
    begun.wait()
    during = allowed_cores()
    ends.set()
    thread.join()
    assert before is not None
    assert during is not None
    if len(everywhere) > 1:
        assert set(during.split("; ")) == {before, str(everywhere[-1])}


def test_cores_are_told_as_ranges():
    assert _ranges([0, 1, 2, 3, 6]) == "0-3, 6"
    assert _ranges([5]) == "5"


def test_steal_and_pressure_are_those_of_the_stretch(tmp_path, monkeypatch):
    monkeypatch.setattr(system, "PROC", tmp_path)
    monkeypatch.setattr(system.os, "sysconf", lambda name: 100)
    machine(tmp_path, 250, 6_111_818)
    watch = SampleCounters()
    machine(tmp_path, 263, 6_361_818)
    spent = watch.spent()
    assert spent.steal_seconds == pytest.approx(0.13)
    assert spent.pressure_seconds == pytest.approx(0.25)


@pytest.mark.parametrize("text", ["", "some avg10=0.00", "some total=many"])
def test_what_is_not_told_is_unknown_not_zero(tmp_path, monkeypatch, text):
    monkeypatch.setattr(system, "PROC", tmp_path)
    (tmp_path / "pressure").mkdir()
    (tmp_path / "pressure" / "cpu").write_text(text)
    spent = SampleCounters().spent()
    assert spent.steal_seconds is None
    assert spent.pressure_seconds is None


def test_the_load_is_told_or_unknown(monkeypatch):
    told = load()
    assert told is None or told >= 0

    def refuses():
        raise OSError

    monkeypatch.setattr(system.os, "getloadavg", refuses)
    assert load() is None


def filled(size: int) -> np.ndarray:
    return np.ones(size, np.uint8)


def test_the_peak_sees_what_was_allocated_while_open_only():
    peak = PeakRSS()
    filled(64_000_000)
    peak.open()
    peak.close()
    small = peak.incremental
    if small is None:
        pytest.skip("this kernel does not let the mark be reset")
    assert small < 16_000_000
    peak.open()
    filled(32_000_000)
    peak.close()
    assert 31_000_000 <= peak.incremental < 60_000_000  # the kernel counts a little late
    assert peak.total() > peak.incremental


def test_what_stayed_from_the_first_stretch_counts_in_the_second():
    peak = PeakRSS()
    peak.open()
    stayed = filled(32_000_000)
    peak.close()
    if peak.incremental is None:
        pytest.skip("this kernel does not let the mark be reset")
    between = filled(64_000_000)  # another phase's, which is no part of this one's peak
    peak.open()
    filled(16_000_000)
    peak.close()
    assert 47_000_000 <= peak.incremental < 64_000_000
    del stayed, between


def test_a_mark_that_cannot_be_reset_is_unknown_not_zero(tmp_path, monkeypatch):
    monkeypatch.setattr(system, "PROC", tmp_path)
    peak = PeakRSS()
    peak.open()
    peak.close()
    assert peak.incremental is None
    assert peak.total() is None
    monkeypatch.undo()
    peak.open()
    peak.close()
    assert peak.incremental is None  # half of a peak is none
