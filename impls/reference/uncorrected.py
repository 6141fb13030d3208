"""The reference with an Adam whose ε is added before the bias correction, and nothing else.

The truth for a framework that keeps that formula, and computes its constants in float64.
"""

from __future__ import annotations

from dataclasses import dataclass

from harness.tasks import spec
from harness.tasks.spec import Task
from impls.reference import adapter, optim


@dataclass(frozen=True)
class UncorrectedAdam(optim.Adam):
    """lr·√(1 − β₂ᵗ)/(1 − β₁ᵗ) · m / (√v + ε): the order of Kingma & Ba (2015), end of Section 2,
    with one ε̂ for all steps."""

    def scalars(self, step: int) -> dict[str, float]:
        return super().scalars(step) | {"epsilon": self.epsilon}


class Adapter(adapter.Adapter):
    """See `harness.adapter.Adapter`; all but Adam is the task's."""

    def _rule_of(self, task: Task) -> optim.UpdateRule:
        if isinstance(task.optimizer, spec.Adam):
            return UncorrectedAdam(**task.optimizer.model_dump(exclude={"name"}))
        return adapter.rule_of(task.optimizer)
