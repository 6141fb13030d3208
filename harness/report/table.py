"""The summary as tidy tables of raw numbers: `results.csv` and `trainings.csv`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness.analysis.intervals import Interval
from harness.analysis.quality import QualityTable, TrainingRow
from harness.analysis.summary import CellRow, Summary, Table
from harness.cells import Setup

if TYPE_CHECKING:
    import pandas as pd

SETUP_COLUMNS = {
    "task": "name of the task",
    "digest": "digest of the task; results compare only where it is the same",
    "framework": "framework, as the harness names it",
    "mode": "mode of the framework",
    "lane": "which lane the setup ran in",
    "device": "cpu or gpu:<index>",
    "threads": "threads asked for",
    "dtype": "floating-point type",
}
COLUMNS = SETUP_COLUMNS | {
    "phase": "train or predict",
    "batch_size": "examples per step",
    "parameters": "weights and biases of the model",
    "blocks": "blocks behind the row: the n of every interval of this cell alone",
    "step_seconds": "seconds per step, median over blocks",
    "step_seconds_low": "lower bound of its interval; empty where there is none",
    "step_seconds_high": "upper bound",
    "interval_method": "order-statistic, student-t or none",
    "examples_per_second": "batch size ÷ seconds per step",
    "examples_per_second_low": "lower bound",
    "examples_per_second_high": "upper bound",
    "gflops": "10⁹ floating-point operations per second, by the task's own count",
    "baseline": "framework:mode that ratios are against",
    "speed_ratio": "times as fast as the baseline (1 is the baseline itself), median over blocks",
    "speed_ratio_low": "lower bound",
    "speed_ratio_high": "upper bound",
    "verdict": "faster, slower, cannot tell, or baseline",
    "fastest": "whether it is faster than every other cell of its table",
    "import_seconds": "import of the framework, median over blocks",
    "build_seconds": "building the model",
    "first_call_seconds": "first call of the phase",
    "second_call_seconds": "second call of the phase",
    "cpu_share": "CPU time ÷ wall time during samples; 1 is one busy core",
    "involuntary_switches_per_second": "involuntary context switches during samples",
    "incremental_peak_rss_bytes": "high-water mark above the size at the phase's start",
    "total_peak_rss_bytes": "high-water mark of the whole process",
    "device_peak_allocated_bytes": "the framework's own count; empty where it keeps none",
    "device_peak_reserved_bytes": "the framework's own count; empty where it keeps none",
}
"""Columns of `results.csv`, one row a cell; an empty field was not measured."""

TRAINING_COLUMNS = SETUP_COLUMNS | {
    "seed": "seed of the shared start",
    "epoch": "epoch, counted from 1",
    "seconds": "training time since the start, evaluation off the clock",
    "loss": "mean loss over the epoch",
    "metric": "accuracy (share of one) or mse",
    "quality": "the metric on the test rows after the epoch",
    "target": "the task's target; empty where there is none",
    "seconds_to_target": "training time until it was first met; empty where it was not",
}
"""Columns of `trainings.csv`, one row an epoch of a training."""


def frame(summary: Summary) -> pd.DataFrame:
    """One row per cell, with the columns of `COLUMNS`."""
    import pandas as pd

    rows = [_cell(table, row) for table in summary.tables for row in table.rows]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def training_frame(summary: Summary) -> pd.DataFrame:
    """One row per epoch of every training, with the columns of `TRAINING_COLUMNS`."""
    import pandas as pd

    rows = [
        epoch
        for table in summary.qualities
        for row in table.rows
        for training in row.trainings
        for epoch in _epochs(table, training)
    ]
    return pd.DataFrame(rows, columns=list(TRAINING_COLUMNS))


def _setup(setup: Setup) -> dict[str, Any]:
    return {name: getattr(setup, name) for name in SETUP_COLUMNS}


def _bounds(name: str, interval: Interval) -> dict[str, float | None]:
    return {
        name: interval.estimate,
        f"{name}_low": interval.low,
        f"{name}_high": interval.high,
    }


def _cell(table: Table, row: CellRow) -> dict[str, Any]:
    setup, memory = row.cell.setup, row.memory
    return (
        _setup(setup)
        | {
            "phase": row.cell.phase,
            "batch_size": table.task.batch,
            "parameters": table.task.parameters,
            "blocks": row.step.n,
            "interval_method": row.step.method,
            "gflops": row.gflops,
            "baseline": table.baseline,
            "fastest": setup.label == table.winner,
            "import_seconds": row.import_seconds,
            "build_seconds": row.build_seconds,
            "first_call_seconds": row.first_call,
            "second_call_seconds": row.second_call,
            "cpu_share": row.cpu_share,
            "involuntary_switches_per_second": row.involuntary_switches_per_second,
        }
        | _bounds("step_seconds", row.step)
        | _bounds("examples_per_second", row.examples_per_second)
        | _ratio(table, setup.label)
        | {f"{name}_bytes": count for name, count in memory.model_dump().items()}
    )


def _ratio(table: Table, label: str) -> dict[str, Any]:
    if label == table.baseline:
        return {"speed_ratio": 1.0, "verdict": "baseline"}
    pair = next((it for it in table.pairs if it.label == label), None)
    if pair is None:
        return {}
    return _bounds("speed_ratio", pair.speed) | {"verdict": pair.verdict}


def _epochs(table: QualityTable, training: TrainingRow) -> list[dict[str, Any]]:
    rows, elapsed = [], 0.0
    for number, epoch in enumerate(training.quality.epochs, start=1):
        elapsed += epoch.seconds
        rows.append(
            _setup(training.setup)
            | {
                "seed": training.quality.seed,
                "epoch": number,
                "seconds": elapsed,
                "loss": epoch.loss,
                "metric": table.task.metric,
                "quality": epoch.quality,
                "target": table.task.target,
                "seconds_to_target": training.seconds_to_target,
            }
        )
    return rows
