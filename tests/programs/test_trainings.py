"""Where trainings begin, and what is said of those that diverge."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from harness.adapter import Array
from harness.programs.initializers import INITIALIZERS, fresh_weights, initializer_of
from harness.programs.trainings import trained
from harness.tasks.programs import Description, LayerFacts, LossFacts
from harness.tasks.spec import Initializer
from harness.tasks.start import draw_layer

WIDTHS = (6, 8, 1)
DENSE = tuple(
    LayerFacts(kind="dense", shown="", options={"inputs": a, "outputs": b, "bias": True})
    for a, b in pairwise(WIDTHS)
)
LOSS = LossFacts(name="mse", shown="")


def described(*initializers: str) -> Description:
    return Description(framework="any", layers=DENSE, loss=LOSS, initializers=initializers)


def drawn(initializer: Initializer, seed: int) -> dict[str, Array]:
    generator = np.random.default_rng(seed)
    weights = {}
    for index, shape in enumerate(pairwise(WIDTHS)):
        weight, bias = draw_layer(initializer, generator, *shape)
        weights |= {f"layer{index}.weight": weight, f"layer{index}.bias": bias}
    return weights


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_an_initializer_is_known_by_its_weights(initializer: Initializer) -> None:
    for seed in range(20):
        weights = {k: it.astype(np.float32) for k, it in drawn(initializer, seed).items()}
        assert initializer_of(described(), weights) == initializer


def test_others_are_unknown_unless_they_are_named() -> None:
    normal = {k: 0.05 * np.random.default_rng(0).normal(size=it.shape) for k, it in ONE.items()}
    assert initializer_of(described(), normal) is None
    assert initializer_of(described("he-uniform", "he-uniform"), normal) == "he-uniform"
    assert initializer_of(described("he-uniform", ""), normal) is None
    assert initializer_of(described("he-uniform", "he-uniform"), ONE) == "fan-in-uniform"
    assert initializer_of(described(), {k: it * np.nan for k, it in ONE.items()}) is None


ONE = drawn("fan-in-uniform", 0)


def test_every_seed_has_new_weights() -> None:
    given = {**ONE, "layer2.scale": np.ones(3)}
    del given["layer1.bias"]
    for initializer in (None, "glorot-uniform"):
        seeds = [fresh_weights(given, initializer, seed) for seed in (0, 0, 1)]
        assert all(it.keys() == given.keys() for it in seeds)
        assert np.array_equal(seeds[0]["layer0.weight"], seeds[1]["layer0.weight"])
        assert not np.isin(seeds[0]["layer0.weight"], seeds[2]["layer0.weight"]).all() or (
            initializer is None
        )
        assert np.array_equal(seeds[2]["layer2.scale"], np.ones(3))
    assert not seeds[2]["layer0.bias"].any()
    shuffled = fresh_weights(given, None, 3)["layer0.weight"]
    assert np.array_equal(np.sort(shuffled, None), np.sort(given["layer0.weight"], None))


class Fake:
    """A program whose outputs are one number after every training."""

    title = "fake"
    weights = ONE

    def __init__(self, output: float) -> None:
        self.description, self._output = described(), output
        self.starts: list[Mapping[str, Array]] = []

    def train(self, weights: Mapping[str, Array], data: Mapping[str, Array]) -> Array:
        self.starts.append(weights)
        return np.full(data["y_test"].shape, self._output)


@pytest.mark.parametrize(
    ("a", "b", "differ", "low", "high"),
    [
        (0.0, 0.0, False, 0.0, 0.0),
        (0.0, np.nan, True, None, None),
        (np.inf, 0.0, True, None, None),
        (np.nan, 1e300, False, 0.0, 0.0),
    ],
)
def test_a_training_that_diverges_is_worse_than_any(
    a: float, b: float, differ: bool, low: Any, high: Any
) -> None:
    one, other = Fake(a), Fake(b)
    whole = trained(one, other, None, 6)  # type: ignore[arg-type]
    assert (whole.differ, whole.low, whole.high) == (differ, low, high)
    assert whole.initializer == "fan-in-uniform"
    assert all((it is None) != np.isfinite(a) for it in whole.values[0])
    for mine, theirs in zip(one.starts, other.starts, strict=True):
        assert mine is theirs
    assert len({it["layer0.weight"][0, 0] for it in one.starts}) == 6
