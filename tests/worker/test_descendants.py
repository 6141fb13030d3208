"""Processes that were started count wherever they went, and are ended with the one above them."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import psutil
import pytest

from harness.worker import system

BURN = "import time\nwhile time.process_time() < 0.05: pass\n"
ESCAPE = """
import os, sys, time
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
print(os.getpid(), flush=True)
time.sleep(60)
"""
WORKER = f"""
import subprocess, sys
from harness.worker import system
system.adopt_orphans()
started = subprocess.Popen([sys.executable, "-c", {ESCAPE!r}], stdout=subprocess.PIPE, text=True)
started.wait()
escaped = started.stdout.readline()
print(*system.descendants(), escaped, flush=True)
if sys.stdin.read():
    system.end_all()
    assert not system.descendants()
system.end_descendants(escaped=True)
"""


@pytest.fixture
def busy():
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    yield process
    process.kill()
    process.wait()


def test_a_child_counts_while_it_works_and_when_it_has_ended(busy):
    before = system.cpu_of_descendants()
    subprocess.run([sys.executable, "-c", BURN], check=True)
    assert system.cpu_of_descendants() - before >= 0.05
    assert busy.pid in system.descendants()
    assert system.resident() > system.resident_of_descendants() > 1e6
    late = time.monotonic() + 30
    while not system.others_work() and time.monotonic() < late:
        pass
    assert system.others_work()
    started = system.still_running()
    busy.kill()
    late = time.monotonic() + 30
    while system.still_running() == started and time.monotonic() < late:
        time.sleep(0.001)
    assert system.still_running() == started - 1


@pytest.mark.parametrize("ending", ["by itself", "all", "by another"])
def test_a_process_that_left_its_group_is_found_and_ended(ending):
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    *found, escaped = map(int, worker.stdout.readline().split())
    assert escaped in found
    assert os.getpgid(escaped) != os.getpgid(worker.pid)
    if ending == "by another":
        assert escaped in system.descendants(worker.pid)
        system.end_descendants(worker.pid)
    worker.communicate("all" if ending == "all" else "")
    assert worker.returncode == 0
    assert _ended(escaped)


def _ended(pid: int) -> bool:
    late = time.monotonic() + 30
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie":
        if time.monotonic() > late:
            return False
        time.sleep(0.01)
    return True
