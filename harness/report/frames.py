"""A run as tidy frames: one row is one observation, one column one variable, the same for all.

They are exported as CSV, JSON and Parquet; `results.csv` is the frame of cells, `trainings.csv`
that of trainings. Every JSON file has its JSON Schema here.
"""

from __future__ import annotations

import csv
import itertools
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from harness.analysis.quality import TrainingRow
from harness.analysis.run_comparison import Comparison
from harness.analysis.summary import Summary
from harness.analysis.verdicts import Pair
from harness.cells import Phase, Setup
from harness.certificates import Certificate, Divergence
from harness.records import Epoch, PhaseRecord, Record, Run, RunInfo, Sample
from harness.report.columns import (
    CELLS,
    FIRST_FIELDS,
    SETUP,
    CellOf,
    Column,
    Field,
    Kind,
    Line,
    cells,
    field,
    fields,
    filled,
    of,
)
from harness.report.document import run_schema
from harness.report.safe_text import sheet
from harness.tasks.metrics import METRICS
from harness.tasks.spec import Frozen, Task

if TYPE_CHECKING:
    import pandas as pd

EXPORT_SCHEMA_VERSION = 1
"""History of exported JSON. 1: first version."""
FORMATS = ("csv", "json", "parquet")
DRAFT = "https://json-schema.org/draft/2020-12/schema"
MANY = 20_000
"""Rows that are held at once, in one group of rows of Parquet."""
PIECE = 1 << 20
"""Bytes of a Parquet file that are held at once."""
TYPES: dict[Kind, tuple[type, str, str]] = {
    "text": (str, "string", "str"),
    "count": (int, "integer", "Int64"),
    "flag": (bool, "boolean", "boolean"),
    "number": (float, "number", "float64"),
}
"""What holds each kind of field in Python, in JSON and in pandas."""


@dataclass(frozen=True)
class Frame:
    """`line` says what one row is; `rows` makes them of a summary, of records or of certificates.

    What is made of records can be made of one record after the other, without any statistics.
    `first` are the fields that come before all others; `raw` says whether a frame takes more of the
    run than `run.json` alone holds.
    """

    line: str
    source: Literal["summary", "records", "certificates"]
    rows: Callable[[Any], Iterable[Any]]
    columns: Sequence[Column[Any]]
    first: Sequence[str] = ()
    raw: bool = True

    @property
    def fields(self) -> dict[str, Field]:
        place = {name: number for number, name in enumerate(self.first)}
        return fields(sorted(self.columns, key=lambda it: place.get(it.name, len(place))))

    def lines(self, run: Run, summary: Callable[[], Summary]) -> Iterator[Line]:
        """The rows of a run for programs."""
        return self.filled(summary() if self.source == "summary" else getattr(run, self.source))

    def filled(self, source: Any) -> Iterator[Line]:
        """The same of its source: every field in its order, each of its one type; what is empty or
        not a number is None."""
        types = {name: TYPES[it.kind][0] for name, it in self.fields.items()}
        for row in self.rows(source):
            known = filled(self.columns, row)
            yield {
                name: None if (it := known.get(name)) is None or it != it else of_type(it)
                for name, of_type in types.items()
            }


def summary_csv(what: str, summary: Summary) -> str:
    """A frame that is made of a summary."""
    frame = FRAMES[what]
    return "".join(csv_text(frame.filled(summary), frame))


class _Echo:
    """Gives back what is written into it, as `csv.writer` then does."""

    def write(self, text: str) -> str:
        return text


def csv_text(lines: Iterable[Line], frame: Frame) -> Iterator[str]:
    """Line by line; no text is a formula. Numbers are in full.

    Not by pandas, whose import takes longer than a quick run's whole page.
    """
    writer = csv.writer(_Echo(), lineterminator="\n")
    yield writer.writerow(frame.fields)
    for line in lines:
        yield writer.writerow(sheet(it) if isinstance(it, str) else it for it in line.values())


def tidy(lines: Iterable[Line], what: str) -> pd.DataFrame:
    """The frame of this name (see `FRAMES`), each column of the one type that suits it."""
    import pandas as pd

    types = {name: TYPES[it.kind][2] for name, it in FRAMES[what].fields.items()}
    values: dict[str, list[Any]] = {name: [] for name in types}
    for row in lines:
        for name, column in values.items():
            column.append(row[name])
    # Column by column: a column in which all is empty has its type all the same.
    return pd.DataFrame(
        {name: pd.Series(column, dtype=types[name]) for name, column in values.items()}
    )


def _cells(summary: Summary) -> Iterator[CellOf]:
    return (cell for table in summary.tables for cell in cells(table))


def _pairs(summary: Summary) -> Iterator[tuple[Setup, Phase, Pair]]:
    for table in summary.tables:
        setups = {row.cell.setup.label: row.cell.setup for row in table.rows}
        for pair in table.pairs:
            yield setups[pair.label], table.phase, pair


class _OfTrial(NamedTuple):
    """A trial, or what it holds at one of three depths."""

    record: Record
    phase: PhaseRecord | None = None
    sample: Sample | None = None
    reading: int = 0
    seconds: float = 0.0

    @property
    def setup(self) -> Setup:
        return self.record.setup


def _trials(records: Iterable[Record]) -> Iterator[_OfTrial]:
    return map(_OfTrial, records)


def _samples(records: Iterable[Record]) -> Iterator[_OfTrial]:
    for record in records:
        for phase in record.phases:
            for sample in phase.samples:
                yield _OfTrial(record, phase, sample)


def _readings(records: Iterable[Record]) -> Iterator[_OfTrial]:
    for at in _samples(records):
        for number, seconds in enumerate(at.sample.readings if at.sample else (), start=1):
            yield at._replace(reading=number, seconds=seconds)


class _EpochOf(NamedTuple):
    """`seconds` is the training time so far."""

    task: Task
    training: TrainingRow
    epoch: int
    of_epoch: Epoch
    seconds: float


def _epochs(summary: Summary) -> Iterator[_EpochOf]:
    for table in summary.qualities:
        for training in (it for row in table.rows for it in row.trainings):
            elapsed = 0.0
            for number, it in enumerate(training.quality.epochs, start=1):
                elapsed += it.seconds
                yield _EpochOf(table.task, training, number, it, elapsed)


def _steps(certificates: Iterable[Certificate]) -> Iterator[tuple[Setup, Divergence]]:
    return ((of.setup, step) for of in certificates for step in of.divergence)


_OF_SETUP: list[Column[Any]] = of(attrgetter("setup"), SETUP)
# fmt: off
PAIRS = Frame("one ratio to a baseline, its tests and its verdict", "summary", _pairs, [
    *of(itemgetter(0), SETUP),
    field("phase", "train, predict, or their latency", "text", itemgetter(1)),
    *of(itemgetter(2), [
        field("baseline", "framework:mode that the setup is compared with", "text"),
        field("blocks", "blocks that both finished: the n of the intervals and tests", "count",
            attrgetter("n")),
        field("speed_ratio", "times as fast as the baseline, median over blocks", "ratio",
            attrgetter("speed"), "lower bound"),
        field("interval_method", "order-statistic or none", "text", attrgetter("speed.method")),
        field("mean_ratio", "geometric mean over blocks, as a cross-check", "ratio",
            attrgetter("cross"), "lower bound by Student's t on the logarithms"),
        field("agrees", "whether the two intervals say the same", "flag"),
        field("mean_time_ratio",
            "their mean time ÷ ours over the same rounds, pauses included, median over blocks",
            "ratio", attrgetter("mean"), "lower bound"),
        field("training_time_ratio", "their time of a full training ÷ ours, median over blocks "
            "that train; empty where there is none", "ratio", attrgetter("trainings"),
            "lower bound; empty below six trainings"),
        field("denied_by",
            "mean or trainings, which contradicts the median step; empty where neither does",
            "text", lambda it: it.denied_by or None),
        field("p",
            "of the exact two-sided sign test that there is no difference; not corrected"),
        field("p_equivalent",
            "of the test that the difference is larger than the margin; not corrected"),
        field("margin", "a difference within it counts as none (δ)"),
        field("family", "rows over which the verdict is corrected", "count"),
        field("verdict", "faster, slower, equivalent, cannot tell or not ranked", "text",
            lambda it: it.verdict or None),
        field("reason", "why the verdict is not what the interval suggests; empty where it is",
            "text", lambda it: it.reason or None),
    ]),
], raw=False)
_TRIAL = [
    *_OF_SETUP,
    field("twin", "whether it is the second of two equal setups that show the noise of a run",
        "flag", attrgetter("setup.twin")),
    *of(attrgetter("record"), [
        field("trial", "name of the trial: one execution of a setup in a process of its own",
            "text"),
        field("block", "block of the trial; trials of one block took turns", "count"),
    ]),
]
TRIALS = Frame("one execution of a setup in a process of its own", "records", _trials, [
    *_TRIAL,
    *of(attrgetter("record"), [
        field("attempt", "how often the block had been begun", "count"),
        field("status", "ok, or how it failed", "text"),
        field("error", "the reason in one line; empty where it ended well", "text"),
        field("alone", "whether nothing else ran while it started", "flag"),
        field("cold", "whether it filled an empty compile cache", "flag"),
        field("forked", "whether its process was forked from one that had imported the framework",
            "flag"),
        field("import_seconds", "import of the framework"),
        field("build_seconds", "building the model"),
        field("seed", "seed of its full training; empty where it did none", "count",
            lambda it: it.quality.seed if it.quality else None),
    ]),
])
SAMPLES = Frame("one raw timed sample", "records", _samples, [
    *_TRIAL,
    field("phase", "train, predict, or their latency", "text", attrgetter("phase.phase")),
    *of(attrgetter("sample"), [
        field("round", "round of turns within the block", "count"),
        field("turn", "place in the round's order", "count"),
        field("iterations", "iterations that were timed together", "count"),
        field("seconds", "time of all of them"),
        field("step_seconds", "seconds per iteration; of a latency phase the median reading"),
        field("cpu_seconds", "CPU time of the worker and of its processes meanwhile"),
        field("voluntary_switches", "context switches of the worker meanwhile", "count"),
        field("involuntary_switches", "those that it did not ask for", "count"),
        field("steal_seconds", "CPU time that the hypervisor gave to others; empty if not counted"),
        field("pressure_seconds", "time in which some task waited for a core"),
        field("load", "load average over one minute"),
        field("loss", "last loss of a training sample"),
    ]),
])
READINGS = Frame("one single iteration of a latency phase", "records", _readings, [
    *_TRIAL,
    field("phase", "train-latency or predict-latency", "text", attrgetter("phase.phase")),
    field("round", "round of turns within the block", "count", attrgetter("sample.round")),
    field("reading", "number within the round, counted from 1", "count"),
    field("seconds", "time of one iteration"),
])
TRAININGS = Frame("one epoch of a full training", "summary", _epochs, [
    *of(attrgetter("training.setup"), SETUP),
    field("seed", "seed of the shared start", "count", attrgetter("training.quality.seed")),
    field("epoch", "epoch, counted from 1", "count"),
    field("seconds", "training time since the start, evaluation off the clock"),
    field("loss", "mean loss over the epoch", get=attrgetter("of_epoch.loss")),
    field(
        "metric",
        " or ".join(
            f"{name} (share of one)" if it.unit == "percent" else name
            for name, it in METRICS.items()
        ),
        "text",
        attrgetter("task.metric"),
    ),
    field("quality", "the metric on the test rows after the epoch",
        get=attrgetter("of_epoch.quality")),
    field("target", "the task's target; empty where there is none", get=attrgetter("task.target")),
    field("seconds_to_target", "training time until it was first met; empty where it was not",
        get=attrgetter("training.seconds_to_target")),
])
CERTIFICATES = Frame("one proof of a setup", "certificates", iter, [
    *_OF_SETUP,
    field("proven", "whether every check passed", "flag"),
    field("failed_check", "the first check that did not; empty where all did", "text",
        lambda it: it.failure.check if it.failure else None),
    field("detail", "where it failed first, and by how much", "text",
        lambda it: it.failure.detail if it.failure else None),
    field("by_rounding", "whether a difference was excused as what rounding alone makes", "flag",
        lambda it: any(finding.by_rounding for finding in it.findings)),
    field("tolerance", "exact: the task's formulas; stock: the framework's own variant", "text"),
    field("worst", "largest difference of any step and quantity, relative to its tensor's scale"),
    field("seed", "seed of the shared start", "count"),
    field("steps", "steps compared", "count"),
    field("rows", "rows of each batch compared", "count"),
    field("seconds", "time of the proof"),
    field("logical_peak_train_bytes",
        "peak of all tensors in a training step; empty without an account", "bytes",
        lambda it: it.logical_peak.get("train")),
    field("logical_peak_predict_bytes", "the same of inference", "bytes",
        lambda it: it.logical_peak.get("predict")),
    field("framework_version", "version of the framework", "text"),
    field("code", "hash over the adapter's files and all that the proof rests on", "text"),
    field("made_on", "processor on which it was made", "text", attrgetter("machine")),
    field("made", "when", "text"),
    field("key", "changes with anything that could change the outcome", "text"),
])
DIVERGENCE = Frame("one step of a proof", "certificates", _steps, [
    *of(itemgetter(0), SETUP),
    *of(itemgetter(1), [
        field("step", "optimizer step, counted from 0", "count"),
        field("loss",
            "largest difference from the float64 reference, relative; empty where not compared"),
        field("logits", "the same of the logits"),
        field("gradients", "the same of the gradients"),
        field("weights", "the same of the weights after the step"),
        field("slots", "the same of the optimizer's slots after the step"),
    ]),
])
# fmt: on

FRAMES: Mapping[str, Frame] = {
    "cells": Frame(
        "one cell: the numbers of the report", "summary", _cells, CELLS, FIRST_FIELDS, raw=False
    ),
    "pairs": PAIRS,
    "trials": TRIALS,
    "samples": SAMPLES,
    "readings": READINGS,
    "trainings": TRAININGS,
    "certificates": CERTIFICATES,
    "divergence": DIVERGENCE,
}


def written(
    lines: Callable[[], Iterable[Line]], format_: str, what: str, info: RunInfo
) -> Iterator[bytes]:
    """A frame's rows in one of `FORMATS`, piece by piece; text is UTF-8."""
    if format_ == "parquet":
        yield from _parquet(lines(), what)
        return
    frame = FRAMES[what]
    text = _json(lines(), what, info) if format_ == "json" else csv_text(lines(), frame)
    yield from (it.encode("utf-8") for it in text)


def _json(lines: Iterable[Line], what: str, info: RunInfo) -> Iterator[str]:
    """The rows with where they come from; an empty field is null."""
    head = {
        "schema_version": EXPORT_SCHEMA_VERSION,
        "what": what,
        "run": info.name,
        "created": info.created,
    }
    yield json.dumps(head, indent=1).removesuffix("\n}") + ',\n "rows": ['
    comma = ""
    for row in lines:
        yield f"{comma}\n  {json.dumps(row, allow_nan=False)}"
        comma = ","
    yield "\n ]\n}\n"


def _parquet(lines: Iterable[Line], what: str) -> Iterator[bytes]:
    import pyarrow as pa
    from pyarrow import parquet

    rows = iter(lines)
    schema = pa.Table.from_pandas(tidy((), what), preserve_index=False).schema
    with tempfile.TemporaryFile() as file:
        with parquet.ParquetWriter(file, schema) as writer:
            while some := list(itertools.islice(rows, MANY)):
                writer.write_table(pa.Table.from_pandas(tidy(some, what), preserve_index=False))
        file.seek(0)
        yield from iter(lambda: file.read(PIECE), b"")


def schemas() -> dict[str, dict[str, Any]]:
    """By name the JSON Schema of every JSON file: a run's, each export's, a comparison's, those of
    the gate, and that of `diff`."""
    from harness.gate.baseline import Baseline
    from harness.gate.check import Checked
    from harness.programs.comparison import ProgramDifference

    known = {"run": run_schema()}
    known |= {what: _frame_schema(what) for what in FRAMES}
    models: dict[str, type[Frozen]] = {
        "comparison": Comparison,
        "baseline": Baseline,
        "check": Checked,
        "diff": ProgramDifference,
    }
    known |= {name: it.model_json_schema(mode="serialization") for name, it in models.items()}
    return {name: {"$schema": DRAFT} | it for name, it in known.items()}


def schema_text(schema: Mapping[str, Any]) -> str:
    """As it is printed and published."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _frame_schema(what: str) -> dict[str, Any]:
    frame = FRAMES[what]
    columns = {
        name: {"type": [TYPES[it.kind][1], "null"], "description": it.description}
        for name, it in frame.fields.items()
    }
    row = _object(columns, description=f"{frame.line}; an empty field is null")
    document = {
        "schema_version": {"const": EXPORT_SCHEMA_VERSION},
        "what": {"const": what},
        "run": {"type": "string", "description": "name of the run"},
        "created": {"type": "string", "description": "when the run began, an ISO time"},
        "rows": {"type": "array", "items": row},
    }
    return {"title": what, **_object(document)}


def _object(properties: Mapping[str, Any], **more: str) -> dict[str, Any]:
    return {
        "type": "object",
        **more,
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
