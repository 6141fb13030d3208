"""`run.json`: all that is needed to repeat a run, the rows of its summary, and what another run is
compared with. Written, read back, and described by a JSON Schema.
"""

from __future__ import annotations

from typing import Any

from harness.analysis.run_comparison import CellBlocks, cell_blocks
from harness.analysis.summary import Summary
from harness.records import Run, RunInfo
from harness.tasks.spec import Frozen, Task

RUN_SCHEMA_VERSION = 2
"""History of `run.json`.

1: first version.
2: `blocks`, the values behind every cell, by which it is compared with another run.
"""


class RunDocument(Frozen):
    """A run without its raw samples and epochs.

    `trials` is the number of records, `seconds` the time that the run took; `blocks` has one entry
    a cell.
    """

    schema_version: int
    run: RunInfo
    tasks: tuple[Task, ...]
    trials: int
    stopped_by: str | None
    seconds: float | None
    summary: Summary
    blocks: tuple[CellBlocks, ...]


def run_document(run: Run, summary: Summary) -> dict[str, Any]:
    document = RunDocument(
        schema_version=RUN_SCHEMA_VERSION,
        run=run.info,
        tasks=run.tasks,
        trials=len(run.records),
        stopped_by=run.stopped_by,
        seconds=run.seconds,
        summary=summary,
        blocks=cell_blocks(run, summary),
    )
    # The tasks stand in full under `tasks`, the epochs of every training in `trainings.csv`.
    epochs = {"quality": {"epochs"}}
    trainings = {"rows": {"__all__": {"trainings": {"__all__": epochs}}}}
    content = document.model_dump(
        mode="json", exclude={"summary": {"qualities": {"__all__": trainings}}}
    )
    for task, entry in zip(run.tasks, content["tasks"], strict=True):
        entry["digest"] = task.digest
    for table in (*content["summary"]["tables"], *content["summary"]["qualities"]):
        table["task"] = table["task"]["name"]
    return content


def read_document(content: dict[str, Any], tables: bool = True) -> RunDocument:
    """The document again; its trainings have no epochs. Raises ValueError for any other content.

    Without `tables` it has none, and is read in a quarter of the time: `blocks` have the values
    behind them.
    """
    try:
        if not tables:
            content["summary"]["tables"] = []
        named = {}
        for entry in content["tasks"]:
            entry.pop("digest")
            named[entry["name"]] = entry
        summary = content["summary"]
        for table in (*summary["tables"], *summary["qualities"]):
            table["task"] = named[table["task"]]
        for table in summary["qualities"]:
            for row in table["rows"]:
                for training in row["trainings"]:
                    training["quality"]["epochs"] = ()
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"it lacks {error}") from None
    return RunDocument.model_validate(content)


def run_schema() -> dict[str, Any]:
    """The JSON Schema of `run.json`, from the models that it is written from."""
    schema = RunDocument.model_json_schema(mode="serialization")
    schema["properties"]["schema_version"] = {"const": RUN_SCHEMA_VERSION}
    parts = schema["$defs"]
    parts["Task"]["properties"]["digest"] = {"type": "string", "pattern": "^[0-9a-f]{16}$"}
    parts["Task"]["required"].append("digest")
    for name in ("Table", "QualityTable"):
        parts[name]["properties"]["task"] = {"type": "string", "description": "name of the task"}
    del parts["Quality"]["properties"]["epochs"], parts["Epoch"]
    parts["Quality"]["required"].remove("epochs")
    return schema
