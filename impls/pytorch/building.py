"""The parts of a task in PyTorch: its model, its loss and its optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812  (its name in the field)

from harness.tasks.spec import PROBABILITY_FLOOR, SGD, Adam, AdamW, RMSprop, Task

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
}


def build_model(task: Task) -> nn.Sequential:
    def modules() -> Iterator[nn.Module]:
        for index, (fan_in, fan_out) in enumerate(task.layers):
            yield nn.Linear(fan_in, fan_out)
            if index < len(task.layers) - 1:
                yield ACTIVATIONS[task.model.activation]()
        if task.model.output == "softmax":
            yield nn.Softmax(dim=1)

    return nn.Sequential(*modules())


def _cross_entropy_of_probabilities(probabilities: Tensor, targets: Tensor) -> Tensor:
    clipped = probabilities.clamp(PROBABILITY_FLOOR, 1 - PROBABILITY_FLOOR)
    return F.nll_loss(clipped.log(), targets)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross-entropy": F.cross_entropy,
    "cross-entropy-of-probabilities": _cross_entropy_of_probabilities,
    "mse": F.mse_loss,
    "binary-cross-entropy": F.binary_cross_entropy_with_logits,
}


def stock_optimizer(
    spec: SGD | Adam | AdamW | RMSprop, parameters: list[nn.Parameter], fused: bool | None = None
) -> optim.Optimizer:
    """The stock optimizers: at these arguments they are the task's formulas exactly.

    `fused` asks for one kernel over all parameters; RMSprop has none.
    """
    lr = spec.learning_rate
    if isinstance(spec, SGD):
        momentum, nesterov = spec.momentum, spec.nesterov
        return optim.SGD(parameters, lr, momentum, nesterov=nesterov, fused=fused)
    if isinstance(spec, RMSprop):
        return optim.RMSprop(parameters, lr, alpha=spec.rho, eps=spec.epsilon)
    betas = (spec.beta1, spec.beta2)
    if isinstance(spec, AdamW):
        decay = spec.weight_decay
        return optim.AdamW(parameters, lr, betas, spec.epsilon, weight_decay=decay, fused=fused)
    return optim.Adam(parameters, lr, betas, spec.epsilon, fused=fused)


def stock_slots(spec: SGD | Adam | AdamW | RMSprop) -> tuple[str, ...]:
    """PyTorch's own names for the task's slots, in the same order."""
    if isinstance(spec, SGD):
        return ("momentum_buffer",) if spec.momentum else ()
    if isinstance(spec, RMSprop):
        return ("square_avg",)
    return ("exp_avg", "exp_avg_sq")
