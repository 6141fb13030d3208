"""A tidy frame as CSV, JSON, Parquet or Markdown, and the JSON Schema of every JSON file."""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from harness.analysis.run_comparison import Comparison
from harness.gate.baseline import Baseline
from harness.gate.check import Checked
from harness.records import RunInfo
from harness.report import format as fmt
from harness.report.document import run_schema
from harness.report.frames import FRAMES, Line, in_csv, kind, tidy
from harness.report.safe_text import cell, prose

EXPORT_SCHEMA_VERSION = 1
"""History of exported JSON. 1: first version."""
FORMATS = ("csv", "json", "parquet", "markdown")
DRAFT = "https://json-schema.org/draft/2020-12/schema"
FEW, MANY = 500, 20_000
"""Rows that are held at once: as text, and in one group of rows of Parquet."""
_PLAIN: dict[str, Callable[[Any], Any]] = {
    "text": str,
    "count": int,
    "flag": bool,
    "number": float,
}
_TYPES = {"text": "string", "count": "integer", "flag": "boolean", "number": "number"}


def written(
    lines: Callable[[], Iterable[Line]], format_: str, what: str, info: RunInfo
) -> Iterator[bytes]:
    """A frame's rows in one of `FORMATS`, piece by piece; text is UTF-8."""
    if format_ == "parquet":
        yield from _parquet(lines(), what)
        return
    if format_ == "json":
        text = _json(lines(), what, info)
    elif format_ == "markdown":
        text = _markdown(lines, what)
    else:
        text = _csv(lines(), what)
    yield from (it.encode("utf-8") for it in text)


def _csv(lines: Iterable[Line], what: str) -> Iterator[str]:
    held = io.StringIO()
    writer = csv.writer(held, lineterminator="\n")
    writer.writerow(FRAMES[what].columns)
    for some in _batched(_rows(lines, what), FEW):
        writer.writerows([in_csv(it) for it in row.values()] for row in some)
        yield held.getvalue()
        held.seek(0)
        held.truncate()
    yield held.getvalue()


def _json(lines: Iterable[Line], what: str, info: RunInfo) -> Iterator[str]:
    """The rows with where they come from; an empty field is null."""
    document = {
        "schema_version": EXPORT_SCHEMA_VERSION,
        "what": what,
        "run": info.name,
        "created": info.created,
        "rows": [],
    }
    begin = json.dumps(document, indent=1).removesuffix("[]\n}")
    yield f"{begin}["
    comma, end = "", "]\n}\n"
    for row in _rows(lines, what):
        text = json.dumps(row, indent=1, allow_nan=False).replace("\n", "\n  ")
        yield f"{comma}\n  {text}"
        comma, end = ",", "\n ]\n}\n"
    yield end


def _markdown(lines: Callable[[], Iterable[Line]], what: str) -> Iterator[str]:
    """A table for reading: three digits, and no column in which every field is empty."""
    shown = {name for row in _rows(lines(), what) for name, it in row.items() if it is not None}
    kinds = {name: kind(name) for name in FRAMES[what].columns if name in shown}
    if not kinds:
        yield "No rows.\n"
        return
    rule = ["--:" if it in ("count", "number") else ":--" for it in kinds.values()]
    for head in ([prose(name) for name in kinds], rule):
        yield f"| {' | '.join(head)} |\n"
    for row in _rows(lines(), what):
        yield f"| {' | '.join(_text(row[name], of) for name, of in kinds.items())} |\n"


class _Sink(io.BytesIO):
    """What a writer of Parquet has written since it was last taken."""

    def __init__(self) -> None:
        super().__init__()
        self._before = 0

    def tell(self) -> int:
        return self._before + super().tell()

    def taken(self) -> bytes:
        content = self.getvalue()
        self._before += len(content)
        self.seek(0)
        self.truncate()
        return content


def _parquet(lines: Iterable[Line], what: str) -> Iterator[bytes]:
    import pyarrow as pa
    from pyarrow import parquet

    def tables() -> Iterator[pa.Table]:
        for some in _batched(lines, MANY):
            yield pa.Table.from_pandas(tidy(some, what), preserve_index=False)

    schema = pa.Table.from_pandas(tidy((), what), preserve_index=False).schema
    sink = _Sink()
    with parquet.ParquetWriter(sink, schema) as writer:
        for it in tables():
            writer.write_table(it)
            yield sink.taken()
    yield sink.taken()


def schemas() -> dict[str, dict[str, Any]]:
    """By name the JSON Schema of every JSON file: a run's, each export's, a comparison's, and those
    of the gate."""
    found = {"run": run_schema()}
    found |= {what: _frame_schema(what) for what in FRAMES}
    models: dict[str, type[BaseModel]] = {
        "comparison": Comparison,
        "baseline": Baseline,
        "check": Checked,
    }
    found |= {name: it.model_json_schema(mode="serialization") for name, it in models.items()}
    return {name: {"$schema": DRAFT} | it for name, it in found.items()}


def schema_text(schema: Mapping[str, Any]) -> str:
    """As it is printed and published."""
    return json.dumps(schema, indent=1, ensure_ascii=False) + "\n"


def _frame_schema(what: str) -> dict[str, Any]:
    frame = FRAMES[what]
    columns = {
        name: {"type": [_TYPES[kind(name)], "null"], "description": line}
        for name, line in frame.columns.items()
    }
    row = {
        "type": "object",
        "description": f"{frame.line}; an empty field is null",
        "properties": columns,
        "required": list(columns),
        "additionalProperties": False,
    }
    top: dict[str, Any] = {
        "schema_version": {"const": EXPORT_SCHEMA_VERSION},
        "what": {"const": what},
        "run": {"type": "string", "description": "name of the run"},
        "created": {"type": "string", "description": "when the run began, an ISO time"},
        "rows": {"type": "array", "items": row},
    }
    return {
        "title": what,
        "type": "object",
        "properties": top,
        "required": list(top),
        "additionalProperties": False,
    }


def _rows(lines: Iterable[Line], what: str) -> Iterator[dict[str, Any]]:
    """Every column in its order, each of its one type; what is empty is None."""
    types = {name: _PLAIN[kind(name)] for name in FRAMES[what].columns}
    for line in lines:
        yield {
            name: None if (it := line.get(name)) is None or it != it else of(it)
            for name, of in types.items()
        }


def _batched(lines: Iterable[Line], size: int) -> Iterator[list[Line]]:
    left = iter(lines)
    while some := list(itertools.islice(left, size)):
        yield some


def _text(value: Any, of: str) -> str:
    if value is None:
        return fmt.NONE
    if of == "number":
        return fmt.number(value)
    return cell(prose(str(value).lower() if of == "flag" else str(value)))
