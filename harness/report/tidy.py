"""A run as tidy frames: one row is one observation, one column one variable, the same for all."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from harness.analysis.summary import Summary
from harness.certificates import Certificate
from harness.records import PhaseRecord, Record, Run
from harness.report import table
from harness.report.table import SETUP_COLUMNS, bounds, setup_columns

if TYPE_CHECKING:
    import pandas as pd

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
        table.COLUMNS,
        of_summary=table.cell_lines,
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
    "trainings": Frame(
        "one epoch of a full training", table.TRAINING_COLUMNS, of_summary=table.epoch_lines
    ),
    "certificates": Frame(
        "one proof of a setup", CERTIFICATE_COLUMNS, of_certificates=_certificates
    ),
    "divergence": Frame("one step of a proof", DIVERGENCE_COLUMNS, of_certificates=_divergence),
}
