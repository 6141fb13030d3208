"""The search for a formula that computes what a program showed, without any framework."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.programs.causes import Clues
from harness.programs.comparison import Search
from harness.proof.formulas import Formula, steps

DECLARED = Formula(
    hidden=("relu",),
    output="softmax",
    biases=(True, True),
    norms=("", ""),
    loss="cross-entropy-of-probabilities",
    optimizer="sgd",
    learning_rate=0.5,
    momentum=0.9,
)


def test_a_formula_that_departs_late_is_searched_to_the_step_where_it_does() -> None:
    """Keras on TensorFlow clips no probabilities, which shows once one of them is tiny."""
    random = np.random.default_rng(1)
    weights = {
        "layer0.weight": random.normal(size=(16, 16)) / 4,
        "layer0.bias": np.zeros(16),
        "layer1.weight": random.normal(size=(16, 10)) / 4,
        "layer1.bias": np.zeros(10),
    }
    scores = random.normal(size=(16, 10))
    inputs = random.normal(size=(60, 32, 16))
    batches = [(rows, (rows @ scores).argmax(axis=1)) for rows in inputs]
    program = replace(DECLARED, loss="cross-entropy-of-unclipped-probabilities")
    shown = list(steps(program, weights, weights, batches))
    search = Search(Clues(shown, weights, weights, batches))

    departs = search.followed(DECLARED).first
    assert departs is not None
    assert departs.step > 12
    assert program in search.explained([DECLARED])
