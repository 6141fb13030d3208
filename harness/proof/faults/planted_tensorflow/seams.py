"""How to reach inside TensorFlow's adapters; see `harness.proof.faults.real.Seams`."""

from __future__ import annotations

from typing import Any

from harness.adapter import State


def write(adapter: Any, state: State) -> None:
    for name, variable in zip(adapter._names, adapter._variables(), strict=True):
        variable.assign(state.weights[name])
    for slot, variables in adapter._slots.items():
        for name, variable in zip(adapter._names, variables, strict=True):
            if f"{slot}/{name}" in state.slots:
                variable.assign(state.slots[f"{slot}/{name}"])


def set_count(adapter: Any, steps: int) -> None:
    adapter._optimizer.iterations.assign(steps)
