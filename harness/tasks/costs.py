"""What the mathematics of a task costs at the least: floating-point operations and bytes.

Only matrix products are counted as operations, two (multiply, add) per entry of a weight matrix and
example; biases, activations, loss and optimizer are left out, as is usual for dense nets.

A phase is `train` or `predict`, or one of their latency phases; `predict-latency` takes one example
at a time.
"""

from __future__ import annotations

from typing import NamedTuple

from harness.tasks.spec import SGD, Task

ITEM_BYTES = {"float32": 4, "float64": 8}
LABEL_BYTES = 8  # class indices are int64


class Product(NamedTuple):
    """A matrix product, (rows, inner) · (inner, columns)."""

    rows: int
    inner: int
    columns: int

    @property
    def flops(self) -> int:
        return 2 * self.rows * self.inner * self.columns


def rows_of(task: Task, phase: str) -> int:
    """Examples in one iteration of a phase."""
    return 1 if phase == "predict-latency" else task.batch


def products(task: Task, phase: str) -> tuple[Product, ...]:
    """The bare matrix products of one iteration, in their order.

    Forward x·W for every layer; in training also, from the last layer to the first, the gradient of
    the weights xᵀ·g and that of the inputs g·Wᵀ, which the first layer does not need.
    """
    rows = rows_of(task, phase)
    forward = tuple(Product(rows, fan_in, fan_out) for fan_in, fan_out in task.layers)
    if not phase.startswith("train"):
        return forward
    backward: list[Product] = []
    for index, (fan_in, fan_out) in reversed(list(enumerate(task.layers))):
        backward.append(Product(fan_in, rows, fan_out))
        if index:
            backward.append(Product(rows, fan_out, fan_in))
    return (*forward, *backward)


def flops(task: Task, phase: str) -> int:
    """Operations of one iteration of a phase."""
    return sum(product.flops for product in products(task, phase))


def least_bytes(task: Task, phase: str, dtype: str, rows: int | None = None) -> int:
    """Bytes that one iteration of a phase needs at once, however cleverly it is arranged.

    `rows` is the number of examples, those of the phase by default.

    It is assumed that a matrix product is written to a new array, and that no weight changes before
    all gradients are there. With P weights in all, pₖ of them (bias included) in layer k of
    L, S slots per weight, B rows in a batch and widths w₀ (inputs) to w_L:

    predict  P + B·w₀ + max(B·w₁, max over k = 1 … L−1 of B·(wₖ + wₖ₊₁)): weights, batch, and the
             input and output of one layer, of which the first one's input is the batch itself;
    train    P·(1 + S) + batch + the largest over k = 0 … L−1 of Σ_{j≥k} pⱼ + B·Σ_{j=1…k+1} wⱼ:
             when the gradient of layer k is written, those above are there, and so are the
             activations below; the gradient of its output has taken the place of that output.

    A batch has its targets with it in training: class indices of 8 bytes, or B·w_L values.
    """
    rows = rows_of(task, phase) if rows is None else rows
    widths, size = task.widths, ITEM_BYTES[dtype]
    batch = rows * widths[0]
    if not phase.startswith("train"):
        inner = [rows * (fan_in + fan_out) for fan_in, fan_out in task.layers[1:]]
        return size * (task.parameters + batch + max(inner, default=rows * widths[1]))
    of_layer = [(fan_in + 1) * fan_out for fan_in, fan_out in task.layers]
    moment = max(
        sum(of_layer[layer:]) + rows * sum(widths[1 : layer + 2]) for layer in range(len(of_layer))
    )
    state = task.parameters * (1 + len(task.optimizer.slots))
    labels = task.data.shape.kind == "classes"
    targets = rows * (LABEL_BYTES if labels else size * widths[-1])
    return size * (state + batch + moment) + targets


def only_predicting(task: Task) -> Task:
    """The same model under an optimizer without slots, as memory holds it without training."""
    return task.model_copy(update={"optimizer": SGD(learning_rate=task.optimizer.learning_rate)})
