"""Training loops written by hand for one framework each, knowing nothing of the harness.

Each function takes widths, the initial weights in layer order (weight (in, out), bias), and batches
as NumPy pairs, and returns (reset, run): `reset()` goes back to the start, `run(n)` trains n steps
with Adam, cycling through the batches, or predicts where it cannot train. Used to see what the
harness adds to a step.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import numpy as np

Batches = Sequence[tuple[np.ndarray, np.ndarray]]
Loop = tuple[Callable[[], None], Callable[[int], None]]


def pytorch(weights: Sequence[np.ndarray], batches: Batches) -> Loop:
    import torch
    from torch import nn

    layers: list[nn.Module] = []
    for weight in weights[::2]:
        layers += [nn.Linear(*weight.shape), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    criterion = nn.CrossEntropyLoss()
    data = [(torch.tensor(x), torch.tensor(y)) for x, y in batches]

    def reset() -> None:
        with torch.no_grad():
            for parameter, start in zip(model.parameters(), weights, strict=True):
                parameter.copy_(torch.tensor(start.T))
        for state in optimizer.state.values():
            for slot in state.values():
                slot.zero_()

    def run(steps: int) -> None:
        for step in range(steps):
            x, y = data[step % len(data)]
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()

    return reset, run


def tensorflow(weights: Sequence[np.ndarray], batches: Batches) -> Loop:
    import keras
    import tensorflow as tf

    from harness.tasks.spec import Adam
    from impls.tensorflow.optimizers import ExactAdam  # the formula is not what is compared

    model = keras.Sequential([keras.Input((weights[0].shape[0],))])
    for weight in weights[:-2:2]:
        model.add(keras.layers.Dense(weight.shape[1], activation="relu"))
    model.add(keras.layers.Dense(weights[-1].shape[0]))
    optimizer = ExactAdam(Adam())
    optimizer.build(model.trainable_variables)
    data = [(tf.constant(x), tf.constant(y)) for x, y in batches]

    @tf.function
    def train(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            losses = tf.nn.sparse_softmax_cross_entropy_with_logits(y, model(x, training=True))
            loss = tf.reduce_mean(losses)
        gradients = tape.gradient(loss, model.trainable_weights)
        optimizer.apply(gradients, model.trainable_variables)
        return loss

    def reset() -> None:
        model.set_weights(weights)
        for slot in (optimizer.iterations, *optimizer._momentums, *optimizer._velocities):
            slot.assign(tf.zeros_like(slot.value))

    def run(steps: int) -> None:
        for step in range(steps):
            x, y = data[step % len(data)]
            train(x, y)

    return reset, run


def reference(weights: Sequence[np.ndarray], batches: Batches) -> Loop:
    from functools import partial

    from impls.reference.capture import capture
    from impls.reference.network import Network
    from impls.reference.optim import Adam
    from impls.reference.replay import Replay

    widths = (*(weight.shape[0] for weight in weights[::2]), weights[-1].shape[0])
    network, rule = Network(widths, "relu", "identity", "cross-entropy"), Adam(1e-3)
    start = np.concatenate([weight.ravel() for weight in weights])
    arrays = {name: start.copy() for name in ("weights", *rule.slots)}
    scalars = {name: np.asarray(it, start.dtype) for name, it in rule.scalars(1).items()}
    first = dict(zip(("inputs", "targets"), batches[0], strict=True))
    replay = Replay(capture(partial(network.train, rule), arrays | first | scalars))
    taken = 0

    def reset() -> None:
        nonlocal taken
        taken = 0
        for name, values in replay.state.items():
            values[...] = start if name == "weights" else 0

    def run(steps: int) -> None:
        nonlocal taken
        for step in range(steps):
            x, y = batches[step % len(batches)]
            taken += 1
            replay.run(inputs=x, targets=y, **rule.scalars(taken))

    return reset, run


def onnxruntime(weights: Sequence[np.ndarray], batches: Batches) -> Loop:
    """Predictions: it does not train."""
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    nodes, x, last = [], "x", len(weights) // 2 - 1
    for layer in range(last + 1):
        z = f"z{layer}"
        nodes.append(helper.make_node("Gemm", [x, f"w{2 * layer}", f"w{2 * layer + 1}"], [z]))
        if layer < last:
            nodes.append(helper.make_node("Relu", [z], [x := f"h{layer}"]))
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", weights[0].shape[0]])],
        [helper.make_tensor_value_info(z, TensorProto.FLOAT, ["n", weights[-1].shape[0]])],
        [numpy_helper.from_array(it, f"w{number}") for number, it in enumerate(weights)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    options = ort.SessionOptions()
    options.intra_op_num_threads = int(os.environ["OMP_NUM_THREADS"])
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )

    def run(steps: int) -> None:
        for step in range(steps):
            session.run([z], {"x": batches[step % len(batches)][0]})

    return lambda: None, run


def sklearn(weights: Sequence[np.ndarray], batches: Batches) -> Loop:
    import copy

    from sklearn.neural_network import MLPClassifier

    hidden = tuple(weight.shape[1] for weight in weights[:-2:2])
    fresh = MLPClassifier(hidden, alpha=0.0, batch_size=len(batches[0][0]), shuffle=False)
    inputs, targets = (np.concatenate(it) for it in zip(*batches, strict=True))
    rows = np.arange(len(inputs)).reshape(len(batches), -1)
    fresh.partial_fit(*batches[0], classes=np.arange(len(weights[-1])))
    fresh.coefs_, fresh.intercepts_ = weights[::2], weights[1::2]
    del fresh._optimizer
    model = fresh

    def reset() -> None:
        nonlocal model
        model = copy.deepcopy(fresh)

    def run(steps: int) -> None:
        for step in range(steps):
            some = rows[step % len(rows)]
            model.partial_fit(inputs[some], targets[some])

    return reset, run


LOOPS = {
    "pytorch": pytorch,
    "tensorflow": tensorflow,
    "reference": reference,
    "onnxruntime": onnxruntime,
    "sklearn": sklearn,
}
