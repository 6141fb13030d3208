"""Who else uses the cores: counters on a made-up `/`, the wait for a quiet machine, a real run."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from harness.analysis.contention import by_block
from harness.runs import contention
from harness.runs.config import resolve
from harness.runs.contention import QuietWait, Watcher, used
from harness.runs.machine import cores, usable
from harness.runs.store import open_existing
from tests.test_cli import SHORT, harness

TICKS = os.sysconf("SC_CLK_TCK")


def put(root, path, text):
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)


def test_descendants_are_ours_and_a_stranger_is_not(tmp_path, monkeypatch):
    core = min(usable())
    put(tmp_path, "proc/stat", f"cpu 9 9 9\ncpu{core} 300 50 100 1000 7 20 30 40 0 0\n")
    worker, stranger = 900_000_001, 900_000_002
    for number, pid in enumerate((os.getpid(), worker, stranger), 1):
        put(tmp_path, f"proc/{pid}/task/{pid}/schedstat", f"{number * 10**8} {10**9} 7")
    monkeypatch.setattr(contention, "descendants", lambda: [worker])
    monkeypatch.setattr(contention, "cpu_of_descendants", lambda: 1000.0)
    found = used(tmp_path)
    assert (found.busy, found.stolen) == (500 / TICKS, 40 / TICKS)
    assert 0 < found.cpu - 1000 <= time.process_time()
    assert found.waited == 2.0
    assert found.ran == pytest.approx(0.3)


def test_what_a_child_of_a_child_used_is_ours():
    inner = "sum(range(2_000_000))"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    before, own = used().cpu, time.process_time()
    begin = os.times().children_user
    subprocess.run([sys.executable, "-c", outer], check=True)
    spent = os.times().children_user - begin
    assert spent > 0
    assert used().cpu - before >= spent + time.process_time() - own - 1 / TICKS


def test_what_is_not_told_is_not_guessed(tmp_path):
    (tmp_path / "proc").mkdir()
    found = used(tmp_path)
    assert (found.busy, found.waited) == (None, None)


def test_the_fixed_computation_is_made_a_few_times_a_block():
    watcher = Watcher(threads=1, rounds=32)
    watcher.begin()
    for number in range(32):
        watcher.round(number)
    around = watcher.end()
    assert around is not None
    assert len(around.fixed) == 8
    assert around.cores == len(usable())


class Machine:
    """Others that keep so many cores busy in each look, which takes a second."""

    def __init__(self, *busy):
        self.busy, self.now, self.looks = list(busy), 0.0, 0

    def look(self):
        self.now, self.looks = self.now + 1.0, self.looks + 1
        return self.busy.pop(0) if len(self.busy) > 1 else self.busy[0]


def waiting(machine, most=60.0, ending=lambda: False):
    notes = []
    wait = QuietWait(most, notes.append, ending, machine.look, lambda: machine.now)
    return wait, notes


ALL = float(len(usable()))
EVERY = len(usable())


@pytest.mark.parametrize("seen", [(0.0,), (None,)])
def test_on_a_quiet_or_silent_machine_it_looks_once_and_says_nothing(seen):
    wait, notes = waiting(machine := Machine(*seen))
    wait.before(EVERY)
    assert (machine.looks, notes) == (1, [])


def test_it_waits_until_others_are_done_and_says_so_once():
    wait, notes = waiting(machine := Machine(ALL, ALL, 0.0))
    wait.before(EVERY)
    assert machine.looks == 3
    (note,) = notes
    assert f"other processes use {ALL:.1f} of {EVERY} cores" in note
    assert "--no-wait" in note


def test_it_waits_no_longer_in_all_than_it_may():
    wait, notes = waiting(machine := Machine(ALL), most=5.0)
    wait.before(EVERY)
    assert machine.looks == 5
    assert "measuring all the same" in notes[-1]
    wait.before(EVERY)
    assert (machine.looks, len(notes)) == (5, 2)


def test_it_does_not_wait_where_it_may_not_or_the_run_is_ending():
    for machine, most, ending in ((Machine(ALL), 0.0, False), (Machine(ALL), 60.0, True)):
        wait, notes = waiting(machine, most, lambda ending=ending: ending)
        wait.before(EVERY)
        assert (machine.looks, notes) == (0, [])


def test_a_run_waits_unless_it_is_told_not_to():
    assert resolve(None, {}).wait == 60
    assert resolve(None, {"wait": 0.0}).wait == 0


def test_a_run_beside_busy_processes_is_not_ranked(tmp_path):
    small = ("-t", "diabetes-regression", "-f", "reference:replay", "-f", "reference:eager")
    small += ("--threads", "1", "-o", tmp_path)
    # What is proven need not be proven beside busy processes.
    harness("verify", *small, "--dtype", "float32")
    loop = [sys.executable, "-c", "while True: pass"]
    neighbours = [subprocess.Popen(loop) for _ in range(cores())]
    try:
        told = harness("run", *SHORT, *small, "--blocks", "2", "--phase", "train")
    finally:
        for it in neighbours:
            it.kill()
            it.wait()
    assert told.returncode == 0, told.stderr
    # The terminal breaks lines where it must.
    words = " ".join(told.stdout.split())
    assert "No winner, cannot tell: other processes used" in words
    assert "is the fastest" not in words
    assert "waiting for a quiet machine" not in words
    with open_existing(tmp_path) as store:
        run = store.load(store.runs()[-1])
    assert run.info.config["wait"] == 0
    assert {block for block, it in by_block(run.records).items() if it.cause} == {0, 1}
