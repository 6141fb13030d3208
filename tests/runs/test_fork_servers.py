"""Workers forked from a process that has imported their framework: real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from dataclasses import replace

import psutil
import pytest

from harness.adapter import Framework
from harness.cells import Setup
from harness.frameworks import frameworks
from harness.runs.config import resolve
from harness.runs.engines import ForkedWorker, ForkServers, LocalEngine
from harness.runs.plan import make_plan
from harness.runs.process import WorkerFailed
from harness.runs.schedule import Course
from harness.worker.messages import Load, Prepare
from tests.fakes import FAULTS, TASK, Ledger, block, setup
from tests.sweeps import needs, sweep

pytestmark = [
    pytest.mark.usefixtures("faulty_frameworks"),
    pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="workers are forked on Linux only"),
]
SHORT = TASK.model_copy(update={"epochs": 2})
FAST = {"rounds": 2, "trains": False, "sample_seconds": 0.002, "warmup_seconds": 0.002}


def with_import(varies: bool) -> Framework:
    faulty = frameworks()["faulty"]
    return replace(faulty, tuning=replace(faulty.tuning, import_varies=varies))


def run(engine, staged, *setups, number=0, alone=False, **fields):
    ledger = Ledger()
    name = f"a-run/b{number:03}.1"
    given = {"name": name, "number": number, "alone": alone, "data": str(staged)}
    engine.run(block(*setups, **(given | FAST | fields)), ledger)
    return ledger.by_label()


def servers():
    """Those that live, and workers that were forked from them: both have one command line."""
    return [
        it
        for it in psutil.Process().children(recursive=True)
        if it.status() != psutil.STATUS_ZOMBIE and "harness.worker.fork_server" in it.cmdline()
    ]


@pytest.fixture
def engine(tmp_path):
    with LocalEngine(tmp_path / "logs", tmp_path / "caches", fork=True) as engine:
        yield engine
    assert servers() == []


def load_of(staged, asked: Setup) -> Load:
    return Load(task=TASK, setup=asked, seed=0, phases=("train",), data=str(staged))


def test_what_need_not_start_alone_is_forked_and_has_no_memory_peaks(staged, engine):
    kinds = [setup("faulty", "fine"), setup("faulty", "fine-too", threads=2)]
    for number, alone in enumerate((True, False)):
        records = run(engine, staged, *kinds, number=number, alone=alone)
        for record in records.values():
            assert (record.status, record.forked, record.alone) == ("ok", not alone, alone)
            assert [len(it.samples) for it in record.phases] == [2, 2]
            assert all((it.memory is None) is record.forked for it in record.phases)
        assert len(servers()) == (0 if alone else 2)  # one for each number of threads


def test_a_server_serves_one_generation_and_none_of_a_block_that_starts_alone(staged, engine):
    """The fault says who imported, and who is the parent."""
    told = []
    for number, alone in enumerate((False, False, True, False, False)):
        asked = setup("faulty", "ahead")
        fields = {"alone": alone, "generation": number // 2}
        (record,) = run(engine, staged, asked, number=number, **fields).values()
        told.append(record.error)
    first, second, fresh, next_generation, last = told
    assert first == second
    assert len({first, next_generation, last}) == 3
    importer, parent = [int(it.split()[-1]) for it in first.split(", ")]
    assert importer == parent
    assert fresh.startswith("imported by None")
    assert not psutil.pid_exists(importer)


@pytest.mark.parametrize(
    ("mode", "told", "found"),
    [
        ("threads", "its thread answers", "1 threads run once faulty is imported"),
        ("processes", "its own", "1 processes run once faulty is imported"),
    ],
)
def test_nothing_is_forked_from_an_import_that_started(staged, engine, tmp_path, mode, told, found):
    """A fork would wait for its threads for ever, and have no part in what processes use."""
    (record,) = run(engine, staged, setup("faulty", mode)).values()
    assert (record.status, record.error) == ("unsupported", told)
    assert not record.forked
    (log,) = (tmp_path / "logs").glob("fork-server-*.log")
    assert found in log.read_text()


@pytest.mark.parametrize("varies", [False, True])
def test_of_a_block_that_starts_alone_the_twin_is_forked_where_imports_do_not_vary(
    staged, engine, monkeypatch, varies
):
    monkeypatch.setattr("impls.faulty.FRAMEWORK", with_import(varies))
    kinds = (setup("faulty", "unsupported"), setup("faulty", "unsupported", twin=True))
    forked = []
    for number, alone in enumerate((True, False, True)):
        records = run(engine, staged, *kinds, number=number, alone=alone, generation=number // 2)
        forked.append({it.setup.twin: it.forked for it in records.values()})
    fresh, both = {False: False, True: False}, {False: True, True: True}
    # Before the first block there is nothing to fork from.
    assert forked == [fresh, both, {False: False, True: not varies}]


def test_where_imports_vary_each_block_and_a_twin_has_its_own(staged, engine, monkeypatch):
    monkeypatch.setattr("impls.faulty.FRAMEWORK", with_import(True))
    kinds = (setup("faulty", "ahead"), setup("faulty", "ahead", twin=True))
    importers = []
    for number in range(4):
        records = run(engine, staged, *kinds, number=number, more=2 - number % 3)
        importers += [it.error.split(", ")[0] for it in records.values()]
        assert len(servers()) == 2 * (3 - number % 3)
    assert len(set(importers)) == 8


def test_a_spare_server_that_is_killed_leaves_fresh_workers(staged, engine, monkeypatch):
    monkeypatch.setattr("impls.faulty.FRAMEWORK", with_import(True))
    forked = []
    for number in range(3):
        (record,) = run(
            engine, staged, setup("faulty", "fine"), number=number, more=2 - number
        ).values()
        assert record.status == "ok"
        forked.append(record.forked)
        for it in servers()[1:2]:
            it.kill()
            it.wait()
    assert forked == [True, False, False]
    assert servers() == []


def test_how_many_blocks_a_server_is_for():
    plan = make_plan(resolve(None, {"blocks": 9}))
    more = [it.more for it in Course(plan.groups[0], plan.config).left()]
    assert more == [3, 2, 1, 0, 3, 2, 1, 0, 0]


def test_each_fault_has_the_status_that_it_has_in_a_fresh_process(staged, engine, tmp_path):
    """And what each worker prints is in its own log."""
    modes = [mode for mode, *_ in FAULTS]
    asked = [setup("faulty", it) for it in (*modes, "noisy", "fine")]
    records = run(engine, staged, *asked, trains=True, sample_seconds=0.005)
    found = [(it, records[f"faulty:{it}"].status, records[f"faulty:{it}"].error) for it in modes]
    assert found == FAULTS
    assert all(it.forked for it in records.values())
    assert records["faulty:noisy"].status == records["faulty:fine"].status == "ok"
    for mode in ("raise", "diverge"):
        assert "Traceback" in records[f"faulty:{mode}"].stderr_tail
    (log,) = [it for it in (tmp_path / "logs").iterdir() if "noisy" in it.name]
    assert log.stat().st_size == 2 * 256 * 8192


def test_a_compile_cache_is_the_setups_own_and_found_again(staged, engine):
    kinds = [setup("faulty", "compiling"), setup("faulty", "fine")]
    cold = [run(engine, staged, *kinds, number=number) for number in range(2)]
    assert [it["faulty:compiling"].cold for it in cold] == [True, False]
    assert [it["faulty:fine"].cold for it in cold] == [False, False]


def test_a_framework_that_cannot_be_imported_says_why_from_a_fresh_process(
    staged, engine, monkeypatch
):
    for how, status in (("import half", "failed"), ("import segv", "crashed")):
        monkeypatch.setenv("BROKEN", how)
        modes = (setup("broken", how), setup("faulty", "fine"))
        records = run(engine, staged, *modes, alone=False)
        broken = records[f"broken:{how}"]
        assert (broken.status, broken.forked) == (status, False)
        assert "libhalf.so" in (broken.error or "") or "SIGSEGV" in (broken.error or "")
        assert records["faulty:fine"].forked
        engine.close()


@pytest.fixture
def servers_of_run(tmp_path):
    """Fork servers that are ended after the test."""
    found = ForkServers(tmp_path, None)
    yield found
    found.close()
    assert servers() == []


def the_server(servers_of_run):
    ((server,),) = servers_of_run._servers.values()
    return server


def prepared(servers_of_run: ForkServers, asked: Setup, tmp_path) -> ForkedWorker:
    servers_of_run.prepare([asked])
    worker = servers_of_run.fork(asked, tmp_path / "log", None)
    assert worker is not None
    return worker


def test_a_hang_is_ended_with_all_that_it_started(staged, servers_of_run, tmp_path):
    asked = setup("faulty", "hang")
    worker = prepared(servers_of_run, asked, tmp_path)
    with pytest.raises(WorkerFailed) as failure:
        worker.request(load_of(staged, asked), 2.0)
    assert failure.value.status == "hung"
    left = [it for it in psutil.process_iter() if _group(it.pid) == worker._process.pid]
    assert not psutil.wait_procs(left, 10)[1], "killed, and a busy machine may take a moment"
    assert [it.pid for it in servers()] == [the_server(servers_of_run)._process.pid]


def test_a_worker_ends_with_its_fork_server(staged, servers_of_run, tmp_path):
    asked = setup("faulty", "fine")
    worker = prepared(servers_of_run, asked, tmp_path)
    worker.request(load_of(staged, asked), 30)
    server = the_server(servers_of_run)
    os.kill(server._process.pid, signal.SIGKILL)
    while _alive(worker._process.pid):
        time.sleep(0.01)
    with pytest.raises(WorkerFailed) as failure:
        worker.request(Prepare(sample_seconds=0.01, warmup_seconds=0.01), 10)
    worker.close()
    assert failure.value.status == "crashed"
    assert servers_of_run.fork(asked, tmp_path / "log", None) is None


def test_server_and_worker_die_with_their_runner(staged, tmp_path):
    asked = setup("faulty", "fine")
    pid = os.fork()
    if not pid:  # a runner of its own, killed before it could end anything
        servers_of_run = ForkServers(tmp_path, None)
        worker = prepared(servers_of_run, asked, tmp_path)
        worker.request(load_of(staged, asked), 60)
        pids = (the_server(servers_of_run)._process.pid, worker._process.pid)
        (tmp_path / "pids").write_text(" ".join(map(str, pids)))
        os._exit(0)
    os.waitpid(pid, 0)
    pids = [int(it) for it in (tmp_path / "pids").read_text().split()]
    assert len(pids) == 2
    for _ in range(100):
        if not any(_alive(it) for it in pids):
            return
        time.sleep(0.05)
    pytest.fail("what was forked outlived its runner")


def _group(pid):
    """Of a process that lives."""
    with contextlib.suppress(psutil.Error, ProcessLookupError):
        if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
            return os.getpgid(pid)
    return None


def _alive(pid):
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_worker_for_a_gpu_is_never_forked(servers_of_run, tmp_path):
    asked = setup("faulty", "fine", device="gpu:0")
    servers_of_run.prepare([asked])
    assert servers_of_run.fork(asked, tmp_path / "log", None) is None
    assert servers() == []


def test_other_code_and_the_wish_for_fresh_processes_leave_servers_out(staged, tmp_path):
    asked = setup("faulty", "fine")
    other = {setup("faulty", "fine-too"): tmp_path}
    for engine in (
        LocalEngine(tmp_path / "one"),
        LocalEngine(tmp_path / "two", None, other, fork=True),
    ):
        with engine:
            (record,) = run(engine, staged, asked).values()
            assert (record.status, record.forked) == ("ok", False)
            assert servers() == []


# Of PyTorch and TensorFlow also in `test_end_to_end.py`.
LONG = ("jax", "keras", "pytorch", "sklearn", "tensorflow")


@pytest.mark.parametrize("name", sweep(frameworks(), lambda it: it not in LONG))
def test_a_forked_worker_runs_with_the_settings_of_a_fresh_one(staged, engine, name):
    """Threads, BLAS and precision, as each reads them back; and it computes the same."""
    needs(name)
    framework = frameworks()[name]
    lane = "identical" if framework.modes else "idiomatic"
    asked = setup(name, framework.default_mode, threads=2)
    asked = asked.model_copy(update={"digest": SHORT.digest, "lane": lane})
    both = [
        run(engine, staged, asked, task=SHORT, number=number, alone=alone, trains=True)[asked.label]
        for number, alone in enumerate((True, False))
    ]
    assert [(it.status, it.error, it.forked) for it in both] == [
        ("ok", None, False),
        ("ok", None, True),
    ]
    fresh, forked = both
    assert forked.settings == fresh.settings
    assert forked.settings_before == fresh.settings_before
    if "train" not in framework.phases:
        return
    assert forked.quality is not None
    assert fresh.quality is not None
    losses = [[it.loss for it in record.quality.epochs] for record in both]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
