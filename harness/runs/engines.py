"""Workers forked from a process that has imported their framework: starts that cost no import.

Where blocks run. An engine runs a whole block: pairs must share a machine.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import Any, Protocol

from harness.cells import Setup
from harness.frameworks import frameworks
from harness.runs.block import Block, Observer, run_block
from harness.runs.contention import Watcher
from harness.runs.process import ROOT, Process, Worker, WorkerFailed, WorkerProcess, cache_variables
from harness.worker.messages import STEM_REPLY, Fork, Forked, Import, Imported, Reap, Reaped

IMPORT_LIMIT, FORK_LIMIT, REAP_LIMIT = 300.0, 30.0, 5.0
LOOK_SECONDS = 0.01

Key = tuple[str, int, bool]
"""Framework, threads, and whether for the twin: what one stem can serve."""


class Stem(WorkerProcess):
    """A process that imports a framework once and forks workers; it computes nothing itself."""

    program = ("-m", "harness.worker.fork_server")
    replies = STEM_REPLY

    def imports(self, setups: Iterable[Setup]) -> None:
        """Have it import what workers of these setups need, and do not wait."""
        self.ask(Import(setups=tuple(setups)), IMPORT_LIMIT)

    def imported(self) -> None:
        """Wait for that. Raises WorkerFailed."""
        self._expect(Imported)

    def fork(self, channel: int, output: int, variables: Mapping[str, str]) -> Process:
        """Raises WorkerFailed."""
        self.ask(Fork(environment=dict(variables)), FORK_LIMIT)
        try:
            for handle in (channel, output):
                send_handle(self._channel, handle, self._process.pid)
        except OSError as error:
            raise WorkerFailed("not-started", f"nothing to fork it from: {error}") from None
        return Branch(self, self._expect(Forked).pid)

    def ending(self, pid: int) -> int | None:
        """How a worker ended: its exit code, or minus the signal; None if it has not."""
        try:
            self.ask(Reap(pid=pid), REAP_LIMIT)
            code: int | None = self._expect(Reaped).code
        except (WorkerFailed, OSError):  # with the stem end its workers
            return -signal.SIGKILL
        return code

    def _expect(self, kind: type[Any]) -> Any:
        reply = self.answer()
        if not isinstance(reply, kind):
            raise WorkerFailed("failed", f"a stem answered {reply.answer!r}")
        return reply


class Branch:
    """The process of a forked worker: a child of its stem, which alone can tell how it ended."""

    def __init__(self, stem: Stem, pid: int) -> None:
        self.pid = pid
        self._stem = stem
        self._code: int | None = None

    def wait(self, timeout: float) -> int:
        late = time.monotonic() + timeout
        while self._code is None:
            self._code = self._stem.ending(self.pid)
            if self._code is None and time.monotonic() > late:
                raise subprocess.TimeoutExpired("a forked worker", timeout)
            if self._code is None:
                time.sleep(LOOK_SECONDS)
        return self._code


class ForkedWorker(WorkerProcess):
    """A worker that began as a copy of a stem; from there on it is like any other."""

    forked = True

    def __init__(self, stem: Stem, setup: Setup, log: Path, caches: Path | None) -> None:
        self._stem = stem
        super().__init__(setup, log, caches)

    def environment(self, setup: Setup, caches: Path | None, code: Path) -> Mapping[str, str]:
        """What it has besides the environment of the stem."""
        return cache_variables(setup, caches)

    def _begun(self, channel: int, output: int, variables: Mapping[str, str]) -> Process:
        return self._stem.fork(channel, output, variables)


class Stems:
    """The stems of a run, as many as its setups on the CPU need; what they print is in `logs`.

    One whose framework varies from import to import serves a single block, and no twin of its
    own; any other serves until `close`.
    """

    def __init__(self, logs: Path, caches: Path | None) -> None:
        self._logs = logs
        self._caches = caches
        self._stems: dict[Key, deque[Stem]] = defaultdict(deque)
        self._used: set[Key] = set()
        self._barren: set[Key] = set()
        self._planted = 0

    def grow(self, setups: Iterable[Setup], more: int = 0) -> None:
        """Import what workers of these setups need, and of `more` blocks like this one, side by
        side.

        Of a framework that cannot be imported so there is no stem: its workers say why.
        """
        wanted: dict[Key, list[Setup]] = defaultdict(list)
        for setup in setups:
            if setup.processor == "cpu":  # a GPU that is in use before a fork is lost to the child
                wanted[key_of(setup)].append(setup)
        for key, its in wanted.items():
            if key not in self._barren:
                self._begin(key, its, more)
        self._used = set(wanted)
        for key in wanted.keys() - self._barren:
            try:
                for stem in self._stems[key]:
                    stem.imported()
            except WorkerFailed:
                self._give_up(key)

    def _begin(self, key: Key, setups: Sequence[Setup], more: int) -> None:
        stems = self._stems[key]
        if key in self._used and varies(setups[0]):
            stems.popleft().close()
        try:
            if not stems:
                many = 1 + more if varies(setups[0]) else 1
                stems.extend(self._plant(setups[0]) for _ in range(many))
            for stem in stems:
                stem.imports(setups)
        except (WorkerFailed, OSError):
            self._give_up(key)

    def _give_up(self, key: Key) -> None:
        self._barren.add(key)
        for stem in self._stems.pop(key, ()):
            stem.close()

    def _plant(self, setup: Setup) -> Stem:
        self._planted += 1
        name = f"stem-{self._planted}-{setup.framework}"
        self._logs.mkdir(parents=True, exist_ok=True)
        return Stem(setup, self._logs / f"{name}.log", self._caches and self._caches / name)

    def fork(self, setup: Setup, log: Path, caches: Path | None) -> ForkedWorker | None:
        """None where there is no stem to fork it from."""
        stems = self._stems.get(key_of(setup)) if setup.processor == "cpu" else None
        try:
            return ForkedWorker(stems[0], setup, log, caches) if stems else None
        except WorkerFailed:
            return None

    def close(self) -> None:
        for stems in self._stems.values():
            for stem in stems:
                stem.close()
        self._stems.clear()
        self._used.clear()
        self._barren.clear()


def key_of(setup: Setup) -> Key:
    return (setup.framework, setup.threads, setup.twin and varies(setup))


def varies(setup: Setup) -> bool:
    return frameworks()[setup.framework].tuning.import_varies


class Engine(Protocol):
    def run(self, block: Block, observer: Observer) -> None:
        """Run a block to its end; every trial of it is given to the observer."""


class LocalEngine:
    """Blocks one by one on this machine; what workers print is kept in `logs`.

    In `caches` every setup has a folder for what its framework compiles: empty for its first
    worker, shared by the later ones. `code` names the folder of other code for setups that are to
    run with it: an older revision takes turns with this one as a twin does. With `fork`, workers
    of blocks that are not `alone` are forked from processes that have imported their frameworks,
    anew in every generation of blocks; of a block that is, only the twin may be, from what the
    generation before has left. To be closed when it is done with.
    """

    def __init__(
        self,
        logs: Path,
        caches: Path | None = None,
        code: Mapping[Setup, Path] | None = None,
        *,
        fork: bool = False,
    ) -> None:
        self._logs = logs
        self._caches = caches
        self._code = code or {}
        may = fork and not self._code and sys.platform == "linux"
        self._stems = Stems(logs, caches) if may else None
        self._generation = 0

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._stems:
            self._stems.close()

    def run(self, block: Block, observer: Observer) -> None:
        if self._stems and not block.alone:
            self._prepare(self._stems, block)
        watcher = Watcher(block.setups[0].threads, block.rounds)
        run_block(block, partial(self._launch, alone=block.alone), observer, watcher)

    def _prepare(self, stems: Stems, block: Block) -> None:
        if block.generation != self._generation:
            stems.close()
        self._generation = block.generation
        stems.grow(block.setups, block.more)

    def _launch(self, setup: Setup, trial: str, *, alone: bool) -> Worker:
        self._make_logs()
        caches = self._caches / _file_name(setup.id) if self._caches else None
        log = self._logs / f"{_file_name(trial.split('/', 1)[1])}.log"
        forked = None
        if self._stems and (not alone or (setup.twin and not varies(setup))):
            forked = self._stems.fork(setup, log, caches)
        return forked or WorkerProcess(setup, log, caches, self._code.get(setup, ROOT))

    def _make_logs(self) -> None:
        """Raises WorkerFailed."""
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkerFailed("not-started", str(error)) from None


def _file_name(name: str) -> str:
    return "".join(it if it.isalnum() or it in "-._" else "_" for it in name)
