"""Where blocks run. The engine runs whole blocks, as pairs must share a machine.

Workers may be forked from fork servers: processes that have imported a framework, so that a start
costs no import.
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
from typing import Any

from harness.cells import Setup
from harness.frameworks import frameworks
from harness.runs.block import Block, Observer, run_block
from harness.runs.contention import Watcher
from harness.runs.process import ROOT, Process, WorkerFailed, WorkerProcess, cache_variables
from harness.worker.messages import FORK_REPLY, Fork, Forked, Import, Imported, Reap, Reaped

IMPORT_LIMIT, FORK_LIMIT, REAP_LIMIT = 300.0, 30.0, 5.0
POLL_SECONDS = 0.01

Key = tuple[str, str, int, bool]
"""What one server serves: framework and version, mode if it matters, threads, whether a twin."""


class ForkServer(WorkerProcess):
    """A process that imports a framework once and forks workers; it computes nothing itself."""

    program = ("-m", "harness.worker.fork_server")
    replies = FORK_REPLY

    def fork(self, channel: int, output: int, variables: Mapping[str, str]) -> Process:
        """Raises WorkerFailed."""
        self.ask(Fork(environment=dict(variables)), FORK_LIMIT)
        try:
            for handle in (channel, output):
                send_handle(self._channel, handle, self._process.pid)
        except OSError as error:
            raise WorkerFailed("not-started", f"nothing to fork it from: {error}") from None
        return ForkedProcess(self, self.expect(Forked).pid)

    def ending(self, pid: int) -> int | None:
        """How a worker ended: its exit code, or minus the signal; None if it has not."""
        try:
            self.ask(Reap(pid=pid), REAP_LIMIT)
            code: int | None = self.expect(Reaped).code
        except (WorkerFailed, OSError):  # with the server end its workers
            return -signal.SIGKILL
        return code

    def expect(self, kind: type[Any]) -> Any:
        """The answer to the last request, of this kind. Raises WorkerFailed."""
        reply = self.answer()
        if not isinstance(reply, kind):
            raise WorkerFailed("failed", f"a fork server answered {reply.answer!r}")
        return reply


class ForkedProcess:
    """The process of a forked worker: a child of its server, which alone can tell how it ended."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self.pid = pid
        self._server = server
        self._code: int | None = None

    def wait(self, timeout: float) -> int:
        late = time.monotonic() + timeout
        while self._code is None:
            self._code = self._server.ending(self.pid)
            if self._code is None:
                if time.monotonic() > late:
                    raise subprocess.TimeoutExpired("a forked worker", timeout)
                time.sleep(POLL_SECONDS)
        return self._code


class ForkedWorker(WorkerProcess):
    """A worker that began as a copy of a fork server."""

    forked = True

    def __init__(self, server: ForkServer, setup: Setup, log: Path, caches: Path | None) -> None:
        self._server = server
        super().__init__(setup, log, caches)

    def environment(self, setup: Setup, caches: Path | None, code: Path) -> Mapping[str, str]:
        """Variables in addition to those of the fork server."""
        return cache_variables(setup, caches)

    def _begun(self, channel: int, output: int, variables: Mapping[str, str]) -> Process:
        return self._server.fork(channel, output, variables)


class ForkServers:
    """The fork servers of a run, as many as its setups on the CPU need. Their output is in `logs`.

    If a framework's times vary from import to import, its server serves one block and no A/A
    copy. Other servers serve until `close`.
    """

    def __init__(self, logs: Path, caches: Path | None) -> None:
        self._logs = logs
        self._caches = caches
        self._servers: dict[Key, deque[ForkServer]] = defaultdict(deque)
        self._used: set[Key] = set()
        self._failed: set[Key] = set()
        self._started = 0

    def prepare(self, setups: Iterable[Setup], more: int = 0) -> None:
        """Import side by side what workers of these setups need, also for `more` such blocks.

        If the import fails there is no fork server; the workers report the error.
        """
        wanted: dict[Key, list[Setup]] = defaultdict(list)
        for setup in setups:
            if setup.processor == "cpu":  # a GPU that is in use before a fork is lost to the child
                wanted[key_of(setup)].append(setup)
        for key, of_key in wanted.items():
            if key not in self._failed:
                self._begin(key, of_key, more)
        self._used = set(wanted)
        for key in wanted.keys() - self._failed:
            try:
                for server in self._servers[key]:
                    server.expect(Imported)
            except WorkerFailed:
                self._give_up(key)

    def _begin(self, key: Key, setups: Sequence[Setup], more: int) -> None:
        servers, anew = self._servers[key], varies(setups[0])
        if key in self._used and anew:
            servers.popleft().close()
        try:
            if not servers:
                many = 1 + more if anew else 1
                servers.extend(self._start(setups[0]) for _ in range(many))
            for server in servers:
                server.ask(Import(setups=tuple(setups)), IMPORT_LIMIT)
        except (WorkerFailed, OSError):
            self._give_up(key)

    def _give_up(self, key: Key) -> None:
        self._failed.add(key)
        for server in self._servers.pop(key, ()):
            server.close()

    def _start(self, setup: Setup) -> ForkServer:
        self._started += 1
        name = f"fork-server-{self._started}-{setup.name}"
        self._logs.mkdir(parents=True, exist_ok=True)
        return ForkServer(setup, self._logs / f"{name}.log", self._caches and self._caches / name)

    def fork(self, setup: Setup, log: Path, caches: Path | None) -> ForkedWorker | None:
        """None if there is no fork server for this setup."""
        servers = self._servers.get(key_of(setup)) if setup.processor == "cpu" else None
        try:
            return ForkedWorker(servers[0], setup, log, caches) if servers else None
        except WorkerFailed:
            return None

    def close(self) -> None:
        for servers in self._servers.values():
            for server in servers:
                server.close()
        self._servers.clear()
        self._used.clear()
        self._failed.clear()


def key_of(setup: Setup) -> Key:
    mode = frameworks()[setup.framework].process_mode(setup.mode)
    return (setup.name, mode, setup.threads, setup.twin and varies(setup))


def varies(setup: Setup) -> bool:
    return frameworks()[setup.framework].tuning.import_varies


class LocalEngine:
    """Blocks one by one on this machine; what workers print is kept in `logs`.

    In `caches` every setup has a folder for what its framework compiles: empty for its first
    worker, shared by the later ones. `code` maps setups to the folder of other code that they run,
    such as an older revision. With `fork`, workers of blocks that are not `alone` are forked from
    processes that have imported their frameworks, anew in every generation of blocks; in a block
    that is, only the twin may be, from a fork server of the generation before.
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
        self._servers = ForkServers(logs, caches) if may else None
        self._generation = 0

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._servers:
            self._servers.close()

    def run(self, block: Block, observer: Observer) -> None:
        """Run a block to its end; every trial of it is given to the observer."""
        if self._servers and not block.alone:
            if block.generation != self._generation:
                self._servers.close()
            self._generation = block.generation
            self._servers.prepare(block.setups, block.more)
        watcher = Watcher(block.setups[0].threads, block.rounds)
        run_block(block, partial(self._launch, alone=block.alone), observer, watcher)

    def _launch(self, setup: Setup, trial: str, *, alone: bool) -> WorkerProcess:
        try:
            self._logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise WorkerFailed("not-started", str(error)) from None
        caches = self._caches / _file_name(setup.id) if self._caches else None
        log = self._logs / f"{_file_name(trial.split('/', 1)[1])}.log"
        forked = None
        if self._servers and (not alone or (setup.twin and not varies(setup))):
            forked = self._servers.fork(setup, log, caches)
        return forked or WorkerProcess(setup, log, caches, self._code.get(setup, ROOT))


def _file_name(name: str) -> str:
    return "".join(it if it.isalnum() or it in "-._" else "_" for it in name)
