"""A task's model as an ONNX graph, built from its weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from harness.adapter import Array
from harness.tasks.spec import Task

OPSET, IR_VERSION = 17, 8
"""Old enough for every version that takes part; the operators are the same in later ones."""
ELEMENTS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}
ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}
INPUTS, OUTPUTS = "inputs", "outputs"


def build_model(task: Task, weights: Mapping[str, Array], dtype: str) -> ModelProto:
    """`inputs` (rows, features) to `outputs` (rows, outputs), for any number of rows.

    `weights` are of the dtype, by their canonical names.
    """
    constants = dict(weights)
    if task.model.activation == "gelu":
        constants |= {
            name: np.array(value, dtype)
            for name, value in {"root": math.sqrt(0.5), "one": 1.0, "half": 0.5}.items()
        }
    graph = helper.make_graph(
        list(_nodes(task)),
        task.name,
        [helper.make_tensor_value_info(INPUTS, ELEMENTS[dtype], ["rows", task.widths[0]])],
        [helper.make_tensor_value_info(OUTPUTS, ELEMENTS[dtype], ["rows", task.widths[-1]])],
        [numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    checker.check_model(model)
    return model


def product_model(dtype: str) -> ModelProto:
    """`left` · `right`, two matrices of any size."""
    names = (("left", ["n", "k"]), ("right", ["k", "m"]), (OUTPUTS, ["n", "m"]))
    *given, result = (
        helper.make_tensor_value_info(it, ELEMENTS[dtype], sides) for it, sides in names
    )
    node = helper.make_node("MatMul", ["left", "right"], [OUTPUTS])
    graph = helper.make_graph([node], "product", given, [result])
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )


def _nodes(task: Task) -> Iterator[NodeProto]:
    last = len(task.layers) - 1
    x = INPUTS
    for index in range(last + 1):
        z = f"layer{index}.sum" if index < last or task.model.output == "softmax" else OUTPUTS
        yield helper.make_node("Gemm", [x, f"layer{index}.weight", f"layer{index}.bias"], [z])
        if index < last:
            x = f"layer{index}.output"
            yield from _activation(task.model.activation, z, x)
    if task.model.output == "softmax":
        yield helper.make_node("Softmax", [z], [OUTPUTS], axis=1)


def _activation(name: str, z: str, output: str) -> Iterator[NodeProto]:
    """`output` from `z`; GELU has an operator of its own in later opsets only."""
    if name in ACTIVATIONS:
        yield helper.make_node(ACTIVATIONS[name], [z], [output])
        return
    for operator, operands, result in (
        ("Mul", [z, "root"], f"{z}.scaled"),
        ("Erf", [f"{z}.scaled"], f"{z}.erf"),
        ("Add", [f"{z}.erf", "one"], f"{z}.share"),
        ("Mul", [z, f"{z}.share"], f"{z}.double"),
        ("Mul", [f"{z}.double", "half"], output),
    ):
        yield helper.make_node(operator, operands, [result])
