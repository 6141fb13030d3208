"""Runs whose times are given: records built in pure Python, seeded, without any process."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harness.analysis.pairs import Entry, entries
from harness.cells import THROUGHPUT, Phase, Setup
from harness.certificates import Certificate, Divergence, Finding
from harness.records import (
    Epoch,
    Memory,
    PhaseRecord,
    Quality,
    Record,
    Run,
    RunInfo,
    Sample,
    Unavailable,
)
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.metrics import METRICS
from harness.tasks.spec import Task

MB = 1_000_000
TASK = CATALOGUE["digits-mlp"]
ERROR_TASK = CATALOGUE["diabetes-regression"]
LABELS = ("pytorch:eager", "tensorflow:graph", "reference:eager")
MANY_LABELS = (
    "pytorch:eager",
    "pytorch:compile",
    "tensorflow:graph",
    "tensorflow:eager",
    "tensorflow:xla",
    "reference:eager",
    "reference:replay",
    "other:eager",
)
MEMORY = Memory(incremental_peak_rss=12 * MB, total_peak_rss=231 * MB)


def make_task(name: str = "digits-mlp", **changes: Any) -> Task:
    """A task like digits-mlp under another name, with fields changed (and validated)."""
    content = TASK.model_dump() | {"name": name} | changes
    return Task.model_validate(content)


def make_setup(task: Task = TASK, label: str = "pytorch:eager", **changes: Any) -> Setup:
    name, _, mode = label.partition(":")
    framework, _, version = name.partition("@")
    changes = {"framework": framework, "version": version, "mode": mode} | changes
    return Setup(task=task.name, digest=task.digest, **changes)


def make_samples(steps: Sequence[float], iterations: int = 50) -> tuple[Sample, ...]:
    """One sample a round with the step times given, in seconds."""
    return tuple(
        Sample(
            round=number,
            turn=number % 3,
            iterations=iterations,
            seconds=step * iterations,
            cpu_seconds=0.97 * step * iterations,
            voluntary_switches=1,
            involuntary_switches=2,
        )
        for number, step in enumerate(steps)
    )


def make_phase(
    steps: Sequence[float], phase: Phase = "train", memory: Memory | None = MEMORY
) -> PhaseRecord:
    first = steps[0] if steps else 0.001
    return PhaseRecord(
        phase=phase,
        first_call=40 * first,
        second_call=3 * first,
        warmup=(2 * first, first),
        iterations=50,
        staged_batches=8,
        samples=make_samples(steps),
        memory=memory,
    )


def make_quality(values: Sequence[float], seed: int = 0, seconds: float = 0.5) -> Quality:
    """A training with the quality after each epoch given, each epoch taking `seconds`."""
    return Quality(
        seed=seed,
        epochs=tuple(
            Epoch(epoch=number, seconds=seconds, loss=1 / (number + 1), quality=value)
            for number, value in enumerate(values)
        ),
    )


def make_record(
    setup: Setup,
    block: int = 0,
    steps: Mapping[Phase, Sequence[float]] | None = None,
    *,
    quality: Quality | None = None,
    memory: Memory | None = MEMORY,
    **changes: Any,
) -> Record:
    """A good record with the step times given by phase, one a round."""
    content: dict[str, Any] = {
        "trial": f"{block}/{setup.id}",
        "block": block,
        "setup": setup,
        "status": "ok",
        "import_seconds": 1.2,
        "build_seconds": 0.05,
        "phases": tuple(make_phase(times, phase, memory) for phase, times in (steps or {}).items()),
        "quality": quality,
    }
    return Record(**(content | changes))


def entry_of(records: Mapping[int, Record]) -> Entry:
    """One setup's entry, its records given by block."""
    (entry,) = entries(records.values()).values()
    return entry


def make_failure(setup: Setup, block: int = 0, status: str = "crashed", **changes: Any) -> Record:
    content: dict[str, Any] = {
        "trial": f"{block}/{setup.id}",
        "block": block,
        "setup": setup,
        "status": status,
        "error": "killed by signal 11 (SIGSEGV)",
        "stderr_tail": 'Fatal Python error: Segmentation fault\n  File "adapter.py", line 3',
    }
    return Record(**(content | changes))


def make_certificate(setup: Setup, failed: str | None = None, **changes: Any) -> Certificate:
    """A certificate that passed, or one whose check of gradients failed with the detail given."""
    findings = [
        Finding(check="weights", ok=True),
        Finding(check="gradients", ok=failed is None, detail=failed or ""),
    ]
    content: dict[str, Any] = {
        "key": f"key of {setup.original.id}",
        "setup": setup.original,
        "framework_version": "1.0",
        "code": "0" * 16,
        "machine": "x86_64",
        "made": "2026-01-02T03:04:05Z",
        "tolerance": "exact",
        "seed": 0,
        "steps": 10,
        "rows": 32,
        "seconds": 0.5,
        "findings": tuple(findings),
        "divergence": tuple(
            Divergence(step=step, loss=9e-8, logits=8e-8, gradients=2e-7, weights=1e-7)
            for step in range(10)
        ),
    }
    return Certificate(**(content | changes))


def certified(records: Iterable[Record]) -> tuple[Certificate, ...]:
    """Passing certificates of every setup that the records have."""
    return tuple(
        make_certificate(it) for it in dict.fromkeys(record.setup.original for record in records)
    )


def make_info(**changes: Any) -> RunInfo:
    content: dict[str, Any] = {
        "name": "2026-01-02-fast-fox",
        "created": "2026-01-02T03:04:05Z",
        "command": ("python", "-m", "harness", "run", "--task", "digits-*"),
        "config": {"preset": "quick", "blocks": 6, "seeds": 3, "threads": 2, "tasks": ["digits-*"]},
        "machine": {
            "cpu": "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz",
            "cores": 2,
            "cores_of_machine": 2,
            "memory_bytes": 8_232_000_000,
            "gpus": None,
            "system": "Linux 6.1.0",
            "python": "3.11.9",
            "virtual": True,
        },
        "versions": {"samestep": "0.1.0", "python": "3.11.9", "pytorch": "2.13.0"},
        "environment": {"OMP_NUM_THREADS": "2"},
        "commit": "0123456789abcdef0123456789abcdef01234567",
    }
    return RunInfo(**(content | changes))


def make_run(
    records: Sequence[Record],
    tasks: Sequence[Task] = (TASK,),
    *,
    stopped_by: str | None = "all blocks done",
    unavailable: Sequence[Unavailable] = (),
    seconds: float | None = 98.2,
    certificates: Sequence[Certificate] | None = None,
    **info: Any,
) -> Run:
    """A run whose setups are all proven, unless certificates are given."""
    return Run(
        info=make_info(unavailable=tuple(unavailable), **info),
        tasks=tuple(tasks),
        records=tuple(records),
        stopped_by=stopped_by,
        seconds=seconds,
        certificates=certified(records) if certificates is None else tuple(certificates),
    )


def measured(
    tasks: Sequence[Task] = (TASK,),
    labels: Sequence[str] = LABELS,
    *,
    blocks: int = 9,
    rounds: int = 7,
    noise: float = 0.01,
    drift: float = 0.03,
    speed: float = 1.25,
    phases: Sequence[Phase] = THROUGHPUT,
    trains: bool = True,
    seed: int = 0,
    **setup: Any,
) -> list[Record]:
    """Records of whole blocks: each label's step takes `speed` times as long as the one before.

    The machine drifts between blocks and rounds, alike for all; each sample has noise of its own.
    """
    rng = random.Random(seed)
    records = []
    for number, task in enumerate(tasks):
        for block in range(blocks):
            machine = [math.exp(rng.gauss(0, drift)) for _ in range(rounds)]
            for place, label in enumerate(labels):
                base = 2e-4 * (number + 1) * speed ** ((place + number) % len(labels))
                steps = {
                    phase: [
                        base * it * math.exp(rng.gauss(0, noise)) / (1 if phase == "train" else 3)
                        for it in machine
                    ]
                    for phase in phases
                }
                memory = Memory(
                    incremental_peak_rss=int((4 + 7 * place) * MB * rng.uniform(0.98, 1.02)),
                    total_peak_rss=(220 + 250 * place) * MB,
                )
                records.append(
                    make_record(
                        make_setup(task, label, **setup),
                        block,
                        steps,
                        quality=_quality(task, block, base, rng) if trains else None,
                        memory=memory,
                        import_seconds=0.4 + 1.1 * place,
                        build_seconds=0.01 + 0.02 * place,
                    )
                )
    return records


def _quality(task: Task, seed: int, step: float, rng: random.Random) -> Quality:
    """A plausible learning curve: the same for every framework at a seed but for rounding."""
    curve = random.Random(f"{task.name}/{seed}")
    values = []
    for epoch in range(task.epochs):
        left = math.exp(-1.2 * (epoch + 1) ** 0.7) * curve.uniform(0.9, 1.1)
        value = 0.975 - left if METRICS[task.metric].higher_is_better else 0.45 + left
        values.append(value + rng.gauss(0, 0.0008))
    return make_quality(values, seed, seconds=task.steps_per_epoch * step)
