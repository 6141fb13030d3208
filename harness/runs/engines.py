"""Where blocks run. An engine runs a whole block: pairs must share a machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

from harness.cells import Setup
from harness.runs.block import Block, Observer, run_block
from harness.runs.contention import Watcher
from harness.runs.process import ROOT, Worker, WorkerFailed, WorkerProcess
from harness.runs.stems import Stems, varies


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
