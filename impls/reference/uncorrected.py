"""The reference with Keras' Adam, ε added before the bias correction, and nothing else of Keras.

The truth for a framework that keeps that formula, and computes its constants in float64.
"""

from __future__ import annotations

from harness.tasks.spec import Adam, Task
from impls.reference import adapter, optim
from impls.reference.stock import StockAdam


class Adapter(adapter.Adapter):
    """See `harness.adapter.Adapter`; all but Adam is the task's."""

    def _rule_of(self, task: Task) -> optim.UpdateRule:
        if isinstance(task.optimizer, Adam):
            return StockAdam(**task.optimizer.model_dump(exclude={"name"}))
        return adapter.rule_of(task.optimizer)
