"""A tidy frame as CSV, JSON, Parquet or Markdown, and the JSON Schema of every JSON file."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from harness.analysis.between import Comparison
from harness.gate.baseline import Baseline
from harness.gate.check import Checked
from harness.records import RunInfo
from harness.report import format as fmt
from harness.report.document import run_schema
from harness.report.inert import cell, prose
from harness.report.tidy import FRAMES, kind

if TYPE_CHECKING:
    import pandas as pd

EXPORT_SCHEMA_VERSION = 1
"""History of exported JSON. 1: first version."""
FORMATS = ("csv", "json", "parquet", "markdown")
DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TYPES = {"text": "string", "count": "integer", "flag": "boolean", "number": "number"}


def as_bytes(frame: pd.DataFrame, format_: str, what: str, info: RunInfo) -> bytes:
    """The frame in one of `FORMATS`; text is UTF-8."""
    if format_ == "parquet":
        held = io.BytesIO()
        frame.to_parquet(held, index=False)
        return held.getvalue()
    if format_ == "json":
        text = json.dumps(document(frame, what, info), indent=1, allow_nan=False) + "\n"
    elif format_ == "markdown":
        text = markdown(frame)
    else:
        text = str(frame.to_csv(index=False, lineterminator="\n"))
    return text.encode("utf-8")


def document(frame: pd.DataFrame, what: str, info: RunInfo) -> dict[str, Any]:
    """The frame with where it comes from; an empty field is null."""
    return {
        "schema_version": EXPORT_SCHEMA_VERSION,
        "what": what,
        "run": info.name,
        "created": info.created,
        "rows": _rows(frame),
    }


def markdown(frame: pd.DataFrame) -> str:
    """A table for reading: three digits, and no column in which every field is empty."""
    shown = [name for name in frame if frame[name].notna().any()]
    if not shown:
        return "No rows.\n"
    kinds = {str(name): kind(str(name)) for name in shown}
    rule = ["--:" if it in ("count", "number") else ":--" for it in kinds.values()]
    rows = [[_text(row[name], kinds[name]) for name in kinds] for row in _rows(frame[list(kinds)])]
    head = [prose(name) for name in kinds]
    return "".join(f"| {' | '.join(it)} |\n" for it in (head, rule, *rows))


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


def _rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Plain Python values; what is empty is None."""
    columns = {
        str(name): [
            None if gone else it for it, gone in zip(column.tolist(), column.isna(), strict=True)
        ]
        for name, column in frame.items()
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _text(value: Any, of: str) -> str:
    if value is None:
        return fmt.NONE
    if of == "number":
        return fmt.number(value)
    return cell(prose(str(value).lower() if of == "flag" else str(value)))
