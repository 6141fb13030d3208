"""Where blocks run. An engine runs a whole block: pairs must share a machine."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from harness.cells import Setup
from harness.runs.block import Block, Observer, run_block
from harness.runs.process import Worker, WorkerProcess


class Engine(Protocol):
    def run(self, block: Block, observer: Observer) -> None:
        """Run a block to its end; every trial of it is given to the observer."""


class LocalEngine:
    """Blocks one by one on this machine; what workers print is kept in `logs`."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs

    def run(self, block: Block, observer: Observer) -> None:
        run_block(block, self._launch, observer)

    def _launch(self, setup: Setup, trial: str) -> Worker:
        self._logs.mkdir(parents=True, exist_ok=True)
        name = "".join(it if it.isalnum() or it in "-._" else "_" for it in trial.split("/", 1)[1])
        return WorkerProcess(setup, self._logs / f"{name}.log")
