"""A `run.json` or a store of a stranger gives a result or one line, whatever is changed in it.

More of the same: `SEEDS` is what the suite has time for; any other range of seeds will do.
"""

from __future__ import annotations

import json
import random
import shutil
import signal
from pathlib import Path

import pytest

from harness.__main__ import CRASHED, served
from harness.analysis.summary import summarise_run
from harness.frameworks import framework_facts
from harness.report.document import run_document
from harness.runs.merge import keep
from harness.runs.store import FILE, create
from tests.mutations import good_run, mutate_store, mutated
from tests.sweeps import sweep

SEEDS = 24
LIMIT = 300
"""Seconds after which a command has hung."""


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A store with two runs and the `run.json` of one of them."""
    home = tmp_path_factory.mktemp("good")
    run = good_run("b-run")
    with create(home) as store:
        keep(good_run("a-run"), store)
        keep(run, store)
    document = run_document(run, summarise_run(run, framework_facts()))
    (home / "run.json").write_text(json.dumps(document))
    return home


@pytest.fixture
def refused_or_done(capfd):
    """Runs a command; it must end by itself, and in one line if it fails."""

    def hung(*_):
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, hung)

    def run(*words: object, because: str) -> None:
        signal.alarm(LIMIT)
        code = served([str(it) for it in words])
        signal.alarm(0)
        error = capfd.readouterr().err
        assert code != CRASHED, f"{because}: {error}"
        assert error.count("\n") <= 1, f"{because}: {error}"
        assert (code == 0) == (not error), because

    yield run
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_any_run_json_is_compared_and_exported_or_refused(good, tmp_path, refused_or_done, seed):
    rng = random.Random(seed)
    content, done = mutated(json.loads((good / "run.json").read_text()), rng)
    bad = tmp_path / "bad.json"
    bad.write_text(json.dumps(content))
    other, to = good / "run.json", tmp_path / "out"
    format_ = rng.choice(["terminal", "markdown", "json"])
    for pair in ((other, bad), (bad, other)):
        refused_or_done("compare", *pair, "--format", format_, "--to", to, because=done)
    for what, kind in (("cells", "csv"), ("pairs", rng.choice(["json", "parquet"]))):
        words = ("export", bad, "--what", what, "--format", kind, "--to", to)
        refused_or_done(*words, because=done)


@pytest.mark.parametrize("seed", range(SEEDS // 2))
def test_any_store_is_read_or_refused(good, tmp_path, refused_or_done, seed):
    rng = random.Random(seed)
    shutil.copy(good / FILE, tmp_path / FILE)
    done = mutate_store(tmp_path / FILE, rng)
    home, to = ("-o", tmp_path), ("--to", tmp_path / "out")
    refused_or_done("show", "a-run", *home, because=done)
    refused_or_done("history", *home, because=done)
    refused_or_done("compare", "a-run", "b-run", *to, *home, because=done)
    what = rng.choice(["samples", "readings", "trials", "trainings", "certificates", "divergence"])
    kind = rng.choice(["csv", "json", "parquet"])
    words = ("export", "a-run", "--what", what, "--format", kind)
    refused_or_done(*words, *to, *home, because=done)


@pytest.mark.parametrize("seed", sweep(range(SEEDS // 2), lambda it: it in (0, 5)))
def test_any_store_is_reported_and_merged_or_refused(good, tmp_path, refused_or_done, seed):
    """Each writes a report, which takes longer than all other commands together."""
    shutil.copy(good / FILE, tmp_path / FILE)
    done = mutate_store(tmp_path / FILE, random.Random(seed))
    home = ("-o", tmp_path)
    refused_or_done("report", "a-run", *home, because=done)
    refused_or_done("merge", "m1=a-run", f"m2={good / 'b-run'}", *home, because=done)


def zero_ratios(document):
    for it in document["blocks"]:
        it["ratios"] = [0.0 for _ in it["ratios"]]


def huge_margins(document):
    for it in document["blocks"]:
        it["margin"] = 1e308


def negative_quality(document):
    document["summary"]["qualities"][0]["rows"][0]["trainings"][0]["final"] = -1.0


def no_blocks(document):
    document["blocks"][0]["step_seconds"] = []


def far_apart(document):
    document["blocks"][0]["step_seconds"] = [1e-90, 1e90]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        *((it, 2) for it in (zero_ratios, huge_margins, negative_quality, no_blocks)),
        (far_apart, 0),
    ],
    ids=lambda it: getattr(it, "__name__", ""),
)
def test_numbers_that_no_run_has_are_refused(good, tmp_path, capfd, change, code):
    document = json.loads((good / "run.json").read_text())
    change(document)
    bad: Path = tmp_path / "bad.json"
    bad.write_text(json.dumps(document))
    assert served(["compare", str(bad), str(good / "run.json")]) == code
    assert capfd.readouterr().err.count("\n") == (code != 0)


def test_a_table_that_lacks_a_row_is_refused_by_whoever_reads_tables(good, tmp_path, capfd):
    document = json.loads((good / "run.json").read_text())
    document["summary"]["tables"][0]["rows"].pop()
    (tmp_path / "run.json").write_text(json.dumps(document))
    assert served(["show", str(tmp_path / "run.json")]) == 2
    assert capfd.readouterr().err.count("\n") == 1
