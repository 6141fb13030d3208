"""What the harness adds to a step: its reported step time ÷ that of a loop written by hand.

The bar is 2 % in the median of at least 8 pairs that take turns. A benchmark reports; it is not a
test, so a noisy machine cannot make it fail: it prints `over` where the bar is missed.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from harness.frameworks import frameworks, version
from harness.runs.process import THREAD_VARIABLES

ROOT = Path(__file__).parents[1]
PAIRS, BAR = 24, 0.02


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("framework", "mode"),
    [("pytorch", "eager"), ("tensorflow", "graph"), ("reference", "replay")],
)
def test_the_harness_adds_little_to_a_step(benchmark, framework, mode, threads):
    if version(frameworks()[framework]) is None:
        pytest.skip(f"{framework} is not installed")
    measured: list[list[float]] = []

    def turns() -> None:
        words = ["benchmarks.overhead", framework, mode, str(PAIRS), str(threads)]
        environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
        told = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        measured.extend(json.loads(told.stdout))

    benchmark.pedantic(turns, rounds=1)
    ratio = statistics.median(harness / by_hand for harness, by_hand in measured)
    benchmark.extra_info |= {"harness_over_by_hand": ratio, "pairs": measured}
    state = "within" if abs(ratio - 1) <= BAR else "over"
    print(
        f"\n{framework}:{mode}, {threads} thread(s): harness ÷ by hand = {ratio:.4f} ({state} 2 %)"
    )
    assert len(measured) == PAIRS
