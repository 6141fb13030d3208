"""Runs whose pages are as they may come: close together, or crowded."""

from __future__ import annotations

from typing import Any

from harness.records import Run
from tests.builders import MANY_LABELS, make_certificate, make_run, make_task, measured

UNPROVEN = "tensorflow:xla"


def near() -> Run:
    """One task in eight modes that lie close together, so that verdicts of every kind occur; to a
    precision that some of them meet."""
    records = measured(
        labels=MANY_LABELS, blocks=10, speed=1.003, noise=0.008, phases=("train",), trains=False
    )
    setups = dict.fromkeys(it.setup for it in records)
    failed = {UNPROVEN: "b1 by 2e-3"}
    return make_run(
        records,
        certificates=[make_certificate(it, failed.get(it.label)) for it in setups],
        config={"preset": "standard", "precision": 0.006, "least_blocks": 8},
    )


def crowded() -> Run:
    """Twelve tasks, one of them in eight modes, both lanes and on two devices."""
    tasks = [make_task(f"task-{it:02}[batch_size={2**it}]") for it in range(12)]
    few: dict[str, Any] = {"blocks": 2, "rounds": 2}
    brief = few | {"trains": False}
    return make_run(
        [
            *measured(tasks[:1], MANY_LABELS, **few),
            *measured(tasks[1:], MANY_LABELS[:2], **brief),
            *measured(tasks[:1], ("pytorch:loader", "tensorflow:fit"), **brief, lane="idiomatic"),
            *measured(tasks[:1], MANY_LABELS[:3], **brief, device="gpu:0"),
        ],
        tasks,
    )
