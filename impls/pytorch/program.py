"""A user's PyTorch program, read: modules, loss and optimizer as plain values, and its steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F  # noqa: N812  (its name in the field)

from harness.tasks.programs import (
    Array,
    Description,
    LayerFacts,
    LossFacts,
    OptimizerFacts,
    Options,
    Parts,
    ShownStep,
    Unreadable,
    canonical_names,
    holding,
)

ACTIVATIONS: dict[type[nn.Module], Callable[[Any], tuple[str, Options]]] = {
    nn.ReLU: lambda it: ("relu", {}),
    nn.Tanh: lambda it: ("tanh", {}),
    nn.Sigmoid: lambda it: ("sigmoid", {}),
    nn.GELU: lambda it: ("gelu" if it.approximate == "none" else "gelu-tanh", {}),
    nn.LeakyReLU: lambda it: ("leaky-relu", {"slope": it.negative_slope}),
    nn.ELU: lambda it: ("elu", {"alpha": it.alpha}),
    nn.SiLU: lambda it: ("silu", {}),
    nn.Softplus: lambda it: ("softplus" if it.beta == 1 else "other", {}),
    nn.ReLU6: lambda it: ("relu6", {}),
    nn.Softmax: lambda it: ("softmax" if it.dim in (1, -1) else "softmax-over-rows", {}),
    nn.LogSoftmax: lambda it: ("log-softmax" if it.dim in (1, -1) else "other", {}),
    nn.Identity: lambda it: ("identity", {}),
    nn.Flatten: lambda it: ("flatten", {}),
    nn.Dropout: lambda it: ("dropout", {"rate": it.p if it.training else 0.0}),
    nn.LayerNorm: lambda it: ("layer-norm", {"epsilon": it.eps}),
    nn.BatchNorm1d: lambda it: ("batch-norm", {"epsilon": it.eps, "momentum": it.momentum}),
    nn.Linear: lambda it: (
        "dense",
        {"inputs": it.in_features, "outputs": it.out_features, "bias": it.bias is not None},
    ),
}
PARTS: dict[type[nn.Module], dict[str, str]] = {
    nn.Linear: {"weight": "weight", "bias": "bias"},
    nn.LayerNorm: {"weight": "scale", "bias": "offset"},
    nn.BatchNorm1d: {"weight": "scale", "bias": "offset"},
}
"""Canonical names of a layer's parameters."""
LOSSES: dict[Any, str] = {
    nn.CrossEntropyLoss: "cross-entropy",
    nn.NLLLoss: "nll",
    nn.MSELoss: "mse",
    nn.BCEWithLogitsLoss: "binary-cross-entropy",
    nn.BCELoss: "binary-cross-entropy-of-probabilities",
    F.cross_entropy: "cross-entropy",
    F.nll_loss: "nll",
    F.mse_loss: "mse",
    F.binary_cross_entropy_with_logits: "binary-cross-entropy",
    F.binary_cross_entropy: "binary-cross-entropy-of-probabilities",
}
SLOTS = {
    "exp_avg": "first_moment",
    "exp_avg_sq": "second_moment",
    "momentum_buffer": "velocity",
    "square_avg": "mean_square",
}


class UserProgram:
    """See `harness.tasks.programs.UserProgram`."""

    def __init__(self, parts: Parts) -> None:
        if not isinstance(parts.model, nn.Module):
            raise Unreadable(f"model is a {type(parts.model).__name__}, not a torch.nn.Module")
        torch.set_num_threads(1)
        self._parts = parts
        # The parameters stay the objects that the optimizer holds.
        self._model = parts.model.to("cpu", torch.float64)
        if isinstance(parts.loss, nn.Module):
            parts.loss.to("cpu", torch.float64)
        if parts.optimizer is not None and not isinstance(parts.optimizer, optim.Optimizer):
            kind = type(parts.optimizer).__name__
            raise Unreadable(f"optimizer is a {kind}, not a torch.optim.Optimizer")
        self._held = holding(self._model.modules(), PARTS)
        self._names = canonical_names(self._held, PARTS)
        self._check_names()
        self._loss_facts = _loss_facts(parts.loss)

    def _check_names(self) -> None:
        known = {id(it) for it in self._names.values()}
        for name, parameter in self._model.named_parameters():
            if id(parameter) not in known:
                raise Unreadable(f"parameter {name!r} belongs to no Linear or normalisation layer")
        if not self._names:
            raise Unreadable("the model has no parameter")

    def description(self) -> Description:
        leaves = list(_leaves(self._model))
        return Description(
            framework="pytorch",
            layers=tuple(_layer(it) for it in leaves),
            ordered=_sequential(self._model),
            loss=self._loss_facts,
            optimizer=_optimizer_facts(self._parts.optimizer),
            frozen=tuple(self._frozen()),
        )

    def _frozen(self) -> Iterator[str]:
        optimizer = self._parts.optimizer
        if optimizer is None:
            return
        moved = {id(it) for group in optimizer.param_groups for it in group["params"]}
        for name, parameter in self._names.items():
            if id(parameter) not in moved or not parameter.requires_grad:
                yield name

    def weights(self) -> dict[str, Array]:
        return {name: _canonical(name, it) for name, it in self._names.items()}

    @torch.no_grad()
    def load(self, weights: Mapping[str, Array]) -> None:
        for name, parameter in self._names.items():
            values = torch.from_numpy(np.ascontiguousarray(_turned(name, weights[name])))
            parameter.copy_(values)
            parameter.grad = None
        if self._parts.optimizer is not None:
            self._parts.optimizer.state.clear()
        for module in self._model.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.reset_running_stats()

    def step(self, inputs: Array, targets: Array) -> ShownStep:
        x, y = self._staged(inputs, targets)
        before = [(it, it.clone()) for it in self._model.buffers()]
        outputs = self._model(x)
        loss = self._loss(outputs, y)
        wanted = [it for it in self._names.values() if it.requires_grad]
        made = torch.autograd.grad(loss.sum(), wanted, allow_unused=True)
        by_id = {id(it): g for it, g in zip(wanted, made, strict=True) if g is not None}
        gradients = {
            name: _canonical(name, by_id.get(id(it), torch.zeros_like(it)))
            for name, it in self._names.items()
            if it.requires_grad
        }
        shown = float(loss.detach().sum())
        if self._parts.train_step is not None:
            for buffer, values in before:  # their own step makes a forward pass too
                buffer.copy_(values)
            shown = self._updated(x, y, shown)
        else:
            for parameter, gradient in zip(wanted, made, strict=True):
                parameter.grad = gradient
            self._stepped()
        logits = outputs.detach().double().numpy().copy()
        return ShownStep(logits, shown, gradients, self.weights(), self._slots())

    def update(self, inputs: Array, targets: Array) -> None:
        self._updated(*self._staged(inputs, targets), math.nan)

    def _updated(self, x: Tensor, y: Tensor, shown: float) -> float:
        parts = self._parts
        if parts.train_step is not None:
            loss = parts.train_step(parts.model, parts.loss, parts.optimizer, x, y)
            return shown if loss is None else float(loss)
        self._model.zero_grad()
        self._loss(self._model(x), y).sum().backward()
        self._stepped()
        return shown

    def _stepped(self) -> None:
        if self._parts.optimizer is None:
            raise Unreadable("there is no optimizer; give one to compare steps")
        self._parts.optimizer.step()

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self._parts.loss is None:
            raise Unreadable("there is no loss; give one to compare steps")
        if outputs.shape != targets.shape and targets.shape == (len(outputs), 1):
            targets = targets.reshape(outputs.shape)
        loss: Tensor = self._parts.loss(outputs, targets)
        return loss

    def _staged(self, inputs: Array, targets: Array) -> tuple[Tensor, Tensor]:
        kind = torch.int64 if targets.dtype.kind in "iu" else torch.float64
        return torch.tensor(inputs, dtype=torch.float64), torch.tensor(targets, dtype=kind)

    def _slots(self) -> dict[str, Array]:
        slots: dict[str, Array] = {}
        for index, module in enumerate(self._held):
            if isinstance(module, nn.BatchNorm1d) and module.running_mean is not None:
                slots[f"moving_mean/layer{index}"] = module.running_mean.numpy().copy()
                slots[f"moving_variance/layer{index}"] = module.running_var.numpy().copy()
        if self._parts.optimizer is None:
            return slots
        for name, parameter in self._names.items():
            for stock, values in self._parts.optimizer.state.get(parameter, {}).items():
                if isinstance(values, Tensor) and values.shape == parameter.shape:
                    slots[f"{SLOTS.get(stock, stock)}/{name}"] = _canonical(name, values)
        return slots

    @torch.no_grad()
    def predict(self, inputs: Array) -> Array:
        mode = self._model.training
        self._model.eval()
        outputs: Tensor = self._model(torch.tensor(inputs, dtype=torch.float64))
        self._model.train(mode)
        return outputs.double().numpy().copy()

    def without_dropout(self) -> None:
        for module in self._model.modules():
            if isinstance(module, nn.modules.dropout._DropoutNd):
                module.p = 0.0


def _leaves(model: nn.Module) -> Iterator[nn.Module]:
    for module in model.modules():
        if not any(True for _ in module.children()) and not isinstance(module, nn.Sequential):
            yield module


def _sequential(model: nn.Module) -> bool:
    return type(model) is nn.Sequential and all(
        _sequential(it) or not any(True for _ in it.children()) for it in model.children()
    )


def _canonical(name: str, values: Tensor) -> Array:
    array = values.detach().double().cpu().numpy().copy()
    return np.ascontiguousarray(_turned(name, array))


def _turned(name: str, values: Array) -> Array:
    """PyTorch stores a weight as (out, in)."""
    return values.T if name.endswith(".weight") else values


def _layer(module: nn.Module) -> LayerFacts:
    name = type(module).__name__
    shown = repr(module) if type(module).__module__.startswith("torch.") else name
    if "\n" in shown or len(shown) > 100:
        shown = name
    if (read := ACTIVATIONS.get(type(module))) is None:
        return LayerFacts(kind="other", shown=shown)
    kind, options = read(module)
    return LayerFacts(kind=kind, shown=shown, options=options)


def _loss_facts(loss: Any) -> LossFacts | None:
    if loss is None:
        return None
    if not callable(loss):
        raise Unreadable(f"loss is a {type(loss).__name__}; it cannot be called")
    if isinstance(loss, nn.Module):
        name = LOSSES.get(type(loss), "other")
        if any(getattr(loss, it, None) is not None for it in ("weight", "pos_weight")):
            name = "other"
        smoothing = getattr(loss, "label_smoothing", 0.0)
        reduction = getattr(loss, "reduction", "mean")
        shown = type(loss).__name__
        return LossFacts(name=name, shown=shown, reduction=reduction, smoothing=smoothing)
    named = LOSSES.get(loss, "other") if loss.__hash__ else "other"
    return LossFacts(name=named, shown=getattr(loss, "__name__", type(loss).__name__))


def _optimizer_facts(optimizer: optim.Optimizer | None) -> OptimizerFacts | None:
    if optimizer is None:
        return None
    kind = type(optimizer).__name__
    groups = [{k: v for k, v in it.items() if k != "params"} for it in optimizer.param_groups]
    strange = "" if all(it == groups[0] for it in groups) else "parameter groups that differ"
    group = {k: v.item() if isinstance(v, Tensor) else v for k, v in groups[0].items()}
    if group.get("maximize"):
        strange = "maximize"
    options: Options = {"learning_rate": group.get("lr")}
    decay = group.get("weight_decay") or 0.0
    if type(optimizer) is optim.SGD:
        options |= {it: group[it] for it in ("momentum", "nesterov", "dampening")}
        options |= {"weight_decay": decay, "decay": "coupled"}
        name = "sgd"
    elif type(optimizer) in (optim.Adam, optim.AdamW):
        beta1, beta2 = group["betas"]
        name = "adamw" if type(optimizer) is optim.AdamW else "adam"
        coupled = name == "adam" and not group.get("decoupled_weight_decay")
        options |= {"beta1": beta1, "beta2": beta2, "epsilon": group["eps"]}
        options |= {"amsgrad": group["amsgrad"], "epsilon_place": "outside"}
        options |= {"weight_decay": decay, "decay": "coupled" if coupled else "decoupled"}
    elif type(optimizer) is optim.RMSprop:
        name = "rmsprop"
        options |= {"rho": group["alpha"], "epsilon": group["eps"], "epsilon_place": "outside"}
        options |= {"weight_decay": decay, "decay": "coupled", "centered": group["centered"]}
        if group["momentum"]:
            strange = f"momentum={group['momentum']}"
    else:
        name = "other"
    return OptimizerFacts(name=name, shown=kind, options=options, strange=strange)
