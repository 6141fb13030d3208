"""The logical peak of a phase: the most bytes that all tensors of one iteration take at once."""

from __future__ import annotations

from harness.adapter import Adapter
from harness.cells import Dtype, Lane, Phase
from harness.proof.drive import Rows, driver
from harness.tasks.spec import Task

BYTES = {"float32": 4, "float64": 8}


def logical_peak(adapter: Adapter, lane: Lane, batch: Rows, phase: Phase) -> int | None:
    """Bytes by the framework's own account, of an adapter that has done nothing yet."""
    drive = driver(adapter, lane)
    staged = drive.staged([batch])
    work = {"train": drive.train, "predict": drive.predict}[phase]
    return adapter.logical_peak(lambda: work(staged, 1))


def impossible(peak: int | None, task: Task, dtype: Dtype) -> str:
    """Why a peak cannot be true; empty where it can: the weights alone take some bytes."""
    weights = task.parameters * BYTES[dtype]
    if peak is None or peak >= weights:
        return ""
    if not peak:
        return "the logical peak is 0; where there is no account it must be None"
    return f"a logical peak of {peak:,} bytes; the weights alone have {weights:,}"
