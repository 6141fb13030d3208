"""TensorFlow with planted faults: each is a mode. The functions are the seams of `Faulty`."""

from typing import Any

from harness.adapter import State
from harness.proof.faults.real import declared

FRAMEWORK = declared("tensorflow")


def write(adapter: Any, state: State) -> None:
    for name, variable in zip(adapter._names, adapter._variables(), strict=True):
        variable.assign(state.weights[name])
    for slot, variables in adapter._slots.items():
        for name, variable in zip(adapter._names, variables, strict=True):
            if f"{slot}/{name}" in state.slots:
                variable.assign(state.slots[f"{slot}/{name}"])


def set_count(adapter: Any, steps: int) -> None:
    adapter._optimizer.iterations.assign(steps)
