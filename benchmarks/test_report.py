"""The report's bars: the time and memory to write it, and its first paint when opened from disk.

The records are made up and lie in a store; `python -m harness report` reads them and writes the
report, in a fresh process whose whole time and peak resident memory count. The bars are those of a
machine with two cores that has nothing else to do.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from harness.records import Run
from harness.runs import store as stores
from tests.builders import ERROR_TASK, LABELS, MANY_LABELS, TASK, make_run, make_task, measured
from tests.report.browser.chromium import ABSENT, find_chromium, launched, opened

ROOT = Path(__file__).parents[1]
BARS = {"quick": (5.0, 1e9), "2000 trials": (30.0, 1e9)}  # run → seconds, bytes
LARGEST_PAGE, FIRST_PAINT, SEEDS = 6e6, 1.0, 5
PAINT = """() => new Promise((done) => new PerformanceObserver((list) => {
  const [painted] = list.getEntriesByName("first-contentful-paint");
  if (painted) done(painted.startTime / 1000);
}).observe({ type: "paint", buffered: true }))"""


def quick() -> Run:
    """Two tasks, three setups, nine blocks."""
    tasks = (TASK, ERROR_TASK)
    return make_run(measured(tasks, LABELS, rounds=15), tasks)


def large() -> Run:
    """25 tasks, eight setups each, ten blocks; the first blocks train."""
    tasks = [make_task(f"task-{it:02}", batch_size=it + 8) for it in range(25)]
    records = measured(tasks, MANY_LABELS, blocks=10, rounds=15)
    return make_run(
        [it if it.block < SEEDS else it.model_copy(update={"quality": None}) for it in records],
        tasks,
    )


RUNS = {"quick": quick, "2000 trials": large}


@pytest.fixture(scope="module", params=BARS)
def stored(request, tmp_path_factory):
    """The name of a run, its folder, and how many trials it has."""
    folder = tmp_path_factory.mktemp("results")
    run = RUNS[request.param]()
    with stores.create(folder) as store:
        store.add_run(run.info, run.tasks)
        for it in run.certificates:
            store.add_certificate(it)
        store.relate(run.info.name, [it.key for it in run.certificates])
        for record in run.records:
            store.start(run.info.name, record.trial, record.block, record.attempt, record.setup)
            store.end(record)
        store.stop(run.info.name, "all blocks done", 98.2)
    return request.param, folder, len(run.records)


def write(folder: Path) -> tuple[float, float, int]:
    """Seconds, seconds of CPU time and peak resident bytes of `report`."""
    begin = time.perf_counter()
    command = [sys.executable, "-m", "harness", "report", "-o", str(folder)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as child:
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0
    seconds = time.perf_counter() - begin
    return seconds, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024


def test_writing_and_opening(benchmark, stored):
    name, folder, trials = stored
    seconds, busy, memory = benchmark.pedantic(write, args=(folder,), rounds=1)
    (page,) = folder.glob("*/report.html")
    size = page.stat().st_size
    most, largest = BARS[name]
    benchmark.extra_info |= {
        "seconds": seconds,
        "cpu_seconds": busy,
        "peak_rss": memory,
        "page_bytes": size,
    }
    print(
        f"\n{name}, {trials:,} trials: {seconds:.2f} s (bar {most:.0f} s; CPU {busy:.2f} s), "
        f"{memory / 1e6:.0f} MB (bar {largest / 1e6:.0f} MB), "
        f"page {size / 1e6:.2f} MB (bar {LARGEST_PAGE / 1e6:.0f} MB)"
    )
    assert seconds <= most
    assert memory <= largest
    assert size <= LARGEST_PAGE


def test_first_paint(benchmark, stored):
    """Seconds from the start of navigation, the median of five fresh windows."""
    name, folder, _ = stored
    path = find_chromium()
    if path is None:
        pytest.skip(ABSENT)
    write(folder)
    (page,) = folder.glob("*/report.html")
    paints: list[float] = []

    def paint() -> None:
        with launched(path) as browser:
            for _ in range(5):
                with opened(browser, page) as window:
                    paints.append(window.evaluate(PAINT))

    benchmark.pedantic(paint, rounds=1)
    median = statistics.median(paints)
    benchmark.extra_info["first_paint"] = paints
    print(f"\n{name}: first paint after {median:.2f} s (bar {FIRST_PAINT:.0f} s)")
    assert median <= FIRST_PAINT
