"""`python -m benchmarks.studies.neighbour SEED`: keeps one core busy in bursts, until it is ended.

Busy and idle stretches take turns, each of a random length; the same seed gives the same ones.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from harness.runs.process import ROOT
from harness.worker.messages import die_with

SHORTEST, LONGEST = 0.1, 2.0


def bursts(seed: int) -> Iterator[tuple[bool, float]]:
    """(busy, seconds), without end; the first is busy or idle by chance."""
    generator = random.Random(seed)
    busy = generator.random() < 0.5
    while True:
        yield busy, generator.uniform(SHORTEST, LONGEST)
        busy = not busy


@contextmanager
def neighbour(seed: int) -> Iterator[None]:
    """It lives as long as the block of code, or as long as this process."""
    words = [sys.executable, "-m", "benchmarks.studies.neighbour", str(seed), str(os.getpid())]
    with subprocess.Popen(words, cwd=ROOT) as process:
        try:
            yield
            if process.poll() is not None:
                raise RuntimeError("the neighbour ended before it was told to")
        finally:
            process.terminate()


def main() -> None:
    seed, parent = map(int, sys.argv[1:])
    die_with(parent)
    for busy, seconds in bursts(seed):
        end = time.perf_counter() + seconds
        if busy:
            while time.perf_counter() < end:
                pass
        else:
            time.sleep(seconds)


if __name__ == "__main__":
    main()
