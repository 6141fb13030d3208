"""One registry of columns: what is added to it appears everywhere."""

from __future__ import annotations

import csv
import io
import json
import re

import jsonschema
from rich.console import Console

from harness.report import columns, frames
from harness.report.columns import Column
from harness.report.frames import FRAMES, schemas
from harness.report.terminal import render
from harness.report.write import write_report
from tests.report.reading import Page, markdown_tables


def test_a_new_column_is_one_entry_and_appears_everywhere(written, request, tmp_path):
    answer = Column("answer", lambda it: 42.0, "seconds", "answer_seconds", "to all questions",
                    where=("speed", "cells", "terminal"))  # fmt: skip
    columns.CELLS.append(answer)
    request.addfinalizer(lambda: columns.CELLS.remove(answer))
    write_report(written.run, tmp_path)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    grids = markdown_tables((tmp_path / "report.md").read_text(encoding="utf-8"))
    in_markdown = [it for it in grids if "answer" in it[0]]
    for name in ("Speed: digits-mlp, train", "Every cell"):
        head, *rows = page.tables[name]
        place = head.index("answer")
        assert {row[place] for row in rows} == {"42.0 s"}, name
    assert len(in_markdown) == len(written.summary.tables)
    assert any(it.get("title") == "to all questions" for _, it in page.tags)
    console = Console(file=io.StringIO(), width=120)
    render(written.run, written.summary, console)
    assert console.file.getvalue().count("42.0 s") == 12
    rows = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text(encoding="utf-8"))))
    assert {row["answer_seconds"] for row in rows} == {"42.0"}
    assert list(rows[0])[-1] == "answer_seconds"
    known = schemas()["cells"]["properties"]["rows"]["items"]["properties"]["answer_seconds"]
    assert known == {"type": ["number", "null"], "description": "to all questions"}
    lines = FRAMES["cells"].lines
    exported = written_as_json(lambda: lines(written.run, lambda: written.summary), written.run)
    jsonschema.Draft202012Validator(schemas()["cells"]).validate(exported)
    assert {row["answer_seconds"] for row in exported["rows"]} == {42.0}


def written_as_json(lines, run):
    return json.loads(b"".join(frames.written(lines, "json", "cells", run.info)))


def test_every_field_has_one_name_and_a_description():
    for what, frame in FRAMES.items():
        named = [it.name for it in frame.columns if it.name]
        assert len(named) == len(set(named)), what
        assert all(it.description for it in frame.fields.values()), what
    assert set(columns.FIRST_FIELDS) <= set(FRAMES["cells"].fields)


def test_ratios_are_drawn_in_their_rows(written):
    """In tables of speed, against every baseline, and in means; not in the table of all cells."""
    page = Page(written.text("report.html"))
    marks = [it for _, it in page.tags if (it.get("class") or "").startswith("interval")]
    ratios = sum(len(it.rows) ** 2 for it in written.summary.tables)
    assert len(marks) == ratios + len(written.summary.aggregates)
    (pair, *_) = written.summary.tables[0].pairs
    assert any(f"interval {pair.verdict}".startswith(it["class"]) for it in marks)
    for it in marks:
        places = dict(re.findall(r"--(\w+):([\d.]+)%", it["style"] or ""))
        low, at, high = (float(places[name]) for name in ("low", "at", "high"))
        assert 0 <= low <= at <= high <= 100
        assert 0 <= float(places["one"]) <= 100


def test_what_repeats_is_folded_and_still_there(written):
    page, text = written.text("report.html"), written.text("report.md")
    folded = re.findall(r'<details class="folded"><summary>(.*?)</summary>', page)
    assert folded.count("12 cells") == 1
    assert folded.count("How its first calls go") == 2  # prediction on two tasks
    assert folded.count("Every block") >= 2
    assert text.count("<details>") == text.count("</details>") > 4
    assert "drift, train" in text


def test_numbers_in_markdown_are_not_escaped_and_stand_one_to_a_cell(written):
    for table in re.findall(r"(?:^\|.*\n)+", written.text("report.md"), re.MULTILINE):
        head = [it.strip() for it in table.splitlines()[0].strip("|").split(" | ")]
        for row in table.splitlines()[2:]:
            for name, entry in zip(head, row[2:-2].split(" | "), strict=True):
                if name in ("GFLOP/s", "logical peak", "median step", "examples/s"):
                    assert re.fullmatch(r"[^\\()]+( \([^()]+\))?", entry), entry
