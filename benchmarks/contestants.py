"""One training step of 784-64-64-10 (ReLU, cross-entropy, Adam) in several ways, one a process.

Each function takes the task, whose batch size varies, the initial weights in layer order, and
batches as NumPy pairs, and returns `run(n)`, which trains n steps more, batch after batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from harness.adapter import Options
from harness.tasks.spec import Task
from harness.tasks.start import make_start

Batches = Sequence[tuple[np.ndarray, np.ndarray]]
Run = Callable[[int], None]


def by_hand(task: Task, weights: Sequence[np.ndarray], batches: Batches) -> Run:
    from benchmarks.handwritten import numpy_by_hand

    flat = np.concatenate([values.ravel() for values in weights])
    return _cycle(numpy_by_hand(flat, task.batch), batches)


def hips_autograd(task: Task, weights: Sequence[np.ndarray], batches: Batches) -> Run:
    from benchmarks.handwritten import hips_with_adam_by_hand

    return _cycle(hips_with_adam_by_hand(weights), batches)


def replay(task: Task, weights: Sequence[np.ndarray], batches: Batches) -> Run:
    return _reference("replay", task, batches)


def eager(task: Task, weights: Sequence[np.ndarray], batches: Batches) -> Run:
    return _reference("eager", task, batches)


def _reference(mode: str, task: Task, batches: Batches) -> Run:
    from impls.reference.adapter import Adapter

    adapter = Adapter(task, make_start(task, 0), Options(mode, "cpu", 1, "float32"))
    staged = [adapter.stage(*batch) for batch in batches]

    def run(steps: int) -> None:
        for step in range(steps):
            adapter.train_step(staged[step % len(staged)])

    return run


def pytorch(task: Task, weights: Sequence[np.ndarray], batches: Batches) -> Run:
    return _pytorch(weights, batches, fused=False)


def pytorch_fused(task: Task, weights: Sequence[np.ndarray], batches: Batches) -> Run:
    return _pytorch(weights, batches, fused=True)


def _pytorch(weights: Sequence[np.ndarray], batches: Batches, fused: bool) -> Run:
    import torch
    from torch import nn

    layers: list[nn.Module] = []
    for weight in weights[::2]:
        layers += [nn.Linear(*weight.shape), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    with torch.no_grad():
        for parameter, start in zip(model.parameters(), weights, strict=True):
            parameter.copy_(torch.tensor(start.T))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, fused=fused or None)
    criterion = nn.CrossEntropyLoss()

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()

    return _cycle(step, [(torch.tensor(x), torch.tensor(y)) for x, y in batches])


def tensorflow_graph(task: Task, weights: Sequence[np.ndarray], batches: Batches) -> Run:
    from benchmarks.loops import tensorflow

    reset, run = tensorflow(weights, batches)
    reset()
    return run


def _cycle(step: Callable[..., object], batches: Sequence[tuple[object, object]]) -> Run:
    def run(steps: int) -> None:
        for number in range(steps):
            step(*batches[number % len(batches)])

    return run


CONTESTANTS = {
    "replay": replay,
    "eager": eager,
    "by hand": by_hand,
    "HIPS autograd": hips_autograd,
    "PyTorch": pytorch,
    "PyTorch fused": pytorch_fused,
    "TensorFlow graph": tensorflow_graph,
}
NEEDS = {"HIPS autograd": "autograd", "PyTorch": "torch", "PyTorch fused": "torch"}
NEEDS["TensorFlow graph"] = "tensorflow"
