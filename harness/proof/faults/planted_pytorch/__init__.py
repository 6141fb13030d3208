"""PyTorch with planted faults: each is a mode. The functions are the seams of `Faulty`."""

from typing import Any

from harness.adapter import State
from harness.proof.faults.real import declared

FRAMEWORK = declared("pytorch")


def write(adapter: Any, state: State) -> None:
    for name, parameter in zip(adapter._names, adapter._parameters, strict=True):
        parameter.data.copy_(adapter.tensor(state.weights[name].T))
        for canonical, stock in adapter._slots.items():
            slots = adapter._optimizer.state[parameter]
            if stock in slots and f"{canonical}/{name}" in state.slots:
                slots[stock].copy_(adapter.tensor(state.slots[f"{canonical}/{name}"].T))


def set_count(adapter: Any, steps: int) -> None:
    for slots in adapter._optimizer.state.values():
        slots["step"].fill_(steps)
