"""See the package. This module itself is the import that may fail."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import numpy as np
from impls.faulty.adapter import Adapter as Faulty

WHERE, _, HOW = os.environ.get("BROKEN", "").partition(" ")
SLEEPER = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {0!r}]); {0}"


def reach(where: str) -> None:
    """Fail if this is the place."""
    if where != WHERE:
        return
    match HOW:
        case "segv" | "abrt" | "kill":
            os.kill(os.getpid(), getattr(signal, f"SIG{HOW.upper()}"))
        case "exit":
            os._exit(1)
        case "vanish":
            os._exit(0)
        case "orphan":
            multiprocessing.get_context("fork").Process(target=time.sleep, args=(601,)).start()
            os._exit(1)
        case "half":
            raise ImportError("libhalf.so: cannot open shared object file")
        case "crammed":
            kept = []
            try:
                while True:
                    kept.append(np.ones(10**6))
            except MemoryError:
                raise SystemError("no word of it") from None
        case "bad_alloc":
            print("terminate called after throwing an instance of 'std::bad_alloc'", flush=True)
            os.abort()
        case "hang":  # with a child and its child, and one that was only forked
            subprocess.Popen([sys.executable, "-c", SLEEPER.format("time.sleep(601)")])
            multiprocessing.get_context("fork").Process(target=time.sleep, args=(601,)).start()
            time.sleep(601)


reach("import")


class Adapter(Faulty):
    def __init__(self, task, start, options):
        super().__init__(task, start, options)
        self._ready = False
        self._seen = set()
        reach("build")

    def train_step(self, batch):
        reach("first-call")
        match HOW if WHERE == "step" else "":
            case "nan" | "inf":
                return float(HOW)
            case "hog":
                return np.ones(10**9).sum()
            case "torch-hog":
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to …")
        return super().train_step(batch)

    def reset(self):
        if self._ready:
            reach("sample")
        super().reset()

    def predict(self, batch):
        if self._ready and batch not in self._seen:
            reach("epoch")  # the rows that are held out come in batches of their own size
        self._seen.add(batch)
        return super().predict(batch)

    def settings(self):
        """Asked for after the warm-up, and again at the end."""
        reach("finish" if self._ready else "warm-up")
        self._ready = True
        large = {f"name {it}": "x" * 1000 for it in range(4000)} if HOW == "large" else {}
        return super().settings() | large
