"""Random tasks as models of PyTorch, Keras and ONNX: what an import must find again."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import torch
from torch import nn

from harness.programs.importing import imported
from harness.tasks.programs import Description, Parts
from harness.tasks.spec import Known, Model, Task, Teacher
from harness.tasks.start import make_start
from harness.tasks.variants import OPTIMIZERS
from impls.keras.program import UserProgram as KerasProgram
from impls.keras.program import opened
from impls.pytorch.building import build_model, stock_optimizer
from impls.pytorch.program import UserProgram as TorchProgram

SAVED = 8
"""So many tasks are saved as files of Keras too."""
LOSSES: dict[str, tuple[Any, Any]] = {
    "cross-entropy": (
        nn.CrossEntropyLoss,
        lambda: keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    ),
    "mse": (nn.MSELoss, keras.losses.MeanSquaredError),
    "binary-cross-entropy": (
        nn.BCEWithLogitsLoss,
        lambda: keras.losses.BinaryCrossentropy(from_logits=True),
    ),
}


def random_task(seed: int) -> Task:
    draw = random.Random(seed)
    data, loss = draw.choice(
        [
            (Known(name="digits"), "cross-entropy"),
            (Known(name="cancer"), "binary-cross-entropy"),
            (Known(name="diabetes"), "mse"),
            (Known(name="digits", target="inputs"), "mse"),
            (Teacher(features=draw.randint(1, 40), classes=draw.randint(2, 9)), "cross-entropy"),
        ]
    )
    name = draw.choice([*OPTIMIZERS])
    options: dict[str, Any] = {"learning_rate": draw.choice([0.1, 3e-4, draw.random() / 7 + 1e-9])}
    if name == "sgd":
        options["momentum"] = draw.choice([0.0, 0.9, draw.random()])
        options["nesterov"] = options["momentum"] > 0 and draw.random() < 0.5
    if name.startswith("adam"):
        options |= {"beta1": draw.choice([0.9, draw.random()]), "beta2": draw.random()}
    if name != "sgd":
        options["epsilon"] = draw.choice([1e-8, 1e-7, draw.random() / 100 + 1e-12])
    if name == "adamw":
        options["weight_decay"] = draw.random() / 10 + 1e-6
    if name == "rmsprop":
        options["rho"] = draw.random()
    return Task(
        name="random",
        data=data,
        model=Model(
            hidden=tuple(draw.randint(8, 30) for _ in range(draw.randint(1, 3))),
            activation=draw.choice(["relu", "tanh", "sigmoid", "gelu"]),
            output=draw.choice(["identity", "softmax"]) if loss == "cross-entropy" else "identity",
            initializer=draw.choice(["glorot-uniform", "he-uniform", "fan-in-uniform"]),
        ),
        loss=loss,
        optimizer=OPTIMIZERS[name](**options),
        batch_size=draw.randint(1, 300),
        shuffle=draw.random() < 0.5,
        epochs=draw.randint(1, 99),
    )


def digests(seed: int, folder: Path) -> dict[str, str]:
    task = random_task(seed)
    weights = make_start(task, seed).weights
    found = {"task": task.digest}
    schedule = {k: getattr(task, k) for k in ("batch_size", "epochs", "shuffle")}
    for name, program in (("pytorch", in_torch(task)), ("keras", KerasProgram(keras_parts(task)))):
        program.load(weights)
        read = program.description().model_copy(update=schedule)
        found[name] = again(task, read, program.weights())
    if (path := in_onnx(task, weights, folder)) is not None:
        from impls.onnxruntime.program import opened as opened_onnx

        described = opened_onnx(path).model
        read = described.description().model_copy(update=schedule)
        found["onnx"] = again(task, read, described.weights(), *stated(task))
    for kind, program, more in saved(task, weights, folder) if seed < SAVED else ():
        read = program.description().model_copy(update=schedule)
        found[kind] = again(task, read, program.weights(), *more)
    return found


def saved(task: Task, weights: Any, folder: Path) -> Iterator[tuple[str, KerasProgram, list[Any]]]:
    """The model as Keras saves it: compiled, or its architecture alone."""
    parts = keras_parts(task)
    parts.model.compile(parts.optimizer, parts.loss)
    for layer, index in zip(parts.model.layers, range(len(task.layers)), strict=True):
        layer.set_weights([weights[f"layer{index}.weight"], weights[f"layer{index}.bias"]])
    for kind in ("keras", "h5"):
        parts.model.save(folder / f"net.{kind}")
        yield kind, KerasProgram(opened(folder / f"net.{kind}")), []
    if task.model.initializer != "fan-in-uniform":  # Keras has none of this name
        (folder / "net.json").write_text(parts.model.to_json())
        yield "json", KerasProgram(opened(folder / "net.json")), stated(task)


def stated(task: Task) -> list[Any]:
    """Loss and optimizer, for a file that says neither."""
    fields = task.optimizer.model_dump(exclude={"name"})
    return [task.loss, task.optimizer.name, [f"{k}={str(v).lower()}" for k, v in fields.items()]]


def again(task: Task, read: Description, weights: Any, *more: Any) -> str:
    made = imported(read, weights, task.data.name, "again", *more).task
    return (
        made.digest
        if task.data.name != "teacher"
        else made.model_copy(update={"data": task.data}).digest
    )


def in_torch(task: Task) -> TorchProgram:
    model = build_model(task)
    optimizer = stock_optimizer(task.optimizer, list(model.parameters()))
    return TorchProgram(Parts(model, LOSSES[task.loss][0](), optimizer))


def keras_parts(task: Task) -> Parts:
    start = {"he-uniform": "he_uniform"}.get(task.model.initializer, "glorot_uniform")
    layers: list[Any] = [keras.Input((task.widths[0],))]
    for width in task.model.hidden:
        layers.append(keras.layers.Dense(width, task.model.activation, kernel_initializer=start))
    last = None if task.model.output == "identity" else "softmax"
    layers.append(keras.layers.Dense(task.widths[-1], last, kernel_initializer=start))
    return Parts(keras.Sequential(layers), LOSSES[task.loss][1](), keras_optimizer(task))


def keras_optimizer(task: Task) -> Any:
    fields = task.optimizer.model_dump(exclude={"name"})
    renamed = {"beta1": "beta_1", "beta2": "beta_2"}
    kind = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "rmsprop": "RMSprop"}
    made = getattr(keras.optimizers, kind[task.optimizer.name])
    return made(**{renamed.get(k, k): it for k, it in fields.items()})


def in_onnx(task: Task, weights: Any, folder: Path) -> Path | None:
    """Gemm or MatMul and Add, by turns."""
    try:
        import onnx
        from onnx import TensorProto, helper, numpy_helper
    except ImportError:
        return None
    kinds = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "gelu": "Gelu"}
    nodes, constants, name = [], [], "x"
    for index in range(len(task.layers)):
        w, b = weights[f"layer{index}.weight"], weights[f"layer{index}.bias"]
        if index % 2:
            constants += [numpy_helper.from_array(w, f"w{index}")]
            nodes.append(helper.make_node("MatMul", [name, f"w{index}"], [f"m{index}"]))
            nodes.append(helper.make_node("Add", [f"m{index}", f"b{index}"], [f"z{index}"]))
        else:
            constants += [numpy_helper.from_array(np.ascontiguousarray(w.T), f"w{index}")]
            inputs = [name, f"w{index}", f"b{index}"]
            nodes.append(helper.make_node("Gemm", inputs, [f"z{index}"], transB=1))
        constants += [numpy_helper.from_array(b, f"b{index}")]
        name = f"z{index}"
        if index < len(task.layers) - 1:
            nodes.append(helper.make_node(kinds[task.model.activation], [name], [f"h{index}"]))
            name = f"h{index}"
    if task.model.output == "softmax":
        nodes.append(helper.make_node("Softmax", [name], ["p"]))
        name = "p"
    double = TensorProto.DOUBLE
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", double, [None, task.widths[0]])],
        [helper.make_tensor_value_info(name, double, [None, task.widths[-1]])],
        constants,
    )
    path = folder / "net.onnx"
    onnx.save(helper.make_model(graph), str(path))
    return path


def all_digests(count: int) -> dict[str, dict[str, str]]:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        return {str(seed): digests(seed, Path(folder)) for seed in range(count)}
