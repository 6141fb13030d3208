"""Tidy frames: every row and column there is, of one type, the same in every format."""

from __future__ import annotations

import io
import json

import jsonschema
import pandas as pd
import pytest

from harness.analysis.summary import summarise_run
from harness.cells import PHASES
from harness.report.frames import FORMATS, FRAMES, schemas, summary_csv, tidy, written
from tests.builders import TASK, make_failure, make_record, make_run, make_setup, measured

FORMULA = '=1+1, "<script>" | x'


@pytest.fixture(scope="module")
def run():
    """Two blocks of a pair and a twin, a crash, and a phase with single readings."""
    records = measured(labels=("pytorch:eager", "reference:replay"), blocks=2, rounds=3)
    twin = make_record(make_setup(twin=True), 0, {"train": [1e-3, 1.1e-3]})
    late = make_record(make_setup(label="other:eager"), 0, {"train-latency": [2e-3]})
    (phase,) = late.phases
    sample = phase.samples[0].model_copy(update={"readings": (1e-3, 3e-3, 2e-3)})
    late = late.model_copy(update={"phases": (phase.model_copy(update={"samples": (sample,)}),)})
    crash = make_failure(make_setup(label="tensorflow:xla"), error=FORMULA)
    return make_run([*records, twin, late, crash])


@pytest.fixture(scope="module")
def summary(run):
    return summarise_run(run)


def framed(run, summary, what):
    return tidy(FRAMES[what].lines(run, lambda: summary), what)


def exported(run, summary, format_, what):
    lines = FRAMES[what].lines
    return b"".join(written(lambda: lines(run, lambda: summary), format_, what, run.info))


@pytest.mark.parametrize("what", FRAMES)
def test_every_row_has_every_column_and_no_other(run, summary, what):
    lines = list(FRAMES[what].lines(run, lambda: summary))
    assert lines
    assert {name for line in lines for name in line} <= set(FRAMES[what].fields)
    found = framed(run, summary, what)
    assert list(found) == list(FRAMES[what].fields)
    assert len(found) == len(lines)


def test_raw_frames_hold_every_sample(run, summary):
    samples = framed(run, summary, "samples")
    expected = [
        (record.trial, phase.phase, it.round, it.seconds, it.iterations)
        for record in run.records
        for phase in record.phases
        for it in phase.samples
    ]
    columns = ["trial", "phase", "round", "seconds", "iterations"]
    assert list(samples[columns].itertuples(index=False, name=None)) == expected
    readings = framed(run, summary, "readings")
    assert readings["seconds"].tolist() == [1e-3, 3e-3, 2e-3]
    assert readings["reading"].tolist() == [1, 2, 3]
    trials = framed(run, summary, "trials")
    assert trials["status"].tolist().count("crashed") == 1
    assert trials["twin"].sum() == 1
    assert len(trials) == len(run.records)


def test_pairs_are_those_of_the_tables(run, summary):
    pairs = framed(run, summary, "pairs")
    expected = [it for table in summary.tables for it in table.pairs]
    assert pairs["verdict"].tolist() == [it.verdict for it in expected]
    assert pairs["p"].tolist() == [it.p for it in expected]
    assert pairs["speed_ratio"].tolist() == [it.speed.estimate for it in expected]
    assert pairs["speed_ratio_low"].isna().tolist() == [it.speed.low is None for it in expected]


@pytest.mark.parametrize("what", FRAMES)
def test_no_row_changes_no_type(run, summary, what):
    """An empty frame joins a full one, in Parquet as in memory."""
    nothing = make_run([])
    empty = framed(nothing, summarise_run(nothing), what)
    assert empty.dtypes.equals(framed(run, summary, what).dtypes)


@pytest.mark.parametrize("what", FRAMES)
def test_all_formats_hold_the_same(run, summary, what):
    frame = framed(run, summary, what)
    files = {it: exported(run, summary, it, what) for it in FORMATS}
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(files["parquet"])), frame)
    document = json.loads(files["json"])
    jsonschema.Draft202012Validator(schemas()[what]).validate(document)
    csv = pd.read_csv(io.BytesIO(files["csv"]), dtype=frame.dtypes.to_dict())
    # A quote stands before what a spreadsheet would compute.
    pd.testing.assert_frame_equal(csv.replace({f"'{FORMULA}": FORMULA}), frame)
    for name in frame:
        values = [row[name] for row in document["rows"]]
        assert [it is None for it in values] == frame[name].isna().tolist()
        assert [it for it in values if it is not None] == frame[name].dropna().tolist()


def test_results_csv_is_the_frame_of_cells(run, summary):
    own = exported(run, summary, "csv", "cells").decode()
    assert own == summary_csv("cells", summary)


def test_a_column_of_one_name_holds_one_kind_everywhere(run, summary):
    """A field without a unit would be taken for a number."""
    for what in FRAMES:
        known = FRAMES[what].fields
        for line in FRAMES[what].lines(run, lambda: summary):
            for name, value in line.items():
                if value is not None:
                    fits = {"text": str, "flag": bool, "count": int, "number": (int, float)}
                    assert isinstance(value, fits[known[name].kind]), (what, name, value)


def test_the_fixture_has_all_kinds_of_phases(summary):
    assert {it.phase for it in summary.tables} == set(PHASES) - {"predict-latency"}
    assert {it.task.name for it in summary.tables} == {TASK.name}
