"""A user's Keras program, read: its layers, loss and optimizer as plain values, and its steps.

Any backend: Keras' own operations do all but the gradients.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np

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
    refuse_large,
)

layers, losses, optimizers = keras.layers, keras.losses, keras.optimizers

PARTS: dict[type, dict[str, str]] = {
    layers.Dense: {"kernel": "weight", "bias": "bias"},
    layers.LayerNormalization: {"gamma": "scale", "beta": "offset"},
    layers.BatchNormalization: {"gamma": "scale", "beta": "offset"},
}
"""Canonical names of a layer's parameters."""
LAYERS: dict[type, Callable[[Any], tuple[str, Options]]] = {
    layers.Dropout: lambda it: ("dropout", {"rate": float(it.rate)}),
    layers.LayerNormalization: lambda it: ("layer-norm", {"epsilon": it.epsilon}),
    layers.BatchNormalization: lambda it: (
        "batch-norm",
        {"epsilon": it.epsilon, "momentum": 1 - it.momentum},
    ),
    layers.Rescaling: lambda it: ("scale", {"factor": it.scale, "offset": it.offset}),
    layers.Flatten: lambda it: ("flatten", {}),
    layers.Softmax: lambda it: ("softmax", {}),
    layers.ReLU: lambda it: _relu(it),
    layers.LeakyReLU: lambda it: ("leaky-relu", {"slope": float(it.negative_slope)}),
    layers.ELU: lambda it: ("elu", {"alpha": float(it.alpha)}),
}
ACTIVATIONS: dict[str, tuple[str, Options]] = {
    "linear": ("identity", {}),
    "relu": ("relu", {}),
    "relu6": ("relu6", {}),
    "tanh": ("tanh", {}),
    "sigmoid": ("sigmoid", {}),
    "gelu": ("gelu", {}),  # exact, unless it is asked otherwise
    "leaky_relu": ("leaky-relu", {"slope": 0.2}),
    "elu": ("elu", {"alpha": 1.0}),
    "silu": ("silu", {}),
    "softplus": ("softplus", {}),
    "softmax": ("softmax", {}),
    "log_softmax": ("log-softmax", {}),
}
INITIALIZERS = {"GlorotUniform": "glorot-uniform", "HeUniform": "he-uniform"}
EXTRAS = (
    "kernel_regularizer",
    "bias_regularizer",
    "activity_regularizer",
    "kernel_constraint",
    "bias_constraint",
)
"""Of a dense layer; what no MLP task has."""
LOSSES = {
    "sparsecategoricalcrossentropy": "cross-entropy",
    "categoricalcrossentropy": "cross-entropy",
    "binarycrossentropy": "binary-cross-entropy",
    "meansquarederror": "mse",
}
"""Of Keras' classes and functions, without their underscores."""
MEAN = "sum_over_batch_size"
ADAM = {"beta1": "beta_1", "beta2": "beta_2", "epsilon": "epsilon", "amsgrad": "amsgrad"}
OPTIMIZERS: dict[str, tuple[str, dict[str, str]]] = {
    "SGD": ("sgd", {"momentum": "momentum", "nesterov": "nesterov"}),
    "Adam": ("adam", ADAM),
    "AdamW": ("adamw", ADAM),
    "RMSprop": ("rmsprop", {"rho": "rho", "epsilon": "epsilon", "centered": "centered"}),
}
"""A task's names of an optimizer and of its options, with Keras' names of these."""
OTHER: tuple[str, dict[str, str]] = ("other", {})
UNUSUAL = ("clipnorm", "use_ema", "gradient_accumulation_steps", "loss_scale_factor")
"""Options of any optimizer that no task has."""
SLOTS: dict[type, dict[str, str]] = {
    optimizers.Adam: {"first_moment": "_momentums", "second_moment": "_velocities"},
    optimizers.RMSprop: {"mean_square": "_velocities"},
    optimizers.SGD: {"velocity": "momentums"},
}
CODE = ("Lambda", "__lambda__", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer")
"""Classes whose saved form holds code, or the name of a file with code."""
CONFIGURATIONS = ("model_config", "training_config")
"""The attributes of an `.h5` file that describe objects, in JSON."""


class UserProgram:
    """See `harness.tasks.programs.UserProgram`."""

    def __init__(self, parts: Parts) -> None:
        if not isinstance(parts.model, keras.Model):
            raise Unreadable(f"model is a {type(parts.model).__name__}, not a keras.Model")
        self._parts = parts
        _allow_float64()
        self._model, loss, optimizer = _in_float64(parts)
        if not self._model.built:
            raise Unreadable("the model has no input shape; begin it with keras.Input((features,))")
        self._optimizer = optimizers.get(optimizer)
        self._loss_facts = None if loss is None else _loss_facts(loss)
        if loss is not None and self._optimizer is not None:
            self._model.compile(optimizer=self._optimizer, loss=loss)
        self._loss = loss
        self._held = holding(_leaves(self._model), PARTS)
        self._names = canonical_names(self._held, PARTS)
        self._name_of = {id(it): name for name, it in self._names.items()}
        variables = self._model.trainable_variables
        strange = [it.path for it in variables if id(it) not in self._name_of]
        if strange:
            raise Unreadable(f"weight {strange[0]!r} is of no Dense or normalisation layer")
        if not self._names:
            raise Unreadable("the model has no weight")

    def description(self) -> Description:
        facts = [fact for it in _leaves(self._model) for fact in _layers(it)]
        trainable = [id(it) for it in self._model.trainable_variables]
        dense = [it for it in _leaves(self._model) if type(it) is layers.Dense]
        return Description(
            framework="keras",
            layers=tuple(facts),
            ordered=type(self._model) is keras.Sequential,
            loss=self._loss_facts,
            optimizer=None if self._optimizer is None else _optimizer_facts(self._optimizer),
            initializers=tuple(_initializer(it) for it in dense),
            frozen=tuple(name for name, it in self._names.items() if id(it) not in trainable),
        )

    def weights(self) -> dict[str, Array]:
        return {name: _numpy(it) for name, it in self._names.items()}

    def load(self, weights: Mapping[str, Array]) -> None:
        for name, variable in self._names.items():
            variable.assign(weights[name].astype(variable.dtype))
            if getattr(variable.value, "grad", None) is not None:  # PyTorch's, from earlier steps
                variable.value.grad = None
        if self._optimizer is not None:
            if not self._optimizer.built:
                self._optimizer.build(self._model.trainable_variables)
            for variable in self._optimizer.variables:
                if not variable.path.endswith("learning_rate"):
                    variable.assign(np.zeros(variable.shape, variable.dtype))
        for layer in self._held:
            if isinstance(layer, layers.BatchNormalization):
                layer.moving_mean.assign(np.zeros(layer.moving_mean.shape))
                layer.moving_variance.assign(np.ones(layer.moving_variance.shape))

    def step(self, inputs: Array, targets: Array) -> ShownStep:
        x, y = self._staged(inputs, targets)
        before = [(it, _numpy(it)) for it in self._model.non_trainable_variables]
        outputs, loss, gradients = self._gradients(x, y)
        if self._parts.train_step is not None:
            for variable, values in before:  # their own step makes a forward pass too
                variable.assign(values)
        by_name = {name: _numpy(it) for name, it in gradients.items()}
        logits = _numpy(outputs)
        shown = self._updated(x, y, float(_numpy(loss)), gradients)
        return ShownStep(logits, shown, by_name, self.weights(), self._slots())

    def update(self, inputs: Array, targets: Array) -> None:
        self._updated(*self._staged(inputs, targets), math.nan, None)

    def _updated(self, x: Any, y: Any, shown: float, gradients: Any) -> float:
        parts = self._parts
        if parts.train_step is not None:
            loss = parts.train_step(self._model, self._loss, self._optimizer, x, y)
            return shown if loss is None else float(_numpy(loss))
        if self._optimizer is None:
            raise Unreadable("there is no optimizer; give one to compare steps")
        if gradients is None:
            *_, gradients = self._gradients(x, y)
        self._optimizer.apply([*gradients.values()], [self._names[it] for it in gradients])
        return shown

    def _staged(self, inputs: Array, targets: Array) -> tuple[Any, Any]:
        shape = self._model.input_shape
        if isinstance(shape, tuple) and None not in shape[1:]:
            inputs = inputs.reshape(-1, *shape[1:])
        if self._loss_facts and self._loss_facts.shown == "CategoricalCrossentropy":
            targets = np.eye(self._model.output_shape[-1])[targets]
        kind = "int64" if targets.dtype.kind in "iu" else "float64"
        x = keras.ops.convert_to_tensor(inputs, "float64")
        return x, keras.ops.convert_to_tensor(targets, kind)

    def _gradients(self, x: Any, y: Any) -> tuple[Any, Any, dict[str, Any]]:
        """Outputs, loss, and by name the gradients of the weights that the loss depends on."""
        if self._loss is None or self._optimizer is None:
            raise Unreadable("loss and optimizer are needed to compare steps")
        variables = self._model.trainable_variables
        outputs, loss, gradients = BACKENDS[keras.backend.backend()](self._model, x, y, variables)
        pairs = zip(variables, gradients, strict=True)
        return outputs, loss, {self._name_of[id(it)]: g for it, g in pairs if g is not None}

    def _slots(self) -> dict[str, Array]:
        optimizer, slots = self._optimizer, {}
        for index, layer in enumerate(self._held):
            if isinstance(layer, layers.BatchNormalization):
                slots[f"moving_mean/layer{index}"] = _numpy(layer.moving_mean)
                slots[f"moving_variance/layer{index}"] = _numpy(layer.moving_variance)
        attributes = (it for kind, it in SLOTS.items() if isinstance(optimizer, kind))
        for slot, attribute in next(attributes, {}).items():
            arrays = [_numpy(it) for it in getattr(optimizer, attribute)]
            if not any(it.any() for it in arrays):  # a step in user code does not use them
                continue
            for variable, array in zip(self._model.trainable_variables, arrays, strict=True):
                if slot == "velocity":  # −lr times the task's
                    array = -array / float(_numpy(optimizer.learning_rate))
                slots[f"{slot}/{self._name_of[id(variable)]}"] = array
        return slots

    def predict(self, inputs: Array) -> Array:
        x, _ = self._staged(inputs, np.zeros(len(inputs), np.int64))
        return _numpy(self._model(x, training=False))

    def without_dropout(self) -> None:
        for layer in _leaves(self._model):
            if isinstance(layer, layers.Dropout):
                layer.rate = 0.0
                layer.call = lambda inputs, training=False: inputs


def _allow_float64() -> None:
    """On other backends than TensorFlow, Keras computes products of float64 in float32, whatever
    its settings say. Where this table is gone, outputs show float32."""
    with contextlib.suppress(ImportError, AttributeError):
        from keras.src.backend.common import dtypes

        dtypes.BIT64_TO_BIT32_DTYPE["float64"] = "float64"


def _in_float64(parts: Parts) -> tuple[Any, Any, Any]:
    """Model, loss and optimizer; a model saved in another dtype is built again."""
    model, loss, optimizer = parts.model, parts.loss, parts.optimizer
    if getattr(model, "compiled", False):
        loss, optimizer = loss or model.loss, optimizer or model.optimizer
    if model.built and any(str(it.dtype) != "float64" for it in model.weights):
        values = model.get_weights()
        model = type(model).from_config(_recast(model.get_config()))
        model.set_weights(values)
        if isinstance(optimizer, optimizers.Optimizer):
            optimizer = type(optimizer).from_config(optimizer.get_config())
    return model, loss, optimizer


def _recast(config: Any) -> Any:
    if isinstance(config, dict):
        return {k: "float64" if k == "dtype" else _recast(it) for k, it in config.items()}
    return [_recast(it) for it in config] if isinstance(config, list | tuple) else config


def _with_tensorflow(model: Any, x: Any, y: Any, variables: Any) -> Any:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        outputs = model(x, training=True)
        loss = model.compute_loss(x=x, y=y, y_pred=outputs)
    return outputs, loss, tape.gradient(loss, [it.value for it in variables])


def _with_torch(model: Any, x: Any, y: Any, variables: Any) -> Any:
    import torch

    outputs = model(x, training=True)
    loss = model.compute_loss(x=x, y=y, y_pred=outputs)
    gradients = torch.autograd.grad(loss, [it.value for it in variables], allow_unused=True)
    return outputs, loss, gradients


def _with_jax(model: Any, x: Any, y: Any, variables: Any) -> Any:
    import jax

    others = [it.value for it in model.non_trainable_variables]

    def loss_of(values: Any) -> Any:
        outputs, moved = model.stateless_call(values, others, x, training=True)
        return model.compute_loss(x=x, y=y, y_pred=outputs), (outputs, moved)

    values = [it.value for it in variables]
    (loss, (outputs, moved)), gradients = jax.value_and_grad(loss_of, has_aux=True)(values)
    for variable, value in zip(model.non_trainable_variables, moved, strict=True):
        variable.assign(value)
    return outputs, loss, gradients


BACKENDS = {"tensorflow": _with_tensorflow, "torch": _with_torch, "jax": _with_jax}


def _numpy(values: Any) -> Array:
    return np.array(keras.ops.convert_to_numpy(values))


def _leaves(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from _leaves(layer)
        elif not isinstance(layer, layers.InputLayer):
            yield layer


def _layers(layer: Any) -> Iterator[LayerFacts]:
    name = type(layer).__name__
    if type(layer) is layers.Dense:
        extras = [it for it in EXTRAS if getattr(layer, it, None) is not None]
        shown = f"Dense({layer.units})" + (f" with {extras[0]}" if extras else "")
        options: Options = {
            "inputs": int(layer.kernel.shape[0]),
            "outputs": int(layer.units),
            "bias": layer.use_bias,
        }
        yield LayerFacts(kind="dense", shown=shown, options=options | dict.fromkeys(extras, True))
        if layer.activation is not keras.activations.linear:
            yield _activation(layer.activation)
    elif type(layer) is layers.Activation:
        yield _activation(layer.activation)
    elif (read := LAYERS.get(type(layer))) is not None:
        kind, options = read(layer)
        shown = f"{name}({', '.join(f'{k}={v:.4g}' for k, v in options.items())})"
        yield LayerFacts(kind=kind, shown=shown, options=options)
    else:
        yield LayerFacts(kind="other", shown=name)


def _activation(function: Any) -> LayerFacts:
    name = getattr(function, "__name__", type(function).__name__)
    stock = getattr(keras.activations, name, None) is function
    kind, options = ACTIVATIONS.get(name, ("other", {})) if stock else ("other", {})
    return LayerFacts(kind=kind, shown=f"Activation({name})", options=options)


def _relu(layer: Any) -> tuple[str, Options]:
    slope, most = float(layer.negative_slope or 0), layer.max_value
    if layer.threshold or (most is not None and (most != 6 or slope)):
        return "other", {}
    if most is not None:
        return "relu6", {}
    return ("leaky-relu", {"slope": slope}) if slope else ("relu", {})


def _initializer(layer: Any) -> str:
    kind = INITIALIZERS.get(type(layer.kernel_initializer).__name__, "")
    zeros = not layer.use_bias or type(layer.bias_initializer).__name__ == "Zeros"
    return kind if zeros else ""


def _loss_facts(loss: Any) -> LossFacts:
    try:
        known = losses.get(loss)
    except ValueError:
        known = loss
    shown = getattr(known, "__name__", type(known).__name__)
    word = shown.replace("_", "").lower()
    stock = getattr(losses, shown, None) in (known, type(known))
    name = LOSSES.get(word, "other") if stock else "other"
    logits = getattr(known, "_fn_kwargs", {}).get("from_logits")
    if name.endswith("cross-entropy") and not logits:
        name += "-of-probabilities"
    reduction = str(getattr(known, "reduction", MEAN))
    return LossFacts(
        name=name,
        shown="CategoricalCrossentropy" if stock and word == "categoricalcrossentropy" else shown,
        reduction="mean" if reduction == MEAN else reduction,
        smoothing=float(getattr(known, "label_smoothing", 0.0) or 0.0),
    )


def _optimizer_facts(optimizer: Any) -> OptimizerFacts:
    kind, config = type(optimizer), optimizer.get_config()
    of_keras = kind.__module__.startswith("keras.")  # of its own, or of its backend
    name, fields = OPTIMIZERS.get(kind.__name__, OTHER) if of_keras else OTHER
    rate = config["learning_rate"]
    scheduled = not isinstance(rate, float | int)
    options: Options = {
        "learning_rate": None if scheduled else float(rate),
        "weight_decay": float(config.get("weight_decay") or 0.0),
        "decay": "decoupled",
        # TensorFlow casts constants through float32, whatever the dtype of the weights.
        "constants": "float32" if keras.backend.backend() == "tensorflow" else "exact",
        "clip_norm": config.get("global_clipnorm"),
        "clip_value": config.get("clipvalue"),
    }
    options |= {ours: config[theirs] for ours, theirs in fields.items()}
    if "epsilon" in options:
        options["epsilon_place"] = "inside" if name == "rmsprop" else "before-correction"
    strange = "a learning rate schedule" if scheduled else ""
    for odd in UNUSUAL if name != "rmsprop" else (*UNUSUAL, "momentum"):
        strange = f"{odd}={config[odd]}" if config.get(odd) else strange
    return OptimizerFacts(name=name, shown=kind.__name__, options=options, strange=strange)


def opened(path: Path) -> Parts:
    """The model of a `.keras` or `.h5` file, or of the JSON that `model.to_json()` gives.

    Raises Unreadable for one that holds code or unpacks to too much; for a broken file whatever
    zipfile, h5py, json and Keras raise.
    """
    for text in _configurations(path):
        _refuse_code(json.loads(text))
    try:
        if path.suffix == ".json":
            return Parts(keras.models.model_from_json(path.read_text("utf-8")))
        return Parts(keras.saving.load_model(path, safe_mode=True))
    except TypeError as error:  # Keras puts the reason last
        raise TypeError(str(error).rpartition("Exception encountered: ")[2]) from None


def _configurations(path: Path) -> Iterator[str | bytes]:
    """The JSON texts by which a file describes its objects."""
    if path.suffix == ".json":
        yield path.read_bytes()
    elif path.suffix == ".keras":
        with zipfile.ZipFile(path) as packed:
            refuse_large(sum(it.file_size for it in packed.infolist()))
            with h5py.File(io.BytesIO(packed.read("model.weights.h5"))) as file:
                refuse_large(_unpacked(file))
            yield packed.read("config.json")
    else:
        with h5py.File(path) as file:
            refuse_large(_unpacked(file))
            yield from (file.attrs[it] for it in CONFIGURATIONS if it in file.attrs)


def _unpacked(file: h5py.File) -> int:
    """Bytes of all its arrays."""
    sizes: list[int] = []
    file.visititems(lambda _, it: sizes.append(it.nbytes) if isinstance(it, h5py.Dataset) else None)
    return sum(sizes)


def _refuse_code(config: Any) -> None:
    """Keras does so too, but not in each of its versions for each kind of file."""
    if isinstance(config, Mapping):
        if (name := config.get("class_name")) in CODE:
            raise Unreadable(f"it holds code ({name}); only a .py file may")
        module = config.get("module")
        if name is not None and str(module).partition(".")[0] not in ("None", "builtins", "keras"):
            raise Unreadable(f"it names {name} of module {module}, which is not Keras'")
        config = [*config.values()]
    if isinstance(config, list):
        for part in config:
            _refuse_code(part)
