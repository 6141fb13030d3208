"""Many proofs at once: one prover for each core, grouped so that imports are few.

A prover is a process of its own that answers, or fails in a typed way. It runs each proof in a
forked child, which may crash, hang or use up memory without harm to others. Messages are JSON.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import itertools
import json
import multiprocessing
import os
import signal
import sys
import traceback
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import Field, TypeAdapter

from harness.adapter import Setting, Unsupported
from harness.cells import Phase, Setup
from harness.certificates import ENDED, Divergence, Finding, LongProof, Tolerance
from harness.errors import in_one_line
from harness.frameworks import frameworks
from harness.runs.process import WorkerFailed, WorkerProcess, environment, watch
from harness.tasks.spec import Frozen, Task
from harness.worker.messages import Failed, die_with
from harness.worker.system import adopt_orphans, end_all, end_descendants

IMPORT_SECONDS = 120.0
"""What takes a prover longer to import has hung; the prover then ends itself by SIGALRM."""


class Prove(Frozen):
    """Examine a setup over so many steps from the shared start of a seed.

    `data` is the folder of staged arrays; what takes longer than `limit` seconds has hung. With
    `counted` memory is counted too; the field is left out where it is true, since older code does
    not know it. With `rows` it is a long proof instead: a training with so many rows a batch.
    """

    ask: Literal["prove"] = "prove"
    task: Task
    setup: Setup
    seed: int
    steps: int
    tolerance: Tolerance
    data: str
    limit: float
    counted: bool = Field(default=True, exclude_if=bool)
    rows: int | None = Field(default=None, exclude_if=lambda it: it is None)


class Proved(Frozen):
    """The outcome of a proof; `divergence` has one entry for each step of `rows` rows."""

    answer: Literal["proved"] = "proved"
    seconds: float = 0.0
    findings: tuple[Finding, ...]
    divergence: tuple[Divergence, ...] = ()
    rows: int = 0
    settings: dict[str, Setting] = Field(default_factory=dict)
    logical_peak: dict[Phase, int | None] = Field(default_factory=dict)
    whole: LongProof | None = None


PROVE: TypeAdapter[Prove] = TypeAdapter(Prove)
ANSWER: TypeAdapter[Proved | Failed] = TypeAdapter(
    Annotated[Proved | Failed, Field(discriminator="answer")]
)


PATIENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "KMP_BLOCKTIME": "0",
    "GOMP_SPINCOUNT": "0",
    "OPENBLAS_THREAD_TIMEOUT": "4",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
}
"""Idle threads sleep at once, and compilers start no processes: provers run side by side already.
Freed memory is kept: every step makes as many large arrays as the one before, and the system clears
every page that it hands out again. No number changes by it."""
SLACK_SECONDS = 30.0
"""More than a prover and its children may take."""


class Prover(WorkerProcess):
    """Proves setups of one framework, on one device and with one number of threads."""

    program = ("-m", "harness.proof.prover")
    replies = ANSWER

    def environment(self, setup: Setup, caches: Path | None, code: Path) -> Mapping[str, str]:
        return {**environment(setup, caches, code), **PATIENT}

    def prove(self, request: Prove) -> Proved:
        """Raises WorkerFailed where the prover itself is gone: its caller needs a new one."""
        children = 3
        limit = IMPORT_SECONDS + children * request.limit + SLACK_SECONDS
        return cast(Proved, self.request(request, limit))


Launch = Callable[[Setup], Prover]


def launcher(logs: Path, caches: Path) -> Launch:
    """What starts provers, each with a log of its own."""
    numbers = itertools.count()

    def launch(setup: Setup) -> Prover:
        return Prover(setup, logs / f"prover-{os.getpid()}-{next(numbers)}.log", caches)

    return launch


def gone(failure: WorkerFailed) -> Proved:
    """The outcome of a proof whose prover failed."""
    how = failure.error
    if "SIGALRM" in how:
        how = f"what it imports took more than {IMPORT_SECONDS:.0f} s"
    finding = Finding(check=ENDED, ok=False, detail=f"the prover {failure.status}: {how}")
    return Proved(findings=(finding,))


class ChildFailed(Exception):
    """It ended without an answer; the message says how."""


def in_child(
    function: Callable[[], str], limit: float, keep_imports: bool = True, *, fresh: bool = False
) -> str:
    """What `function` returns in a child of this process, which may take `limit` seconds.

    With `keep_imports` this process imports what the child has imported, for the next child. A
    `fresh` child is no copy of this process and imports everything itself; its function is pickled.
    Raises Unsupported if the function did, and ChildFailed for any other way not to answer.
    """
    reader, writer = multiprocessing.Pipe(duplex=False)
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    if fresh:
        spawned = multiprocessing.get_context("spawn").Process(
            target=_live, args=(function, writer, parent)
        )
        spawned.start()
        child = spawned.pid or 0
    else:
        # A garbage collection of the child would copy every page of what is here already.
        gc.freeze()
        child = os.fork()
        if not child:
            _live(function, writer, parent)
    writer.close()
    try:
        kind, text, imported = json.loads(_answer(reader, child, limit))
    finally:
        reader.close()
        end_descendants(child)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(child, 0)
    for name in imported if keep_imports and not fresh else ():
        with contextlib.suppress(Exception):  # some are made on the fly, and need not be here
            importlib.import_module(name)
    if kind == "unsupported":
        raise Unsupported(text)
    if kind == "failure":
        raise ChildFailed(text)
    return str(text)


def _live(function: Callable[[], str], writer: Connection, parent: int) -> None:
    """The child's whole life; it must not return into its parent's code."""
    try:
        die_with(parent)
        adopt_orphans()
        before = set(sys.modules)
        answer = function()
        _send(writer, "answer", answer, [it for it in sys.modules if it not in before])
    except Unsupported as reason:
        _send(writer, "unsupported", str(reason))
    except BaseException as error:
        traceback.print_exc()
        _send(writer, "failure", in_one_line(error))
    finally:
        end_all()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _send(writer: Connection, kind: str, text: str, imported: Sequence[str] = ()) -> None:
    writer.send_bytes(json.dumps([kind, text, list(imported)]).encode())


def _answer(reader: Connection, child: int, limit: float) -> bytes:
    ended = watch(child)
    with ended or contextlib.nullcontext():
        waited: list[Any] = [reader, *([ended] if ended else [])]
        if not wait(waited, limit):
            raise ChildFailed(f"no result within {limit:.0f} s")
        with contextlib.suppress(EOFError, OSError):
            if reader.poll(0):
                return reader.recv_bytes()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
    raise ChildFailed(f"its process {how}")


Group = tuple[str, str, str, int]
"""Framework with its version, its mode if its environment names it, device and threads: what one
prover process can serve."""


Done = tuple[Prove, Proved]


def prove_all(requests: Sequence[Prove], launch: Launch, provers: int) -> Iterator[Done]:
    """Every request with its outcome, as they come. Closing the iterator ends what is under way.

    Proofs whose threads spin come first and run alone: with another prover at work they take up to
    six times as long.
    """
    yield from _side_by_side([it for it in requests if spins(it)], launch, 1)
    yield from _side_by_side([it for it in requests if not spins(it)], launch, provers)


def _side_by_side(requests: Sequence[Prove], launch: Launch, provers: int) -> Iterator[Done]:
    # The longest first: short ones fill the end.
    waiting: dict[Group, deque[Prove]] = defaultdict(deque)
    for request in sorted(requests, key=cost, reverse=True):
        waiting[group_of(request.setup)].append(request)
    idle = [ProverSlot(launch) for _ in range(min(provers, len(requests)))]
    slots, running = tuple(idle), dict[Future[Proved], tuple[ProverSlot, Prove]]()

    def fill() -> None:
        """Give every idle slot a request of its group, else of the group with most work for each
        of its slots; end its prover if none is left."""
        while idle:
            slot = idle.pop()
            serving = Counter(group_of(it.setup) for _, it in running.values())
            left = {
                group: sum(map(cost, jobs)) / (1 + serving[group])
                for group, jobs in waiting.items()
                if jobs
            }
            if not left:
                slot.close()
                continue
            group = slot.group if slot.group in left else max(left, key=lambda it: left[it])
            request = waiting[group].popleft()
            running[threads.submit(slot.prove, request)] = slot, request

    with ThreadPoolExecutor(max(1, len(slots))) as threads:
        try:
            fill()
            for _ in requests:
                done = next(as_completed(running))
                slot, request = running.pop(done)
                idle.append(slot)
                fill()
                yield request, done.result()
        finally:
            for slot in slots:
                slot.end()


class ProverSlot:
    """One prover at a time, each for the requests of one group."""

    def __init__(self, launch: Launch) -> None:
        self.group: Group | None = None
        self._launch = launch
        self._prover: Prover | None = None
        self._ended = False

    def prove(self, request: Prove) -> Proved:
        if self.group != group_of(request.setup):
            self.close()
            self.group = group_of(request.setup)
        try:
            if self._prover is None:
                self._prover = self._launch(request.setup)
            if self._ended:
                raise WorkerFailed("interrupted", "its result is no longer needed")
            return self._prover.prove(request)
        except WorkerFailed as failure:
            self.close()
            return gone(failure)

    def close(self) -> None:
        prover, self._prover = self._prover, None
        if prover is not None:
            prover.close()

    def end(self) -> None:
        """Close the prover, whatever it does, and start no other."""
        self._ended = True
        self.close()


def group_of(setup: Setup) -> Group:
    mode = frameworks()[setup.framework].process_mode(setup.mode)
    return (setup.name, mode, setup.device, setup.threads)


def spins(request: Prove) -> bool:
    """Whether its threads wait busily for each other, and keep other processes from the cores."""
    setup, task = request.setup, request.task
    largest = max(task.batch * fan_in * fan_out for fan_in, fan_out in task.layers)
    return setup.threads > 1 and largest > frameworks()[setup.framework].tuning.spins_beyond


def cost(request: Prove) -> float:
    """A rough estimate without a unit: of computing the steps, of compiling the layers, and of the
    constant rest."""
    task = request.task
    return 1 + len(task.layers) / 5 + request.steps * task.parameters / 1e7
