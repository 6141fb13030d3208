"""A user's ONNX file, read: a chain of Gemm, MatMul, Add and activation nodes. Import only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from harness.tasks.programs import (
    Array,
    Described,
    Description,
    LayerFacts,
    Options,
    Parts,
    Unreadable,
    refuse_large,
)

ACTIVATIONS: dict[str, str] = {
    "Relu": "relu",
    "Tanh": "tanh",
    "Sigmoid": "sigmoid",
    "Gelu": "gelu",
    "LeakyRelu": "leaky-relu",
    "Elu": "elu",
    "Softplus": "softplus",
    "Softmax": "softmax",
    "LogSoftmax": "log-softmax",
    "Identity": "identity",
    "Flatten": "flatten",
    "Dropout": "dropout",
    "LayerNormalization": "layer-norm",
    "BatchNormalization": "batch-norm",
}
DOMAINS = ("", "ai.onnx", "com.microsoft")
"""Those whose operators have the meaning of their name."""


def opened(path: Path) -> Parts:
    """The file's model.

    Raises Unreadable where its graph is no chain of such nodes or is too large; for a broken file
    whatever onnx raises.
    """
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(str(path), load_external_data=False)
    graph = model.graph
    for size in _sizes(graph, path.parent):
        refuse_large(size)
    onnx.load_external_data_for_model(model, str(path.parent))
    constants = {it.name: numpy_helper.to_array(it) for it in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    inputs = [it for it in graph.input if it.name not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise Unreadable(
            f"its graph has {len(inputs)} inputs and {len(graph.output)} outputs; one each is due"
        )
    chain = _chain(graph, constants, inputs[0].name)
    shape = inputs[0].type.tensor_type.shape.dim
    if len(shape) > 2 and chain and chain[0].op_type != "Flatten":
        raise Unreadable(f"its input has {len(shape)} axes; rows and features are due")
    weights: dict[str, Array] = {}
    layers = tuple(_layers(chain, constants, weights))
    if not weights:
        raise Unreadable("its graph has no layer with weights")
    return Parts(Described(Description(framework="onnx", layers=layers), weights))


def _sizes(graph: Any, folder: Path) -> Iterator[int]:
    """Bytes of all its arrays in float64, and of the files that hold some of them."""
    yield sum(8 * math.prod(it.dims) for it in graph.initializer)
    for tensor in graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                yield (folder / entry.value).stat().st_size


def _chain(graph: Any, constants: dict[str, Array], name: str) -> list[Any]:
    """The nodes from the input to the output, each fed by the one before and by constants."""
    nodes = [it for it in graph.node if it.op_type != "Constant"]
    chain = []
    while name != graph.output[0].name:
        users = [it for it in nodes if name in it.input]
        if len(users) != 1:
            raise Unreadable(f"{len(users)} nodes take {name!r}; the graph is no chain of layers")
        (node,) = users
        for other in node.input:
            if other and other != name and other not in constants:
                raise Unreadable(f"node {node.op_type} joins two branches; that is no MLP")
        chain.append(node)
        nodes.remove(node)
        name = node.output[0]
    return chain


def _layers(
    chain: list[Any], constants: dict[str, Array], weights: dict[str, Array]
) -> Iterator[LayerFacts]:
    index = 0
    while chain:
        node = chain.pop(0)
        if node.op_type in ("Gemm", "MatMul"):
            weight, bias = _dense(node, constants)
            inputs, outputs = weight.shape
            if bias is None and chain and chain[0].op_type == "Add":
                bias = _added(chain.pop(0), constants)
            weights[f"layer{index}.weight"] = weight.astype(np.float64)
            if bias is not None:
                if bias.size != outputs:
                    raise Unreadable(f"a bias has shape {bias.shape}; ({outputs},) is due")
                weights[f"layer{index}.bias"] = bias.astype(np.float64).reshape(-1)
            index += 1
            options: Options = {"inputs": inputs, "outputs": outputs, "bias": bias is not None}
            shown = f"{node.op_type}({inputs}, {outputs})"
            yield LayerFacts(kind="dense", shown=shown, options=options)
        else:
            shown = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
            yield LayerFacts(kind=_kind(node), shown=shown)


def _kind(node: Any) -> str:
    attributes = _attributes(node)
    if node.domain not in DOMAINS or attributes.get("axis", 1) not in (1, -1):
        return "other"
    if node.op_type == "Gelu" and attributes.get("approximate", b"none") != b"none":
        return "gelu-tanh"
    return ACTIVATIONS.get(node.op_type, "other")


def _attributes(node: Any) -> dict[str, Any]:
    return {it.name: onnx.helper.get_attribute_value(it) for it in node.attribute}


def _dense(node: Any, constants: dict[str, Array]) -> tuple[Array, Array | None]:
    attributes = _attributes(node)
    if len(node.input) < 2 or node.input[1] not in constants:
        raise Unreadable(f"node {node.op_type} has no constant weight as its second input")
    weight = constants[node.input[1]]
    bias = constants[node.input[2]] if len(node.input) > 2 and node.input[2] else None
    if weight.ndim != 2:
        raise Unreadable(f"node {node.op_type} has a weight of shape {weight.shape}")
    if attributes.get("transA") or attributes.get("alpha", 1.0) != 1.0:
        raise Unreadable("node Gemm transposes or scales its input; that is no dense layer")
    if bias is not None and attributes.get("beta", 1.0) != 1.0:
        raise Unreadable("node Gemm scales its bias; that is no dense layer")
    return (weight.T if attributes.get("transB") else weight), bias


def _added(node: Any, constants: dict[str, Array]) -> Array:
    added = [constants[it] for it in node.input if it in constants]
    if len(added) != 1:
        raise Unreadable("node Add has no constant bias")
    return added[0]
