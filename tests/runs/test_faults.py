"""Every way in which a worker can fail, in real processes: none harms another or stays behind."""

from __future__ import annotations

import os
import sys

import psutil
import pytest

from harness.runs.block import run_block
from harness.runs.engines import LocalEngine
from harness.runs.process import WorkerFailed, WorkerProcess
from harness.worker.messages import Load
from impls.pytorch.compiler import without_compiler
from tests.fakes import TASK, Ledger, block, setup
from tests.sweeps import needs

DEATHS = {
    "segv": ("crashed", "killed by SIGSEGV"),
    "abrt": ("crashed", "killed by SIGABRT"),
    "kill": ("crashed", "killed by SIGKILL: by a user, or by the system because memory ran out"),
    "exit": ("crashed", "exited with code 1"),
    "vanish": ("no-result", "the worker exited 0 without an answer"),
}
WHERE = ("import", "build", "sample", "finish")
EXPECTED = {f"{where} {how}": said for where in WHERE for how, said in DEATHS.items()} | {
    "first-call segv": DEATHS["segv"],
    "warm-up exit": DEATHS["exit"],
    "sample orphan": DEATHS["exit"],
    "import half": (
        "failed",
        "broken could not be imported: ImportError: libhalf.so: cannot open shared object file",
    ),
    "step nan": ("diverged", "the training loss became nan"),
    "step inf": ("diverged", "the training loss became inf"),
    "step hog": (
        "out-of-memory",
        "MemoryError: Unable to allocate 7.45 GiB for an array with shape (1000000000,) and "
        "data type float64 (it may have 0.6 GB)",
    ),
    "step torch-hog": (
        "out-of-memory",
        "RuntimeError: DefaultCPUAllocator: can't allocate memory: you tried to … "
        "(it may have 0.6 GB)",
    ),
    "build crammed": ("out-of-memory", "SystemError: no word of it (it may have 0.6 GB)"),
    "build bad_alloc": ("out-of-memory", "killed by SIGABRT after memory ran out"),
    "finish large": ("ok", None),
    "": ("ok", None),
}


pytestmark = pytest.mark.usefixtures("faulty_frameworks")


class Hasty(WorkerProcess):
    """Has little patience, but for those who answer."""

    def ask(self, request, limit):
        where = {"load": "import build first-call", "prepare": "warm-up"}.get(request.ask)
        hangs = self.mode.endswith("hang") and self.mode.split()[0] in (where or request.ask)
        super().ask(request, (3.0 if request.ask == "load" else 1.0) if hangs else limit)


def run(staged, tmp_path, monkeypatch, modes, **fields):
    """A block of broken workers; by mode their status and error."""
    pids: list[int] = []
    (tmp_path / "logs").mkdir()

    def launch(asked, trial):
        monkeypatch.setenv("BROKEN", asked.mode)
        worker = Hasty(asked, tmp_path / "logs" / f"{asked.mode}.log")
        worker.mode = asked.mode
        pids.append(worker._process.pid)
        return worker

    ledger = Ledger()
    given = {"data": str(staged), "rounds": 2, "trains": False, "alone": False}
    fast = {"sample_seconds": 0.002, "warmup_seconds": 0.002}
    run_block(
        block(*(setup("broken", it) for it in modes), **(given | fast | fields)), launch, ledger
    )
    assert len(pids) == len(modes)
    assert sorted(ledger.begun) == sorted(it.trial for it in ledger.records)
    assert [it for it in psutil.process_iter() if _session(it) in pids] == []
    return {it.setup.mode: it for it in ledger.records}


def _session(process):
    try:
        alive = process.status() != psutil.STATUS_ZOMBIE
        return os.getsid(process.pid) if alive else None
    except (psutil.Error, OSError):
        return None


AGAIN = {
    f"{where} {how}"
    for number, where in enumerate(WHERE)
    for other, how in enumerate(DEATHS)
    if other % len(WHERE) != number
}
"""Not quick; those that are left have every death and every place."""


@pytest.mark.parametrize(
    "left_out", [AGAIN, pytest.param(set(), marks=pytest.mark.slow)], ids=["few", "all"]
)
def test_each_fault_has_a_status_and_a_line_and_the_others_go_on(
    staged, tmp_path, monkeypatch, left_out
):
    expected = {mode: it for mode, it in EXPECTED.items() if mode not in left_out}
    records = run(staged, tmp_path, monkeypatch, expected, memory_limit=600_000_000)
    assert {mode: (it.status, it.error) for mode, it in records.items()} == expected
    for mode, record in records.items():
        # What was measured before it failed is kept.
        whole = mode.startswith("finish") or record.status == "ok"
        assert [len(it.samples) for it in record.phases] == [2, 2] or not whole, mode
    assert len(records["finish large"].settings) > 4000


def test_a_hang_in_any_phase_is_ended_with_all_that_it_started(staged, tmp_path, monkeypatch):
    places = ("import", "build", "first-call", "warm-up", "sample", "finish")
    modes = ("", *(f"{where} hang" for where in places))
    records = run(staged, tmp_path, monkeypatch, modes)
    assert {it.status for mode, it in records.items() if mode} == {"hung"}
    assert records["sample hang"].error == "no answer to 'sample' within 1 s"
    assert records[""].status == "ok"


def test_a_worker_that_dies_in_a_full_training(staged, tmp_path, monkeypatch):
    records = run(staged, tmp_path, monkeypatch, ("epoch segv", ""), trains=True)
    assert records["epoch segv"].error == "killed by SIGSEGV"
    assert records[""].quality is not None
    assert len(records[""].quality.epochs) == TASK.epochs


class Puppet(WorkerProcess):
    """Says what it is told to, byte for byte."""

    program = ("-m", "tests.saying")


@pytest.mark.parametrize(
    ("words", "status", "error"),
    [
        ("half", "hung", "half an answer to 'load' within 1 s"),
        ("torn", "crashed", "exited with code 3"),
        ("endless", "failed", "sent more than 64 MiB"),
        ("nonsense", "failed", "the worker sent something that is no answer"),
        ("deaf", "hung", "no answer to 'load' within 1 s"),
        ("signal", "crashed", "killed by signal 40"),
    ],
)
def test_what_comes_through_the_channel_may_be_anything(
    tmp_path, monkeypatch, words, status, error
):
    monkeypatch.setattr("harness.runs.process.LAST_WORDS_SECONDS", 1.0)
    monkeypatch.setenv("SAYING", words)
    asked = setup("faulty", "fine")
    worker = Puppet(asked, tmp_path / "log")
    try:
        with pytest.raises(WorkerFailed) as failure:
            worker.request(
                Load(task=TASK, setup=asked, seed=0, phases=("train",), data="nowhere"), 1.0
            )
    finally:
        worker.close()
        worker.close()
    assert (failure.value.status, failure.value.error) == (status, error)


def test_a_folder_for_logs_that_cannot_be_made_fails_the_trial_only(staged, tmp_path):
    (tmp_path / "logs").write_text("")
    ledger = Ledger()
    LocalEngine(tmp_path / "logs").run(block(setup("faulty", "fine"), data=str(staged)), ledger)
    (record,) = ledger.records
    assert record.status == "not-started"
    assert "File exists" in (record.error or "")


def test_torch_compile_without_a_compiler_is_unsupported(staged, tmp_path, monkeypatch):
    needs("pytorch")
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    asked = setup("pytorch", "compile")
    worker = WorkerProcess(asked, tmp_path / "log")
    try:
        with pytest.raises(WorkerFailed) as failure:
            worker.request(
                Load(task=TASK, setup=asked, seed=0, phases=("train",), data=str(staged)), 120
            )
    finally:
        worker.close()
    assert failure.value.status == "unsupported"
    assert failure.value.error == (
        "torch.compile needs a C++ compiler and finds no 'g++'; install g++ or set CXX"
    )


def test_the_compiler_is_the_one_that_is_named(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert "finds no 'no-such-compiler'" in without_compiler()
    monkeypatch.setenv("CXX", "")
    assert without_compiler()
    monkeypatch.setenv("CXX", sys.executable)
    assert without_compiler() == ""
