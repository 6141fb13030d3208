"""`python -m benchmarks.studies.rates`: how often do intervals that promise 95 % miss?

Before: Student's t of few values, the rank-sum interval of two samples, the plain interval of the
closest of many rivals. After: what the analysis does now. All values are drawn, with a seed.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.studies.journal import table
from harness.analysis.ranking import together
from harness.analysis.stats import exact_ends, median_interval, rank, shift_ends
from tests.analysis.populations import DEPENDENT, POPULATIONS

RUNS = 2000
Values = NDArray[np.float64]


def of_one_median() -> Iterator[tuple[str, ...]]:
    for name, it in POPULATIONS.items():
        if name == "censored":
            continue
        for n in (3, 5, 9):
            values = it.draw(np.random.default_rng(1), (RUNS, n))
            half = stats.t.ppf(0.975, n - 1) * values.std(axis=1, ddof=1) / np.sqrt(n)
            before = np.abs(values.mean(axis=1) - it.median) > half
            after = "range, no interval"
            if rank(n):
                after = share([_misses(exact_ends(sorted(row)), it.median) for row in values])
            yield name, str(n), share(before), after


def of_two_samples() -> Iterator[tuple[str, ...]]:
    for name, it in {**POPULATIONS, **DEPENDENT}.items():
        if name == "censored":
            continue
        for n, spread in ((9, 1), (9, 5), (24, 5)):
            one = it.draw(np.random.default_rng(2), (RUNS, n)) - it.median
            other = spread * (it.draw(np.random.default_rng(3), (RUNS, n)) - it.median)
            ranks = stats.mannwhitneyu(one, other, axis=1, method="asymptotic").pvalue < 0.05
            after = [
                _misses(shift_ends(*pair, 0.95), 0.0)
                for pair in zip(one.tolist(), other.tolist(), strict=True)
            ]
            yield name, str(n), str(spread), share(ranks), share(after)


def of_the_closest() -> Iterator[tuple[str, ...]]:
    """All rivals are equally far behind: the true ratio is the same for each."""
    for rivals in (2, 6):
        rng, before, after = np.random.default_rng(4), [], []
        for own, noise in zip(
            0.01 * rng.normal(size=(RUNS, 9)),
            0.01 * rng.normal(size=(RUNS, rivals, 9)),
            strict=True,
        ):
            logs = sorted(own - noise, key=lambda it: float(np.median(it)))
            speeds = [median_interval(np.exp(it).tolist()) for it in logs]
            found = together(list(map(float, logs[0])), speeds)
            before.append(_misses((speeds[0].low, speeds[0].high), 1.0))
            after.append(_misses((found.low, found.high), 1.0))
        yield str(rivals), share(before), share(after)


def share(misses: object) -> str:
    return f"{100 * float(np.mean(np.asarray(misses))):.1f} %"


def _misses(ends: tuple[float | None, float | None] | None, truth: float) -> bool:
    low, high = ends or (None, None)
    return low is not None and high is not None and not low - 1e-12 <= truth <= high + 1e-12


def main() -> None:
    print("# How often intervals that promise 95 % miss\n\n`python -m benchmarks.studies.rates`\n")
    print("## One median\n")
    print(table(("values", "n", "Student’s t", "now"), of_one_median()))
    print("\n## Two samples, one of a larger spread\n")
    print(table(("blocks", "n", "spread", "rank-sum", "now"), of_two_samples()))
    print("\n## The closest of many rivals, nine blocks\n")
    print(table(("rivals", "its own interval", "now"), of_the_closest()))


if __name__ == "__main__":
    main()
