"""Real worker processes, driven by a framework that computes nothing and fails on request."""

from __future__ import annotations

import os
import time

import psutil
import pytest

from harness.analysis.settings import disagreements
from harness.cells import LATENCY, PHASES, Setup
from harness.environment import CLEARED, THREAD_VARIABLES
from harness.frameworks import frameworks
from harness.proof.pool import group_of as prover_of
from harness.runs.engines import LocalEngine
from harness.runs.engines import key_of as server_of
from harness.runs.machine import cores
from harness.runs.process import WorkerFailed, WorkerProcess, environment, overruled
from harness.worker.messages import Finish, Load, Prepare, TakeSample
from tests.fakes import FAULTS, TASK, Ledger, block, setup

pytestmark = pytest.mark.usefixtures("faulty_frameworks")


def run(staged, tmp_path, *modes, **fields):
    ledger = Ledger()
    given = {"data": str(staged), "rounds": 2, "sample_seconds": 0.01, "warmup_seconds": 0.01}
    asked = block(*(setup("faulty", mode) for mode in modes), **(given | fields))
    LocalEngine(tmp_path / "logs").run(asked, ledger)
    return ledger.by_label()


def test_each_fault_has_a_status_and_the_others_go_on(staged, tmp_path):
    """Megabytes on both outputs do no harm, and a sample that did other work fails its trial."""
    modes = [mode for mode, *_ in FAULTS]
    records = run(staged, tmp_path, *modes, "noisy", "lazy", "fine", alone=False)
    found = [(it, records[f"faulty:{it}"].status, records[f"faulty:{it}"].error) for it in modes]
    assert found == FAULTS
    assert records["faulty:noisy"].status == records["faulty:fine"].status == "ok"
    assert records["faulty:lazy"].status == "failed"
    assert (records["faulty:lazy"].error or "").startswith("a sample did other work than the one")
    for mode in ("raise", "diverge"):
        assert "Traceback" in records[f"faulty:{mode}"].stderr_tail
    (log,) = [it for it in (tmp_path / "logs").iterdir() if "noisy" in it.name]
    assert log.stat().st_size == 2 * 256 * 8192


def test_a_worker_that_cannot_be_started(staged, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.executable", str(tmp_path / "no-such-python"))
    (record,) = run(staged, tmp_path, "fine").values()
    assert record.status == "not-started"
    assert "no-such-python" in (record.error or "")


def load_of(staged, asked: Setup) -> Load:
    return Load(task=TASK, setup=asked, seed=0, phases=("train",), data=str(staged))


PREPARE = Prepare(sample_seconds=0.4, warmup_seconds=0.01)


def test_the_runner_sleeps_while_a_worker_takes_its_sample(staged, tmp_path):
    asked = setup("faulty", "fine")
    worker = WorkerProcess(asked, tmp_path / "log")
    try:
        worker.request(load_of(staged, asked), 60)
        worker.request(PREPARE, 60)
        cpu, wall = time.process_time(), time.perf_counter()
        for round_ in range(3):
            worker.request(TakeSample(phase="train", round=round_, turn=0), 60)
        share = (time.process_time() - cpu) / (time.perf_counter() - wall)
    finally:
        worker.close()
    assert share < 0.01


def test_a_worker_dies_with_its_runner(staged, tmp_path):
    asked = setup("faulty", "fine")
    pid = os.fork()
    if pid == 0:  # a runner of its own, which is killed before it could end its worker
        worker = WorkerProcess(asked, tmp_path / "log")
        (tmp_path / "pid").write_text(str(worker._process.pid))
        worker.request(load_of(staged, asked), 60)
        os._exit(0)
    os.waitpid(pid, 0)
    worker_pid = int((tmp_path / "pid").read_text())
    for _ in range(100):
        if not psutil.pid_exists(worker_pid) or psutil.Process(worker_pid).status() == "zombie":
            return
        time.sleep(0.05)
    pytest.fail("the worker outlived its runner")


def test_workers_load_side_by_side(staged, tmp_path, monkeypatch):
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    monkeypatch.setenv("FAULTY_MEETING", str(meeting))
    workers = [setup("faulty", "together", threads=it) for it in (1, 2, 3)]
    ledger = Ledger()
    given = {"data": str(staged), "rounds": 1, "trains": False, "warmup_seconds": 0.01}
    LocalEngine(tmp_path / "logs").run(block(*workers, **given, alone=False), ledger)
    assert [it.status for it in ledger.records] == ["ok"] * 3


def test_an_answer_that_came_in_time_counts_though_it_is_fetched_late(staged, tmp_path):
    worker = WorkerProcess(setup("faulty", "fine"), tmp_path / "log")
    try:
        worker.ask(load_of(staged, setup("faulty", "fine")), 30)
        worker._asked = ("load", 30, time.monotonic() - 1)
        for _ in range(200):
            if worker._channel.poll():
                break
            time.sleep(0.05)
        assert worker.answer().answer == "loaded"
    finally:
        worker.close()


def test_the_first_worker_of_a_setup_fills_its_cache_and_later_ones_find_it(staged, tmp_path):
    def cold(name):
        ledger = Ledger()
        given = {"name": name, "data": str(staged), "rounds": 1, "trains": False, "alone": False}
        fast = {"sample_seconds": 0.001, "warmup_seconds": 0.001}
        setups = [setup("faulty", "compiling"), setup("faulty", "fine")]
        engine = LocalEngine(tmp_path / "logs", tmp_path / "caches")
        engine.run(block(*setups, **given, **fast), ledger)
        assert {it.status for it in ledger.records} == {"ok"}
        return {record.setup.mode: record.cold for record in ledger.records}

    assert cold("a-run/b000.1") == {"compiling": True, "fine": False}
    assert cold("a-run/b001.1") == {"compiling": False, "fine": False}


def test_both_lanes_and_every_phase_in_real_processes(staged, tmp_path):
    asked = block(
        setup("faulty", "fine"),
        setup("faulty", "fine", lane="idiomatic"),
        phases=PHASES,
        data=str(staged),
        rounds=2,
        sample_seconds=0.01,
        warmup_seconds=0.01,
    )
    ledger = Ledger()
    LocalEngine(tmp_path / "logs").run(asked, ledger)
    assert {it.status for it in ledger.records} == {"ok"}
    assert sorted(ledger.begun) == sorted(it.trial for it in ledger.records)
    assert not (tmp_path / "logs").exists() or list((tmp_path / "logs").iterdir()) == []
    for record in ledger.records:
        assert [it.phase for it in record.phases] == list(PHASES)
        train = record.phase("train")
        assert train is not None
        assert train.iterations > 1
        assert len(train.warmup) >= 10 or record.setup.lane == "idiomatic"
        assert all(it.step_seconds >= 0.0002 for it in train.samples)  # it sleeps that long
        assert train.memory is not None
        assert record.import_seconds is not None
        assert record.settings["mode"] == record.setup.mode
        assert record.settings_before == record.settings
        assert record.quality is not None
        assert len(record.quality.epochs) == TASK.epochs
        for phase in record.phases:
            readings = {len(it.readings) for it in phase.samples}
            assert readings == ({phase.iterations} if phase.phase in LATENCY else {0})
            losses = {it.loss for it in phase.samples}
            assert losses == ({1.0} if phase.phase.startswith("train") else {None})
    own = next(it for it in ledger.records if it.setup.lane == "idiomatic")
    train = own.phase("train")
    assert train is not None
    assert train.iterations >= min(TASK.steps_per_epoch, 64)


def test_finish_before_load_is_a_typed_failure(tmp_path):
    worker = WorkerProcess(setup("faulty", "fine"), tmp_path / "log")
    with pytest.raises(WorkerFailed) as failure:
        worker.request(Finish(), 60)
    worker.close()
    assert failure.value.status == "failed"


def test_the_environment_carries_threads_and_device():
    variables = environment(setup("tensorflow", "graph", threads=2))
    assert {variables[name] for name in THREAD_VARIABLES} == {"2"}
    assert variables["CUDA_VISIBLE_DEVICES"] == ""
    assert variables["TF_CPP_MIN_LOG_LEVEL"] == "2"
    assert "CUDA_VISIBLE_DEVICES" not in set(environment(setup(device="gpu:0"))) - set(os.environ)


def test_where_the_environment_names_the_mode_no_process_serves_two():
    backends = [setup("keras", mode, lane="idiomatic") for mode in frameworks()["keras"].idioms]
    assert [environment(it)["KERAS_BACKEND"] for it in backends] == [it.mode for it in backends]
    assert environment(setup("keras", "jax", threads=2))["NPROC"] == "2"
    for kind in (server_of, prover_of):
        assert len(set(map(kind, backends))) == len(backends)
        assert len({kind(setup("pytorch", it)) for it in ("eager", "compile")}) == 1


def test_what_limits_and_places_threads_is_cleared(monkeypatch):
    for name in (*THREAD_VARIABLES, *CLEARED):
        monkeypatch.setenv(name, "1")
    variables = environment(setup(threads=2))
    assert not CLEARED & set(variables)
    assert {"GOMP_CPU_AFFINITY", "OMP_PLACES", "OMP_PROC_BIND", "KMP_AFFINITY"} <= CLEARED
    assert {variables[name] for name in THREAD_VARIABLES} == {"2"}


def test_one_line_says_what_is_overruled_and_by_what(monkeypatch):
    for name in (*THREAD_VARIABLES, *CLEARED, "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    many = [setup(), setup("tensorflow", "graph"), setup(threads=2)]
    assert overruled(many) is None
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert overruled(many[:2]) is None  # as it is set anyway
    for name, value in {
        "MKL_DYNAMIC": "TRUE",
        "GOMP_CPU_AFFINITY": "1",
        "CUDA_VISIBLE_DEVICES": "0",
        "TF_CPP_MIN_LOG_LEVEL": "0",
        "TORCHINDUCTOR_CACHE_DIR": "/c",
        "ATEN_CPU_CAPABILITY": "default",
    }.items():
        monkeypatch.setenv(name, value)
    line = overruled(many)
    assert line is not None
    assert "\n" not in line
    assert "CUDA_VISIBLE_DEVICES=0 (by --device cpu)" in line
    assert "GOMP_CPU_AFFINITY=1 (cleared: every worker may use the same cores)" in line
    assert "OMP_NUM_THREADS=1 (by --threads 2)" in line
    assert "MKL_DYNAMIC=TRUE (by --threads 1 and by --threads 2)" in line
    assert "TF_CPP_MIN_LOG_LEVEL=0 (TensorFlow gets 2)" in line
    assert "TORCHINDUCTOR_CACHE_DIR=/c (PyTorch gets a compile cache of this run)" in line
    assert "ATEN_CPU_CAPABILITY" not in line
    assert overruled([setup(device="gpu:0")]) != line


@pytest.mark.skipif(cores() < 2, reason="one core is every core")
def test_a_worker_that_pins_itself_is_not_ranked_beside_one_that_does_not(staged, tmp_path):
    records = run(staged, tmp_path, "pinned", "fine", "fine-too", trains=False, alone=False)
    pinned, fine, other = ([records[f"faulty:{it}"]] for it in ("pinned", "fine", "fine-too"))

    def of_cores(ours, theirs):  # its numbers are wrong besides: it computes nothing
        return [it for it in disagreements(ours, theirs) if it.startswith("cores")]

    assert of_cores(fine, other) == []
    (reason,) = of_cores(pinned, fine)
    one, all_ = (it[0].settings["cores"] for it in (pinned, fine))
    assert one != all_
    assert reason == f"cores: {one} in faulty:pinned, {all_} in faulty:fine"


def test_what_a_worker_prints_has_no_name_before_it_is_clean(staged, tmp_path, monkeypatch):
    """A runner that is killed leaves nothing raw behind."""
    monkeypatch.setenv("SOME_TOKEN", "two")  # too short to be masked
    monkeypatch.setenv("OTHER_TOKEN", "ValueError: two")
    worker = WorkerProcess(setup("faulty", "raise"), tmp_path / "log")
    with pytest.raises(WorkerFailed, match=r"\{secret\} lines"):
        worker.request(load_of(staged, setup("faulty", "raise")), 60)
    assert list(tmp_path.iterdir()) == []
    before = worker.stderr_tail()
    worker.close()
    assert before.endswith("{secret}\nlines\n")
    assert (tmp_path / "log").read_text() == worker.stderr_tail() == before
