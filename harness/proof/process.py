"""A prover as its caller sees it: a process of its own that answers, or fails in a typed way."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from harness.cells import Setup
from harness.certificates import ENDED, Finding
from harness.proof.messages import ANSWER, IMPORT_SECONDS, Prove, Proved
from harness.runs.process import WorkerFailed, WorkerProcess, environment

PATIENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "KMP_BLOCKTIME": "0",
    "GOMP_SPINCOUNT": "0",
    "OPENBLAS_THREAD_TIMEOUT": "4",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
    "MALLOC_TRIM_THRESHOLD_": str(2**33),
}
"""Threads that are out of work sleep at once, and nobody compiles in processes of his own: provers
work side by side already. Memory is kept and used again: every step makes as many large arrays as
the one before, and pages given back to the system are cleared before they return. No number changes
by it."""
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
        return cast(
            "Proved",
            self.request(request, IMPORT_SECONDS + children * request.limit + SLACK_SECONDS),
        )


def gone(failure: WorkerFailed) -> Proved:
    """The outcome of a proof whose prover failed."""
    how = failure.error
    if "SIGALRM" in how:
        how = f"what it imports took more than {IMPORT_SECONDS:.0f} s"
    finding = Finding(check=ENDED, ok=False, detail=f"the prover {failure.status}: {how}")
    return Proved(seconds=0.0, findings=(finding,))
