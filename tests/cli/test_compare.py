"""`compare` as its readers meet it: the same numbers everywhere, and refusals with a reason."""

from __future__ import annotations

import io
import json

import jsonschema
import pytest
from rich.console import Console

from harness import results as loading
from harness.analysis.sentences import ratio
from harness.analysis.verdicts import USUAL_PRECISION
from harness.cli.results import compare
from harness.errors import NotComparable, UsageError
from harness.report.frames import schemas
from harness.report.run_comparison import markdown, render
from tests.builders import (
    LABELS,
    make_failure,
    make_info,
    make_run,
    make_setup,
    make_task,
    measured,
)
from tests.report.reading import markdown_tables, words
from tests.stores import make_store, named
from tests.test_cli import ROOT, harness

OTHER = {"machine": make_info().machine | {"cpu": "<b>another</b>"}}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    directory = tmp_path_factory.mktemp("results")
    many = {"labels": ("pytorch:eager", "reference:replay", "a-long-framework-name:and-its-mode")}
    long = make_task("a-task-with-a-name-that-goes-on-and-on", batch_size=64)
    return make_store(
        directory,
        named("before", blocks=6, trains=False, **many),
        named("after", blocks=5, trains=False, seed=1, speed=1.4, **many),
        named("elsewhere", blocks=6, trains=False, seed=2, info=OTHER, **many),
        named("trained", blocks=5),
        named("again", blocks=5, seed=1),
        named("long", tasks=(long,), blocks=6, trains=False),
        make_run([make_failure(make_setup())], name="failed"),
    )


def found(results, a="before", b="after"):
    return loading.compare(loading.find(a, results), loading.find(b, results))


def shown(comparison, width=80):
    console = Console(file=io.StringIO(), width=width)
    render(comparison, console)
    return console.file.getvalue()


@pytest.mark.parametrize("other", ["after", "elsewhere"])
def test_every_output_shows_the_same_numbers(results, other):
    comparison = found(results, b=other)
    grids = [row for grid in markdown_tables(markdown(comparison)) for row in grid]
    # Wide enough that no name and no number is folded.
    terminal = words(shown(comparison, 160))
    for table in comparison.tables:
        for it in table.changes:
            texts = [it.label, ratio(it.shift.speed), it.shift.verdict]
            assert texts in [[row[0], row[3], row[4]] for row in grids if len(row) > 4]
            assert f"{texts[1].replace(' ×', '')} {texts[2]}" in terminal


def test_memory_and_quality_have_tables_of_their_own_in_every_output(results):
    comparison = found(results, "trained", "again")
    grids = [row for grid in markdown_tables(markdown(comparison)) for row in grid]
    terminal = words(shown(comparison, 200))
    sizes = [it for table in comparison.tables for it in table.memory]
    trained = [it for table in comparison.qualities for it in table.changes]
    assert len(sizes) == len(LABELS)
    assert len(trained) == len(LABELS)
    texts = [[it.label, ratio(it.times), it.verdict] for it in sizes]
    texts += [[it.label, None, it.pair.verdict] for it in trained]
    for label, times, verdict in texts:
        fitting = [it for it in grids if len(it) == 5 and (it[0], it[4]) == (label, verdict)]
        assert any(times in (None, it[3]) for it in fitting)
        if times:
            assert f"{times.replace(' ×', '')} {verdict}" in terminal
    for text in ("digits-mlp train, total peak RSS", "digits-mlp, final accuracy"):
        assert text in terminal
    assert {it.pair.verdict for it in trained} == {"cannot tell"}  # that takes 29 seeds
    assert "As good as before" not in terminal


@pytest.mark.parametrize("other", ["after", "elsewhere", "trained"])
def test_the_terminal_has_80_columns(results, other):
    text = shown(found(results, "trained" if other == "trained" else "before", other))
    assert max(map(len, text.splitlines())) <= 80
    assert "digits-mlp train (cpu, 1 thread, float32)" in text


def test_what_is_weaker_says_so_everywhere(results):
    comparison = found(results, b="elsewhere")
    said = "That is weaker"
    for text in (shown(comparison), markdown(comparison)):
        assert said in words(text)
    assert "<b>" not in markdown(comparison)


def test_the_json_is_as_its_schema_says(results, tmp_path):
    compare("before", "after", to=str(tmp_path / "a.json"), output=results)
    document = json.loads((tmp_path / "a.json").read_text())
    jsonschema.Draft202012Validator(schemas()["comparison"]).validate(document)
    assert document["basis"] == "time"
    for name, begins in (("a.md", "# before"), ("a.txt", "Before: ")):
        compare("before", "after", to=str(tmp_path / name), output=results)
        assert (tmp_path / name).read_text().startswith(begins)


def test_a_run_json_that_was_sent_compares_as_its_store_does(results, tmp_path):
    from harness.report.document import run_document

    stored = loading.find("after", results)
    path = tmp_path / "run.json"
    path.write_text(json.dumps(run_document(stored.run, stored.summary)))
    sent = loading.compare(loading.find("before", results), loading.load(path))
    assert sent == found(results)


def test_what_had_no_precision_yet_is_read(results, tmp_path):
    from harness.report.document import run_document

    stored = loading.find("after", results)
    content = run_document(stored.run, stored.summary)
    for table in content["summary"]["tables"]:
        assert table.pop("precision") == USUAL_PRECISION
    path = tmp_path / "run.json"
    path.write_text(json.dumps(content))
    assert loading.load(path).summary.tables == stored.summary.tables


def test_what_the_repository_keeps_is_read():
    kept = list((ROOT / "results").glob("*/*/run.json"))
    assert len(kept) >= 3
    for path in kept:
        assert loading.load(path).summary.tables, path


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [
        ("before", "long", "no cell in common"),
        ("before", "failed", "failed has no cell that was timed"),
    ],
)
def test_what_is_not_comparable_is_refused(results, a, b, said):
    with pytest.raises(NotComparable, match=said):
        found(results, a, b)


def test_bad_words_are_refused(results):
    with pytest.raises(UsageError, match="did you mean 'markdown'"):
        compare("before", "after", "markdow", output=results)
    with pytest.raises(UsageError, match="did you mean 'before'"):
        compare("befor", "after", output=results)


def test_the_command_line_tells_it_and_ends_with_4(tmp_path):
    make_store(tmp_path / "one", named("a", blocks=4, trains=False))
    make_store(tmp_path / "two", named("b", blocks=4, trains=False, threads=2))
    told = harness("compare", tmp_path / "one", tmp_path / "two", cwd=tmp_path)
    assert told.returncode == 4, told.stderr
    (line,) = told.stderr.splitlines()
    assert "the other run has it with threads 2 only" in line


def test_a_failed_trial_takes_no_other_with_it():
    records = [*measured(blocks=4, trains=False), make_failure(make_setup(label="x:y"), 1)]
    run = make_run(records)
    assert len(loading.compare(loading.Results(run), loading.Results(run)).tables) == 2
