"""A framework that only predicts: a fact in the plan, the blocks, the proof and the report."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from harness.adapter import State, Unsupported
from harness.analysis.summary import summarise_run
from harness.cells import PHASES
from harness.errors import UsageError
from harness.frameworks import phases_of
from harness.proof.conduct import TRAINING
from harness.report.compose import Content
from harness.report.terminal import render
from harness.runs import plan as planning
from harness.runs.block import run_block
from harness.runs.config import resolve
from harness.runs.plan import Group, make_plan
from harness.runs.schedule import Clock, Course
from harness.runs.store import open_existing
from harness.tasks.costs import only_predicting
from impls.reference.adapter import Adapter
from tests.builders import TASK, make_run, measured
from tests.fakes import FakeWorker, Ledger, block, setup
from tests.proof.examining import TASK as SMALL
from tests.proof.examining import examined, failed
from tests.test_cli import SHORT, harness

ONLY = setup("onnxruntime", "session")
SETUPS = (setup("pytorch"), ONLY, setup("reference", "replay"))
LABELS = ("pytorch:eager", "tensorflow:graph", "onnxruntime:session")


@pytest.fixture(autouse=True)
def installed(monkeypatch):
    """Facts are asked, not the frameworks themselves."""
    monkeypatch.setattr(planning, "absence", lambda *words: None)
    monkeypatch.setattr(planning, "cores", lambda: 2)


def test_the_facts():
    assert phases_of("onnxruntime", PHASES) == ("predict", "predict-latency")
    assert phases_of("pytorch", PHASES) == PHASES


def plan(**flags):
    flags = {"frameworks": ("onnxruntime", "reference"), "threads": (1,)} | flags
    return make_plan(resolve(None, flags))


def test_the_noise_floor_is_of_a_setup_that_trains():
    """By name the other one would be the baseline."""
    (twin,) = [it for it in plan().setups if it.twin]
    assert twin.framework == "reference"
    (twin,) = [it for it in plan(frameworks=("onnxruntime",)).setups if it.twin]
    assert twin.framework == "onnxruntime"


def test_where_nothing_is_left_to_do_it_is_left_out():
    made = plan(phases=("train",))
    assert {it.framework for it in made.setups} == {"reference"}
    assert [(it.what, it.reason) for it in made.unavailable] == [
        ("framework onnxruntime", "it only predicts")
    ]
    with pytest.raises(UsageError, match="'onnxruntime' only predicts; use --phase predict"):
        plan(frameworks=("onnxruntime",), phases=("train", "train-latency"))


def test_a_block_asks_for_nothing_else():
    journal, asked, ledger = [], {}, Ledger()

    class Worker(FakeWorker):
        def ask(self, request, limit):
            asked.setdefault(self._setup.framework, []).append(request)
            super().ask(request, limit)

    run_block(block(*SETUPS), lambda it, trial: Worker(it, journal), ledger)
    of_only = asked["onnxruntime"]
    assert {it.ask for it in of_only} == {"load", "prepare", "sample", "finish"}
    assert of_only[0].phases == ("predict",)
    records = ledger.by_label()
    assert {it.status for it in records.values()} == {"ok"}
    assert [len(it.samples) for it in records["onnxruntime:session"].phases] == [3]
    assert records["onnxruntime:session"].quality is None
    assert records["onnxruntime:session"].limits is not None
    assert records["reference:replay"].quality is not None
    assert [len(it.samples) for it in records["reference:replay"].phases] == [3, 3]
    assert ledger.shares == sorted(ledger.shares)
    turns = 3 * len(SETUPS) + 3 * (2 + 1 + 2) + 2 * TASK.epochs
    assert ledger.shares[-2] == pytest.approx(1 - 1 / turns)


def test_a_block_for_training_alone_goes_without_it():
    config = resolve(None, {"blocks": 1, "seeds": 3})
    course = Course(Group(TASK, SETUPS), config)
    assert [(bool(it.phases), ONLY in it.setups) for it in course.left()] == [
        (True, True),
        (False, False),
        (False, False),
    ]
    alone = Course(Group(TASK, (ONLY,)), config)
    assert [it.number for it in alone.left()] == [0]
    many, few = (Clock().expected(it.left()[0]) for it in (course, alone))
    assert few < many / 3  # it has one phase and no epochs


def records(phases=("train", "predict")):
    """Three setups of which one only predicts."""
    made = []
    for it in measured(labels=LABELS, phases=phases):
        if it.setup.framework == "onnxruntime":
            kept = tuple(phase for phase in it.phases if phase.phase == "predict")
            it = it.model_copy(update={"phases": kept, "quality": None})
        made.append(it)
    return made


def test_it_has_its_rows_and_no_failure():
    summary = summarise_run(make_run(records()))
    rows = {it.phase: {row.cell.setup.label for row in it.rows} for it in summary.tables}
    assert rows == {"train": set(LABELS[:2]), "predict": set(LABELS)}
    assert [it.label for it in summary.only_predict] == [LABELS[2]]
    assert not summary.failures
    assert {it.setup.label for it in summary.qualities[0].rows} == set(LABELS[:2])
    assert summary.standings[0].widest is not None
    assert not summarise_run(make_run(measured(labels=LABELS))).only_predict
    # Where nobody trains there is nothing to tell.
    alone = summarise_run(make_run(records(phases=("predict",))))
    assert len(alone.only_predict) == 1
    bare = [it.model_copy(update={"quality": None}) for it in records(phases=("predict",))]
    assert not summarise_run(make_run(bare)).only_predict


def test_advice_compares_starts_and_memory_where_all_began_alike():
    """It begins with its predictions; the processes of the others have trained by then."""
    summary = summarise_run(make_run(records()))
    looked_at = {
        it.scenario: {summary.tables[finding.table].phase for finding in it.findings}
        for it in summary.advice
    }
    assert looked_at["short"] == looked_at["memory"] == looked_at["long"] == {"train"}
    alone = summarise_run(
        make_run([it.model_copy(update={"quality": None}) for it in records(phases=("predict",))])
    )
    (short,) = [it for it in alone.advice if it.scenario == "short"]
    assert "onnxruntime:session" in {
        row.cell.setup.label for it in short.findings for row in alone.tables[it.table].rows
    }


def test_the_reports_say_so_once():
    run = make_run(records())
    summary = summarise_run(run)
    out = Console(file=io.StringIO(), width=200)
    render(run, summary, out)
    told = "onnxruntime:session only predicts"
    assert out.file.getvalue().count(told) == 1
    content = Content(run, summary)
    assert ("Without training", told) in content.facts
    assert not content.troubles
    assert "Without training" not in dict(Content(run, summarise_run(make_run([]))).facts)


class OnlyPredicts(Adapter):
    def train_step(self, batch):
        raise Unsupported("it only predicts")

    gradients = train_step

    def state(self):
        return State(super().state().weights, {})


class WithoutBiases(OnlyPredicts):
    """Which are zero at the shared start."""

    def __init__(self, task, start, options):
        bare = {
            name: np.zeros_like(it) if name.endswith("bias") else it
            for name, it in start.weights.items()
        }
        super().__init__(task, type(start)(**{**vars(start), "weights": bare}), options)


class RemembersItsFirstAnswer(OnlyPredicts):
    _kept = None

    def predict(self, batch):
        self._kept = super().predict(batch) if self._kept is None else self._kept
        return self._kept


class OneSlightlyOff(OnlyPredicts):
    """By less than along a trajectory two correct programs may be apart."""

    def predict(self, batch):
        return super().predict(batch) * (1 + 1e-10)


class WritesOver(OnlyPredicts):
    _memory = None

    def predict(self, batch):
        outputs = super().predict(batch)
        if self._memory is None or self._memory.shape != outputs.shape:
            self._memory = outputs
        self._memory[...] = outputs
        return self._memory


PREDICTING = only_predicting(SMALL)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_it_is_proven_by_its_outputs(dtype):
    found = examined(OnlyPredicts, PREDICTING, dtype=dtype, trains=False)
    assert not failed(found)
    checks = {it.check for it in found.findings}
    assert {"start", "logits", "other-weights", "last-chunk", "threads"} <= checks
    assert not checks & {"loss", "gradients", "weights", "slots", *TRAINING}
    assert [it.step for it in found.divergence] == list(range(1, 13))
    assert all(it.loss is None and it.logits is not None for it in found.divergence)


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (WithoutBiases, "other-weights"),
        (RemembersItsFirstAnswer, "logits"),
        (OneSlightlyOff, "logits"),
        (WritesOver, "copies"),
    ],
)
def test_what_is_wrong_with_its_outputs_is_caught(kind, check):
    assert check in failed(examined(kind, PREDICTING, trains=False))


@pytest.mark.slow
def test_a_run_with_what_only_predicts_and_what_has_only_an_idiom(tmp_path):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    chosen = ("-f", "onnxruntime", "-f", "reference", "-f", "sklearn", "--lane", "both")
    few = (*SHORT, "--seeds", "1", "--threads", "1")
    told = harness("run", "-t", "diabetes-regression", *chosen, *few, "-o", tmp_path)
    assert told.returncode == 0, told.stderr + told.stdout
    (name,) = [it.parent.name for it in tmp_path.glob("*/run.json")]
    with open_existing(tmp_path) as store:
        run = store.load(name)
    assert all(it.proven for it in run.certificates)
    assert [it.tolerance for it in run.certificates if it.setup.framework == "sklearn"] == ["stock"]
    records = {(it.setup.framework, it.setup.lane): it for it in run.records}
    assert {it.status for it in records.values()} == {"ok"}
    only = records["onnxruntime", "identical"]
    assert [it.phase for it in only.phases] == ["predict"]
    assert only.quality is None
    assert only.checks
    assert all(finding.ok for it in records.values() for finding in it.checks), run.records
    idiom, reference = records["sklearn", "idiomatic"], records["reference", "idiomatic"]
    # SGD with momentum is the task's own formula: they end alike.
    ends = [it.quality.epochs[-1].quality for it in (idiom, reference)]
    assert ends[0] == pytest.approx(ends[1], rel=1e-4)
    assert "onnxruntime:session only predicts" in told.stdout
