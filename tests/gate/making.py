"""Baselines and entries with everything in them, made without any process."""

from __future__ import annotations

from typing import Any

from harness.cells import DTYPES, Setup
from harness.gate.baseline import Baseline, BaselineEntry, Numbers, Parity, Program, Timed
from harness.runs import machine
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.spec import Task
from tests.builders import make_setup

TASK = CATALOGUE["digits-mlp"]
SETUP = make_setup(TASK, "reference:replay")


def make_numbers(**changes: Any) -> Numbers:
    content: dict[str, Any] = {
        "seed": 0,
        "rows": 32,
        "losses": (2.3, 2.2, 2.1),
        "sketches": {
            "first gradients": {"layer0.weight": (1.0, 0.3, -0.2), "layer0.bias": (0.1, 0.1, 0.1)},
            "last weights": {"layer0.weight": (8.0, 1.0, 2.0), "layer0.bias": (0.0, 0.0, 0.0)},
        },
        "digest": "0" * 64,
    }
    return Numbers.model_validate(content | changes)


def make_program(**changes: Any) -> Program:
    content: dict[str, Any] = {
        "instructions": 42,
        "operations": {"add": 34, "matmul": 8},
        "flops": 1_700_000,
        "buffers": 12,
        "arena_bytes": 200_000,
        "fed_bytes": 10_000,
        "unshared_bytes": 500_000,
    }
    return Program.model_validate(content | changes)


def make_timed(slower: float = 1.0) -> Timed:
    """Twelve blocks, half a percent apart at the most."""
    steps = [1e-4 * slower * (1 + 0.0005 * (it % 5)) for it in range(12)]
    return Timed(steps=tuple(steps), products=(5e-5,) * 12)


def make_entry(setup: Setup = SETUP, **changes: Any) -> BaselineEntry:
    content: dict[str, Any] = {
        "setup": setup,
        "parity": tuple(Parity(dtype=it, proven=True, steps=100, worst=1e-15) for it in DTYPES),
        "numbers": make_numbers(),
        "programs": {"train": make_program()},
        "logical_peak": {"train": 300_000, "predict": None},
        "timed": {"train": make_timed()},
    }
    return BaselineEntry.model_validate(content | changes)


def make_baseline(
    *entries: BaselineEntry, tasks: tuple[Task, ...] = (TASK,), **changes: Any
) -> Baseline:
    content: dict[str, Any] = {
        "name": "before",
        "made": "2026-01-02T03:04:05+00:00",
        "command": ("python", "-m", "harness", "baseline", "save", "before"),
        "revision": None,
        "version": "0.1.0",
        "machine": machine.fingerprint(),
        "versions": {"numpy": "2.4.6"},
        "tasks": tasks,
        "entries": entries or (make_entry(),),
    }
    return Baseline.model_validate(content | changes)
