"""`python -m benchmarks.studies.kills`: is anything lost when the runner is killed?

Every run is killed with SIGKILL at a random moment, from before its store exists to after its last
trial, and then resumed to its end. Runner, store, schedule and processes are the harness's own; its
workers answer with given times.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psutil

from benchmarks.studies.journal import table
from harness.cells import Setup
from harness.records import Record, RunInfo
from harness.runs.block import Block, Observer, Step, run_block
from harness.runs.config import resolve
from harness.runs.machine import fingerprint
from harness.runs.plan import Plan, finished_blocks, make_plan
from harness.runs.process import WorkerProcess
from harness.runs.runner import Runner, make_info, measuring
from harness.runs.store import FILE, create

T = TypeVar("T")
RUN, KILLS = "a-run", 100
GONE_SECONDS = 30.0  # a worker that is still importing notices when it is done
RESULTS = Path("results/studies")


class Puppet(WorkerProcess):
    program = ("-m", "benchmarks.studies.puppet")


@dataclass(frozen=True)
class Killed:
    """One run: trials acknowledged before it was killed, and what was wrong after it; 0 is good."""

    moment: float
    acknowledged: int
    lost: int
    doubled: int
    left: int
    damage: str
    unfinished: int

    @property
    def fine(self) -> bool:
        return not (self.lost or self.doubled or self.left or self.unfinished or self.damage)


class Acknowledging:
    """An engine of puppets, and a display that notes each trial once the store has kept it."""

    def __init__(self, folder: Path) -> None:
        self._logs = folder
        self._noted = os.open(folder / "noted", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def run(self, block: Block, observer: Observer) -> None:
        run_block(block, self._launch, observer)

    def _launch(self, setup: Setup, trial: str) -> WorkerProcess:
        return Puppet(setup, self._logs / f"{trial.replace('/', '_')}.log")

    def ended(self, record: Record) -> None:
        os.write(self._noted, f"{record.trial}\n".encode())

    def block(self, number: int, of: int, block: Block, seconds_left: float) -> None: ...

    def progress(self, block: Block, step: Step, setup: Setup | None, done: float) -> None: ...

    def note(self, text: str) -> None: ...


class Play:
    """Runs of one small plan, each in a folder of its own."""

    def __init__(self) -> None:
        given = {"frameworks": ("reference",), "blocks": 3, "rounds": 2, "seeds": 0}
        self._plan: Plan = make_plan(resolve(None, given | {"tasks": ("diabetes-regression",)}))
        self._info: RunInfo = make_info(self._plan, RUN)
        self._trials = sum(len(it.setups) for it in self._plan.groups) * self._plan.config.blocks

    def begin(self, folder: Path) -> int:
        """Begin a run, or go on with it, in a process of its own; returns its number."""
        child = os.fork()
        if not child:
            code = 1
            try:
                self._run(folder)
                code = 0
            finally:
                os._exit(code)
        return child

    def _run(self, folder: Path) -> None:
        display = Acknowledging(folder)
        with measuring(folder), create(folder) as store:
            if RUN not in store.runs():
                store.add_run(self._info, self._plan.tasks)
            done = finished_blocks(store.load(RUN).records, store.attempts(RUN))
            data = {task.data: folder for task in self._plan.tasks}
            Runner(self._plan, RUN, store, display, data, display).run(done)

    def seconds(self, folder: Path) -> float:
        """How long a whole run takes."""
        begin = time.monotonic()
        assert os.waitpid(self.begin(folder), 0)[1] == 0
        return time.monotonic() - begin

    def kill(self, folder: Path, moment: float) -> Killed:
        """Kill a new run after so many seconds, look at what it left, and resume it to its end."""
        runner = self.begin(folder)
        time.sleep(moment)
        os.kill(runner, signal.SIGKILL)
        os.waitpid(runner, 0)
        left = _survivors(runner)
        noted = (folder / "noted").read_text().splitlines() if (folder / "noted").exists() else []
        before, damage = _kept(folder), _damage(folder)
        whole = _whole_blocks(before, len(self._plan.groups[0].setups))
        ended = os.waitpid(self.begin(folder), 0)[1]
        after = _kept(folder)
        with create(folder) as store:
            records = store.load(RUN).records
        counted = Counter((it.block, it.setup) for it in records if it.status == "ok")
        begun = {trial.split("/")[1] for trial in after}
        return Killed(
            moment=moment,
            acknowledged=len(noted),
            lost=len(set(noted) - set(before)) + sum(after.get(it) != before[it] for it in before),
            doubled=sum(it - 1 for it in counted.values())
            + sum(f"{block}.2" in begun for block in whole),
            left=left,
            damage=damage or _damage(folder),
            unfinished=self._trials - len(counted) + (ended != 0),
        )


def _survivors(runner: int) -> int:
    """Workers of a runner that are still alive a while after it."""
    deadline = time.monotonic() + GONE_SECONDS
    while alive := [it for it in psutil.process_iter(["cmdline", "status"]) if _of(it, runner)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    return len(alive)


def _of(process: psutil.Process, runner: int) -> bool:
    words = process.info["cmdline"] or []
    return Puppet.program[-1] in words and words[-1] == str(runner)


def _kept(folder: Path) -> dict[str, tuple[str, int]]:
    """Every terminal row by its trial: the record, and how many samples it has."""
    return dict(_asked(folder, _rows, {}))


def _rows(connection: sqlite3.Connection) -> list[tuple[str, tuple[str, int]]]:
    if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'ended'").fetchone():
        return []
    rows = connection.execute(
        "SELECT trial, record, (SELECT count(*) FROM samples s WHERE s.trial = e.trial) "
        "FROM ended e"
    )
    return [(trial, (record, samples)) for trial, record, samples in rows]


def _damage(folder: Path) -> str:
    """What SQLite finds wrong; empty if nothing."""
    check = "PRAGMA integrity_check"
    found = _asked(folder, lambda it: str(it.execute(check).fetchone()[0]), "ok")
    return "" if found == "ok" else found


def _asked(folder: Path, ask: Callable[[sqlite3.Connection], T], absent: T) -> T:
    if not (folder / FILE).exists():
        return absent
    connection = sqlite3.connect(folder / FILE)
    try:
        return ask(connection)
    finally:
        connection.close()


def _whole_blocks(kept: dict[str, tuple[str, int]], setups: int) -> list[str]:
    blocks = Counter(trial.split("/")[1] for trial in kept)
    return [name.removesuffix(".1") for name, trials in blocks.items() if trials == setups]


def summary(runs: Sequence[Killed], seconds: float) -> str:
    named = ("acknowledged", "lost", "doubled", "left", "unfinished")
    total = {name: sum(getattr(it, name) for it in runs) for name in named}
    damaged = sum(bool(it.damage) for it in runs)
    head = ("runs killed", "trials acknowledged before", "lost", "counted twice or run again")
    head += ("workers that stayed", "stores damaged", "trials missing after `--resume`")
    row = (len(runs), *(total[it] for it in named[:4]), damaged, total["unfinished"])
    said = "met" if all(it.fine for it in runs) else "not met"
    machine = ", ".join(f"{name} {it}" for name, it in fingerprint().items() if it is not None)
    return "\n".join(
        (
            "# A runner that is killed",
            "",
            f"No acknowledged trial lost in {len(runs)} runs, each killed with SIGKILL at a random "
            f"moment and resumed to its end: **{said}**.",
            "",
            table(head, [row]),
            "",
            f"A whole run of three blocks takes {seconds:.2f} s here; it was killed after "
            f"{min(it.moment for it in runs):.2f} to {max(it.moment for it in runs):.2f} s. "
            "Workers answer with given times; runner, store, schedule and processes are the "
            "harness's own. A trial is acknowledged when the store has returned from keeping it.",
            "",
            f"- Repeat it: `python -m benchmarks.studies.kills --runs {len(runs)}`",
            f"- Machine: {machine}",
            "",
        )
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill the runner, and look for what is lost.")
    parser.add_argument("--runs", type=int, default=KILLS)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS)
    given = parser.parse_args()
    chance = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        play = Play()
        begin = time.monotonic()
        seconds = play.seconds(_new(Path(name) / "whole"))
        runs = []
        for number in range(given.runs):
            runs.append(play.kill(_new(Path(name) / str(number)), chance.uniform(0, seconds)))
            if not runs[-1].fine:
                print(f"run {number + 1}: {runs[-1]}")
    print(f"{given.runs} runs in {time.monotonic() - begin:.0f} s")
    text = summary(runs, seconds)
    (given.output / "kills.md").write_text(text, encoding="utf-8")
    print(text)


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
