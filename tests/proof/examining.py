"""Small tasks examined in this process: the reference, and the reference with a twist."""

from __future__ import annotations

import functools

import threadpoolctl

from harness.adapter import Options
from harness.proof import prover as core
from harness.proof.lockstep import Oracle
from harness.tasks.datasets import load
from harness.tasks.spec import Adam, Model, Task, Teacher
from harness.tasks.start import make_start
from impls.reference.adapter import Adapter

TASK = Task(
    name="small",
    data=Teacher(features=8, classes=3, train=90, test=10, teacher_width=8),
    model=Model(hidden=(8, 8)),
    loss="cross-entropy",
    optimizer=Adam(),
    batch_size=16,
    epochs=1,
)
"""Five steps an epoch."""


@functools.cache
def arrays_of(data):
    return load(data, None)


def truth_of(task, seed=0, kind=Adapter):
    return kind(task, make_start(task, seed), Options("eager", "cpu", 1, "float64"))


def examined(
    kind=Adapter,
    task=TASK,
    *,
    dtype="float64",
    mode="replay",
    steps=12,
    seed=0,
    lane="identical",
    truth=Adapter,
    trains=True,
):
    """What becomes of an adapter of this kind, on one thread, held to a truth of that kind."""
    start, options = make_start(task, seed), Options(mode, "cpu", 1, dtype)
    with threadpoolctl.threadpool_limits(1):
        return core.examine(
            kind(task, start, options),
            Oracle(truth_of(task, seed, truth), start, options, trains),
            arrays_of(task.data),
            lane,
            steps=steps,
        )


def failed(examination):
    return {it.check: it.detail for it in examination.findings if not it.ok}
