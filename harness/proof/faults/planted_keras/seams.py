"""How to reach inside Keras' idiom; see `harness.proof.faults.real.Seams`."""

from __future__ import annotations

from typing import Any

from harness.adapter import State


def write(adapter: Any, state: State) -> None:
    """Of the faults in this lane none writes slots."""
    assert not state.slots
    for variable, values in zip(
        adapter._model.trainable_variables, state.weights.values(), strict=True
    ):
        variable.assign(values)


def set_count(adapter: Any, steps: int) -> None:
    adapter._optimizer.iterations.assign(steps)
