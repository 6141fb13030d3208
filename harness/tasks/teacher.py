"""Synthetic classes, drawn from a seed: a random network labels standard normal inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.tasks.data import Teacher

NETWORK, CALIBRATION, TRAIN, TEST = range(4)  # streams of one seed: none moves another
CALIBRATION_ROWS = 4096
CHUNK = 2**22  # float64 numbers in one temporary: 32 MiB, however many rows there are

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]


class Network(NamedTuple):
    """logits = tanh(x·hidden + bias)·output + offset, for x of shape (rows, features)."""

    hidden: Float64
    bias: Float64
    output: Float64
    offset: Float64


def draw(data: Teacher) -> tuple[Float32, Int64, Float32, Int64]:
    """Training inputs (rows, features), their classes (rows,), then the same for testing.

    The network depends on neither number of rows, so more rows of one seed are more of the same
    problem. Labels are computed in float64: rounding, which differs between machines, would have to
    meet a tie of 1 in 10¹² to change one.
    """
    network = _network(data)
    train = _inputs(data, TRAIN, data.train)
    test = _inputs(data, TEST, data.test)
    return train, _classes(network, train), test, _classes(network, test)


def _network(data: Teacher) -> Network:
    """Random weights, each logit centred and scaled over a sample so that classes are balanced."""
    generator = _generator(data, NETWORK)
    hidden = generator.standard_normal((data.features, data.teacher_width))
    hidden /= np.sqrt(data.features)
    bias = generator.standard_normal(data.teacher_width)
    output = generator.standard_normal((data.teacher_width, data.classes))
    raw = Network(hidden, bias, output, np.zeros(data.classes))
    rows = CALIBRATION_ROWS
    total, squares = np.zeros(data.classes), np.zeros(data.classes)
    for _, logits in _logits(raw, _inputs(data, CALIBRATION, rows)):
        total += logits.sum(axis=0)
        squares += np.square(logits).sum(axis=0)
    mean = total / rows
    deviation = np.sqrt(squares / rows - mean**2)
    return raw._replace(output=output / deviation, offset=-mean / deviation)


def _classes(network: Network, inputs: Float32) -> Int64:
    classes = np.empty(len(inputs), np.int64)
    for rows, logits in _logits(network, inputs):
        np.argmax(logits, axis=1, out=classes[rows])
    return classes


def _logits(network: Network, inputs: Float32) -> Iterator[tuple[slice, Float64]]:
    """The network's outputs, as many rows at a time as one temporary may hold."""
    step = max(1, CHUNK // max(*network.hidden.shape, len(network.offset)))
    for first in range(0, len(inputs), step):
        rows = slice(first, first + step)
        inner = inputs[rows].astype(np.float64) @ network.hidden
        inner += network.bias
        np.tanh(inner, out=inner)
        logits = inner @ network.output
        logits += network.offset
        yield rows, logits


def _inputs(data: Teacher, stream: int, rows: int) -> Float32:
    return _generator(data, stream).standard_normal((rows, data.features), dtype=np.float32)


def _generator(data: Teacher, stream: int) -> np.random.Generator:
    # A spawn key keeps these streams apart from those of the shared start with the same seed.
    return np.random.Generator(
        np.random.PCG64(np.random.SeedSequence(data.seed, spawn_key=(stream,)))
    )
