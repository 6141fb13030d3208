"""Do two setups train models that are equally good? The same seeds, compared one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

from harness.analysis.intervals import Interval
from harness.analysis.signed import Student, student
from harness.analysis.verdicts import LEVEL, holm
from harness.tasks.frozen import Frozen
from harness.tasks.spec import Metric, Task

QualityVerdict = Literal["equivalent", "differs", "cannot tell"]
Finals = Mapping[int, float | None]
"""Final values by seed; None where the training diverged."""

MARGINS: Mapping[Metric, float] = {"accuracy": 0.005, "mse": 0.05}
"""What makes no difference in practice: 0.5 percentage points of accuracy, and an error that is
5 % larger or smaller. A convention of the analysis; it takes no part in a task's digest."""


class QualityPair(Frozen):
    """How the final values of a setup differ from those of the baseline at the same seeds.

    `difference` is the mean over `seeds` of (this − baseline), with Student's interval: in units
    of accuracy, or, where `relative`, as the geometric mean's share of the baseline's error (0.02:
    2 % larger). None where it cannot be formed, with the `reason`.

    `p` is that of the two-sided t test, `p_equivalent` that of two one-sided ones that it lies
    beyond ± `margin` (where relative: that one error is more than so much larger than the other);
    None without two seeds, and neither of them corrected. As with ratios of speed each question
    is corrected over the pairs of a table (Holm 1979): `equivalent` if the second is answered,
    else `differs` if the first is, else `cannot tell`. A difference may be real and yet within
    the margin.
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
    tested = {label: it.mean for label, it in sets.items() if it.mean}
    differ = holm([it.p_value() for it in tested.values()])
    agree = holm([it.p_equivalent(sets[label].bound) for label, it in tested.items()])
    p_values = dict(zip(tested, zip(differ, agree, strict=True), strict=True))
    return tuple(it.pair(label, baseline, p_values.get(label)) for label, it in sets.items())


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
        # Accuracies lie on a grid of one test row.
        grid = 0.0 if self.relative else 1 / task.data.shape.test
        self.mean: Student | None = student(self.values, grid) if len(self.values) > 1 else None

    def pair(self, label: str, baseline: str, corrected: tuple[float, float] | None) -> QualityPair:
        verdict, reason = self._verdict(corrected)
        return QualityPair(
            label=label,
            baseline=baseline,
            seeds=self.seeds,
            difference=self._interval(),
            relative=self.relative,
            margin=self.margin,
            p=self.mean.p_value() if self.mean else None,
            p_equivalent=self.mean.p_equivalent(self.bound) if self.mean else None,
            verdict=verdict,
            reason=reason,
        )

    def _verdict(self, corrected: tuple[float, float] | None) -> tuple[QualityVerdict, str]:
        if corrected is None:
            alone = "one seed says nothing of the spread"
            return "cannot tell", self.reason or (alone if self.values else "every seed diverged")
        if self.one_diverged:
            seeds = ", ".join(map(str, self.one_diverged))
            return "cannot tell", f"one of the two diverged from seed {seeds}"
        differ, agree = corrected
        if agree <= LEVEL:
            return "equivalent", ""
        return ("differs", "") if differ <= LEVEL else ("cannot tell", "")

    def _interval(self) -> Interval | None:
        if not self.values:
            return None
        unit = _growth if self.relative else float
        if self.mean is None:
            reason = "one seed says nothing of the spread"
            only = unit(self.values[0])
            return Interval(estimate=only, low=None, high=None, n=1, method="none", reason=reason)
        half = self.mean.half_width()
        return Interval(
            estimate=unit(self.mean.center),
            low=unit(self.mean.center - half),
            high=unit(self.mean.center + half),
            n=self.mean.n,
            method="student-t",
            reason="paired by seed",
        )


def _growth(log_ratio: float) -> float:
    """A ratio's excess over 1; two seeds may bound it by more than a float can hold."""
    return math.expm1(min(log_ratio, 700.0))
