"""Published schemas, exports from the command line, results loaded from wherever they lie."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tracemalloc

import jsonschema
import pandas as pd
import pytest

import harness as package
from harness.analysis.summary import summarise_run
from harness.cli.results import export, schema
from harness.errors import HarnessError, NotComparable, UsageError
from harness.frameworks import framework_facts
from harness.report.document import run_document
from harness.report.frames import FRAMES, schema_text, schemas, written
from harness.results import find, lines_of
from tests.builders import LABELS
from tests.stores import make_store, named
from tests.test_cli import ROOT, SLOW

PUBLISHED = ROOT / "docs" / "schemas"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two runs, a report of the first only."""
    directory = tmp_path_factory.mktemp("results")
    first, second = named("first", blocks=4), named("second", blocks=3, seed=1)
    make_store(directory, first, second)
    run = find("first", directory).run
    (directory / "first").mkdir()
    text = json.dumps(run_document(run, summarise_run(run, framework_facts())))
    (directory / "first" / "run.json").write_text(text)
    return directory


def test_published_schemas_are_valid_and_up_to_date():
    known = schemas()
    assert {it.stem for it in PUBLISHED.iterdir()} == set(known)
    for name, it in known.items():
        jsonschema.Draft202012Validator.check_schema(it)
        told = (PUBLISHED / f"{name}.json").read_text(encoding="utf-8")
        renew = "write them again: python -m harness schema --write docs/schemas"
        assert told == schema_text(it), renew


def test_a_run_is_found_wherever_it_lies(results, tmp_path):
    assert package.load(results).info.name == "second"
    assert package.load(str(results), "first").info.name == "first"
    assert package.load(results / "first").run.records
    assert package.load(results / "second").run.records  # no folder, as it has no report
    assert find(None, results).info.name == "second"
    assert find(str(results / "first"), tmp_path).info.name == "first"
    alone = tmp_path / "sent"
    alone.mkdir()
    (alone / "run.json").write_bytes((results / "first" / "run.json").read_bytes())
    for path in (alone, alone / "run.json"):
        assert package.load(path).info == package.load(results, "first").info


def test_a_run_json_alone_has_the_same_rows(results):
    stored, sent = package.load(results, "first"), package.load(results / "first" / "run.json")
    assert sent.summary.tables == stored.summary.tables
    assert sent.blocks == stored.blocks
    for what in ("cells", "pairs"):
        pd.testing.assert_frame_equal(sent.frame(what), stored.frame(what))
    with pytest.raises(UsageError, match="no raw samples"):
        sent.frame("samples")
    with pytest.raises(UsageError, match="did you mean 'samples'"):
        stored.frame("sample")


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        ("{", UsageError, "not a run.json"),
        ("[]", UsageError, "not a run.json"),
        ('{"schema_version": 2}', UsageError, "it lacks 'tasks'"),
        ('{"schema_version": 2, "tasks": [], "summary": 3}', UsageError, "not a run.json"),
        ('{"schema_version": 1}', NotComparable, "of schema 1"),
        ('{"schema_version": 99}', NotComparable, "of schema 99"),
        ("[" * 100_000, UsageError, "not a run.json"),
    ],
)
def test_what_is_no_run_json_is_refused_in_one_line(tmp_path, content, kind, said):
    path = tmp_path / "run.json"
    path.write_text(content)
    with pytest.raises(HarnessError, match=said) as refused:
        package.load(path)
    assert refused.type is kind


def test_importing_the_package_costs_nothing():
    code = "import sys, harness; harness.load; print('\\n'.join(sys.modules))"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    found = {it.split(".")[0] for it in told.stdout.split()}
    assert "harness" in found
    assert not found & (SLOW | {"pydantic", "numpy"})


def test_the_file_decides_the_format(results, tmp_path):
    for name in ("cells.csv", "cells.json", "cells.parquet"):
        export("first", to=str(tmp_path / "new" / name), output=results)
    cells = pd.read_parquet(tmp_path / "new" / "cells.parquet")
    assert len(cells) == 2 * len(LABELS)
    assert json.loads((tmp_path / "new" / "cells.json").read_text())["run"] == "first"
    assert sorted(it.name for it in (tmp_path / "new").iterdir()) == [
        "cells.csv",
        "cells.json",
        "cells.parquet",
    ]


@pytest.mark.parametrize(
    ("name", "what", "format_", "to", "said"),
    [
        ("first", "cell", None, "-", "did you mean 'cells'"),
        ("first", "cells", "xlsx", "-", "unknown format"),
        ("first", "cells", None, "{here}/cells.md", "unknown format 'markdown'"),
        ("frist", "cells", None, "-", "did you mean 'first'"),
        ("first", "cells", None, "{here}/first/x", "cannot write here"),
        ("first", "cells", None, "{here}", "not a file"),
        ("first", "cells", None, "", "not a file"),
    ],
)
def test_what_cannot_be_exported_is_told(results, tmp_path, name, what, format_, to, said):
    (tmp_path / "first").write_text("a file")
    with pytest.raises(UsageError, match=said):
        export(name, what, format_, to.format(here=tmp_path), results)
    assert [it.name for it in tmp_path.iterdir()] == ["first"]


@pytest.mark.parametrize("format_", ["json", "csv"])
def test_memory_does_not_grow_with_the_samples_that_are_exported(tmp_path, format_):
    peaks, sizes = [], []
    for blocks in (4, 40):
        home = make_store(
            tmp_path / str(blocks), named("a", blocks=blocks, rounds=20, trains=False)
        )
        info, lines = lines_of("a", home, "samples")
        tracemalloc.start()
        sizes.append(sum(len(piece) for piece in written(lines, format_, "samples", info)))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # A few bytes stay of every trial, to know what belongs to it; nothing stays of a sample.
    assert peaks[1] - peaks[0] < (sizes[1] - sizes[0]) / 2


def test_schemas_are_named_and_printed(capsys):
    schema(None, None)
    assert capsys.readouterr().out.split() == [*schemas()]
    schema("pairs", None)
    assert json.loads(capsys.readouterr().out) == schemas()["pairs"]
    with pytest.raises(UsageError, match="did you mean 'run'"):
        schema("runs", None)


def test_export_in_a_pipe_is_the_table_and_stands_a_reader_who_has_enough(results):
    command = f"'{sys.executable}' -m harness export first --what samples -o '{results}'"
    told = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{command} | head -c 2000"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.splitlines()[0] == ",".join(FRAMES["samples"].fields)


def test_the_examples_of_the_notebook_page_run(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    text = (ROOT / "docs" / "notebooks.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(compile(code, "notebooks.md", "exec"), names)
    cells = names["results"].frame()
    row = cells[(cells["framework"] == "reference") & (cells["phase"] == "train")].iloc[0]
    assert names["ratio"] == pytest.approx(row["speed_ratio"])
    assert capsys.readouterr().out.count("mnist-mlp") == 2
    for what in FRAMES:
        assert f"| `{what}` |" in text
