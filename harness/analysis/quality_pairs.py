"""Do two setups train models that are equally good? The same seeds, compared one by one."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Literal

from harness.analysis.intervals import Interval, median_interval
from harness.analysis.verdicts import LEVEL, holm, sign_p
from harness.tasks.frozen import Frozen
from harness.tasks.spec import Metric, Task

QualityVerdict = Literal["equivalent", "differs", "cannot tell"]
Finals = Mapping[int, float | None]
"""Final values by seed; None where the training diverged."""

MARGINS: Mapping[Metric, float] = {"accuracy": 0.005, "mse": 0.05}
"""What makes no difference in practice: 0.5 percentage points of accuracy, and an error that is
5 % larger or smaller. A convention of the analysis; it takes no part in a task's digest."""
SHARE = 0.9
"""Where two setups are equally good, so many of all trainings end within the margin."""


class QualityPair(Frozen):
    """How the final values of a setup differ from those of the baseline at the same seeds.

    `difference` is the median over `seeds` of (this − baseline), with its exact interval: in units
    of accuracy, or, where `relative`, as a share of the baseline's error (0.02: 2 % larger). None
    where it cannot be formed, with the `reason`.

    `p` is that of the exact sign test that neither ends better. `p_equivalent` is that of the exact
    binomial test that more than 1 − SHARE of all trainings end beyond ± `margin` (where relative:
    one error is more than so much larger than the other); of the `seeds` so many are `beyond` it.
    So a setup that fails from one seed in ten is not as good as one that never does. Neither p is
    corrected. As with ratios of speed each question is corrected over the pairs of a table (Holm
    1979): `equivalent` if the second is answered, else `differs` if the first is, else `cannot
    tell`. A difference may be real and yet within the margin.
    """

    label: str
    baseline: str
    seeds: tuple[int, ...]
    difference: Interval | None
    relative: bool
    margin: float
    p: float | None
    p_equivalent: float | None
    verdict: QualityVerdict
    reason: str = ""
    beyond: int | None = None


def quality_pairs(
    task: Task, finals: Mapping[str, Finals], baseline: str
) -> tuple[QualityPair, ...]:
    """Each setup by its label against the baseline, in the order given."""
    theirs = finals[baseline]
    sides = {label: (ours, theirs) for label, ours in finals.items() if label != baseline}
    return paired(task, sides, baseline)


def paired(
    task: Task, sides: Mapping[str, tuple[Finals, Finals]], baseline: str
) -> tuple[QualityPair, ...]:
    """By label the final values of one side against those of the other, named `baseline`."""
    sets = {label: _Differences(task, *both) for label, both in sides.items()}
    tested = {label: it for label, it in sets.items() if it.values}
    differ = holm([sign_p(it.values) for it in tested.values()])
    agree = holm([it.p_equivalent() for it in tested.values()])
    p_values = dict(zip(tested, zip(differ, agree, strict=True), strict=True))
    return tuple(
        it.pair(label, baseline, p_values.get(label), len(tested)) for label, it in sets.items()
    )


def seeds_for(beyond: int, family: int = 1) -> int:
    """The fewest seeds that show equal quality with so many of them beyond the margin.

    29 for one pair without any, 46 with one.
    """
    counts = itertools.count(beyond + 1)
    return next(n for n in counts if _few(n, beyond) <= LEVEL / family)


def _few(n: int, beyond: int) -> float:
    """The chance that at most so many of n seeds lie beyond the margin if 1 − SHARE of all do."""
    return sum(math.comb(n, it) * (1 - SHARE) ** it * SHARE ** (n - it) for it in range(beyond + 1))


class _Differences:
    """One setup's differences from the baseline, seed by seed."""

    def __init__(self, task: Task, ours: Finals, theirs: Finals) -> None:
        self.relative = task.metric == "mse"
        self.margin = MARGINS[task.metric]
        self.bound = math.log1p(self.margin) if self.relative else self.margin
        shared = sorted(ours.keys() & theirs.keys())
        pairs = {seed: (ours[seed], theirs[seed]) for seed in shared}
        both = {
            seed: (our, their)
            for seed, (our, their) in pairs.items()
            if our is not None and their is not None
        }
        self.seeds = tuple(both)
        self.one_diverged = [
            it for it, (our, their) in pairs.items() if (our is None) != (their is None)
        ]
        self.values: list[float] = []
        self.reason = "" if shared else "no seed in common"
        if not self.relative:
            self.values = [our - their for our, their in both.values()]
        elif all(our > 0 and their > 0 for our, their in both.values()):
            self.values = [math.log(our) - math.log(their) for our, their in both.values()]
        else:
            self.reason = "an error of zero has no ratio"
        self.beyond = sum(abs(it) >= self.bound for it in self.values)

    def p_equivalent(self) -> float:
        return _few(len(self.values), self.beyond)

    def pair(
        self, label: str, baseline: str, corrected: tuple[float, float] | None, family: int
    ) -> QualityPair:
        verdict, reason = self._verdict(corrected, family)
        return QualityPair(
            label=label,
            baseline=baseline,
            seeds=self.seeds,
            difference=self._interval(),
            relative=self.relative,
            margin=self.margin,
            p=sign_p(self.values) if self.values else None,
            p_equivalent=self.p_equivalent() if self.values else None,
            verdict=verdict,
            reason=reason,
            beyond=self.beyond if self.values else None,
        )

    def _verdict(
        self, corrected: tuple[float, float] | None, family: int
    ) -> tuple[QualityVerdict, str]:
        if corrected is None:
            return "cannot tell", self.reason or "every seed diverged"
        if self.one_diverged:
            seeds = ", ".join(map(str, self.one_diverged))
            return "cannot tell", f"one of the two diverged from seed {seeds}"
        differ, agree = corrected
        if agree <= LEVEL:
            return "equivalent", ""
        return ("differs", "") if differ <= LEVEL else ("cannot tell", self._doubt(family))

    def _doubt(self, family: int) -> str:
        n = len(self.values)
        if self.beyond > (1 - SHARE) * n:
            return f"{self.beyond} of {n} lie beyond it"
        within = f"{n - self.beyond} of {n} lie" if n > 1 else "the only one lies"
        return f"{within} within it, which shows it from {seeds_for(self.beyond, family)} seeds on"

    def _interval(self) -> Interval | None:
        if not self.values:
            return None
        found = median_interval(self.values, of="seeds")
        if not self.relative:
            return found
        ends = {name: getattr(found, name) for name in ("estimate", "low", "high", "least", "most")}
        return found.model_copy(
            update={name: None if it is None else _growth(it) for name, it in ends.items()}
        )


def _growth(log_ratio: float) -> float:
    """A ratio's excess over 1; a ratio of two floats may be more than a float can hold."""
    return math.expm1(min(log_ratio, 700.0))
