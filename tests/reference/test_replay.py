"""Replay on every task of the catalogue: eager's bits, no allocation, little memory, refusals."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from harness.adapter import Options
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.start import make_start
from impls.reference.adapter import Adapter, capture_task, rule_of
from impls.reference.capture import capture
from impls.reference.explain import explain
from impls.reference.program import ProgramError
from impls.reference.replay import Replay
from tests.reference.batches import TASKS, batches
from tests.sweeps import sweep


def adapters(task, dtype, *modes):
    start = make_start(task, 0)
    return [Adapter(task, start, Options(mode, "cpu", 1, dtype)) for mode in modes]


def same(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], strict=True, err_msg=name)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_replay_is_eager_bit_for_bit(task, dtype):
    steps = 3 if task.parameters > 1e6 else 12
    with threadpool_limits(1):
        eager, replay = adapters(task, dtype, "eager", "replay")
        staged = [(eager.stage(*batch), replay.stage(*batch)) for batch in batches(task, 3)]
        for step in range(steps):
            a, b = staged[step % 3]
            np.testing.assert_array_equal(eager.train_step(a), replay.train_step(b))
            np.testing.assert_array_equal(eager.predict(a), replay.predict(b))
            if step < 3:
                same(eager.gradients(a), replay.gradients(b))
        one, other = eager.state(), replay.state()
        same(one.weights, other.weights)
        same(one.slots, other.slots)


def test_replay_takes_batches_of_several_sizes():
    task = CATALOGUE["digits-mlp"]
    (inputs, targets), *_ = batches(task, 1)
    with threadpool_limits(1):
        eager, replay = adapters(task, "float64", "eager", "replay")
        for rows in (32, 7, 32, 1):
            a, b = (it.stage(inputs[:rows], targets[:rows]) for it in (eager, replay))
            assert eager.train_step(a) == replay.train_step(b)
            np.testing.assert_array_equal(eager.predict(a), replay.predict(b))
        same(eager.state().weights, replay.state().weights)


def replay_of(name="digits-mlp", phase="train", rows=32, dtype="float32"):
    task = CATALOGUE[name]
    program = capture_task(task, phase, rows, dtype)
    inputs = {
        name: np.full(program.slots[slot].shape, name == "epsilon", program.slots[slot].dtype)
        for name, slot in program.inputs.items()
        if slot in program.fixed
    }
    replay = Replay(program)
    replay.run(**inputs)
    return replay, inputs


SMALL = [it for it in TASKS if it.parameters * it.batch < 30e6]
"""Tasks whose thousand steps take seconds."""


@pytest.mark.parametrize(
    "task",
    sweep(SMALL, lambda task: task.parameters * task.batch < 3e6),
    ids=lambda task: task.name,
)
def test_a_thousand_steps_allocate_no_array(task):
    replay, _ = replay_of(task.name, rows=task.batch)
    scalars = rule_of(task.optimizer).scalars(1)
    staged = [
        {"inputs": inputs, "targets": targets.astype(np.int64 if targets.ndim == 1 else np.float32)}
        for inputs, targets in batches(task, 4)
    ]
    start = make_start(task, 0)
    replay.state["weights"][...] = np.concatenate([v.ravel() for v in start.weights.values()])

    def run(steps):
        for step in range(steps):
            replay.run(**staged[step % 4], **scalars)

    run(10)
    tracemalloc.start()
    try:
        run(100)
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()
        run(1000)
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak - before <= 64 * 1024
    assert after - before <= 16 * 1024


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_the_memory_bar(task, dtype):
    """At most 1.15 × weights, gradients, slots, batch, kept activations and one scratch buffer."""
    p, widths, rows = task.parameters, task.widths, task.batch
    size = np.dtype(dtype).itemsize
    targets = rows * (8 if task.data.shape.kind == "classes" else size * widths[-1])
    needed = size * (p + p + p * len(task.optimizer.slots) + rows * sum(widths)) + targets
    needed += size * max(p, rows * max(widths[1:]))
    told = explain(task, dtype=dtype)
    assert told.least_bytes <= told.peak_bytes <= 1.15 * needed


def test_the_arena_is_all_that_is_allocated():
    tracemalloc.start()
    try:
        replay, inputs = replay_of("mnist-mlp")
        replay.run()
        tracemalloc.reset_peak()
        replay.run()
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    planned = explain(CATALOGUE["mnist-mlp"]).peak_bytes
    assert planned <= held <= planned + 400_000  # the program itself, as Python objects
    assert peak - held <= 64 * 1024
    assert inputs


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": np.zeros((31, 64), np.float32)}, "31×64 float32; captured for 32×64 float32"),
        ({"inputs": np.zeros((32, 64))}, "32×64 float64; captured for 32×64 float32"),
        ({"targets": np.zeros((32, 1), np.int64)}, "32×1 int64"),
        ({"inputs": np.zeros((64, 32), np.float32).T}, "not contiguous"),
        ({"weights": np.zeros(9000, np.float32)}, "state"),
        ({"inputz": np.zeros((32, 64), np.float32)}, "inputz"),
    ],
)
def test_what_was_not_captured_is_refused(change, message):
    replay, _ = replay_of()
    replay.run()
    with pytest.raises(ProgramError, match=message):
        replay.run(**change)


def test_an_input_may_be_changed_in_its_place():
    replay, inputs = replay_of(phase="predict")
    replay.run()
    first = replay.run()["outputs"].copy()
    inputs["inputs"][...] = 1.0
    inputs["weights"][...] = 0.5
    assert (replay.run()["outputs"] != first).all()


def test_an_output_that_is_a_view_of_an_input_follows_it():
    program = capture(lambda xp, x: {"y": x.T, "z": x * 2.0}, {"x": np.zeros((2, 3))})
    replay = Replay(program)
    for _ in range(2):
        x = np.random.default_rng().random((2, 3))
        np.testing.assert_array_equal(replay.run(x=x)["y"], x.T)
