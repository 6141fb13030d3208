"""See the package: every mode hides one cost."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np

from impls.reference import adapter as reference

BURN = "while True: pass"
ESCAPE = f"""# a process that left its group
import os
if not os.fork():
    os.setsid()
    if not os.fork():
        {BURN}
    os._exit(0)
"""


class Adapter(reference.Adapter):
    def __init__(self, task, start, options):
        self.hides = options.mode
        self._working, self._ended, self._kept = threading.Event(), threading.Event(), []
        super().__init__(task, start, replace(options, mode="replay"))
        if self.hides in ("thread", "lingering"):
            threading.Thread(target=self._burn, daemon=True).start()
        if self.hides == "thread":
            self._working.set()
        self.process = None
        if self.hides in ("child", "escaped"):
            code = BURN if self.hides == "child" else ESCAPE
            self.process = subprocess.Popen([sys.executable, "-c", code])
        if self.hides == "escaped":
            self.process.wait()

    def _burn(self):
        numbers = np.ones(2**15)
        while self._working.wait() and not self._ended.is_set():
            np.cos(numbers, out=numbers)  # without the interpreter's lock

    def end(self):
        """For tests in their own process."""
        self._ended.set()
        self._working.set()
        if self.process:
            self.process.kill()
            self.process.wait()

    def train_step(self, batch):
        if self.hides == "lingering":
            self._working.set()
        if self.hides == "growing":
            self._kept.append(b"x" * 200_000)
        return super().train_step(batch)

    def synchronize(self):
        if self.hides == "lingering":
            self._working.clear()
        super().synchronize()
