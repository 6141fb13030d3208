"""`python -m benchmarks.studies.solo`: one setup in one fresh process, as pyperf runs it.

Reads a worker's requests `Load` and `Prepare` from standard input, a line each, then the number of
samples; measures with the worker's own code, one sample after the other with nobody to wait for;
prints the seconds per iteration of each as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.studies.journal import Design
from harness.cells import Setup
from harness.runs.process import ROOT, environment
from harness.tasks.catalogue import CATALOGUE
from harness.worker.messages import Load, Prepare, Sampled, TakeSample


def measure(setup: Setup, design: Design, data: Path, seed: int) -> list[float]:
    """Seconds per iteration of every sample of a fresh process."""
    load = Load(
        task=CATALOGUE[design.task], setup=setup, seed=seed, phases=design.phases, data=str(data)
    )
    prepare = Prepare(sample_seconds=design.sample_seconds, warmup_seconds=design.warmup_seconds)
    asked = (load.model_dump_json(), prepare.model_dump_json(), str(design.rounds))
    told = subprocess.run(
        [sys.executable, "-P", "-m", "benchmarks.studies.solo"],
        cwd=ROOT,
        env=environment(setup),
        input="\n".join(asked),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [float(it) for it in json.loads(told.stdout.splitlines()[-1])]


def main() -> None:
    load, prepare, rounds = sys.stdin.read().splitlines()
    from harness.worker.session import Session

    requested = Load.model_validate_json(load)
    session = Session(requested)
    session.answer(Prepare.model_validate_json(prepare))
    (phase,) = requested.phases
    steps = []
    for number in range(int(rounds)):
        reply = session.answer(TakeSample(phase=phase, round=number, turn=0))
        assert isinstance(reply, Sampled)
        steps.append(reply.sample.step_seconds)
    print(json.dumps(steps))


if __name__ == "__main__":
    main()
