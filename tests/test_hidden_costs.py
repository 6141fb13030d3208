"""What an adapter does beside its steps is seen: in a run, and by the proof."""

from __future__ import annotations

import importlib

import psutil
import pytest

from harness.adapter import Options
from harness.analysis.settings import setup_faults
from harness.runs.engines import LocalEngine
from tests.fakes import Ledger, block, setup
from tests.proof.examining import examined
from tests.runs.conftest import faulty_frameworks, staged
from tests.sweeps import sweep

__all__ = ["faulty_frameworks", "staged"]
pytestmark = pytest.mark.usefixtures("faulty_frameworks")

IN_A_RUN = {
    "honest": "",
    "thread": "its threads still worked after",
    "lingering": "threads: ",
    "child": "its threads still worked after",
    "escaped": "its threads still worked after",
    "growing": "train: memory grows by 20",
}
IN_A_PROOF = {
    "honest": "",
    "thread": "work on although nothing is asked",
    "lingering": "work on although nothing is asked",
    "child": "work on although nothing is asked",
}
ESCAPED = "# a process that left its group"


def descendants() -> set[psutil.Process]:
    return set(psutil.Process().children(recursive=True))


@pytest.mark.parametrize("mode", sweep(IN_A_RUN, ("honest", "escaped", "growing").__contains__))
def test_in_a_run(staged, tmp_path, mode):
    before = descendants()
    ledger, asked = Ledger(), setup("hidden", mode)
    LocalEngine(tmp_path / "logs").run(
        block(
            asked,
            phases=("train",),
            rounds=5,
            trains=False,
            data=str(staged),
            sample_seconds=0.01,
            warmup_seconds=0.01,
        ),
        ledger,
    )
    (record,) = ledger.records
    assert record.status == "ok", record.error
    faults = setup_faults([record])
    if not IN_A_RUN[mode]:
        assert faults == ()
        assert record.usage.unsettled == 0
        assert record.usage.processes == 0
        assert all(it.ok for it in record.checks)
        return
    assert any(it.startswith(IN_A_RUN[mode]) for it in faults), faults
    assert bool(record.usage.processes) is (mode in ("child", "escaped"))
    assert bool(record.usage.memory) is (mode in ("child", "escaped"))
    assert descendants() == before
    if mode == "escaped":
        assert not [it for it in psutil.process_iter(["cmdline"]) if ESCAPED in str(it.info)]


@pytest.mark.parametrize("mode", sweep(IN_A_PROOF, ("honest", "thread").__contains__))
def test_in_a_proof(mode):
    hidden = importlib.import_module("impls.hidden.adapter")
    made = []

    def kind(task, start, options):
        adapter = hidden.Adapter(task, start, Options(mode, "cpu", 1, options.dtype))
        made.append(adapter)
        return adapter

    try:
        found = {it.check: it.detail for it in examined(kind).findings if not it.ok}
    finally:
        for it in made:
            it.end()
    found.pop("settings", None)  # the mode is its own
    assert set(found) <= {"threads"}
    assert IN_A_PROOF[mode] in found.get("threads", "")
