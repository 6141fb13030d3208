"""The reference engine's bars: replay and eager beside a loop by hand and beside the frameworks.

A benchmark reports; it is not a test, so a noisy machine cannot make it fail: it prints `over`
where a bar is missed.
"""

from __future__ import annotations

import importlib.util
import statistics

import pytest

from benchmarks.contestants import CONTESTANTS, NEEDS
from benchmarks.turns import Samples, measure

ROUNDS = 15
BARS = {  # batch → replay ÷ by hand, replay ÷ best framework, eager ÷ HIPS autograd
    32: (1.15, 0.7, 0.35),
    256: (1.10, 1.0, 0.6),
    2048: (1.10, 1.25, 0.8),
}
FRAMEWORKS = ("PyTorch", "PyTorch fused", "TensorFlow graph")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch", BARS)
def test_a_step_of_the_reference(benchmark, batch, threads):
    names = [
        name
        for name in CONTESTANTS
        if name not in NEEDS or importlib.util.find_spec(NEEDS[name]) is not None
    ]
    samples: Samples = {}
    benchmark.pedantic(lambda: samples.update(measure(names, batch, threads, ROUNDS)), rounds=1)
    median = {name: statistics.median(seconds) for name, seconds in samples.items()}
    found = [name for name in FRAMEWORKS if name in median]
    best = min(found, key=median.__getitem__, default=None)
    ratios = [
        ("replay", "by hand", BARS[batch][0]),
        ("replay", best, BARS[batch][1]),
        ("eager", "HIPS autograd", BARS[batch][2]),
    ]
    lines = [f"\nbatch {batch}, {threads} thread(s), µs per step, medians of {ROUNDS} rounds:"]
    lines += [f"  {name:17}{1e6 * seconds:10.1f}" for name, seconds in median.items()]
    for one, other, bar in ratios:
        if other in median:
            paired = zip(samples[one], samples[other], strict=True)
            ratio = statistics.median(a / b for a, b in paired)
            state = "within" if ratio <= bar else "over"
            lines.append(f"  {one} ÷ {other} = {ratio:.3f} ({state} {bar})")
            benchmark.extra_info[f"{one} over {other}"] = {"ratio": ratio, "bar": bar}
    benchmark.extra_info["samples"] = samples
    print("\n".join(lines))
