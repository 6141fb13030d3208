"""How to reach inside Keras' idiom; see `harness.proof.faults.real.Seams`."""

from __future__ import annotations

from typing import Any

from harness.adapter import State


def write(adapter: Any, state: State) -> None:
    for variable, values in zip(
        adapter._model.trainable_variables, state.weights.values(), strict=True
    ):
        variable.assign(values)
    if state.slots:
        raise NotImplementedError("no fault writes a slot in the idiomatic lane")


def set_count(adapter: Any, steps: int) -> None:
    adapter._optimizer.iterations.assign(steps)
