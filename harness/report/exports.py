"""A tidy frame as CSV, JSON or Parquet, and the JSON Schema of every JSON file."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from harness.analysis.run_comparison import Comparison
from harness.gate.baseline import Baseline
from harness.gate.check import Checked
from harness.records import RunInfo
from harness.report.columns import Line
from harness.report.document import run_schema
from harness.report.frames import FRAMES, TYPES, csv_text, tidy, typed

EXPORT_SCHEMA_VERSION = 1
"""History of exported JSON. 1: first version."""
FORMATS = ("csv", "json", "parquet")
DRAFT = "https://json-schema.org/draft/2020-12/schema"
MANY = 20_000
"""Rows that are held at once, in one group of rows of Parquet."""
PIECE = 1 << 20
"""Bytes of a Parquet file that are held at once."""


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
    for row in typed(lines, FRAMES[what]):
        text = json.dumps(row, indent=1, allow_nan=False).replace("\n", "\n  ")
        yield f"{comma}\n  {text}"
        comma, end = ",", "\n ]\n}\n"
    yield end


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
    """By name the JSON Schema of every JSON file: a run's, each export's, a comparison's, and those
    of the gate."""
    known = {"run": run_schema()}
    known |= {what: _frame_schema(what) for what in FRAMES}
    models: dict[str, type[BaseModel]] = {
        "comparison": Comparison,
        "baseline": Baseline,
        "check": Checked,
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
