"""The shared start: the same for the same seed, within its bounds, each epoch its own order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tasks.spec import SGD, Model, Task, Teacher
from harness.tasks.start import make_start

SEEDS = st.integers(0, 2**70)
INITIALIZERS = ("glorot-uniform", "he-uniform", "fan-in-uniform")


def make_task(train=50, batch_size=8, hidden=(5, 4), initializer="glorot-uniform", shuffle=True):
    return Task(
        name="small",
        data=Teacher(features=6, classes=3, train=train, test=1),
        model=Model(hidden=hidden, initializer=initializer),
        loss="cross-entropy",
        optimizer=SGD(),
        batch_size=batch_size,
        shuffle=shuffle,
        epochs=1,
    )


def bound(initializer, fan_in, fan_out):
    squared = {
        "glorot-uniform": 6 / (fan_in + fan_out),
        "he-uniform": 6 / fan_in,
        "fan-in-uniform": 1 / fan_in,
    }
    return squared[initializer] ** 0.5


@given(
    seed=SEEDS,
    hidden=st.lists(st.integers(1, 9), max_size=4).map(tuple),
    initializer=st.sampled_from(INITIALIZERS),
)
def test_weights_have_their_names_shapes_and_bounds(seed, hidden, initializer):
    task = make_task(hidden=hidden, initializer=initializer)
    weights = make_start(task, seed).weights
    names = [f"layer{i}.{part}" for i in range(len(task.layers)) for part in ("weight", "bias")]
    assert list(weights) == names
    for index, (fan_in, fan_out) in enumerate(task.layers):
        weight, bias = weights[f"layer{index}.weight"], weights[f"layer{index}.bias"]
        assert (weight.shape, bias.shape) == ((fan_in, fan_out), (fan_out,))
        assert weight.dtype == bias.dtype == np.float64
        limit = bound(initializer, fan_in, fan_out)
        assert np.abs(weight).max() <= limit
        assert np.abs(bias).max() <= (limit if initializer == "fan-in-uniform" else 0)


@pytest.mark.parametrize("initializer", INITIALIZERS)
def test_weights_fill_their_interval_evenly(initializer):
    start = make_start(make_task(hidden=(400, 300), initializer=initializer), 1)
    scaled = start.weights["layer1.weight"].ravel() / bound(initializer, 400, 300)
    counts, _ = np.histogram(scaled, bins=10, range=(-1, 1))
    assert counts == pytest.approx(len(scaled) / 10, rel=0.05)
    biased = np.any(start.weights["layer1.bias"])
    assert biased == (initializer == "fan-in-uniform")


@given(seed=SEEDS)
def test_same_seed_same_start_other_seed_another(seed):
    task = make_task()
    one, two, other = (make_start(task, number) for number in (seed, seed, seed + 1))
    for name in one.weights:
        assert np.array_equal(one.weights[name], two.weights[name])
    assert not np.array_equal(one.weights["layer0.weight"], other.weights["layer0.weight"])
    assert np.array_equal(one.epoch_order(3), two.epoch_order(3))
    assert not np.array_equal(one.epoch_order(3), other.epoch_order(3))


def test_start_is_pinned():
    """Another release of NumPy that draws other numbers must not pass unseen."""
    start = make_start(make_task(), 7)
    assert start.weights["layer0.weight"][0, :2].tolist() == pytest.approx(
        [0.18477824998948544, 0.5867236679869556]
    )
    assert start.epoch_order(0)[0].tolist() == [3, 6, 28, 23, 48, 38, 0, 25]


@given(seed=SEEDS, train=st.integers(1, 60), batch_size=st.integers(1, 60), epoch=st.integers(0, 9))
def test_an_epoch_visits_no_row_twice(seed, train, batch_size, epoch):
    task = make_task(train=train, batch_size=min(batch_size, train))
    order = make_start(task, seed).epoch_order(epoch)
    assert order.shape == (task.steps_per_epoch, task.batch)
    assert order.dtype == np.int64
    rows = order.ravel()
    assert len(set(rows)) == len(rows)
    assert set(rows) <= set(range(train))
    if train % task.batch == 0:
        assert sorted(rows) == list(range(train))


def test_every_epoch_has_its_own_order():
    start = make_start(make_task(batch_size="full"), 0)
    orders = [tuple(start.epoch_order(epoch)[0]) for epoch in range(20)]
    assert len(set(orders)) == 20
    assert all(sorted(order) == list(range(50)) for order in orders)


def test_who_sits_out_changes():
    start = make_start(make_task(train=50, batch_size=8), 0)
    absent = [frozenset(range(50)) - set(start.epoch_order(epoch).ravel()) for epoch in range(5)]
    assert {len(rows) for rows in absent} == {2}
    assert len(set(absent)) > 1


def test_without_shuffle_rows_keep_their_order():
    start = make_start(make_task(shuffle=False), 3)
    for epoch in (0, 1):
        assert start.epoch_order(epoch).ravel().tolist() == list(range(48))


def test_weights_and_order_do_not_move_each_other():
    """What another batch size or another model draws changes only what it must."""
    one = make_start(make_task(batch_size=8), 5)
    other = make_start(make_task(batch_size=16), 5)
    assert np.array_equal(one.weights["layer2.weight"], other.weights["layer2.weight"])
    deeper = make_start(make_task(hidden=(5, 4, 3, 2)), 5)
    assert np.array_equal(one.epoch_order(1), deeper.epoch_order(1))
    assert np.array_equal(one.weights["layer0.weight"], deeper.weights["layer0.weight"])
    assert one.epoch_order(1).ravel()[:48].tolist() == other.epoch_order(1).ravel().tolist()


def test_weights_and_inputs_of_one_seed_are_strangers():
    """A student that began as its teacher, or as its data, would be no test."""
    from harness.tasks.datasets import draw

    task = make_task()
    inputs = draw(task.data)[0]
    weights = make_start(task, task.data.seed).weights["layer0.weight"].ravel()
    assert abs(np.corrcoef(inputs.ravel()[: len(weights)], weights)[0, 1]) < 0.5


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="non-negative"):
        make_start(make_task(), -1)
