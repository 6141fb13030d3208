"""What the mathematics of a task costs at the least: floating-point operations and bytes.

Only matrix products are counted, two operations (multiply, add) per entry of a weight matrix and
example; biases, activations, loss and optimizer are left out, as is usual for dense nets.
"""

from __future__ import annotations

from harness.tasks.spec import Task


def predict_flops(task: Task) -> int:
    """Operations of one forward pass over one batch."""
    return 2 * task.batch * sum(fan_in * fan_out for fan_in, fan_out in task.layers)


def train_flops(task: Task) -> int:
    """Operations of one optimizer step: forward, weight gradients, and input gradients.

    The first layer needs no gradient of its inputs.
    """
    first_in, first_out = task.layers[0]
    return 3 * predict_flops(task) - 2 * task.batch * first_in * first_out


def flops(task: Task, phase: str) -> int:
    """Operations of one iteration of a phase (`train` or `predict`)."""
    return {"train": train_flops, "predict": predict_flops}[phase](task)
