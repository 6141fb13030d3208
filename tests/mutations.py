"""Files of strangers: a good `run.json` and a good store with anything in them changed, by a seed.

Every change is one that JSON or SQLite can hold, so that it reaches whatever reads the file.
"""

from __future__ import annotations

import copy
import json
import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from harness.records import Limits, Run
from harness.runs.store import FILE, TABLES, guards
from tests.builders import (
    ERROR_TASK,
    LABELS,
    TASK,
    certified,
    make_failure,
    make_record,
    make_run,
    make_setup,
    measured,
)

NUMBERS: list[Any] = [
    *(0, -1, 1, 2, 7, 10**6, 2**31, 2**63 - 1, 2**63, 2**64, 10**400, -(10**19)),
    *(0.0, -0.0, 0.5, -0.5, 1e-300, 5e-324, 1e15, 1e300, 1e308, -1e308),
    *(float("nan"), float("inf"), float("-inf")),
]
WORDS: list[Any] = [
    "",
    "x",
    "cpu",
    "gpu:0",
    "cpu@m1",
    "train",
    "ok",
    "\ud800",
    "\x1b[2J",
    "a" * 999,
]
OTHERS: list[Any] = [None, True, False, [], {}, [[]], [None], {"a": 1}, "REMOVED", "TWICE", "DEEP"]


def good_run(name: str = "a-run") -> Run:
    """Two tasks, a twin, latency, trainings, limits, settings, proofs and a crash."""
    records = [
        it.model_copy(
            update={
                "settings": {"threads": 1, "dtype": "float32", "device": "cpu"},
                "limits": Limits(
                    matmul_error=1e-7, peak_flops=1e10, product_seconds={"train": 1e-5}
                ),
            }
        )
        for it in measured((TASK, ERROR_TASK), LABELS, blocks=6, rounds=3)
    ]
    for block in range(6):
        records.append(make_record(make_setup(twin=True), block, {"train": [2e-4, 2.1e-4]}))
        late = make_record(make_setup(label="other:eager"), block, {"train-latency": [2e-3]})
        (phase,) = late.phases
        sample = phase.samples[0].model_copy(update={"readings": (1e-3, 3e-3, 2e-3)})
        phase = phase.model_copy(update={"samples": (sample,)})
        records.append(late.model_copy(update={"phases": (phase,)}))
    crash = make_failure(make_setup(label="tensorflow:xla"))
    certificates = tuple(
        it.model_copy(update={"logical_peak": {"train": 10**6, "predict": None}})
        for it in certified(records)
    )
    named = [it.model_copy(update={"trial": f"{name}/{it.trial}"}) for it in (*records, crash)]
    return make_run(named, (TASK, ERROR_TASK), name=name, certificates=certificates)


def places(content: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to everything within a structure, itself included."""
    found = [at]
    if isinstance(content, dict):
        found += [path for key, it in content.items() for path in places(it, (*at, key))]
    elif isinstance(content, list):
        found += [path for key, it in enumerate(content) for path in places(it, (*at, key))]
    return found


def kind(path: tuple[Any, ...]) -> tuple[Any, ...]:
    """The field that a path leads to, whichever entry of a list it is in."""
    return tuple("*" if isinstance(it, int) else it for it in path)


def value_at(content: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        content = content[key]
    return content


def _is_number(it: Any) -> bool:
    return isinstance(it, int | float) and not isinstance(it, bool)


def _descended(content: Any, rng: random.Random) -> tuple[Any, ...]:
    """A path on which each step is as likely as its neighbours: a part of few fields is met as
    often as one of many."""
    path: list[Any] = []
    while isinstance(content, dict | list) and content and (not path or rng.random() < 0.95):
        path.append(rng.choice([*content] if isinstance(content, dict) else range(len(content))))
        content = content[path[-1]]
    return tuple(path)


def _of_a_field(content: Any, rng: random.Random) -> tuple[Any, ...]:
    """A path to a field, each of which is as likely as another, and more so those of numbers."""
    by_field: dict[tuple[Any, ...], list[tuple[Any, ...]]] = {}
    for path in places(content)[1:]:
        by_field.setdefault(kind(path), []).append(path)
    numbers = [it for it, paths in by_field.items() if _is_number(value_at(content, paths[0]))]
    fields = numbers if numbers and rng.random() < 0.6 else [*by_field]
    return rng.choice(by_field[rng.choice(sorted(fields, key=str))])


def mutated(content: Any, rng: random.Random) -> tuple[Any, str]:
    """The same with one field changed, and what was done."""
    path = (_of_a_field if rng.random() < 0.5 else _descended)(content, rng)
    holder = content = copy.deepcopy(content)
    for key in path[:-1]:
        holder = holder[key]
    old = holder[path[-1]]
    if _is_number(old) and rng.random() < 0.8:
        new: Any = rng.choice(NUMBERS)
    else:
        new = rng.choice([*NUMBERS, *WORDS, *OTHERS])
    if new == "REMOVED":
        del holder[path[-1]]
    elif new == "TWICE" and isinstance(holder, list):
        holder.append(copy.deepcopy(old))
    elif new == "DEEP":
        deep: Any = []
        for _ in range(500):
            deep = [deep]
        holder[path[-1]] = deep
    else:
        holder[path[-1]] = new
    return content, f"{'.'.join(map(str, path))}: {str(old)[:40]} -> {str(new)[:40]}"


def mutate_store(path: Path, rng: random.Random) -> str:
    """Change, repeat or remove one row of a store behind its guards; says what was done."""
    with closing(sqlite3.connect(path)) as raw:
        for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'"):
            raw.execute(f"DROP TRIGGER {name}")
        done = _mutate_row(raw, rng)
        raw.executescript(guards(TABLES))
        raw.commit()
    return done


def _mutate_row(raw: sqlite3.Connection, rng: random.Random) -> str:
    table = rng.choice(TABLES)
    rows = [it for (it,) in raw.execute(f"SELECT rowid FROM {table}")]
    row = rng.choice(rows)
    if rng.random() < 0.15:
        raw.execute(f"DELETE FROM {table} WHERE rowid = ?", (row,))
        return f"{table}: a row removed"
    columns = [(it[1], it[2]) for it in raw.execute(f"PRAGMA table_info({table})")]
    texts = [
        it
        for it in columns
        if it[1] == "TEXT" and it[0] in ("info", "spec", "setup", "record", "certificate")
    ]
    column, of = rng.choice(texts if texts and rng.random() < 0.7 else columns)
    (old,) = raw.execute(f"SELECT {column} FROM {table} WHERE rowid = ?", (row,)).fetchone()
    new: Any
    if (column, of) in texts and rng.random() < 0.9:
        content, done = mutated(json.loads(old), rng)
        new = json.dumps(content)
    else:
        new = rng.choice({"TEXT": WORDS[:7] + WORDS[8:], "REAL": NUMBERS}.get(of, NUMBERS[:8]))
        if of == "REAL":
            new = float("inf") if isinstance(new, int) and new > 2**63 else float(new)
        done = f"{str(old)[:40]} -> {str(new)[:40]}"
    done = f"{table}.{column}: {done}"
    try:
        raw.execute(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", (new, row))
    except sqlite3.Error as error:  # another row has this key, or none may lack it
        return f"{done}: not possible ({error})"
    return done


def store_file(directory: Path) -> Path:
    return directory / FILE
