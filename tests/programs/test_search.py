"""The search for a formula that computes what a program showed, without any framework."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from harness.programs.causes import Clues
from harness.programs.comparison import Search
from harness.proof.formulas import Formula, same_form, steps

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


def random_weights(random: np.random.Generator, size: float) -> dict[str, np.ndarray]:
    return {
        "layer0.weight": size * random.normal(size=(16, 16)),
        "layer0.bias": np.zeros(16),
        "layer1.weight": size * random.normal(size=(16, 10)),
        "layer1.bias": np.zeros(10),
    }


def test_a_formula_that_departs_late_is_searched_to_the_step_where_it_does() -> None:
    """Keras on TensorFlow clips no probabilities, which shows once one of them is tiny."""
    random = np.random.default_rng(1)
    weights = random_weights(random, 0.25)
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


def test_clipping_alone_is_a_cause_in_either_direction() -> None:
    """A loss of probabilities that clips, and one of logits: one mathematics but for that."""
    random = np.random.default_rng(2)
    weights = random_weights(random, 3.0)
    batches = [(rows, np.arange(32) % 10) for rows in random.normal(size=(3, 32, 16))]
    of_logits = replace(DECLARED, output="identity", loss="cross-entropy")
    for mine, theirs, line in (
        (DECLARED, of_logits, "the loss clips no probabilities"),
        (of_logits, DECLARED, "the loss clips probabilities at 1e-07"),
    ):
        shown = list(steps(theirs, weights, weights, batches))
        search = Search(Clues(shown, weights, weights, batches))
        start = same_form(mine, theirs)
        (formula,) = search.explained([start, theirs])
        assert [it.line for it in search.causes(start, formula)] == [line]
