"""What the harness adds to a step: its reported step time ÷ that of a loop written by hand.

The bar is 2 % in the median of at least 8 repetitions. A repetition is a fresh process, in which
both take turns: where the memory of a process happens to lie is worth some per cent to either. A
benchmark reports; it is not a test, so a noisy machine cannot make it fail: it prints `over` where
the bar is missed.
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
REPETITIONS, PAIRS, BAR = 9, 6, 0.02


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("framework", "mode"),
    [
        ("pytorch", "eager"),
        ("tensorflow", "graph"),
        ("reference", "replay"),
        ("onnxruntime", "session"),
        ("sklearn", "mlp"),
    ],
)
def test_the_harness_adds_little_to_a_step(benchmark, framework, mode, threads):
    if version(frameworks()[framework]) is None:
        pytest.skip(f"{framework} is not installed")
    measured: list[float] = []

    def turns() -> None:
        words = ["benchmarks.overhead", framework, mode, str(PAIRS), str(threads)]
        environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
        for _ in range(REPETITIONS):
            told = subprocess.run(
                [sys.executable, "-m", *words],
                cwd=ROOT,
                env=environment,
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            pairs = json.loads(told.stdout)
            measured.append(statistics.median(harness / by_hand for harness, by_hand in pairs))

    benchmark.pedantic(turns, rounds=1)
    ratio = statistics.median(measured)
    benchmark.extra_info |= {"harness_over_by_hand": ratio, "repetitions": measured}
    state = "within" if abs(ratio - 1) <= BAR else "over"
    print(
        f"\n{framework}:{mode}, {threads} thread(s): harness ÷ by hand = {ratio:.4f} ({state} 2 %)"
    )
    print("  repetitions: " + ", ".join(f"{it:.3f}" for it in sorted(measured)))
    assert len(measured) == REPETITIONS
