"""A task in PyTorch: `nn.Sequential`, a stock optimizer, and the training loop of its tutorials."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its name in the field)

from harness.adapter import Array, DeviceMemory, Options, Setting, State, Unsupported
from harness.tasks.optimizers import SGD, Adam, AdamW, RMSprop
from harness.tasks.spec import PROBABILITY_FLOOR, Task
from harness.tasks.start import Start

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
}
DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Batch(NamedTuple):
    inputs: Tensor
    targets: Tensor


class Adapter:
    """See `harness.adapter.Adapter`; a `Batch` is a pair of tensors, a handle is a tensor."""

    def __init__(self, task: Task, start: Start, options: Options) -> None:
        torch.set_num_threads(options.threads)
        self._device = _device(options.device)
        self._dtype = DTYPES[options.dtype]
        self._targets = self._dtype if task.data.shape.kind != "classes" else torch.int64
        self._mode = options.mode

        self._model = _model(task).to(self._device, self._dtype)
        # PyTorch stores a weight as (out, in), the shared start as (in, out).
        self._start = [
            torch.tensor(values.T, dtype=self._dtype, device=self._device)
            for values in start.weights.values()
        ]
        self._names = list(start.weights)
        self._parameters = list(self._model.parameters())
        self._optimizer = _optimizer(task.optimizer, self._parameters)
        self._slots = dict(zip(task.optimizer.slots, _stock_slots(task.optimizer), strict=True))
        self._forward: Callable[[Tensor], Tensor] = self._model
        self._loss: Callable[[Tensor, Tensor], Tensor] = self._loss_of(task)
        if options.mode == "compile":
            self._forward = torch.compile(self._model)
            self._loss = torch.compile(self._loss)
        self.reset()

    def _loss_of(self, task: Task) -> Callable[[Tensor, Tensor], Tensor]:
        model, criterion = self._model, LOSSES[task.loss]

        def loss(inputs: Tensor, targets: Tensor) -> Tensor:
            return criterion(model(inputs), targets)

        return loss

    def stage(self, inputs: Array, targets: Array) -> Batch:
        return Batch(
            torch.tensor(inputs, dtype=self._dtype, device=self._device),
            torch.tensor(targets, dtype=self._targets, device=self._device),
        )

    @torch.no_grad()
    def reset(self) -> None:
        for parameter, values in zip(self._parameters, self._start, strict=True):
            parameter.copy_(values)
            parameter.grad = None
        # In place, so that the first step after a reset allocates no more than any other.
        for slots in self._optimizer.state.values():
            for slot in slots.values():
                if slot is not None:
                    slot.zero_()

    def train_step(self, batch: Batch) -> Tensor:
        self._optimizer.zero_grad()
        loss = self._loss(batch.inputs, batch.targets)
        loss.backward()
        self._optimizer.step()
        return loss

    @torch.no_grad()
    def predict(self, batch: Batch) -> Tensor:
        return self._forward(batch.inputs)

    def gradients(self, batch: Batch) -> dict[str, Array]:
        loss = self._loss(batch.inputs, batch.targets)
        return self._canonical(torch.autograd.grad(loss, self._parameters))

    def state(self) -> State:
        slots: dict[str, Array] = {}
        for canonical, stock in self._slots.items():
            values = [
                self._optimizer.state[parameter].get(stock, torch.zeros_like(parameter))
                for parameter in self._parameters
            ]
            slots |= {f"{canonical}/{name}": it for name, it in self._canonical(values).items()}
        return State(self._canonical(self._parameters), slots)

    def _canonical(self, tensors: Any) -> dict[str, Array]:
        return {
            name: self.to_numpy(tensor).T.copy()
            for name, tensor in zip(self._names, tensors, strict=True)
        }

    def to_numpy(self, handle: Tensor) -> Array:
        return np.array(handle.detach().cpu().numpy())

    def synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def reset_device_memory(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)

    def device_memory(self) -> DeviceMemory | None:
        if self._device.type != "cuda":
            return None
        return DeviceMemory(
            torch.cuda.max_memory_allocated(self._device),
            torch.cuda.max_memory_reserved(self._device),
        )

    def settings(self) -> dict[str, Setting]:
        settings: dict[str, Setting] = {
            "threads": torch.get_num_threads(),
            "dtype": str(self._parameters[0].dtype).removeprefix("torch."),
            "device": str(self._parameters[0].device),
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "onednn": torch.backends.mkldnn.is_available(),
        }
        if self._device.type == "cuda":
            settings["gpu"] = torch.cuda.get_device_name(self._device)
            settings["tf32"] = torch.backends.cuda.matmul.allow_tf32
        if self._mode == "compile":
            settings["graphs"] = torch._dynamo.utils.counters["stats"]["unique_graphs"]
        return settings


def _device(name: str) -> torch.device:
    if name == "cpu":
        return torch.device("cpu")
    index = int(name.removeprefix("gpu:"))
    if not torch.cuda.is_available():
        raise Unsupported("this PyTorch sees no GPU (a CPU build, or no driver)")
    if index >= torch.cuda.device_count():
        raise Unsupported(f"PyTorch sees {torch.cuda.device_count()} GPU(s); there is no {name}")
    return torch.device("cuda", index)


def _model(task: Task) -> nn.Sequential:
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


def _optimizer(
    spec: SGD | Adam | AdamW | RMSprop, parameters: list[nn.Parameter]
) -> torch.optim.Optimizer:
    """The stock optimizers: at these arguments they are the task's formulas exactly."""
    lr = spec.learning_rate
    if isinstance(spec, SGD):
        return torch.optim.SGD(parameters, lr, momentum=spec.momentum, nesterov=spec.nesterov)
    if isinstance(spec, RMSprop):
        return torch.optim.RMSprop(parameters, lr, alpha=spec.rho, eps=spec.epsilon)
    betas = (spec.beta1, spec.beta2)
    if isinstance(spec, AdamW):
        return torch.optim.AdamW(
            parameters, lr, betas=betas, eps=spec.epsilon, weight_decay=spec.weight_decay
        )
    return torch.optim.Adam(parameters, lr, betas=betas, eps=spec.epsilon)


def _stock_slots(spec: SGD | Adam | AdamW | RMSprop) -> tuple[str, ...]:
    """PyTorch's own names for the task's slots, in the same order."""
    if isinstance(spec, SGD):
        return ("momentum_buffer",) if spec.momentum else ()
    if isinstance(spec, RMSprop):
        return ("square_avg",)
    return ("exp_avg", "exp_avg_sq")
