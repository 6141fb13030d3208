"""The explanation of a program: its rows, its totals, its text."""

from __future__ import annotations

import pytest

from harness.tasks.catalogue import CATALOGUE
from harness.tasks.costs import flops
from impls.reference.explain import explain

MNIST = CATALOGUE["mnist-mlp"]


def test_rows_tell_operations_shapes_bytes_and_flops():
    rows = explain(MNIST).rows
    first = next(row for row in rows if row.operation == "matmul")
    assert first.operands[0] == "inputs"
    assert first.shape == "32×64 float32"
    assert first.bytes == 32 * 64 * 4
    assert first.flops == 2 * 32 * 784 * 64
    assert {row.memory for row in rows} == {"new", "reused", "in place", "view", "packed"}
    assert rows[-1].result == "weights′"
    assert "loss" in {row.result for row in rows}


def test_a_value_in_place_or_in_view_shares_its_buffer():
    rows = explain(MNIST).rows
    by_result = {row.result: row for row in rows}
    for row in rows:
        if row.memory == "in place":
            shared = [by_result[it].buffer for it in row.operands if it in by_result]
            state = ["first_moment", "second_moment", "weights"]
            assert row.buffer in shared or set(row.operands) & set(state)


def test_totals():
    told = explain(MNIST)
    assert told.peak_bytes == told.arena_bytes + told.fed_bytes
    assert told.peak_bytes < told.unshared_bytes
    assert told.least_bytes <= told.peak_bytes <= 1.25 * told.least_bytes
    biases = 2 * 32 * (64 + 64 + 10)  # their sums over the batch, as products with ones
    products = sum(row.flops for row in told.rows if row.operation == "matmul")
    assert products == flops(MNIST, "train") + biases
    assert told.flops == sum(row.flops for row in told.rows)


@pytest.mark.parametrize("phase", ["train", "predict"])
@pytest.mark.parametrize(
    "name", ["digits-mlp", "article-keras", "cancer-binary", "diabetes-regression"]
)
def test_the_text_has_a_line_for_every_instruction(name, phase):
    told = explain(CATALOGUE[name], phase=phase, rows=5, dtype="float64")
    lines = str(told).splitlines()
    assert lines[0] == f"{name}: one {phase} iteration over 5 examples in float64"
    body = [line.split() for line in lines[3 : 3 + len(told.rows)]]
    assert [int(words[0]) for words in body] == list(range(len(told.rows)))
    assert all(len(line) <= 160 for line in lines)
