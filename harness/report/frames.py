"""The summary as tidy tables of raw numbers: `results.csv` and `trainings.csv`.

A run as tidy frames: one row is one observation, one column one variable, the same for all.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.analysis.quality import QualityTable, TrainingRow
from harness.analysis.stats import Interval
from harness.analysis.summary import CellRow, Summary, Table
from harness.cells import Setup
from harness.certificates import Certificate
from harness.records import PhaseRecord, Record, Run
from harness.report.safe_text import sheet
from harness.report.sections import stage_times
from harness.tasks.metrics import METRICS

if TYPE_CHECKING:
    import pandas as pd

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
    "metric": " or ".join(
        f"{name} (share of one)" if it.unit == "percent" else name for name, it in METRICS.items()
    ),
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


Line = dict[str, Any]
Kind = Literal["text", "count", "flag", "number"]

TEXTS = {
    "task", "digest", "framework", "mode", "lane", "machine", "device", "dtype", "phase",
    "baseline", "interval_method", "verdict", "not_ranked", "reason", "metric", "trial", "status",
    "error", "failed_check", "detail", "tolerance", "framework_version", "code", "made_on", "made",
    "key", "denied_by",
}  # fmt: skip
COUNTS = {
    "threads", "batch_size", "parameters", "blocks", "starts", "family", "seed", "epoch", "block",
    "attempt", "round", "turn", "iterations", "voluntary_switches", "involuntary_switches",
    "reading", "steps", "step", "rows",
}  # fmt: skip
FLAGS = {"fastest", "agrees", "twin", "alone", "cold", "forked", "proven", "by_rounding"}

PAIR_COLUMNS = SETUP_COLUMNS | {
    "phase": "train, predict, or their latency",
    "baseline": "framework:mode that the setup is compared with",
    "blocks": "blocks that both finished: the n of the intervals and tests",
    "speed_ratio": "times as fast as the baseline, median over blocks",
    "speed_ratio_low": "lower bound",
    "speed_ratio_high": "upper bound",
    "interval_method": "order-statistic or none",
    "mean_ratio": "geometric mean over blocks, as a cross-check",
    "mean_ratio_low": "lower bound by Student's t on the logarithms",
    "mean_ratio_high": "upper bound",
    "agrees": "whether the two intervals say the same",
    "mean_time_ratio": "their mean time ÷ ours over the same rounds, pauses included, median over "
    "blocks",
    "mean_time_ratio_low": "lower bound",
    "mean_time_ratio_high": "upper bound",
    "training_time_ratio": "their time of a full training ÷ ours, median over blocks that train; "
    "empty where there is none",
    "training_time_ratio_low": "lower bound; empty below six trainings",
    "training_time_ratio_high": "upper bound",
    "denied_by": "mean or trainings, which contradicts the median step; empty where neither does",
    "p": "of the exact two-sided sign test that there is no difference; not corrected",
    "p_equivalent": "of the test that the difference is larger than the margin; not corrected",
    "margin": "a difference within it counts as none (δ)",
    "family": "rows over which the verdict is corrected",
    "verdict": "faster, slower, equivalent, cannot tell or not ranked",
    "reason": "why the verdict is not what the interval suggests; empty where it is",
}
_OF_TRIAL = {
    "twin": "whether it is the second of two equal setups that show the noise of a run",
    "trial": "name of the trial: one execution of a setup in a process of its own",
    "block": "block of the trial; trials of one block took turns",
}
TRIAL_COLUMNS = (
    SETUP_COLUMNS
    | _OF_TRIAL
    | {
        "attempt": "how often the block had been begun",
        "status": "ok, or how it failed",
        "error": "the reason in one line; empty where it ended well",
        "alone": "whether nothing else ran while it started",
        "cold": "whether it filled an empty compile cache",
        "forked": "whether its process was forked from one that had imported the framework",
        "import_seconds": "import of the framework",
        "build_seconds": "building the model",
        "seed": "seed of its full training; empty where it did none",
    }
)
SAMPLE_COLUMNS = (
    SETUP_COLUMNS
    | _OF_TRIAL
    | {
        "phase": "train, predict, or their latency",
        "round": "round of turns within the block",
        "turn": "place in the round's order",
        "iterations": "iterations that were timed together",
        "seconds": "time of all of them",
        "step_seconds": "seconds per iteration; of a latency phase the median reading",
        "cpu_seconds": "CPU time of the worker and of its processes meanwhile",
        "voluntary_switches": "context switches of the worker meanwhile",
        "involuntary_switches": "those that it did not ask for",
        "steal_seconds": "CPU time that the hypervisor gave to others; empty if not counted",
        "pressure_seconds": "time in which some task waited for a core",
        "load": "load average over one minute",
        "loss": "last loss of a training sample",
    }
)
READING_COLUMNS = (
    SETUP_COLUMNS
    | _OF_TRIAL
    | {
        "phase": "train-latency or predict-latency",
        "round": "round of turns within the block",
        "reading": "number within the round, counted from 1",
        "seconds": "time of one iteration",
    }
)
CERTIFICATE_COLUMNS = SETUP_COLUMNS | {
    "proven": "whether every check passed",
    "failed_check": "the first check that did not; empty where all did",
    "detail": "where it failed first, and by how much",
    "by_rounding": "whether a difference was excused as what rounding alone makes",
    "tolerance": "exact: the task's formulas; stock: the framework's own variant",
    "worst": "largest difference of any step and quantity, relative to its tensor's scale",
    "seed": "seed of the shared start",
    "steps": "steps compared",
    "rows": "rows of each batch compared",
    "seconds": "time of the proof",
    "logical_peak_train_bytes": "peak of all tensors in a training step; empty without an account",
    "logical_peak_predict_bytes": "the same of inference",
    "framework_version": "version of the framework",
    "code": "hash over the adapter's files and all that the proof rests on",
    "made_on": "processor on which it was made",
    "made": "when",
    "key": "changes with anything that could change the outcome",
}
DIVERGENCE_COLUMNS = SETUP_COLUMNS | {
    "step": "optimizer step, counted from 0",
    "loss": "largest difference from the float64 reference, relative; empty where not compared",
    "logits": "the same of the logits",
    "gradients": "the same of the gradients",
    "weights": "the same of the weights after the step",
    "slots": "the same of the optimizer's slots after the step",
}


@dataclass(frozen=True)
class Frame:
    """`line` says what one row is; one of the others makes the rows.

    What is made `of_records` can be made of one record after the other, without any statistics.
    """

    line: str
    columns: Mapping[str, str]
    of_summary: Callable[[Summary], Iterable[Line]] | None = None
    of_records: Callable[[Iterable[Record]], Iterable[Line]] | None = None
    of_certificates: Callable[[Iterable[Certificate]], Iterable[Line]] | None = None
    raw: bool = True
    """Whether it takes more of the run than `run.json` alone holds."""

    def lines(self, run: Run, summary: Callable[[], Summary]) -> Iterable[Line]:
        """Its rows; a column that a row lacks is empty in it."""
        if self.of_records:
            return self.of_records(run.records)
        if self.of_certificates:
            return self.of_certificates(run.certificates)
        assert self.of_summary
        return self.of_summary(summary())


def kind(column: str) -> Kind:
    """What a column holds; any of them may be empty."""
    if column in TEXTS:
        return "text"
    if column in COUNTS or column.endswith("_bytes"):
        return "count"
    return "flag" if column in FLAGS else "number"


def tidy(lines: Iterable[Line], what: str) -> pd.DataFrame:
    """The frame of this name (see `FRAMES`), each column of the one type that suits it."""
    import pandas as pd

    types = {"text": "str", "count": "Int64", "flag": "boolean", "number": "float64"}
    values: dict[str, list[Any]] = {name: [] for name in FRAMES[what].columns}
    for it in lines:
        for name, column in values.items():
            column.append(it.get(name))
    # Column by column: a column in which all is empty has its type all the same.
    return pd.DataFrame(
        {name: pd.Series(column, dtype=types[kind(name)]) for name, column in values.items()}
    )


def _pairs(summary: Summary) -> Iterator[Line]:
    for of in summary.tables:
        setups = {row.cell.setup.label: row.cell.setup for row in of.rows}
        for it in of.pairs:
            means = {
                "mean_ratio": it.cross,
                "mean_time_ratio": it.mean,
                "training_time_ratio": it.trainings,
            }
            yield (
                setup_columns(setups[it.label])
                | {"phase": of.phase, "blocks": it.n, "interval_method": it.speed.method}
                | bounds("speed_ratio", it.speed)
                | {
                    name: value
                    for mean, ratio in means.items()
                    if ratio
                    for name, value in bounds(mean, ratio).items()
                }
                | it.model_dump(
                    include={"baseline", "agrees", "p", "p_equivalent", "margin", "family"}
                )
                | {name: getattr(it, name) or None for name in ("verdict", "reason", "denied_by")}
            )


def _of_trial(record: Record) -> Line:
    own = {"twin": record.setup.twin, "trial": record.trial, "block": record.block}
    return setup_columns(record.setup) | own


def _trials(records: Iterable[Record]) -> Iterator[Line]:
    names = (
        "attempt", "status", "error", "alone", "cold", "forked", "import_seconds", "build_seconds"
    )  # fmt: skip
    for it in records:
        seed = it.quality.seed if it.quality else None
        yield _of_trial(it) | {name: getattr(it, name) for name in names} | {"seed": seed}


def _phases(records: Iterable[Record]) -> Iterator[tuple[Line, PhaseRecord]]:
    for record in records:
        for it in record.phases:
            yield _of_trial(record) | {"phase": it.phase}, it


def _samples(records: Iterable[Record]) -> Iterator[Line]:
    for line, phase in _phases(records):
        for it in phase.samples:
            yield line | it.model_dump(exclude={"readings"}) | {"step_seconds": it.step_seconds}


def _readings(records: Iterable[Record]) -> Iterator[Line]:
    for line, phase in _phases(records):
        for it in phase.samples:
            for number, seconds in enumerate(it.readings, start=1):
                yield line | {"round": it.round, "reading": number, "seconds": seconds}


def _certificates(certificates: Iterable[Certificate]) -> Iterator[Line]:
    return map(_certificate, certificates)


def _certificate(it: Certificate) -> Line:
    same = ("proven", "tolerance", "worst", "seed", "steps", "rows", "seconds", "made", "key")
    failure = it.failure
    return (
        setup_columns(it.setup)
        | {name: getattr(it, name) for name in (*same, "framework_version", "code")}
        | {
            "failed_check": failure.check if failure else None,
            "detail": failure.detail if failure else None,
            "by_rounding": any(finding.by_rounding for finding in it.findings),
            "logical_peak_train_bytes": it.logical_peak.get("train"),
            "logical_peak_predict_bytes": it.logical_peak.get("predict"),
            "made_on": it.machine,
        }
    )


def _divergence(certificates: Iterable[Certificate]) -> Iterator[Line]:
    for certificate in certificates:
        for it in certificate.divergence:
            yield setup_columns(certificate.setup) | it.model_dump()


FRAMES: Mapping[str, Frame] = {
    "cells": Frame(
        "one cell: the numbers of the report",
        COLUMNS,
        of_summary=cell_lines,
        raw=False,
    ),
    "pairs": Frame(
        "one ratio to a baseline, its tests and its verdict",
        PAIR_COLUMNS,
        of_summary=_pairs,
        raw=False,
    ),
    "trials": Frame(
        "one execution of a setup in a process of its own", TRIAL_COLUMNS, of_records=_trials
    ),
    "samples": Frame("one raw timed sample", SAMPLE_COLUMNS, of_records=_samples),
    "readings": Frame(
        "one single iteration of a latency phase", READING_COLUMNS, of_records=_readings
    ),
    "trainings": Frame("one epoch of a full training", TRAINING_COLUMNS, of_summary=epoch_lines),
    "certificates": Frame(
        "one proof of a setup", CERTIFICATE_COLUMNS, of_certificates=_certificates
    ),
    "divergence": Frame("one step of a proof", DIVERGENCE_COLUMNS, of_certificates=_divergence),
}
