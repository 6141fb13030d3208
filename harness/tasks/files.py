"""A user's own tasks, from a TOML file.

[[task]]
name = "my-net"
data = { name = "digits" }
model = { hidden = [128, 64], activation = "gelu" }
loss = "cross-entropy"
optimizer = { name = "sgd", learning_rate = 0.1, momentum = 0.9 }
batch_size = 64
epochs = 10
"""

from __future__ import annotations

import codecs
import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from harness.errors import UsageError, first_problem
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.spec import Task

MAX_BYTES = 1_000_000


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file; raises UsageError with the line where it is malformed."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise UsageError(f"{path}: larger than {MAX_BYTES:,} bytes; this is no such file")
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise UsageError(f"{path}: UTF-16, not UTF-8 text; save it as UTF-8")
        return tomllib.loads(content.decode("utf-8-sig"))  # some editors begin with a mark
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8 text") from None
    except (ValueError, RecursionError) as error:  # ValueError: a number of thousands of digits
        raise UsageError(f"{path}: not valid TOML: {error}") from None


def read_task_file(path: Path) -> list[Task]:
    """The tasks of a file; raises UsageError naming file, task and field."""
    content = read_toml(path)
    entries = content.get("task")
    if not isinstance(entries, list) or not entries or set(content) != {"task"}:
        raise UsageError(f"{path}: expected one or more [[task]] tables and nothing else")
    tasks: list[Task] = []
    for number, entry in enumerate(entries, start=1):
        try:
            task = Task.model_validate(entry)
        except ValidationError as error:
            raise UsageError(f"{path}: task {number}: {first_problem(error)}") from None
        if task.name in CATALOGUE or task.name in {other.name for other in tasks}:
            raise UsageError(f"{path}: task {number}: the name {task.name!r} is taken")
        tasks.append(task)
    return tasks


def known_tasks(own: Path | None) -> dict[str, Task]:
    """The catalogue and, if given, the tasks of the user's file, by name."""
    return CATALOGUE | {task.name: task for task in (read_task_file(own) if own else ())}
