"""A framework that pauses now and then, in real processes: its median step does not win."""

from __future__ import annotations

import pytest

from harness.analysis.pairs import entries, pair_of
from harness.runs.block import run_block
from harness.runs.engines import ForkServers
from tests.builders import make_task
from tests.fakes import Ledger, block, setup

pytestmark = pytest.mark.usefixtures("faulty_frameworks")


def test_faster_steps_with_pauses_are_told_from_faster_work(staged, tmp_path):
    task, ledger = make_task("digits-short", epochs=2), Ledger()
    setups = tuple(
        setup("faulty", it, task=task.name, digest=task.digest) for it in ("pauses", "steady")
    )
    servers = ForkServers(tmp_path, None)
    servers.prepare(setups)
    try:
        for number in range(6):
            given = block(
                *setups,
                name=f"a-run/b{number}",
                number=number,
                task=task,
                phases=("train",),
                rounds=10,
                alone=False,
                data=str(staged),
                sample_seconds=0.003,
                warmup_seconds=0.003,
            )
            run_block(given, lambda it, trial: servers.fork(it, tmp_path / "log", None), ledger)
    finally:
        servers.close()
    assert {it.error for it in ledger.records} == {None}
    ours, theirs = entries(ledger.records).values()
    pair = pair_of(ours, theirs, "train")
    if ours.setup.mode == "steady":
        pair = pair_of(theirs, ours, "train")
    assert pair
    assert pair.speed.low
    assert pair.speed.low > 1, "its usual step is the shorter one"
    assert pair.denied_by == "trainings"
    assert pair.reason == "faster in the median step, slower in whole trainings: pauses"
