"""A task's model as an ONNX graph, built from its weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import ModelProto, NodeProto, TensorProto, checker, helper, numpy_helper

from harness.adapter import Array
from harness.tasks.spec import Task

OPSET, IR_VERSION = 20, 9
"""Old enough for every version that takes part; the operators are the same in later ones."""
ELEMENTS = {"float32": TensorProto.FLOAT, "float64": TensorProto.DOUBLE}
ACTIVATIONS = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "gelu": "Gelu"}
INPUTS, OUTPUTS = "inputs", "outputs"
Shapes = Mapping[str, tuple[str | int, ...]]
"""By name; a letter or a word is a size that is not known before a run."""


def build_model(task: Task, weights: Mapping[str, Array], dtype: str) -> ModelProto:
    """`inputs` (rows, features) to `outputs` (rows, outputs), for any number of rows.

    `weights` are of the dtype, by their canonical names.
    """
    nodes: list[NodeProto] = []

    def add(operator: str, *constants: str) -> None:
        value = nodes[-1].output[0] if nodes else INPUTS
        nodes.append(helper.make_node(operator, [value, *constants], [f"value{len(nodes)}"]))

    for layer in range(len(task.layers)):
        if layer:
            add(ACTIVATIONS[task.model.activation])
        add("Gemm", f"layer{layer}.weight", f"layer{layer}.bias")
    if task.model.output == "softmax":
        add("Softmax")
    nodes[-1].output[0] = OUTPUTS
    given, results = {INPUTS: ("rows", task.widths[0])}, {OUTPUTS: ("rows", task.widths[-1])}
    model = _model(nodes, dtype, given, results, weights)
    checker.check_model(model)
    return model


def products_model(dtype: str, count: int) -> ModelProto:
    """`left0` · `right0` and so on: so many products of matrices of any size, as one graph."""
    nodes, given, results = list[NodeProto](), {}, {}
    for number in range(count):
        n, k, m = (f"{it}{number}" for it in "nkm")
        left, right, result = f"left{number}", f"right{number}", f"{OUTPUTS}{number}"
        nodes.append(helper.make_node("MatMul", [left, right], [result]))
        given |= {left: (n, k), right: (k, m)}
        results[result] = (n, m)
    return _model(nodes, dtype, given, results, {})


def _model(
    nodes: Sequence[NodeProto],
    dtype: str,
    inputs: Shapes,
    outputs: Shapes,
    constants: Mapping[str, Array],
) -> ModelProto:
    described = [
        [helper.make_tensor_value_info(name, ELEMENTS[dtype], shape) for name, shape in it.items()]
        for it in (inputs, outputs)
    ]
    held = [numpy_helper.from_array(values, name) for name, values in constants.items()]
    graph = helper.make_graph(nodes, "graph", *described, held)
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(graph, opset_imports=[opset], ir_version=IR_VERSION)
