"""Provers in real processes: what is right, what is wrong, and what breaks on the way."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

import impls
from harness.certificates import ENDED, SUPPORTED
from harness.proof.certificates import claim
from harness.proof.pool import ChildFailed, Prover, gone, in_child, prove_all
from harness.proof.prover import at_most
from harness.runs.process import WorkerFailed
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.datasets import load, write_staged
from tests.builders import make_setup

TASK = CATALOGUE["cancer-binary"]
FAULTS = Path(__file__).parents[1] / "impls"


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_staged(load(TASK.data, None), folder)
    return folder


@pytest.fixture
def with_faulty(monkeypatch):
    monkeypatch.setenv("SAMESTEP_IMPLS", str(FAULTS))
    monkeypatch.setattr(impls, "__path__", [*impls.__path__, str(FAULTS)])


def request(label, data, limit=120.0, **fields):
    return claim(TASK, make_setup(TASK, label, **fields), quick=True).request(data, limit)


@pytest.fixture(scope="module")
def prover(tmp_path_factory):
    """One for all that leave it as it was."""
    log = tmp_path_factory.mktemp("prover") / "log"
    prover = Prover(make_setup(TASK, "reference:replay"), log)
    yield prover
    prover.close()


@pytest.mark.parametrize("lane", ["identical", "idiomatic"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_reference_is_proven_and_its_memory_counted(prover, data, lane, dtype):
    proved = prover.prove(request("reference:replay", data, lane=lane, dtype=dtype))
    assert [it for it in proved.findings if not it.ok] == []
    assert len(proved.divergence) == 10
    assert proved.rows == 32
    assert proved.seconds > 0
    assert proved.settings["threads"] == 1
    size = TASK.parameters * (4 if dtype == "float32" else 8)
    assert proved.logical_peak["train"] > 4 * size  # weights, gradients and two slots
    assert size < proved.logical_peak["predict"] < proved.logical_peak["train"]


def test_memory_is_not_counted_unless_it_is_asked_for(prover, data):
    asked = request("reference:replay", data)
    assert "counted" not in asked.model_dump_json()  # older code would refuse to be told
    proved = prover.prove(asked.model_copy(update={"counted": False}))
    assert all(it.ok for it in proved.findings)
    assert proved.logical_peak == {}


def test_one_prover_proves_one_setup_after_the_other(prover, data):
    for mode in ("replay", "eager", "replay"):
        proved = prover.prove(request(f"reference:{mode}", data))
        assert all(it.ok for it in proved.findings)


HOW = {
    "raise": "ValueError: two lines",
    "crash": "SIGSEGV",
    "exit": "exited with code 3",
    "vanish": "exited with code 0",
    "greedy": "MemoryError",
    "hang": "no result within 2 s",
}


def test_a_proof_that_breaks_says_how(with_faulty, data, tmp_path):
    children = psutil.Process().children(recursive=True)
    prover = Prover(make_setup(TASK, "faulty:raise"), tmp_path / "log")
    try:
        for mode, how in HOW.items():
            proved = prover.prove(request(f"faulty:{mode}", data, limit=2.0))
            (finding,) = proved.findings
            assert (finding.check, finding.ok) == (ENDED, False)
            assert how in finding.detail
            # The prover itself lives on, and proves what comes next.
            again = prover.prove(request("faulty:unsupported", data))
            assert again.findings[0].check == SUPPORTED
            assert again.findings[0].detail == "not on a Monday"
    finally:
        prover.close()
    assert psutil.Process().children(recursive=True) == children


def test_what_every_child_would_find_out_anew_is_imported_before_they_are_forked(
    with_faulty, data, tmp_path
):
    prover = Prover(make_setup(TASK, "faulty:ahead"), tmp_path / "log")
    try:
        (without,) = prover.prove(request("faulty:unsupported", data)).findings
        (finding,) = prover.prove(request("faulty:ahead", data)).findings
    finally:
        prover.close()
    assert without.detail == "not on a Monday"
    process = prover._process.pid
    assert finding.detail == f"imported by {process}, forked by {process}"


def test_nothing_is_forked_where_an_import_started_threads(with_faulty, data, tmp_path):
    """A forked child would wait for them for ever; a fresh one has its own."""
    children = psutil.Process().children(recursive=True)
    prover = Prover(make_setup(TASK, "faulty:threads"), tmp_path / "log")
    try:
        for _ in range(2):
            (finding,) = prover.prove(request("faulty:threads", data)).findings
            assert (finding.check, finding.detail) == (SUPPORTED, "its thread answers")
    finally:
        prover.close()
    assert "1 threads run once faulty is imported" in (tmp_path / "log").read_text()
    assert psutil.Process().children(recursive=True) == children


def test_nothing_is_imported_ahead_that_may_start_a_gpu(with_faulty, data, tmp_path):
    """No child could use it any more."""
    asked = request("faulty:ahead", data)
    setup = asked.setup.model_copy(update={"device": "gpu:0"})
    prover = Prover(setup, tmp_path / "log")
    try:
        (finding,) = prover.prove(asked.model_copy(update={"setup": setup})).findings
    finally:
        prover.close()
    assert finding.detail.startswith("imported by None, ")


def test_a_framework_that_computes_nothing_is_not_proven(with_faulty, data, tmp_path):
    launch = lambda setup: Prover(setup, tmp_path / "log")  # noqa: E731
    ((_, proved),) = prove_all([request("faulty:fine", data)], launch, 2)
    failed = {it.check: it.detail for it in proved.findings if not it.ok}
    assert "missing" in failed["start"]
    assert proved.logical_peak == {}


def test_a_framework_that_cannot_be_imported_is_a_failure_of_its_proofs(prover, data):
    asked = request("reference:replay", data)
    broken = asked.model_copy(
        update={"setup": asked.setup.model_copy(update={"framework": "nowhere"})}
    )
    (finding,) = prover.prove(broken).findings
    assert finding.check == ENDED
    assert "ModuleNotFoundError" in finding.detail


def test_an_import_that_hangs_ends_the_process_and_says_so():
    def stuck():
        with at_most(0.1):
            time.sleep(60)
        return "never"

    def quick():
        with at_most(0.1):
            pass
        time.sleep(0.2)
        return "still there"

    with pytest.raises(ChildFailed, match="SIGALRM"):
        in_child(stuck, 60)
    assert in_child(quick, 60) == "still there"
    (finding,) = gone(WorkerFailed("crashed", "killed by SIGALRM")).findings
    assert finding.detail == "the prover crashed: what it imports took more than 120 s"


def test_a_prover_that_is_killed_is_a_typed_failure(data, tmp_path):
    prover = Prover(make_setup(TASK, "reference:replay"), tmp_path / "log")
    try:
        psutil.Process(prover._process.pid).kill()
        with pytest.raises(WorkerFailed, match="SIGKILL"):
            prover.prove(request("reference:replay", data))
    finally:
        prover.close()
