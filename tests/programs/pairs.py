"""Program pairs, PyTorch against Keras and back, each with one fault planted as a program.

Keras runs on PyTorch, so that a fault in user code is one function for both. Run as a script: all
pairs in one process, because frameworks take seconds to import. It prints one JSON object: by
direction and fault, the causes that were found. Names of faults as arguments: these, and fewer of
the rest.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
from exports import all_digests

from harness.programs.comparison import ProgramDifference, compared
from harness.tasks.programs import Parts
from impls.keras.program import UserProgram as KerasProgram
from impls.pytorch.program import UserProgram as TorchProgram

FEATURES, CLASSES = 8, 8
STEPS, ROWS = 8, 16


@dataclass(frozen=True)
class Recipe:
    """A program in either framework. `hooks` are faults in user code, by what they replace."""

    hidden: tuple[int, ...] = (8, 8)
    activations: tuple[str, ...] = ("relu", "relu")
    output: str = "identity"
    biases: tuple[bool, ...] = (True, True, True)
    norm: tuple[str, float, float] = ("", 0.0, 0.0)
    dropout: float = 0.0
    scale: float = 1.0
    loss: str = "cross-entropy"
    reduction: str = "mean"
    smoothing: float = 0.0
    optimizer: str = "sgd"
    options: dict[str, Any] = field(default_factory=lambda: {"lr": 0.05, "momentum": 0.9})
    hooks: frozenset[str] = frozenset()

    def __hash__(self) -> int:
        return id(self)


SGD = Recipe()
PLAIN_SGD = replace(SGD, options={"lr": 0.05})
ADAM = replace(SGD, optimizer="adam", options={"lr": 0.01})
ADAMW = replace(SGD, optimizer="adamw", options={"lr": 0.01, "decay": 0.1})
RMSPROP = replace(SGD, optimizer="rmsprop", options={"lr": 0.01, "rho": 0.9})
MSE = replace(SGD, loss="mse")
GELU = replace(SGD, activations=("gelu", "gelu"))
LAYER_NORM = replace(SGD, norm=("layer-norm", 1e-5, 0.0))
BATCH_NORM = replace(SGD, norm=("batch-norm", 1e-5, 0.1))


def with_options(recipe: Recipe, **more: Any) -> Recipe:
    return replace(recipe, options=recipe.options | more)


FAULTS: dict[str, tuple[Recipe, Recipe, str]] = {
    # name: (what is meant, what is done, the cause that must be named first)
    "learning-rate": (SGD, with_options(SGD, lr=0.051), "learning-rate"),
    "momentum": (SGD, with_options(SGD, momentum=0.8), "momentum"),
    "no-momentum": (SGD, with_options(SGD, momentum=0.0), "momentum"),
    "nesterov": (SGD, with_options(SGD, nesterov=True), "nesterov"),
    "beta1": (ADAM, with_options(ADAM, beta1=0.95), "beta1"),
    "beta2": (ADAM, with_options(ADAM, beta2=0.99), "beta2"),
    "epsilon": (ADAM, with_options(ADAM, eps=1e-3), "epsilon"),
    "amsgrad": (ADAM, with_options(ADAM, amsgrad=True), "amsgrad"),
    "decay-forgotten": (ADAMW, replace(ADAM, options={"lr": 0.01}), "weight-decay"),
    "decay-value": (ADAMW, with_options(ADAMW, decay=0.01), "weight-decay"),
    "rho": (RMSPROP, with_options(RMSPROP, rho=0.99), "rho"),
    "centered": (RMSPROP, with_options(RMSPROP, centered=True), "centered"),
    "adam-for-sgd": (PLAIN_SGD, replace(ADAM, options={"lr": 0.05}), "optimizer"),
    "activation": (SGD, replace(SGD, activations=("tanh", "tanh")), "activation"),
    "one-activation": (SGD, replace(SGD, activations=("relu", "sigmoid")), "activation"),
    "leaky-relu": (SGD, replace(SGD, activations=("leaky-relu", "leaky-relu")), "activation"),
    "gelu-tanh": (GELU, replace(GELU, activations=("gelu-tanh", "gelu-tanh")), "activation"),
    "activation-missing": (SGD, replace(SGD, activations=("relu", "identity")), "activation"),
    "output-relu": (SGD, replace(SGD, output="relu"), "output"),
    "softmax-in-model": (SGD, replace(SGD, output="softmax"), "output"),
    "double-softmax": (SGD, replace(SGD, hooks=frozenset({"double-softmax"})), "before-loss"),
    "label-shift": (SGD, replace(SGD, hooks=frozenset({"label-shift"})), "labels"),
    "half": (MSE, replace(MSE, hooks=frozenset({"half"})), "reduction loss-factor"),
    "loss-scaled": (SGD, replace(SGD, hooks=frozenset({"scaled"})), "loss-factor"),
    "sum": (SGD, replace(SGD, reduction="sum"), "reduction"),
    "smoothing": (SGD, replace(SGD, hooks=frozenset({"smoothing"})), "smoothing"),
    "clip-norm": (SGD, replace(SGD, hooks=frozenset({"clip-norm"})), "clip-norm"),
    "clip-value": (SGD, replace(SGD, hooks=frozenset({"clip-value"})), "clip-value"),
    "accumulate": (SGD, replace(SGD, hooks=frozenset({"accumulate"})), "accumulated"),
    "last-batch": (SGD, replace(SGD, hooks=frozenset({"last-batch"})), "reduction"),
    "from-logits": (SGD, replace(SGD, loss="of-probabilities"), "loss"),
    "frozen": (SGD, replace(SGD, hooks=frozenset({"frozen"})), "frozen"),
    "inputs-255": (SGD, replace(SGD, scale=1 / 255), "inputs"),
    "prepare-255": (SGD, replace(SGD, hooks=frozenset({"prepare-255"})), "inputs"),
    "layer-norm": (
        LAYER_NORM,
        replace(LAYER_NORM, norm=("layer-norm", 1e-3, 0.0)),
        "norm-epsilon",
    ),
    "batch-norm-momentum": (
        BATCH_NORM,
        replace(BATCH_NORM, norm=("batch-norm", 1e-5, 0.01)),
        "norm-momentum",
    ),
    "batch-norm-epsilon": (
        BATCH_NORM,
        replace(BATCH_NORM, norm=("batch-norm", 1e-3, 0.1)),
        "norm-epsilon",
    ),
    "dropout": (SGD, replace(SGD, dropout=0.1), "dropout"),
    "float32": (SGD, replace(SGD, hooks=frozenset({"float32"})), "precision"),
    "float16": (SGD, replace(SGD, hooks=frozenset({"float16"})), "precision"),
    "tf32": (SGD, replace(SGD, hooks=frozenset({"tf32"})), "precision"),
    "re-initialised": (SGD, replace(SGD, hooks=frozenset({"re-initialised"})), "weights"),
    "no-bias": (SGD, replace(SGD, hooks=frozenset({"no-bias"})), "bias"),
    "no-correction": (
        ADAM,
        replace(ADAM, hooks=frozenset({"no-correction"})),
        "correction",
    ),
    "late": (ADAM, replace(ADAM, hooks=frozenset({"late"})), "correction"),
    "early": (ADAM, replace(ADAM, hooks=frozenset({"early"})), "correction"),
    "inside": (ADAM, replace(ADAM, hooks=frozenset({"inside"})), "epsilon-place"),
    "coupled": (ADAMW, replace(ADAMW, hooks=frozenset({"coupled"})), "decay"),
    "weights-only": (ADAMW, replace(ADAMW, hooks=frozenset({"weights-only"})), "decay"),
    "transposed": (SGD, replace(SGD, hooks=frozenset({"transposed"})), "weights"),
    "dampening": (
        SGD,
        replace(SGD, hooks=frozenset({"dampening"})),
        "momentum-form learning-rate",
    ),
    "rate-twice": (
        SGD,
        replace(SGD, hooks=frozenset({"rate-twice"})),
        "momentum-form learning-rate",
    ),
}
"""Those whose stock formulas differ (Adam, RMSprop) have the stock difference besides."""


MODEL_HOOKS = {"transposed", "float16", "float32", "tf32", "no-bias", "re-initialised"}
STEP_HOOKS = {
    *("clip-norm", "clip-value", "accumulate", "no-correction", "late", "early", "inside"),
    *("coupled", "weights-only", "dampening", "rate-twice"),
}
KERAS_OPTIONS = {"clip-norm", "clip-value"}
"""Steps that Keras' optimizers make by an option."""


def hooked_dense(x: Any, w: Any, b: Any, hooks: frozenset[str]) -> Any:
    """A dense layer as user code has it; `w` is (in, out)."""
    if "transposed" in hooks:
        w = w.T
    if "no-bias" in hooks:
        b = torch.zeros_like(b)
    if "tf32" in hooks:
        x, w = in_ten_bits(x), in_ten_bits(w)
    kind = torch.float64
    if hooks & {"float32", "tf32"}:
        kind = torch.float32
    elif "float16" in hooks:
        kind = torch.float16
    return (x.to(kind) @ w.to(kind) + b.to(kind)).double()


def in_ten_bits(x: Any) -> Any:
    """Rounded as TF32 is; the gradient passes through."""
    fraction, exponent = torch.frexp(x.detach())
    return x + (torch.ldexp(torch.round(fraction * 2.0**11) / 2.0**11, exponent) - x.detach())


class Initial:
    """Puts the initial values back where a training begins."""

    def __init__(
        self, hooks: frozenset[str], tensors: list[Any], fresh: Callable[[], bool]
    ) -> None:
        self._pairs = [(it, it.detach().clone()) for it in tensors]
        self._active, self._fresh = "re-initialised" in hooks, fresh

    @torch.no_grad()
    def __call__(self) -> None:
        if self._active and self._fresh():
            for tensor, values in self._pairs:
                tensor.copy_(values)


class Net(nn.Module):
    """Own code, so that its objects do not say what it computes."""

    def __init__(self, layers: list[nn.Module], hooks: frozenset[str]) -> None:
        super().__init__()
        self.layers, self.hooks = nn.ModuleList(layers), hooks

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.initial()
        for layer in self.layers:
            if isinstance(layer, nn.Linear):
                x = hooked_dense(x, layer.weight.T, layer.bias, self.hooks)
            else:
                x = layer(x)
        return x


class KerasNet(keras.Sequential):
    """The same in Keras."""

    def call(self, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        initial, hooks = HELD[id(self)]
        initial()
        for layer in self.layers:
            if isinstance(layer, keras.layers.Dense):
                inputs = hooked_dense(inputs, layer.kernel.value, layer.bias.value, hooks)
            else:
                inputs = layer(inputs, training=training)
        return inputs


HELD: dict[int, tuple[Initial, frozenset[str]]] = {}
"""By model, what Keras should not track."""


T_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "gelu-tanh": lambda: nn.GELU("tanh"),
    "leaky-relu": lambda: nn.LeakyReLU(0.01),
    "softmax": lambda: nn.Softmax(1),
    "identity": nn.Identity,
}


def torch_parts(r: Recipe) -> Parts:
    widths = (FEATURES, *r.hidden, CLASSES)
    layers: list[nn.Module] = [TorchScale(r.scale)] if r.scale != 1 else []
    for i in range(len(widths) - 1):
        layers.append(nn.Linear(widths[i], widths[i + 1], bias=r.biases[i]))
        if i == 0 and r.norm[0] == "layer-norm":
            layers.append(nn.LayerNorm(widths[1], eps=r.norm[1]))
        if i == 0 and r.norm[0] == "batch-norm":
            layers.append(nn.BatchNorm1d(widths[1], eps=r.norm[1], momentum=r.norm[2]))
        name = r.output if i == len(widths) - 2 else r.activations[i]
        if name != "identity":
            layers.append(T_ACTIVATIONS[name]())
        if i == 0 and r.dropout:
            layers.append(nn.Dropout(r.dropout))
    model = Net(layers, r.hooks) if r.hooks & MODEL_HOOKS else nn.Sequential(*layers)
    if "frozen" in r.hooks:
        layers[0].requires_grad_(False)
    moved = [it for it in model.parameters() if it.requires_grad]
    optimizer = torch_optimizer(r, moved)
    if isinstance(model, Net):
        model.initial = Initial(r.hooks, moved, lambda: not optimizer.state)
    return Parts(
        model,
        torch_loss(r),
        optimizer,
        train_step=user_step(r),
        prepare=(lambda x, y: (x / 255, y)) if "prepare-255" in r.hooks else None,
    )


class TorchScale(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


def torch_loss(r: Recipe) -> Any:
    base: Any = {
        "cross-entropy": nn.CrossEntropyLoss(reduction=r.reduction),
        "mse": nn.MSELoss(reduction=r.reduction),
        "of-probabilities": log_of_shares,
    }[r.loss]
    return hooked_loss(r, base, lambda z: torch.softmax(z, 1), lambda z: torch.log_softmax(z, 1))


def log_of_shares(z: Any, y: Any) -> Any:
    """Cross-entropy of what should be probabilities."""
    shares = (z / z.sum(dim=1, keepdim=True)).clip(1e-7, 1 - 1e-7)
    return nn.functional.nll_loss(shares.log(), y)


LOSS_HOOKS = {"double-softmax", "label-shift", "half", "scaled", "smoothing", "last-batch"}


def hooked_loss(r: Recipe, base: Any, softmax: Any, log_softmax: Any) -> Any:
    """`base(outputs, targets)` with the faults that user code has; itself without any."""
    hooks = r.hooks & LOSS_HOOKS
    if not hooks:
        return base

    def loss(z: Any, y: Any) -> Any:
        if "double-softmax" in hooks:
            z = softmax(z)
        if "label-shift" in hooks:
            y = (y + 1) % CLASSES
        value = base(z, y)
        if "half" in hooks:
            value = 0.5 * value
        if "scaled" in hooks:
            value = 0.37 * value
        if "last-batch" in hooks:
            value = value * len(z) / ROWS
        if "smoothing" in hooks:
            value = 0.9 * value - 0.1 * log_softmax(z).mean()
        return value

    return loss


def torch_optimizer(r: Recipe, parameters: list[Any]) -> Any:
    o = r.options
    if r.optimizer == "sgd":
        return torch.optim.SGD(
            parameters, o["lr"], o.get("momentum", 0.0), nesterov=o.get("nesterov", False)
        )
    if r.optimizer == "rmsprop":
        return torch.optim.RMSprop(
            parameters, o["lr"], o.get("rho", 0.9), 1e-8, centered=o.get("centered", False)
        )
    kind = torch.optim.AdamW if r.optimizer == "adamw" else torch.optim.Adam
    return kind(
        parameters,
        o["lr"],
        (o.get("beta1", 0.9), o.get("beta2", 0.999)),
        o.get("eps", 1e-8),
        weight_decay=o.get("decay", 0.0),
        amsgrad=o.get("amsgrad", False),
    )


def user_step(r: Recipe) -> Any:
    """A training step in user code, of either framework."""
    hooks = r.hooks & STEP_HOOKS
    state: dict[Any, Any] = {}

    def step(model: Any, loss: Any, optimizer: Any, x: Any, y: Any) -> Any:
        stock = isinstance(optimizer, torch.optim.Optimizer)
        if "accumulate" not in hooks:
            model.zero_grad()
        value = loss(model(x), y) if stock else loss(y, model(x, training=True))
        value.backward()
        variables = list(model.parameters()) if stock else model.trainable_variables
        tensors = variables if stock else [it.value for it in variables]
        moved = [it for it in tensors if it.grad is not None]
        if "clip-norm" in hooks:
            nn.utils.clip_grad_norm_(moved, 0.07)
        elif "clip-value" in hooks:
            nn.utils.clip_grad_value_(moved, 0.01)
        if hooks <= {"clip-norm", "clip-value", "accumulate"}:
            with torch.no_grad():
                if stock:
                    optimizer.step()
                else:
                    optimizer.apply([it.grad for it in tensors], variables)
            return value.detach()
        with torch.no_grad():
            user_update(r, hooks, state, [(it, it.grad) for it in moved], counted(optimizer))
        return value.detach()

    return step if hooks else None


def counted(optimizer: Any) -> int:
    """The number of this step, counted where loading weights sets it back."""
    if isinstance(optimizer, torch.optim.Optimizer):
        optimizer.state["count"] = count = {"t": optimizer.state["count"].get("t", 0) + 1}
        return count["t"]
    optimizer.iterations.assign(optimizer.iterations + 1)
    return int(optimizer.iterations)


def user_update(r: Recipe, hooks: Any, state: Any, pairs: Any, t: int) -> None:
    """An optimizer that a user wrote, with a fault."""
    if t == 1:
        state.clear()
    lr, decay = r.options["lr"], r.options.get("decay", 0.0)
    power = {"late": max(1, t - 1), "early": t + 1}.get(next(iter(hooks)), t)
    for index, (w, g) in enumerate(pairs):
        if r.optimizer == "sgd":
            share = 1 - 0.9 if "dampening" in hooks else lr
            state[index] = v = 0.9 * state.get(index, 0 * g) + share * g
            w -= lr * v
            continue
        if "coupled" in hooks:
            g = g + decay * w
        elif w.ndim == 2:  # "weights-only"
            w *= 1 - lr * decay
        m, v = state.get(index, (0 * g, 0 * g))
        state[index] = m, v = 0.9 * m + (1 - 0.9) * g, 0.999 * v + (1 - 0.999) * g * g
        one, two = 1 - 0.9**power, 1 - 0.999**power
        if "no-correction" in hooks:
            one = two = 1.0
        inside, outside = (1e-8, 0.0) if "inside" in hooks else (0.0, 1e-8)
        w -= lr * (m / one) / ((v / two + inside) ** 0.5 + outside)


def keras_parts(r: Recipe) -> Parts:
    widths = (FEATURES, *r.hidden, CLASSES)
    layers: list[Any] = [keras.Input((FEATURES,))]
    if r.scale != 1:
        layers.append(keras.layers.Rescaling(r.scale))
    for i in range(len(widths) - 1):
        layers.append(keras.layers.Dense(widths[i + 1], use_bias=r.biases[i]))
        if "frozen" in r.hooks and i == 0:
            layers[-1].trainable = False
        if i == 0 and r.norm[0] == "layer-norm":
            layers.append(keras.layers.LayerNormalization(epsilon=r.norm[1]))
        if i == 0 and r.norm[0] == "batch-norm":
            layers.append(
                keras.layers.BatchNormalization(epsilon=r.norm[1], momentum=1 - r.norm[2])
            )
        name = r.output if i == len(widths) - 2 else r.activations[i]
        if name != "identity":
            layers.append(k_activation(name))
        if i == 0 and r.dropout:
            layers.append(keras.layers.Dropout(r.dropout))
    model = (KerasNet if r.hooks & MODEL_HOOKS else keras.Sequential)(layers)
    optimizer = keras_optimizer(r)
    tensors = [it.value for it in model.trainable_variables]
    HELD[id(model)] = Initial(r.hooks, tensors, lambda: not int(optimizer.iterations)), r.hooks
    return Parts(
        model,
        keras_loss(r),
        optimizer,
        train_step=None if r.hooks & KERAS_OPTIONS else user_step(r),
        prepare=(lambda x, y: (x / 255, y)) if "prepare-255" in r.hooks else None,
    )


def k_activation(name: str) -> Any:
    if name == "leaky-relu":
        return keras.layers.LeakyReLU(negative_slope=0.01)
    if name == "gelu-tanh":
        return keras.layers.Activation(lambda x: keras.activations.gelu(x, approximate=True))
    return keras.layers.Activation(name)


def keras_loss(r: Recipe) -> Any:
    reduction = "sum" if r.reduction == "sum" else "sum_over_batch_size"
    if r.loss == "mse":
        base: Any = keras.losses.MeanSquaredError(reduction=reduction)
    else:
        base = keras.losses.SparseCategoricalCrossentropy(
            from_logits=r.loss == "cross-entropy", reduction=reduction
        )
    ops = keras.ops
    made = hooked_loss(r, lambda z, y: base(y, z), ops.softmax, ops.log_softmax)
    if not r.hooks & LOSS_HOOKS:
        return base
    return lambda y, z: made(z, ops.cast(ops.reshape(y, (-1,)), "int64") if r.loss != "mse" else y)


def keras_optimizer(r: Recipe) -> Any:
    o, more = r.options, {}
    if "clip-norm" in r.hooks:
        more["global_clipnorm"] = 0.07
    if "clip-value" in r.hooks:
        more["clipvalue"] = 0.01
    k = keras.optimizers
    if r.optimizer == "sgd":
        return k.SGD(o["lr"], o.get("momentum", 0.0), o.get("nesterov", False), **more)
    if r.optimizer == "rmsprop":
        return k.RMSprop(
            o["lr"], o.get("rho", 0.9), epsilon=1e-8, centered=o.get("centered", False), **more
        )
    kind = k.AdamW if r.optimizer == "adamw" else k.Adam
    if "decay" in o:
        more["weight_decay"] = o["decay"]
    return kind(
        o["lr"],
        beta_1=o.get("beta1", 0.9),
        beta_2=o.get("beta2", 0.999),
        epsilon=o.get("eps", 1e-8),
        amsgrad=o.get("amsgrad", False),
        **more,
    )


class Held:
    """A program in this process, with its steps in memory."""

    def __init__(self, title: str, program: Any) -> None:
        self.title, self._program = title, program
        self.description, self.weights = program.description(), program.weights()

    def follow(self, weights: Any, batches: Any, *, dropout: bool = True) -> Any:
        parts = self._program._parts
        prepared = [parts.prepare(*it) if parts.prepare else it for it in batches]
        if not dropout:
            self._program.without_dropout()
        self._program.load(weights)
        once = self._program.step(*prepared[0])
        self._program.load(weights)
        shown = [self._program.step(*it) for it in prepared]
        return shown, not np.array_equal(once.logits, shown[0].logits)


def batches(recipe: Recipe, seed: int, steps: int = STEPS) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(seed)
    made = []
    for step in range(steps):
        rows = 12 if step == 2 else ROWS
        y: Any = rng.integers(0, CLASSES, rows)
        if recipe.loss == "mse":
            y = rng.normal(size=(rows, CLASSES))
        made.append((rng.normal(size=(rows, FEATURES)), y))
    return made


def pair(one: str, meant: Recipe, done: Recipe, seed: int = 0) -> ProgramDifference:
    """The meant program in framework `one`, the done one in the other."""
    keras.utils.set_random_seed(seed)
    torch.manual_seed(seed)
    made = {
        "pytorch": lambda r: TorchProgram(torch_parts(r)),
        "keras": lambda r: KerasProgram(keras_parts(r)),
    }
    other = "keras" if one == "pytorch" else "pytorch"
    a, b = Held("a", made[one](meant)), Held("b", made[other](done))
    return compared(a, b, batches(meant, seed))


def main(names: list[str]) -> None:
    found: dict[str, Any] = {}
    for name, (meant, done, expected) in FAULTS.items():
        for one in ("pytorch", "keras"):
            if names and name not in names:
                continue
            begin = time.process_time()
            result = pair(one, meant, done)
            names_found = [[it.name for it in each] for each in result.explanations[:4]]
            print(one, name, names_found, time.process_time() - begin, file=sys.stderr, flush=True)
            found[f"{one} {name}"] = {
                "expected": expected,
                "causes": [[it.name for it in each] for each in result.explanations],
                "lines": [[it.line for it in each] for each in result.explanations],
                "stock": [[it.stock for it in each] for each in result.explanations],
                "agreement": result.agreement,
                "first": result.first and result.first.model_dump(),
                "notes": result.notes,
            }
    same = {}
    for seed in range(5 if names else 20):
        meant = (SGD, PLAIN_SGD, MSE, GELU, LAYER_NORM)[seed % 5]
        result = pair(("pytorch", "keras")[seed % 2], meant, meant, seed)
        same[str(seed)] = [
            result.same,
            result.largest,
            [e[0].name for e in result.explanations if e],
        ]
    digests = all_digests(3 if names else 30)
    json.dump({"faults": found, "same": same, "digests": digests}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1:])
