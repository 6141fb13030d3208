"""One worker's life: `load`, `prepare`, then turns, then `finish`."""

from __future__ import annotations

import contextlib
import gc
import time
import traceback
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import threadpoolctl

from harness.adapter import Adapter, Options, Setting, Unsupported
from harness.cells import Phase, Setup
from harness.errors import in_one_line
from harness.frameworks import declaration, module_of, version
from harness.records import CORES, Growth, Limits
from harness.tasks.datasets import open_staged
from harness.tasks.start import make_start
from harness.worker import messages, system
from harness.worker.checks import Checks
from harness.worker.loops import make_loops
from harness.worker.measure import Diverged, OtherWork, PhaseRun, Training
from harness.worker.probe import measure_limits
from harness.worker.usage import UsageCount


class NotImported(Exception):
    """A framework that is installed could not be imported; parts of it may be missing."""


class Session:
    """Answers requests, one at a time, with one adapter. Raises whatever the adapter raises."""

    def __init__(self, load: messages.Load) -> None:
        start, arrays = make_start(load.task, load.seed), open_staged(Path(load.data))
        setup = load.setup
        self._task, self._setup = load.task, setup

        system.hide_from(declaration(setup.framework))
        refuse_other_version(setup)
        begin = time.perf_counter()
        kind = implementation(setup)
        imported = time.perf_counter()
        options = Options(setup.mode, setup.device, setup.threads, setup.dtype)
        self._adapter = kind(load.task, start, options)
        self._adapter.synchronize()
        built = time.perf_counter()

        _freeze()
        loops = make_loops(self._adapter, setup.lane, load.phases, start, arrays)
        self._runs: dict[Phase, PhaseRun] = {
            phase: PhaseRun(self._adapter, phase, loop, setup.dtype)
            for phase, loop in loops.items()
        }
        for run in self._runs.values():
            run.first_calls()
        self._training = Training(self._adapter, setup.lane, start, arrays)
        self._checks = Checks(self._adapter, load, start, arrays, self._runs, self._training)
        self._settings: dict[str, Setting] | None = None
        self.loaded = messages.Loaded(
            import_seconds=imported - begin,
            build_seconds=built - imported,
            phases=tuple(run.record for run in self._runs.values()),
        )

    def answer(self, request: messages.Request) -> messages.Reply:
        match request:
            case messages.Prepare():
                return self._prepare(request)
            case messages.TakeSample(phase=phase, round=round_, turn=turn):
                return messages.Sampled(sample=self._runs[phase].sample(round_, turn))
            case messages.TrainEpoch(epoch=epoch):
                # Before the outputs for test rows, which may compile for shapes of their own.
                self._settings = self._settings or self._read_settings()
                return messages.Trained(epoch=self._training.epoch(epoch))
            case messages.Finish():
                return messages.Finished(
                    settings=self._settings or self._read_settings(),
                    limits=self._limits() if request.limits else None,
                    checks=self._checks.findings(request.thorough) if request.checks else (),
                )
            case messages.Load():
                raise ValueError("a worker is loaded once")

    @property
    def growth(self) -> dict[Phase, Growth]:
        """The growth of memory in the samples."""
        return {phase: run.growth for phase, run in self._runs.items()}

    def _prepare(self, request: messages.Prepare) -> messages.Prepared:
        for run in self._runs.values():
            run.warm_up(request.sample_seconds, request.warmup_seconds)
        _freeze()
        return messages.Prepared(
            phases=tuple(run.record for run in self._runs.values()),
            settings=self._read_settings(),
        )

    def _read_settings(self) -> dict[str, Setting]:
        return self._adapter.settings() | _process_settings()

    def _limits(self) -> Limits:
        setup, phases = self._setup, tuple(self._runs)
        threads = setup.threads if setup.processor == "cpu" else 0
        return measure_limits(self._adapter, self._task, setup.dtype, phases, threads=threads)


def _freeze() -> None:
    """Exclude all objects of now from garbage collections.

    With a framework imported each of them would take a quarter of a second.
    """
    gc.collect()
    gc.freeze()


def refuse_other_version(setup: Setup) -> None:
    """Raises NotImported where another version would be imported than that of the setup.

    A folder in PYTHONPATH comes before the packages of an environment.
    """
    if not setup.version:
        return
    actual = version(declaration(setup.framework))
    if actual != setup.version:
        raise NotImported(f"{setup.name} was asked for, and {actual or 'none'} would be imported")


@contextlib.contextmanager
def lacking(setup: Setup) -> Iterator[None]:
    """Raises Unsupported where another version than the installed one lacks what an adapter uses.

    Where the installed version is asked for, such an error is the adapter's own and goes on.
    """
    try:
        yield
    except (AttributeError, ImportError, NotImplementedError, NotImported) as error:
        cause = error.__cause__ if isinstance(error, NotImported) else error
        broken = isinstance(cause, ImportError) and "cannot import name" not in str(cause)
        if not setup.version or cause is None or broken:
            raise
        why = in_one_line(cause)
        raise Unsupported(f"{setup.name} lacks what its adapter uses: {why}") from error


def implementation(setup: Setup) -> type[Adapter]:
    """Imports the framework. Raises NotImported with the reason."""
    file, name = {"identical": ("adapter", "Adapter"), "idiomatic": ("idiom", "Idiom")}[setup.lane]
    try:
        module = module_of(setup.framework, file)
    except (Unsupported, MemoryError):
        raise
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise NotImported(f"{setup.framework} could not be imported: {why}") from error
    kind: type[Adapter] = getattr(module, name)
    return kind


def _process_settings() -> dict[str, Setting]:
    """Settings of every process: BLAS libraries with their threads, and the cores it may use."""
    libraries = sorted(
        f"{' '.join(filter(None, (it['internal_api'], it['version'])))} ({it['num_threads']})"
        for it in threadpoolctl.threadpool_info()
    )
    return {"blas": ", ".join(libraries) or None, CORES: system.allowed_cores()}


def work(channel: Connection) -> int:
    """Serve until the end; returns the exit code."""
    try:
        serve(channel)
    except BaseException as error:
        full, limit = system.exhausted(), system.lift_limit()
        with contextlib.suppress(OSError):  # the disk of its log may be full
            traceback.print_exc()
        send(channel, failed(error, full, limit))
        return 1
    finally:
        system.end_descendants(escaped=True)
    return 0


def serve(channel: Connection) -> None:
    request = messages.REQUEST.validate_json(channel.recv_bytes(messages.MAX_BYTES))
    if not isinstance(request, messages.Load):
        raise ValueError("a worker must be loaded first")
    if request.memory_limit is not None:
        system.limit_memory(request.memory_limit)
    system.adopt_orphans()
    count = UsageCount()
    with lacking(request.setup):
        session = Session(request)
    reply: messages.Reply = session.loaded
    while True:
        count.turn_ended(count.settle())
        if isinstance(reply, messages.Finished):
            usage = count.usage.model_copy(update={"growth": session.growth})
            reply = reply.model_copy(update={"usage": usage})
        send(channel, reply)
        if isinstance(request, messages.Finish):
            return
        request = messages.REQUEST.validate_json(channel.recv_bytes(messages.MAX_BYTES))
        count.turn_begun()
        reply = session.answer(request)


def send(channel: Connection, reply: messages.Reply | messages.ForkReply) -> None:
    channel.send_bytes(reply.model_dump_json().encode())


def failed(error: BaseException, full: bool = False, limit: int | None = None) -> messages.Failed:
    """The reply of a worker that ends; `full` where its memory, `limit` at most, ran out."""
    known = isinstance(error, Unsupported | Diverged | OtherWork | NotImported)
    line = in_one_line(error, named=not known)
    if isinstance(error, Unsupported):
        return messages.Failed(status="unsupported", error=line)
    if isinstance(error, Diverged):
        return messages.Failed(status="diverged", error=line)
    if not (full or system.ran_out(error)):
        return messages.Failed(status="failed", error=line)
    if limit is not None:
        line += f" (it may have {limit / 1e9:.3g} GB)"
    return messages.Failed(status="out-of-memory", error=line)
