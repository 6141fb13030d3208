"""Files: all of them, whole, in every odd case."""

from __future__ import annotations

import csv
import functools
import io
import json
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from markdown_it import MarkdownIt

from harness.analysis.summary import summarise
from harness.records import Memory, Unavailable
from harness.report.compose import machine
from harness.report.document import RUN_SCHEMA_VERSION, run_schema
from harness.report.frames import FRAMES, summary_csv
from harness.report.write import write_report
from tests.builders import (
    ERROR_TASK,
    LABELS,
    MANY_LABELS,
    TASK,
    make_failure,
    make_record,
    make_run,
    make_setup,
    make_task,
    measured,
)
from tests.report.reading import Page
from tests.sweeps import sweep

GPU = Memory(
    incremental_peak_rss=None,
    total_peak_rss=900_000_000,
    device_peak_allocated=34_000_000,
    device_peak_reserved=None,
)


def gpu_records():
    return [
        make_record(
            make_setup(label=label, device="gpu:0", dtype="float64"),
            block,
            {"train": [step * (1 + 0.01 * block)] * 3},
            memory=GPU,
        )
        for block in range(3)
        for label, step in (("pytorch:eager", 1e-3), ("tensorflow:graph", 2e-3))
    ]


def cases():
    tasks = [make_task(f"task-{number}[batch_size=32]") for number in range(12)]
    failures = [
        make_failure(make_setup(), 0),
        make_failure(make_setup(label="tensorflow:xla"), 0, "unsupported", error="no"),
        make_failure(make_setup(label="x:y"), 0, "interrupted", error=None, stderr_tail=""),
    ]
    yield "nothing-at-all", make_run([], stopped_by=None, seconds=None)
    yield "no-good-record", make_run(failures, stopped_by="interrupted")
    yield "no-task", make_run([], [], unavailable=[Unavailable(what="mnist-mlp", reason="no data")])
    yield "one-framework", make_run(measured(labels=LABELS[:1]))
    yield "one-block", make_run(measured(blocks=1, trains=False))
    yield "few-blocks", make_run(measured(blocks=3, trains=False))
    yield (
        "two-setups-predict-only",
        make_run(measured(labels=LABELS[:2], phases=("predict",), trains=False)),
    )
    yield (
        "many-tasks",
        make_run(measured(tasks, labels=LABELS[:2], blocks=2, rounds=2, trains=False), tasks),
    )
    yield "many-setups", make_run(measured(labels=MANY_LABELS, blocks=2))
    yield "gpu-float64", make_run([*gpu_records(), *measured(blocks=2)])
    yield (
        "quality-only",
        make_run(
            [it.model_copy(update={"phases": ()}) for it in measured([ERROR_TASK], blocks=2)],
            [ERROR_TASK],
        ),
    )
    yield (
        "nothing-counted",
        make_run(
            [
                make_record(
                    make_setup(label=it),
                    0,
                    {"train": [1e-3]},
                    memory=None,
                    import_seconds=None,
                    build_seconds=None,
                )
                for it in LABELS
            ]
        ),
    )
    yield "some-failed", make_run([*measured(blocks=2, trains=False), *failures])


CASES = dict(cases())


@pytest.fixture(scope="module")
def paths_of(tmp_path_factory):
    """The files of each case, written when first asked for."""

    @functools.cache
    def write(name):
        return write_report(CASES[name], tmp_path_factory.mktemp(name))

    return write


@pytest.mark.parametrize("name", sweep(CASES, lambda it: it != "many-tasks"))
def test_every_case_is_written_well_formed(paths_of, name):
    run, paths = CASES[name], paths_of(name)
    directory = paths[0].parent
    assert all(it.stat().st_size > 0 for it in paths)
    assert {it.name for it in paths if it.parent == directory} == {
        "report.html",
        "report.md",
        "results.csv",
        "trainings.csv",
        "run.json",
    }
    page = Page((directory / "report.html").read_text(encoding="utf-8"))
    assert len(page.ids) == len(set(page.ids))
    text = "".join(page.text)
    for odd in ("None", "nan", "inf ", "Interval(", "{{"):
        assert odd not in text, odd
    document = json.loads((directory / "run.json").read_text(encoding="utf-8"))
    assert document["stopped_by"] == run.stopped_by
    (directory / "results.csv").read_text(encoding="utf-8")
    markdown = (directory / "report.md").read_text(encoding="utf-8")
    linked = {it for it in paths if f"figures/{it.name}" in markdown}
    assert linked == {it for it in paths if it.parent.name == "figures"}


def page_of(paths: list[Path]) -> Page:
    (path,) = [it for it in paths if it.name == "report.html"]
    return Page(path.read_text(encoding="utf-8"))


def test_one_block_shows_why_there_is_no_interval(paths_of):
    text = " ".join("".join(page_of(paths_of("one-block")).text).split())
    assert "No interval: one block says nothing of the spread." in text
    assert "cannot tell" in text


def test_few_blocks_show_their_range(paths_of):
    text = " ".join("".join(page_of(paths_of("few-blocks")).text).split())
    assert "No interval: fewer than 6 blocks." in text
    assert "(range of " in text


def test_device_memory_has_its_own_column_and_place(paths_of):
    page = page_of(paths_of("gpu-float64"))
    table = page.tables["Memory: digits-mlp, train, gpu:0, float64"]
    assert table[0][1:] == [
        "peak RSS, incremental",
        "peak RSS, total",
        "logical peak",
        "device peak, allocated",
        "least possible",
    ]
    shown = [" ".join(it.split()) for it in table[1]][1:]
    assert [shown[0], shown[1], shown[3]] == ["–", "900 MB", "34.0 MB"]
    kinds = page.tables["Memory: digits-mlp, train, cpu, float32"][0]
    assert not any(it.startswith("device") for it in kinds)


def test_files_replace_those_of_an_earlier_report_and_leave_nothing_unfinished(tmp_path):
    run = make_run([])
    (tmp_path / "report.html").write_text("old")
    write_report(run, tmp_path)
    assert "old" not in (tmp_path / "report.html").read_text(encoding="utf-8")[:100]
    assert not [it for it in tmp_path.rglob("*") if it.name.endswith(".tmp")]


def test_a_failing_write_leaves_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "report.html").write_text("old")

    def full(self, target):
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="no space"):
        write_report(make_run([]), tmp_path)
    assert (tmp_path / "report.html").read_text() == "old"
    assert sorted(it.name for it in tmp_path.iterdir()) == ["report.html"]


def test_run_json_holds_what_is_needed_to_repeat(written):
    document = json.loads(written.text("run.json"))
    assert document["schema_version"] == RUN_SCHEMA_VERSION
    info = written.run.info
    assert document["run"]["config"] == info.config
    assert document["run"]["command"] == list(info.command)
    for name in ("machine", "versions", "environment", "commit"):
        assert document["run"][name] == getattr(info, name)
    assert [it["name"] for it in document["tasks"]] == ["digits-mlp", "diabetes-regression"]
    assert document["tasks"][0]["digest"] == TASK.digest
    tables = document["summary"]["tables"]
    assert len(tables) == 4
    assert tables[0]["task"] == "digits-mlp"
    step = written.summary.tables[0].rows[0].step
    assert tables[0]["rows"][0]["step"]["estimate"] == step.estimate
    assert document["trials"] == len(written.run.records)


def test_run_json_is_as_its_schema_says(written):
    document = json.loads(written.text("run.json"))
    check = jsonschema.Draft202012Validator(run_schema())
    check.validate(document)
    document["summary"]["tables"][0]["rows"][0]["step"]["estimate"] = "fast"
    with pytest.raises(jsonschema.ValidationError):
        check.validate(document)


def test_csv_has_every_documented_column_and_row(written):
    rows = list(csv.DictReader(io.StringIO(written.text("results.csv"))))
    assert list(rows[0]) == list(FRAMES["cells"].fields)
    assert len(rows) == 12
    assert all(row["device_peak_allocated_bytes"] == "" for row in rows)
    trainings = list(csv.DictReader(io.StringIO(written.text("trainings.csv"))))
    assert list(trainings[0]) == list(FRAMES["trainings"].fields)
    assert len(trainings) == 2 * 3 * 9 * 20
    assert [row["epoch"] for row in trainings[:3]] == ["1", "2", "3"]


def test_a_csv_of_nothing_has_its_columns():
    summary = summarise([], [])
    assert summary_csv("cells", summary) == ",".join(FRAMES["cells"].fields) + "\n"
    assert summary_csv("trainings", summary) == ",".join(FRAMES["trainings"].fields) + "\n"


def test_the_machine_in_one_line():
    assert machine({}) == "unknown"
    facts = {"cpu": "A CPU", "cores": 2, "cores_of_machine": 8, "memory_bytes": 8e9, "gpus": "H"}
    assert machine(facts) == "A CPU, 2 of 8 cores, 8.00 GB of memory, H"


def test_nothing_heavy_is_imported_before_it_is_needed():
    code = (
        "import sys, harness.report.write, harness.report.terminal; "
        "print(sorted({'matplotlib', 'pandas', 'jinja2', 'torch'} & set(sys.modules)))"
    )
    root, run = Path(__file__).parents[2], [sys.executable, "-c", code]
    told = subprocess.run(run, cwd=root, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


HOSTILE_NAME = "x[red]_a_[b]www.evil.example"
HOSTILE_TEXT = (
    "<script>alert(1)</script>\"'&| `q` [a](http://evil.example) ![i](http://evil.example/i.png) "
    "\x1b[31mred\u202e <img src=x onerror=alert(1)> --> ]]> {{ 7*7 }}"
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    directory = tmp_path_factory.mktemp("hostile")
    task = make_task(HOSTILE_NAME, probes=HOSTILE_TEXT)
    records = [
        *measured([task], ["<b>fw</b>:<i>m</i>", "pytorch:eager"], blocks=2),
        make_failure(
            make_setup(task, "\"'><svg onload=x>:y"), error=HOSTILE_TEXT, stderr_tail=HOSTILE_TEXT
        ),
    ]
    run = make_run(
        records,
        [task],
        stopped_by=HOSTILE_TEXT,
        unavailable=[Unavailable(what=HOSTILE_TEXT, reason=HOSTILE_TEXT)],
        name=HOSTILE_TEXT,
        command=("python", HOSTILE_TEXT),
        config={HOSTILE_TEXT: HOSTILE_TEXT},
        machine={"cpu": HOSTILE_TEXT, HOSTILE_TEXT: HOSTILE_TEXT},
        environment={"XLA_FLAGS": HOSTILE_TEXT},
        commit=HOSTILE_TEXT,
    )
    write_report(run, directory)
    return directory


def test_hostile_text_is_inert_in_html(hostile):
    html = (hostile / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"img", "i", "b"}
    assert [it for tag, it in page.tags if tag == "script"] == [{}]
    assert html.count("</script>") == 1
    assert not any(name.startswith("on") for _, it in page.tags for name in it)
    text = "".join(page.text)
    assert "<script>alert(1)</script>" in text
    assert "{{ 7*7 }}" in text
    assert "\x1b" not in html
    assert "\u202e" not in html


def test_hostile_text_is_inert_in_markdown(hostile):
    markdown = (hostile / "report.md").read_text(encoding="utf-8")
    html = MarkdownIt("commonmark").enable("table").render(markdown)
    page = Page(html)
    images = [it["src"] for tag, it in page.tags if tag == "img"]
    assert all(it.startswith("figures/") for it in images)
    links = {it["href"] for tag, it in page.tags if tag == "a" and "href" in it}
    assert all(it.startswith("figures/") or "/" not in it for it in links)
    assert "script" not in {tag for tag, _ in page.tags}
    assert "\x1b" not in markdown
