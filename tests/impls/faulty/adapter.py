"""See the package: every mode is one fault."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from harness.adapter import Options, State, Unsupported
from harness.tasks.spec import Task
from harness.tasks.start import Start


class Adapter:
    def __init__(self, task: Task, start: Start, options: Options) -> None:
        self._mode = options.mode
        self._outputs = task.widths[-1]
        self._resets = 0
        self._steps = self._calls = 0
        if options.mode == "raise":
            raise ValueError("two\nlines")
        if options.mode == "unsupported":
            raise Unsupported("not on a Monday")
        if options.mode == "ahead":
            ahead = sys.modules.get("impls.faulty.ahead")
            raise Unsupported(f"imported by {ahead and ahead.PROCESS}, forked by {os.getppid()}")
        if options.mode == "threads":
            pool = importlib.import_module("impls.faulty.threads").POOL
            raise Unsupported(pool.submit("its thread answers".strip).result())
        if options.mode == "processes":
            parent = importlib.import_module("impls.faulty.processes").PARENT
            raise Unsupported("its own" if parent == os.getpid() else "of another")
        if options.mode == "together":
            meeting = Path(os.environ["FAULTY_MEETING"])
            (meeting / str(os.getpid())).touch()
            while len(list(meeting.iterdir())) < 3:
                time.sleep(0.01)
        if options.mode == "compiling" and "FAULTY_CACHE" in os.environ:
            cache = Path(os.environ["FAULTY_CACHE"])
            cache.mkdir(parents=True, exist_ok=True)
            (cache / "program").write_text("compiled")
        if options.mode == "pinned":
            os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        if options.mode == "noisy":
            for output in (sys.stdout, sys.stderr):
                output.buffer.write(bytes(range(256)) * 8192)
                output.buffer.flush()

    def stage(self, inputs, targets):
        return len(inputs)

    def reset(self):
        if self._mode != "lazy":
            self._steps = 0

    def train_step(self, batch):
        self._steps += 1
        match self._mode:
            case "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "exit":
                os._exit(3)
            case "vanish":
                os._exit(0)
            case "greedy":
                raise MemoryError
            case "hang":
                subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
                time.sleep(600)
            case "steady":
                time.sleep(0.0018)
            case "pauses":
                self._calls += 1
                time.sleep(0.12 if self._calls % 41 == 0 else 0.0008)
        time.sleep(0.0002)
        if self._mode == "lazy":
            return 1 / self._steps
        return float("nan") if self._mode == "diverge" and self._steps > 60 else 1.0

    def predict(self, batch):
        time.sleep(0.0001)
        return np.zeros((batch, self._outputs))

    def gradients(self, batch):
        return {}

    def state(self):
        return State({}, {})

    def to_numpy(self, handle):
        return np.asarray(handle)

    def synchronize(self):
        pass

    def reset_device_memory(self):
        return False

    def device_memory(self):
        return None

    def logical_peak(self, step):
        return None

    def tensor(self, values):
        return np.asarray(values)

    def products(self, pairs):
        return [left @ right for left, right in pairs]

    def settings(self):
        return {"mode": self._mode}
