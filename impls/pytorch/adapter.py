"""A task in PyTorch: `nn.Sequential`, a stock optimizer, and the training loop of its tutorials."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from harness.adapter import Array, DeviceMemory, Options, Setting, State, Unsupported, Work, common
from harness.tasks.spec import Task
from harness.tasks.start import Start
from impls.pytorch.building import LOSSES, build_model, stock_optimizer, stock_slots
from impls.pytorch.compiler import without_compiler
from impls.pytorch.memory import allocation_peak, bytes_alive

DTYPES = {"float32": torch.float32, "float64": torch.float64}


class Batch(NamedTuple):
    inputs: Tensor
    targets: Tensor


class Adapter:
    """See `harness.adapter.Adapter`; a `Batch` is a pair of tensors, a handle is a tensor."""

    def __init__(self, task: Task, start: Start, options: Options) -> None:
        torch.set_num_threads(options.threads)
        # The default, but some containers turn TF32 on from outside.
        torch.set_float32_matmul_precision("highest")
        self._device = _device(options.device)
        self._dtype = DTYPES[options.dtype]
        self._targets = self._dtype if task.data.shape.kind != "classes" else torch.int64
        self._mode = options.mode

        self._model = build_model(task).to(self._device, self._dtype)
        # PyTorch stores a weight as (out, in), the shared start as (in, out). NumPy's, so that no
        # account of the framework's memory contains the harness's copy.
        self._start = [
            np.ascontiguousarray(values.T, options.dtype) for values in start.weights.values()
        ]
        self._names = list(start.weights)
        self._parameters = list(self._model.parameters())
        self._optimizer = self._optimizer_of(task)
        self._slots = dict(zip(task.optimizer.slots, stock_slots(task.optimizer), strict=True))
        self._forward: Callable[[Tensor], Tensor] = self._model
        self._loss: Callable[[Tensor, Tensor], Tensor] = self._loss_of(task)
        if options.mode == "compile":
            if options.device == "cpu" and (why := without_compiler()):
                raise Unsupported(why)
            self._forward = torch.compile(self._model)
            self._loss = torch.compile(self._loss)
        self.reset()

    def _optimizer_of(self, task: Task) -> torch.optim.Optimizer:
        return stock_optimizer(task.optimizer, self._parameters)

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
            parameter.copy_(torch.from_numpy(values))
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
            name: self.to_numpy(tensor).T for name, tensor in zip(self._names, tensors, strict=True)
        }

    def to_numpy(self, handle: Tensor) -> Array:
        return np.array(handle.detach().cpu().numpy())

    def synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def reset_device_memory(self) -> bool:
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        return self._device.type == "cuda"

    def device_memory(self) -> DeviceMemory | None:
        if self._device.type != "cuda":
            return None
        return DeviceMemory(
            torch.cuda.memory_allocated(self._device),
            torch.cuda.max_memory_allocated(self._device),
            torch.cuda.max_memory_reserved(self._device),
        )

    def logical_peak(self, work: Work) -> int | None:
        """The second of two runs is counted: slots are there and everything is compiled.

        On the CPU the profiler tells every allocation, but no release of what was there before;
        gradients are therefore dropped first, as each step does anyway.
        """
        work.run()
        self._optimizer.zero_grad()
        if self._device.type == "cpu":
            return bytes_alive(self._device) + allocation_peak(work.run)
        self.synchronize()
        torch.cuda.reset_peak_memory_stats(self._device)
        work.run()
        self.synchronize()
        return torch.cuda.max_memory_allocated(self._device)

    def tensor(self, values: Array) -> Tensor:
        return torch.tensor(values, dtype=self._dtype, device=self._device)

    @torch.no_grad()
    def products(self, pairs: Sequence[tuple[Tensor, Tensor]]) -> list[Tensor]:
        # A compiled step calls the same kernels one by one.
        return [left @ right for left, right in pairs]

    def settings(self) -> dict[str, Setting]:
        onednn = torch.backends.mkldnn
        settings: dict[str, Setting] = {
            "threads": torch.get_num_threads(),
            "inter_op_threads": torch.get_num_interop_threads(),
            "dtype": common(str(it.dtype).removeprefix("torch.") for it in self._parameters),
            "device": _name(self.tensor(np.zeros((1, 1))).device),
            "devices_of_weights": common(_name(it.device) for it in self._parameters),
            "float32_matmul_precision": torch.get_float32_matmul_precision(),
            "onednn": onednn.is_available() and onednn.enabled,
            "compile": "inductor" if self._mode == "compile" else None,
        }
        if self._device.type == "cuda":
            settings["gpu"] = torch.cuda.get_device_name(self._device)
            settings["tf32"] = torch.backends.cuda.matmul.allow_tf32
        if self._mode == "compile":
            settings["graphs"] = _compiled_graphs()
        return settings


def _compiled_graphs() -> int:
    """How many graphs TorchInductor compiled in this process, over all functions.

    Raises Unsupported if any function ran as it is written. PyTorch has many switches for that;
    what it counted is read, not the switches.
    """
    counted = torch._dynamo.utils.counters
    graphs, frames = counted["stats"]["unique_graphs"], counted["frames"]
    if skipped := frames["total"] - frames["ok"]:
        raise Unsupported(
            f"torch.compile gave up on {skipped} of {frames['total']} functions, which ran as they "
            "are written (is TORCHDYNAMO_SUPPRESS_ERRORS set?)"
        )
    if not graphs:
        raise Unsupported(
            "torch.compile compiled nothing (is TORCH_COMPILE_DISABLE or TORCHDYNAMO_DISABLE set?)"
        )
    # An override may hold for some graphs only; the counts cannot tell which.
    if not counted["inductor"] or getattr(torch._dynamo.config, "debug_backend_override", ""):
        raise Unsupported(
            "torch.compile used another backend than TorchInductor "
            "(is TORCH_COMPILE_OVERRIDE_BACKENDS set?)"
        )
    return graphs


def _device(name: str) -> torch.device:
    if name == "cpu":
        return torch.device("cpu")
    index = int(name.removeprefix("gpu:"))
    if not torch.cuda.is_available():
        raise Unsupported("this PyTorch sees no GPU (a CPU build, or no driver)")
    if index >= torch.cuda.device_count():
        raise Unsupported(f"PyTorch sees {torch.cuda.device_count()} GPU(s); there is no {name}")
    return torch.device("cuda", index)


def _name(device: torch.device) -> str:
    """What the harness calls a device."""
    return f"gpu:{device.index}" if device.type == "cuda" else device.type
