"""Tidy frames: every row and column there is, of one type, the same in every format."""

from __future__ import annotations

import io
import json

import jsonschema
import pandas as pd
import pytest
from markdown_it import MarkdownIt

from harness.analysis.summary import summarise_run
from harness.cells import PHASES
from harness.report.exports import FORMATS, as_bytes, schemas
from harness.report.table import results_csv
from harness.report.tidy import FRAMES, kind, tidy
from tests.builders import TASK, make_failure, make_record, make_run, make_setup, measured
from tests.report.reading import markdown_tables


@pytest.fixture(scope="module")
def run():
    """Two blocks of a pair and a twin, a crash, and a phase with single readings."""
    records = measured(labels=("pytorch:eager", "reference:replay"), blocks=2, rounds=3)
    twin = make_record(make_setup(twin=True), 0, {"train": [1e-3, 1.1e-3]})
    late = make_record(make_setup(label="other:eager"), 0, {"train-latency": [2e-3]})
    (phase,) = late.phases
    sample = phase.samples[0].model_copy(update={"readings": (1e-3, 3e-3, 2e-3)})
    late = late.model_copy(update={"phases": (phase.model_copy(update={"samples": (sample,)}),)})
    crash = make_failure(make_setup(label="tensorflow:xla"), error='=1+1, "<script>" | x')
    return make_run([*records, twin, late, crash])


@pytest.fixture(scope="module")
def summary(run):
    return summarise_run(run)


@pytest.mark.parametrize("what", FRAMES)
def test_every_row_has_every_column_and_no_other(run, summary, what):
    lines = list(FRAMES[what].lines(run, summary))
    assert lines
    assert {name for line in lines for name in line} <= set(FRAMES[what].columns)
    found = tidy(run, summary, what)
    assert list(found) == list(FRAMES[what].columns)
    assert len(found) == len(lines)


def test_raw_frames_hold_every_sample(run, summary):
    samples = tidy(run, summary, "samples")
    expected = [
        (record.trial, phase.phase, it.round, it.seconds, it.iterations)
        for record in run.records
        for phase in record.phases
        for it in phase.samples
    ]
    columns = ["trial", "phase", "round", "seconds", "iterations"]
    assert list(samples[columns].itertuples(index=False, name=None)) == expected
    readings = tidy(run, summary, "readings")
    assert readings["seconds"].tolist() == [1e-3, 3e-3, 2e-3]
    assert readings["reading"].tolist() == [1, 2, 3]
    trials = tidy(run, summary, "trials")
    assert trials["status"].tolist().count("crashed") == 1
    assert trials["twin"].sum() == 1
    assert len(trials) == len(run.records)


def test_pairs_are_those_of_the_tables(run, summary):
    pairs = tidy(run, summary, "pairs")
    expected = [it for table in summary.tables for it in table.pairs]
    assert pairs["verdict"].tolist() == [it.verdict for it in expected]
    assert pairs["p"].tolist() == [it.p for it in expected]
    assert pairs["speed_ratio_low"].tolist() == [it.speed.low for it in expected]


@pytest.mark.parametrize("what", FRAMES)
def test_no_row_changes_no_type(run, summary, what):
    """An empty frame joins a full one, in Parquet as in memory."""
    nothing = make_run([])
    empty = tidy(nothing, summarise_run(nothing), what)
    assert empty.dtypes.equals(tidy(run, summary, what).dtypes)


@pytest.mark.parametrize("what", FRAMES)
def test_all_formats_hold_the_same(run, summary, what):
    frame = tidy(run, summary, what)
    written = {it: as_bytes(frame, it, what, run.info) for it in FORMATS}
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(written["parquet"])), frame)
    document = json.loads(written["json"])
    jsonschema.Draft202012Validator(schemas()[what]).validate(document)
    csv = pd.read_csv(io.BytesIO(written["csv"]), dtype=frame.dtypes.to_dict())
    pd.testing.assert_frame_equal(csv, frame)
    for name in frame:
        values = [row[name] for row in document["rows"]]
        assert [it is None for it in values] == frame[name].isna().tolist()
        assert [it for it in values if it is not None] == frame[name].dropna().tolist()
    (table,) = markdown_tables(written["markdown"].decode())
    assert len(table) == len(frame) + 2


def test_foreign_text_does_nothing_in_markdown(run, summary):
    text = as_bytes(tidy(run, summary, "trials"), "markdown", "trials", run.info).decode()
    html = MarkdownIt("commonmark").enable("table").render(text)
    assert "<script>" not in html
    assert html.count("<tr>") == len(run.records) + 1


def test_results_csv_is_the_frame_of_cells(run, summary):
    own = as_bytes(tidy(run, summary, "cells"), "csv", "cells", run.info).decode()
    assert own == results_csv(summary)


def test_a_column_of_one_name_holds_one_kind_everywhere(run, summary):
    """A column nobody sorted would be taken for a number."""
    for what in FRAMES:
        for line in FRAMES[what].lines(run, summary):
            for name, value in line.items():
                if value is not None:
                    fits = {"text": str, "flag": bool, "count": int, "number": (int, float)}
                    assert isinstance(value, fits[kind(name)]), (what, name, value)


def test_the_fixture_has_all_kinds_of_phases(summary):
    assert {it.phase for it in summary.tables} == set(PHASES) - {"predict-latency"}
    assert {it.task.name for it in summary.tables} == {TASK.name}
