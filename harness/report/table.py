"""The summary as tidy tables of raw numbers: `results.csv` and `trainings.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from typing import Any

from harness.analysis.intervals import Interval
from harness.analysis.quality import QualityTable, TrainingRow
from harness.analysis.summary import CellRow, Summary, Table
from harness.cells import Setup
from harness.report.details import stage_times
from harness.report.inert import sheet

SETUP_COLUMNS = {
    "task": "name of the task",
    "digest": "digest of the task; results compare only where it is the same",
    "framework": "framework, as the harness names it",
    "mode": "mode of the framework",
    "lane": "which lane the setup ran in",
    "machine": "name of the machine where runs of several are merged; empty where there is one",
    "device": "cpu or gpu:<index>",
    "threads": "threads asked for",
    "dtype": "floating-point type",
}
COLUMNS = SETUP_COLUMNS | {
    "phase": "train, predict, or their latency: one iteration at a time",
    "batch_size": "examples per step",
    "parameters": "weights and biases of the model",
    "blocks": "blocks behind the row: the n of every interval of this cell alone",
    "step_seconds": "seconds per step, median over blocks",
    "step_seconds_low": "lower bound of its interval; empty where there is none",
    "step_seconds_high": "upper bound",
    "interval_method": "order-statistic or none",
    "mean_step_seconds": "seconds per step, pauses included: the mean of a block, median over "
    "blocks",
    "mean_step_seconds_low": "lower bound of its interval; empty where there is none",
    "mean_step_seconds_high": "upper bound",
    "examples_per_second": "batch size ÷ mean seconds per step, pauses included",
    "examples_per_second_low": "lower bound",
    "examples_per_second_high": "upper bound",
    "gflops": "10⁹ floating-point operations per second of the mean step, by the task's own count",
    "baseline": "framework:mode that ratios are against",
    "speed_ratio": "times as fast as the baseline (1 is the baseline itself), median over blocks",
    "speed_ratio_low": "lower bound",
    "speed_ratio_high": "upper bound",
    "verdict": "faster, slower, equivalent, cannot tell, not ranked, or baseline",
    "margin": "a difference within it counts as none (δ)",
    "noise_floor": "smallest effect that the run could have shown in this table",
    "not_ranked": "why the cell stands outside the ranking; empty where it is ranked",
    "fastest": "whether it is faster than every other cell of its table",
    "starts": "trials that started alone: the n of import, build and calls",
    "import_seconds": "import of the framework, median over trials that started alone",
    "build_seconds": "building the model",
    "first_call_seconds": "first call of the phase, with a warm compile cache where there is one",
    "second_call_seconds": "second call of the phase",
    "latency_p50_seconds": "median of single iterations; latency phases only",
    "latency_p95_seconds": "95th percentile",
    "latency_p99_seconds": "99th percentile",
    "latency_maximum_seconds": "largest reading",
    "of_device_peak": "floating-point rate ÷ that of a large matrix product on the device",
    "times_bare_products": "time of a step ÷ time of its bare matrix products, each called by "
    "itself: below 1 where the step is compiled; not to be compared between frameworks",
    "bare_products_seconds": "time of the bare matrix products of a step",
    "cpu_share": "CPU time ÷ wall time during samples; 1 is one busy core",
    "involuntary_switches_per_second": "involuntary context switches during samples",
    "incremental_peak_rss_bytes": "high-water mark above the size at the phase's start",
    "total_peak_rss_bytes": "high-water mark of the whole process",
    "device_peak_allocated_bytes": "the framework's own count; empty where it keeps none",
    "device_peak_reserved_bytes": "the framework's own count; empty where it keeps none",
    "logical_peak_bytes": "peak of all tensors by the framework's own account; empty without one",
    "least_bytes": "the least that the mathematics needs",
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


def results_csv(summary: Summary) -> str:
    """One line per cell, with the columns of `COLUMNS`."""
    return _csv(COLUMNS, cell_lines(summary))


def trainings_csv(summary: Summary) -> str:
    """One line per epoch of every training, with the columns of `TRAINING_COLUMNS`."""
    return _csv(TRAINING_COLUMNS, epoch_lines(summary))


def cell_lines(summary: Summary) -> list[dict[str, Any]]:
    """The lines of `results.csv`; a column that a line lacks is empty in it."""
    return [_cell(table, row) for table in summary.tables for row in table.rows]


def epoch_lines(summary: Summary) -> list[dict[str, Any]]:
    """The lines of `trainings.csv`."""
    return [
        epoch
        for table in summary.qualities
        for row in table.rows
        for training in row.trainings
        for epoch in _epochs(table, training)
    ]


def _csv(columns: Iterable[str], lines: Iterable[Mapping[str, Any]]) -> str:
    """Numbers in full; not by pandas, whose import takes longer than a quick run's whole page."""
    text, names = io.StringIO(), list(columns)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([in_csv(it.get(name)) for name in names] for it in lines)
    return text.getvalue()


def in_csv(value: Any) -> Any:
    """Numbers stay numbers; no text is a formula."""
    return sheet(value) if isinstance(value, str) else value


def setup_columns(setup: Setup) -> dict[str, Any]:
    """The columns that say which setup a line is of."""
    return {name: getattr(setup, name) for name in SETUP_COLUMNS} | {
        "device": setup.processor,
        "machine": setup.machine or None,
    }


def bounds(name: str, interval: Interval) -> dict[str, float | None]:
    return {
        name: interval.estimate,
        f"{name}_low": interval.low,
        f"{name}_high": interval.high,
    }


def _cell(table: Table, row: CellRow) -> dict[str, Any]:
    setup, memory = row.cell.setup, row.memory
    return (
        setup_columns(setup)
        | {
            "phase": row.cell.phase,
            "batch_size": table.task.batch,
            "parameters": table.task.parameters,
            "blocks": row.step.n,
            "interval_method": row.step.method,
            "gflops": row.gflops,
            "baseline": table.baseline,
            "fastest": setup.label == table.winner,
            "margin": table.margin,
            "noise_floor": max((it.floor for it in table.floors if it.floor), default=None),
            "not_ranked": row.unranked or None,
            "starts": row.starts[0].n if row.starts else 0,
            "cpu_share": row.cpu_share,
            "involuntary_switches_per_second": row.involuntary_switches_per_second,
        }
        | bounds("step_seconds", row.step)
        | (bounds("mean_step_seconds", row.mean_step) if row.mean_step else {})
        | bounds("examples_per_second", row.examples_per_second)
        | _ratio(table, setup.label)
        | {f"{name}_bytes": count for name, count in memory.model_dump().items()}
        | {"logical_peak_bytes": row.peaks.logical.bytes, "least_bytes": row.peaks.least}
        | _details(row)
    )


def _details(row: CellRow) -> dict[str, Any]:
    names = ("import", "build", "first_call", "second_call")
    found: dict[str, Any] = {
        f"{name}_seconds": value
        for name, value in zip(names, stage_times(row)[: len(names)], strict=True)
    }
    of_peak, products = row.efficiency.of_peak, row.efficiency.over_products
    found["of_device_peak"] = of_peak.estimate if of_peak else None
    found["times_bare_products"] = products.estimate if products else None
    bare = row.efficiency.products
    found["bare_products_seconds"] = bare.estimate if bare else None
    if row.latency:
        for name in ("p50", "p95", "p99"):
            share = getattr(row.latency, name)
            found[f"latency_{name}_seconds"] = share.estimate if share else None
        found["latency_maximum_seconds"] = row.latency.maximum
    return found


def _ratio(table: Table, label: str) -> dict[str, Any]:
    if label == table.baseline:
        return {"speed_ratio": 1.0, "verdict": "baseline"}
    pair = next((it for it in table.pairs if it.label == label), None)
    if pair is None:
        return {}
    return bounds("speed_ratio", pair.speed) | {"verdict": pair.verdict}


def _epochs(table: QualityTable, training: TrainingRow) -> list[dict[str, Any]]:
    rows, elapsed = [], 0.0
    same = setup_columns(training.setup) | {
        "seed": training.quality.seed,
        "metric": table.task.metric,
        "target": table.task.target,
        "seconds_to_target": training.seconds_to_target,
    }
    for number, epoch in enumerate(training.quality.epochs, start=1):
        elapsed += epoch.seconds
        rows.append(
            same
            | {
                "epoch": number,
                "seconds": elapsed,
                "loss": epoch.loss,
                "quality": epoch.quality,
            }
        )
    return rows
