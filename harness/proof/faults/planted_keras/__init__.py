"""Keras with planted faults: each is a mode. The functions are the seams of `Faulty`."""

from typing import Any

from harness.adapter import State
from harness.proof.faults.real import declared

FRAMEWORK = declared("keras")


def write(adapter: Any, state: State) -> None:
    """The faults in this lane write no slots."""
    assert not state.slots
    variables = adapter._model.trainable_variables
    for variable, values in zip(variables, state.weights.values(), strict=True):
        variable.assign(values)


def set_count(adapter: Any, steps: int) -> None:
    adapter._optimizer.iterations.assign(steps)
