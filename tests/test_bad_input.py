"""Bad input over every command: one clear line, the right exit code, and nothing written.

Each row of `ROWS` is run in this process. To add one: what to prepare, the words after
`python -m harness`, the kind of error and a part of its line. Rows that say nothing of a folder
begin in an empty one.
"""

from __future__ import annotations

import ast
import functools
import gzip
import hashlib
import json
import os
import pickle
import sqlite3
import struct
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import harness
from harness.__main__ import served
from harness.cli.app import VERBS
from harness.errors import (
    DataError,
    HarnessError,
    NoBaseline,
    NotComparable,
    StoreError,
    UsageError,
)
from harness.runs import store as stores
from harness.runs.store import TABLES, guards
from harness.tasks.datasets import load, open_staged, write_staged
from harness.tasks.mnist import PUBLISHED
from harness.tasks.spec import Teacher
from tests.builders import TASK, make_info, measured
from tests.modules import ROOT, imports, modules
from tests.stores import make_store
from tests.stores import named as named_run
from tests.tasks.test_files import GOOD

LONG = "a" * 300
RUN = make_info().name
Prepare = Callable[[Path], None]


class Row(NamedTuple):
    words: tuple[str, ...]
    said: str
    error: type[HarnessError] = UsageError
    prepare: Prepare = lambda here: None

    def __str__(self) -> str:
        return f"{' '.join(self.words)[:40]}: {self.said[:40]}"


def usage(said: str, *words: str, prepare: Prepare = lambda here: None) -> Row:
    return Row(words, said, UsageError, prepare)


# --- what lies in the folder where a row begins


def file(name: str, content: str | bytes) -> Prepare:
    def prepare(here: Path) -> None:
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return prepare


def link(name: str, target: str) -> Prepare:
    def prepare(here: Path) -> None:
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).symlink_to(target)

    return prepare


@functools.cache
def good() -> bytes:
    """A store with one run."""
    with tempfile.TemporaryDirectory() as folder:
        with stores.create(Path(folder)) as store:
            store.add_run(make_info(), (TASK,))
            for it in measured(blocks=1, rounds=2):
                store.start(RUN, it.trial, it.block, it.attempt, it.setup)
                store.end(it)
            store.stop(RUN, "all blocks done", 1.0)
        return (Path(folder) / stores.FILE).read_bytes()


def results(*further: Prepare) -> Prepare:
    """A results directory with one good run, and then whatever spoils it."""

    def prepare(here: Path) -> None:
        (here / "results").mkdir()
        (here / "results" / stores.FILE).write_bytes(good())
        for it in further:
            it(here)

    return prepare


def named(name: str) -> Prepare:
    """A store whose run has this name, as only somebody else's program gives it."""
    return results(sql(f"UPDATE runs SET info = json_set(info, '$.name', '{name}')"))


def store_with(change: Callable[[Path], None]) -> Prepare:
    return lambda here: change(here / "results" / stores.FILE)


def sql(statements: str, objects: str = "") -> Prepare:
    """Change rows behind the store's guards, as only somebody else's program does; `objects` are
    statements that add tables, views or triggers of a stranger."""

    def change(path: Path) -> None:
        raw = sqlite3.connect(path)
        raw.execute("PRAGMA writable_schema = ON")
        raw.execute("DELETE FROM sqlite_master WHERE type = 'trigger'")
        raw.commit()
        raw.close()
        raw = sqlite3.connect(path)
        raw.executescript(f"{statements}; {guards(TABLES)}; {objects}")
        raw.close()

    return store_with(change)


def foreign(path: Path) -> None:
    path.parent.mkdir()
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE mine (x)")
    other.close()


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def scribbled(path: Path) -> None:
    """Pages that are no pages any more, behind a header that is whole."""
    content = bytearray(path.read_bytes())
    for place in range(4096, len(content), 512):
        content[place : place + 64] = bytes(64)
    path.write_bytes(content)


NAMES = PUBLISHED["mnist"].files


def mnist(**contents: bytes) -> Prepare:
    """A data directory with MNIST's file names; what is given stands in the first file."""

    def prepare(here: Path) -> None:
        folder = here / "data" / "mnist"
        folder.mkdir(parents=True)
        for it in NAMES:
            (folder / it.name).write_bytes(struct.pack(">HBBI", 0, 8, 1, 1) + b"\7")
        for suffix, content in contents.items():
            (folder / f"{NAMES[0].name}{'.gz' if suffix == 'packed' else ''}").write_bytes(content)

    return prepare


class Trap:
    """Whoever loads this leaves a trace."""

    def __reduce__(self):
        return (os.mkdir, ("sprung",))


TRAP = pickle.dumps(Trap())
TASKS = ("list", "--task-file", "tasks.toml")
CONFIG = ("run", "--dry-run", "-f", "reference", "--config", "run.toml")
BEGUN = json.dumps(
    {"tasks": ["diabetes-regression"], "frameworks": ["reference"], "blocks": 1, "rounds": 1}
    | {"seeds": 0}
)
"""A configuration that could be gone on with at once."""
SCRATCH = link("results/.samestep-scratch", "../elsewhere")
IDX = ("data", "verify", "mnist", "--data-dir", "data")


def task(said: str, content: str | bytes, words: tuple[str, ...] = TASKS) -> Row:
    return Row(words, said, UsageError, file("tasks.toml", content))


def config(said: str, content: str | bytes) -> Row:
    return Row(CONFIG, said, UsageError, file("run.toml", content))


def data(said: str, words: tuple[str, ...] = IDX, **contents: bytes) -> Row:
    return Row(words, said, DataError, mnist(**contents))


def store(said: str, prepare: Prepare, *words: str) -> Row:
    return Row(words or ("show",), said, StoreError, prepare)


COMMAND_LINE = [
    usage("rum", "rum"),
    usage("Got unexpected extra argument", "info", "more"),
    usage("--frob", "run", "--frob"),
    usage("--frob", "doctor", "--frob"),
    usage("not UTF-8 text", "run", "-o", "\udcff"),
    usage("not UTF-8 text", "run", "-t", "a\udc80b"),
    usage("--threads", "run", "--threads", "two"),
    usage("did you mean 'digits-mlp'?", "run", "-t", "digits-mpl"),
    usage("unknown task ''", "run", "-t", ""),
    usage("unknown task '../../x'", "run", "-t", "../../x"),
    usage("unknown task '\\x1b[2J\\x07'", "run", "-t", "\x1b[2J\x07"),
    usage("unknown task 'aaa", "run", "-t", LONG * 100),
    usage("data fetch mnist", "run", "-t", "mnist-mlp"),
    usage("did you mean 'pytorch'?", "run", "-f", "pytroch"),
    usage("a mode must follow the colon", "run", "-f", "pytorch:"),
    usage("unknown framework ''", "run", "-f", ":eager"),
    usage("unknown mode of TensorFlow 'jit'", "run", "-f", "tensorflow:jit"),
    usage("unknown lane 'sideways'; choose from", "run", "--lane", "sideways"),
    usage("use --device cpu", "run", "--device", "gpu:77"),
    usage("unknown device 'abacus'", "run", "--device", "abacus"),
    usage("unknown device 'gpu:-1'", "run", "--device", "gpu:-1"),
    usage("threads", "run", "--threads", "0"),
    usage("cores to use", "run", "--threads", "100000"),
    usage("cores to use", "run", "--threads", "9" * 30),
    usage("blocks", "run", "--blocks", "-1"),
    usage("blocks", "run", "--blocks", "10001"),
    usage("seeds", "run", "--seeds", "-1"),
    usage("seeds", "run", "--seeds", "1001"),
    usage("budget 'nan'", "run", "--budget", "nan"),
    usage("budget '1e999'", "run", "--budget", "1e999"),
    usage("budget '-5m'", "run", "--budget", "-5m"),
    usage("budget ''", "run", "--budget", ""),
    usage("precision '0'", "run", "--precision", "0"),
    usage("precision '100%'", "run", "--precision", "100%"),
    usage("unknown preset 'slow'", "run", "--preset", "slow"),
    usage("unknown phase 'learn'; choose from", "run", "--phase", "learn"),
    usage("unknown dtype 'bfloat16'; choose from", "run", "--dtype", "bfloat16"),
    usage("'0/3' is no part of a whole", "run", "--shard", "0/3"),
    usage("'4/3' is no part of a whole", "run", "--shard", "4/3"),
    usage("'1/3/3' is no part of a whole", "run", "--shard", "1/3/3"),
    usage("'१/३' is no part of a whole", "run", "--shard", "१/३"),
    usage("there are 1 comparisons to share", "run", "-f", "reference", "--shard", "2/2"),
    usage("batch_size", "run", "--set", "batch_size=0"),
    usage("batch_size", "run", "--set", "batch_size=nan"),
    usage("write it as NAME=VALUE", "run", "--set", "batch_size"),
    usage("the same value twice", "run", "--set", "width=8,8"),
    usage("more than the 1437 training examples", "run", "--set", "batch_size=5000"),
    usage("hidden", "run", "--set", "width=-4"),
    usage("depth=100000: must be", "run", "--set", "depth=100000"),
    usage("learning_rate", "run", "--set", "learning_rate=inf"),
    usage(
        "asks for 1,000,000 variants",
        "run",
        *("--set", "width=" + ",".join(map(str, range(1, 101)))),
        *("--set", "batch_size=" + ",".join(map(str, range(1, 101)))),
        *("--set", "epochs=" + ",".join(map(str, range(1, 101)))),
    ),
    usage("no such user", "run", "-t", "mnist-mlp", "--data-dir", "~nobody-of-that-name/x"),
    usage("File name too long", "list", "--data-dir", LONG),
    usage("--seeds", "selftest", "--seeds", "-1"),
    usage("--seeds", "selftest", "--seeds", "1001"),
    usage("did you mean 'digits-mlp'?", "verify", "-t", "digits-mpl"),
    usage("unknown dtype 'int8'; choose from", "verify", "--dtype", "int8"),
    usage("unknown framework", "verify", "-f", "../reference"),
    usage("did you mean 'digits-mlp'?", "explain", "digits-mpl"),
    usage("Missing argument", "explain"),
    usage("unknown phase 'learn'", "explain", "digits-mlp", "--phase", "learn"),
    usage("unknown dtype 'int8'", "explain", "digits-mlp", "--dtype", "int8"),
    usage("--rows", "explain", "digits-mlp", "--rows", "0"),
    usage("would need about", "explain", "digits-mlp", "--rows", "10000000000"),
    usage("one value", "explain", "digits-mlp", "--set", "width=8,16"),
    usage("Missing command", "data"),
    usage("imagenet", "data", "fetch", "imagenet"),
    usage("unknown data set to fetch '../mnist'", "data", "fetch", "../mnist"),
    usage("imagenet", "data", "verify", "imagenet"),
    usage("data fetch mnist", "data", "verify", "mnist", "--data-dir", "empty"),
    usage("File name too long", "data", "verify", "mnist", "--data-dir", LONG),
    usage("directory", "data", "fetch", "mnist", "--data-dir", "f", prepare=file("f", "")),
]

OUTPUT = [
    usage("f: cannot write here", "run", "-o", "f", prepare=file("f", "")),
    usage("cannot write here", "run", "-o", "f/below", prepare=file("f", "")),
    usage("f: cannot write here", "verify", "-o", "f", prepare=file("f", "")),
    usage("File name too long", "run", "-o", LONG),
    usage("cannot write here", "run", "-o", "loop", prepare=link("loop", "loop")),
    usage("no results here", "show", "-o", "loop", prepare=link("loop", "loop")),
    usage("File name too long", "show", "-o", LONG),
    usage("no results here", "show"),
    usage("no results here", "report", "never"),
    usage("no results here", "run", "--resume", "never"),
    usage("--resume", "run", "--resume", "never", "--blocks", "2"),
    usage("unknown run '../x'", "show", "../x", prepare=results()),
    usage("unknown run '/etc'", "report", "/etc", prepare=results()),
    usage(r"unknown run 'a\nb\x1b'", "report", "a\nb\x1b", prepare=results()),
    usage("unknown run 'aaaa", "report", LONG * 100, prepare=results()),
    usage("unknown run '../x'", "run", "--resume", "../x", prepare=results()),
    usage(f"did you mean '{RUN}'?", "show", RUN[:-1], prepare=results()),
    usage("'../evil': no name", "report", prepare=named("../evil")),
    usage("/evil': no name", "report", prepare=named("/evil")),
    usage("a link; nothing is written", "report", prepare=results(link(f"results/{RUN}", ".."))),
    usage(
        "figures: a link; nothing is written",
        *("report", RUN),
        prepare=results(link(f"results/{RUN}/figures", "../../elsewhere")),
    ),
    usage(
        "logs: a link; nothing is written",
        *("run", "--resume", RUN),
        prepare=results(
            sql(f"UPDATE runs SET info = json_set(info, '$.config', json('{BEGUN}'))"),
            link(f"results/{RUN}/logs", "../../elsewhere"),
        ),
    ),
    *(
        usage("scratch: a link; nothing is written", *words, prepare=SCRATCH)
        for words in (
            ("run", "-f", "reference"),
            ("verify", "-f", "reference"),
            ("baseline", "save", "mine"),
            ("check", "--against", str(ROOT), "-f", "reference"),
        )
    ),
    usage(
        "report.html: a link; nothing is written",
        "report",
        prepare=results(link(f"results/{RUN}/report.html", "../../elsewhere/theirs")),
    ),
    usage(
        "run.json: a link; nothing is written",
        *("run", "--resume", RUN),
        prepare=results(
            sql(f"UPDATE runs SET info = json_set(info, '$.config', json('{BEGUN}'))"),
            link(f"results/{RUN}/run.json", "nowhere"),
        ),
    ),
    usage("history: a link", "history", prepare=results(link("results/history", "../elsewhere"))),
    usage(
        "baselines: a link",
        *("baseline", "save", "mine"),
        prepare=link("results/baselines", "../elsewhere"),
    ),
    usage(
        "mine.json: a link",
        *("baseline", "save", "mine"),
        prepare=link("results/baselines/mine.json", "nowhere"),
    ),
    usage(
        "out.csv: cannot write here: a link",
        *("export", "--to", "out.csv"),
        prepare=results(link("out.csv", "elsewhere/theirs")),
    ),
    usage(
        "/dev/null: cannot write here", "compare", RUN, RUN, "--to", "/dev/null", prepare=results()
    ),
    usage(
        "samestep.sqlite: a link",
        *("run", "-f", "reference"),
        prepare=link("results/samestep.sqlite", "../elsewhere/theirs"),
    ),
    usage(
        "samestep.sqlite-wal: a link",
        *("run", "-f", "reference"),
        prepare=link("results/samestep.sqlite-wal", "../elsewhere/theirs"),
    ),
    usage(
        "cannot write here",
        *("run", "-f", "reference"),
        prepare=link("results/.run.lock", "../elsewhere/theirs"),
    ),
    usage("verify: a link", "verify", prepare=link("results/verify", "../elsewhere")),
]

STRANGE = [
    "CREATE TRIGGER faster AFTER INSERT ON samples BEGIN SELECT 1; END",
    "DROP TRIGGER samples_no_DELETE",
    "DROP TABLE samples",
    "DROP TABLE proven; CREATE VIEW proven AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT "
    "i + 1 FROM n) SELECT 'x' AS run, i AS certificate FROM n",
    "CREATE TABLE further (x)",
    "CREATE VIRTUAL TABLE further USING fts5 (x)",
    "CREATE INDEX slow ON samples (abs(seconds))",
    "ALTER TABLE samples ADD COLUMN double REAL AS (2 * seconds)",
    "DROP TABLE stops; CREATE TABLE stops (run TEXT NOT NULL REFERENCES runs, rule TEXT NOT NULL, "
    "seconds REAL NOT NULL DEFAULT 9, at REAL NOT NULL CHECK (at > 0)) STRICT;" + guards(["stops"]),
    "PRAGMA user_version = 1",
    "PRAGMA user_version = 0",
    "PRAGMA user_version = -1",
]
"""What a stranger's store may have that no samestep ever made."""
READERS = (
    ("report",),
    ("export",),
    ("history",),
    ("compare", RUN, RUN),
    ("merge", RUN, RUN),
    ("run", "-f", "reference"),
    ("run", "--resume", RUN),
    ("verify", "-f", "reference"),
    ("baseline", "save", "mine", "--from", RUN),
)

STORES = [
    store("not a database", file("results/samestep.sqlite", "no database, but long enough " * 40)),
    store("not a database", file("results/samestep.sqlite", "x" * 999), "run", "-f", "reference"),
    store("not one of samestep's", store_with(foreign)),
    store("not one of samestep's", store_with(foreign), "run", "-f", "reference"),
    store("not one of samestep's", store_with(foreign), "verify", "-f", "reference"),
    store("not one of samestep's", file("results/samestep.sqlite", "")),
    store("newer samestep", results(sql("PRAGMA user_version = 999"))),
    store("newer samestep", results(sql("PRAGMA user_version = 999")), "run", "-f", "reference"),
    store("newer samestep", results(sql("PRAGMA user_version = 999")), "report"),
    store("malformed", results(store_with(cut))),
    store("malformed", results(store_with(cut)), "run", "-f", "reference"),
    store("malformed", results(store_with(cut)), "run", "--resume", RUN),
    store("malformed", results(store_with(scribbled))),
    store("damaged", results(sql("UPDATE runs SET info = '{'"))),
    store("damaged", results(sql("UPDATE runs SET info = '[]'")), "report"),
    store("damaged", results(sql("UPDATE tasks SET spec = CAST(x'ff' AS TEXT)"))),
    store("damaged", results(sql("UPDATE ended SET record = 'null'"))),
    store("damaged", results(sql("UPDATE samples SET readings = '[[[['"))),
    store("damaged", results(sql("UPDATE samples SET iterations = 0"))),
    *(store("not those that samestep makes", results(sql("", it))) for it in STRANGE),
    *(store("not those that samestep makes", results(sql("", STRANGE[0])), *it) for it in READERS),
    store(
        "configuration is not one",
        results(sql("UPDATE runs SET info = json_set(info, '$.config.frob', 1)")),
        *("run", "--resume", RUN),
    ),
    store("not a file", lambda here: (here / "results/samestep.sqlite").mkdir(parents=True), "run"),
    usage(
        "no results here",
        "show",
        prepare=lambda here: (here / "results/samestep.sqlite").mkdir(parents=True),
    ),
]

TASK_FILES = [
    usage("tasks.toml: No such file", *TASKS),
    usage("tasks.toml: Is a directory", *TASKS, prepare=lambda here: (here / "tasks.toml").mkdir()),
    usage("tasks.toml: Too many levels", *TASKS, prepare=link("tasks.toml", "tasks.toml")),
    usage("File name too long", "run", "--task-file", LONG),
    task("expected one or more [[task]]", ""),
    task("not UTF-8 text", TRAP),
    task("not valid TOML", "import os; os.system('touch sprung')"),
    task("not valid TOML", "\0"),
    task("(at line 2", "fine = 1\nnot = = fine\n", ("run", "--task-file", "tasks.toml")),
    task("the name 'digits-mlp' is taken", GOOD.replace("my-net", "digits-mlp")),
    task("task 1: name", GOOD.replace("my-net", "../my-net")),
    task("task 1: name", GOOD.replace("my-net", "/my-net")),
    task("task 1: name", GOOD.replace("my-net", "my\\u001bnet")),
    task("task 1: name", GOOD.replace("my-net", LONG)),
    task("Input tag '../mnist'", GOOD.replace("digits", "../mnist")),
    task("Extra inputs", GOOD.replace('"digits"', '"digits", path = "/etc/passwd"')),
    task("parameters; at most", GOOD.replace("[128, 64]", "[60000, 60000]")),
    task("not valid TOML", "task = " + "[" * 9999, ("explain", "x", "--task-file", "tasks.toml")),
    task("expected one or more", "[task]\n", ("verify", "--task-file", "tasks.toml")),
]

CONFIGURATION = [
    usage("run.toml: No such file", *CONFIG),
    usage("Is a directory", "run", "--config", "."),
    config("(at line 2", "fine = 1\nnot = = fine\n"),
    config("not UTF-8 text", b"\xff\xfe"),
    config("UTF-16, not UTF-8 text; save it as UTF-8", "blocks = 1".encode("utf-16")),
    config("did you mean 'blocks'?", "block = 3"),
    config("unknown preset \"['x']\"", 'preset = ["x"]'),
    config("unknown preset '1979", "preset = 1979-05-27"),
    config("tasks: Input should be a valid tuple", 'tasks = "digits-mlp"'),
    config("threads.0", 'threads = ["two"]'),
    config("sample_seconds: Input should be a finite number", "sample_seconds = nan"),
    config("budget 'soon'", 'budget = "soon"'),
    config("shard", "shard = 3"),
    config("'3' is no part", 'shard = "3"'),
    config("a�b: not valid TOML", 'task_file = "a\\u0000b"'),
    config("mnist-mlp' is unavailable", 'tasks = ["mnist-mlp"]\ndata_dir = "a\\u0000b"'),
    config(r"unknown field 'a\x1bb'", '"a\\u001bb" = 1'),
    config("lanes", "lanes = []"),
]

DATA_FILES = [
    data("not an IDX file", plain=b"PK\3\4" + bytes(40)),
    data("not an IDX file", plain=TRAP),
    data("type 0x0d", plain=struct.pack(">HBBI", 0, 13, 1, 1) + bytes(4)),
    data("truncated", plain=struct.pack(">HBBI", 0, 8, 1, 2**30) + b"\7"),
    data("absurd IDX dimensions", plain=struct.pack(">HBBIII", 0, 8, 3, *[2**32 - 1] * 3)),
    data("truncated", plain=b""),
    data("truncated", packed=gzip.compress(struct.pack(">HBBI", 0, 8, 1, 9) + bytes(9))[:-4]),
    data("corrupt gzip", packed=b"\x1f\x8b" + bytes(30)),
    data("more bytes than", packed=gzip.compress(struct.pack(">HBBI", 0, 8, 1, 1) + bytes(10**6))),
    data("its content is not that of mnist", plain=struct.pack(">HBBI", 0, 8, 1, 1) + b"\7"),
    data("its content is not", ("run", "-t", "mnist-mlp", "--data-dir", "data")),
    data("its content is not", ("verify", "-t", "mnist-mlp", "--data-dir", "data")),
    data("not an IDX", ("run", "-t", "mnist-mlp", "--data-dir", "data"), plain=TRAP),
]

SEVERAL_RUNS = [
    usage("unknown frame 'frob'", "export", "--what", "frob", prepare=results()),
    usage("unknown format 'xml'", "export", "--format", "xml", prepare=results()),
    usage("unknown run '../x'", "export", "../x", prepare=results()),
    usage(".: not a file", "export", "--to", ".", prepare=results()),
    usage("no results here", "export"),
    store("malformed", results(store_with(cut)), "export"),
    usage("unknown schema 'frob'", "schema", "frob"),
    usage("Missing argument", "compare", RUN, prepare=results()),
    usage("unknown run 'nope'", "compare", RUN, "nope", prepare=results()),
    usage("unknown format 'xml'", "compare", RUN, RUN, "--format", "xml", prepare=results()),
    usage("Missing argument", "merge"),
    usage("unknown run 'nope'", "merge", "nope", prepare=results()),
    usage("unknown run '../x", "merge", f"../x={RUN}", prepare=results()),
    usage("hold the same trial", "merge", RUN, RUN, prepare=results()),
]


def baseline(said: str, content: str | bytes) -> Row:
    prepare = file("results/baselines/mine.json", content)
    return Row(("check", "--baseline", "mine"), said, NotComparable, prepare)


GATE = [
    usage("Missing command", "baseline"),
    usage("baseline '../x'", "baseline", "save", "../x"),
    usage("baseline ''", "baseline", "save", ""),
    usage("unknown run 'nope'", "baseline", "save", "mine", "--from", "nope", prepare=results()),
    usage("check with what?", "check"),
    usage("baseline '../x'", "check", "--baseline", "../x"),
    usage("no git revision", "check", "--against", "no such revision"),
    usage("no git revision", "check", "--against", "--upload-pack=touch sprung"),
    usage("precision 'x'", "check", "--baseline", "mine", "--fail-on", "speed:x"),
    usage("unknown limit 'frob'", "check", "--baseline", "mine", "--fail-on", "frob:3%"),
    Row(("check", "--baseline", "mine"), "no baseline 'mine'", NoBaseline),
    baseline("not a baseline", "{}"),
    baseline("not a baseline", b"\xff\xfe"),
    baseline("not a baseline", TRAP),
    baseline("not a baseline", "[" * 100_000),
    baseline("larger than", " " * (2**24 + 1)),
    usage("unknown metric 'frob'", "history", "frob", prepare=results()),
    usage("did you mean 'train'?", "history", "--phase", "tran", prepare=results()),
    usage("no run here measured such a cell", "history", "-t", "nope", prepare=results()),
    usage("no results here", "history"),
]

OTHERS = [
    usage("there is no environment", "env", "remove", "toy@1"),
    usage("unknown framework", "env", "add", "nonsense==1"),
    usage("no such file", "task", "import", "no.py", "--data", "digits"),
    usage("no such file", "diff", "no.py", "other.py"),
]


ROWS = (
    OTHERS
    + COMMAND_LINE
    + OUTPUT
    + STORES
    + TASK_FILES
    + CONFIGURATION
    + DATA_FILES
    + SEVERAL_RUNS
    + GATE
)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder where a row begins; beside it are things that are nobody's to touch."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "theirs").write_text("theirs")
    (tmp_path / "home").mkdir()
    folder = tmp_path / "here"
    folder.mkdir()
    (folder / "elsewhere").symlink_to("../elsewhere")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SAMESTEP_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("COLUMNS", "80")
    return folder


@pytest.fixture(autouse=True)
def _nothing_is_measured(monkeypatch):
    """A row that is not refused must not take minutes to say so."""

    def refuse(*_args, **_settings):
        raise AssertionError("it was not refused")

    monkeypatch.setattr("harness.cli.run.LocalEngine", refuse)
    monkeypatch.setattr("harness.cli.proof._proved", refuse)
    # The run of the store here is of another machine; what else is wrong with it is asked for.
    monkeypatch.setattr("harness.cli.run.refuse_changed", lambda *_: None)


def everything(folder: Path) -> dict[str, object]:
    """All that lies below a folder: kinds, contents, targets of links.

    A lock may be taken, and to read a store SQLite lays its index of the log beside it; both are
    within the results directory, and empty of results.
    """
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = os.readlink(path)
        elif path.is_dir():
            found[name] = "folder"
        elif not name.endswith((".lock", "-shm", "-wal")):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def test_there_are_enough():
    assert len(ROWS) >= 120
    words = {it.words[0] for it in ROWS}
    known = {it.split()[0] for it in VERBS}
    assert known <= words, f"no bad input for {known - words}"


@pytest.mark.parametrize("row", ROWS, ids=str)
def test_bad_input_is_one_line_and_writes_nothing(here, capfd, row):
    row.prepare(here)
    before = everything(here.parent)
    code = served(list(row.words))
    told, error = capfd.readouterr()
    assert (code, error.count("\n")) == (row.error.exit_code, 1), error
    assert error.startswith("error: ")
    assert row.said in error
    assert "Traceback" not in told
    assert not any(it in error for it in "\x1b\x07\0")
    assert everything(here.parent) == before


def test_one_damaged_run_does_not_hide_the_history_of_the_others(tmp_path, capfd):
    """So for a description that cannot be read and for a sample."""
    names = ["whole", "bad-info", "bad-sample", "last"]
    home = make_store(tmp_path / "results", *(named_run(it) for it in names))
    sql(
        "UPDATE runs SET info = '{' WHERE run = 'bad-info'; "
        "UPDATE samples SET iterations = 0 WHERE trial LIKE 'bad-sample/%'"
    )(tmp_path)
    assert served(["history", "-o", str(home)]) == 0
    told = capfd.readouterr().out
    assert [it.split(":")[1] for it in told.splitlines() if "left out" in it] == [
        " run bad-info",
        " run bad-sample",
    ]
    assert "whole" in told
    assert "last" in told
    for words in (("show", "whole"), ("compare", "whole", "last"), ("export", "last")):
        assert served([*words, "-o", str(home)]) == 0
    assert harness.load(home).info.name == "last"
    assert served(["show", "bad-info", "-o", str(home)]) == StoreError.exit_code


UNSAFE = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml"}


@pytest.mark.parametrize("room", ["harness", "impls"])
def test_no_data_are_ever_run(room):
    """No module can load what may run code: pickles by any name, `eval`, a shell."""
    for name, path in modules(room).items():
        assert not {it.split(".")[0] for it in imports(path)} & UNSAFE, name
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            given = {it.arg: ast.unparse(it.value) for it in node.keywords}
            assert called not in ("eval", "exec", "os.system", "os.popen"), name
            assert given.get("shell", "False") == "False", name
            assert not called.endswith(("torch.load", "channel.recv", "reader.recv")), name
            if called in ("np.load", "numpy.load"):
                assert given["allow_pickle"] == "False", name


def saved(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.array([[Trap()]], dtype=object), allow_pickle=True)


def archived(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, Trap(), allow_pickle=True)


@pytest.mark.parametrize("trap", [saved, archived, lambda path: path.write_bytes(TRAP)])
def test_no_staged_array_runs_anything(here, trap):
    write_staged(load(Teacher(train=9, test=3), here), here / "staged")
    trap(here / "staged" / "x_test.npy")
    with pytest.raises(DataError, match="staged"):
        open_staged(here / "staged")
    assert not (here / "sprung").exists()
    pickle.loads(TRAP)  # the trap is one
    assert (here / "sprung").exists()
