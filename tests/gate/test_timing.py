"""Old and new in turns, by workers whose times are given."""

from __future__ import annotations

import random

import pytest

from harness.errors import CellsFailed, NotComparable
from harness.gate import timing
from harness.gate.check import DEFAULTS
from harness.runs.block import run_block
from harness.runs.config import resolve
from harness.runs.process import WorkerFailed
from tests.fakes import FakeWorker
from tests.gate.making import SETUP, TASK, make_timed

CONFIG = resolve(None, DEFAULTS)
DATA = {TASK.data: "nowhere"}


class Engine:
    """Blocks of fake workers; this code's step takes `slower` times the older code's."""

    def __init__(self, slower: float, noise: float = 0.02, fails: str = "") -> None:
        self._slower, self._noise, self._fails = slower, noise, fails
        self._random = random.Random(0)
        self.blocks = []

    def run(self, block, observer) -> None:
        self.blocks.append(block)
        run_block(block, self._launch, observer)

    def _launch(self, setup, trial):
        gone = WorkerFailed("crashed", "killed by SIGSEGV")
        who = "old" if setup.twin else "new"
        step = 1e-4 * (1 if setup.twin else self._slower)
        step *= 1 + self._random.gauss(0, self._noise)
        fails = {"sample": gone} if self._fails == who else {}
        return FakeWorker(setup, [], lambda phase, round_: step, fails)


def compared(engine):
    keeper = timing.SideKeeper(CONFIG, engine, DATA, lambda text: None)
    return list(timing.compared([(TASK, SETUP)], keeper, 0.05))


@pytest.mark.parametrize(
    ("slower", "outcome"), [(1.0, "fine"), (1.05, "regression"), (0.8, "improved")]
)
def test_old_and_new_share_every_block(slower, outcome):
    engine = Engine(slower)
    found = compared(engine)
    assert {(it.phase, it.outcome) for it in found} == {("train", outcome), ("predict", outcome)}
    for it in found:
        assert it.low <= it.change <= it.high
        assert it.change == pytest.approx(slower - 1, abs=0.03)
    assert all(it.setups == (SETUP, timing.older(SETUP)) for it in engine.blocks)


def test_a_clear_answer_takes_the_first_look_only():
    engine = Engine(1.5)
    compared(engine)
    assert len(engine.blocks) == 12


def test_an_open_question_gets_more_blocks_and_may_stay_open():
    engine = Engine(1.025, noise=0.3)
    assert {it.outcome for it in compared(engine)} == {"cannot tell"}
    assert len(engine.blocks) == 48


def test_whose_code_fails_decides_what_it_means():
    with pytest.raises(CellsFailed, match=r"reference:replay.*killed by SIGSEGV"):
        compared(Engine(1.0, fails="new"))
    with pytest.raises(NotComparable, match="the older code cannot do it"):
        compared(Engine(1.0, fails="old"))


@pytest.mark.parametrize(("slower", "outcome"), [(1.0, "fine"), (1.08, "regression")])
def test_stored_figures_are_compared_beside_their_products(slower, outcome):
    now, before = {SETUP: {"train": make_timed(slower)}}, {SETUP: {"train": make_timed()}}
    (line,) = timing.stored(now, before, 0.05)
    assert line.outcome == outcome
    assert line.change == pytest.approx(slower - 1, abs=0.002)


def test_phases_that_only_one_has_are_not_compared():
    before = {SETUP: {"predict": make_timed()}}
    assert list(timing.stored({SETUP: {"train": make_timed()}}, before, 0.05)) == []
