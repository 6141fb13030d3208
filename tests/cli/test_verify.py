"""`verify` and the proofs of a run: what counts, what is said, how it ends."""

from __future__ import annotations

import pytest
from rich.console import Console

from harness.analysis.pairs import Entry
from harness.analysis.ranking import eligibility
from harness.certificates import ENDED, SUPPORTED, Divergence, Finding, LongProof
from harness.cli import proof
from harness.errors import NotProven, StoreError
from harness.proof import certificates
from harness.proof.certificates import needs, one_of_each
from harness.proof.pool import Proved
from harness.proof.prover import rows_compared
from harness.proof.whole_training import QUICK, WHOLE
from harness.runs.config import resolve
from harness.runs.plan import make_plan
from harness.runs.runner import make_info
from harness.runs.store import create
from harness.tasks.catalogue import CATALOGUE
from tests.builders import make_certificate, make_setup
from tests.fakes import TASK
from tests.test_cli import harness

FINE = Proved(
    seconds=1.0,
    findings=(Finding(check="weights", ok=True),),
    divergence=tuple(Divergence(step=step, weights=step * 1e-7) for step in range(1, 11)),
    rows=32,
    logical_peak={"train": 1000, "predict": None},
)


def fine(request):
    """FINE over the steps and rows that are asked for."""
    if request.rows is not None:
        planned = request.task.epochs * request.task.steps_per_epoch
        long = LongProof(steps=request.steps, planned=planned, rows=request.rows)
        return FINE.model_copy(update={"divergence": (), "logical_peak": {}, "whole": long})
    over = range(1, request.steps + 1)
    divergence = tuple(Divergence(step=step, weights=min(step, 10) * 1e-7) for step in over)
    return FINE.model_copy(update={"divergence": divergence, "rows": rows_compared(request.task)})


WRONG = FINE.model_copy(
    update={"findings": (Finding(check="weights", ok=False, detail="step 3, layer1.bias: 1e-2"),)}
)
ABSENT = Proved(
    seconds=1.0, findings=(Finding(check=SUPPORTED, ok=False, detail="not on a Monday"),)
)
GONE = Proved(seconds=1.0, findings=(Finding(check=ENDED, ok=False, detail="SIGSEGV"),))
FLAGS = {"tasks": ("digits-mlp",), "frameworks": ("reference",), "threads": (1,)}


@pytest.fixture
def proofs(monkeypatch):
    """Stands for the provers: outcomes by mode, FINE unless given; and what was asked."""
    outcomes, asked = {}, []

    def prove_all(requests, launch, provers):
        for request in reversed(requests):
            if request.rows is None:
                asked.append(request.setup)
            own = outcomes if request.rows is None else {}
            yield request, own.get(request.setup.mode, fine(request))

    monkeypatch.setattr(certificates, "prove_all", prove_all)
    monkeypatch.setenv("COLUMNS", "100")
    return outcomes, asked


def test_everything_is_proved_once(proofs, tmp_path, capsys):
    _, asked = proofs
    proof.verify(**FLAGS, output=tmp_path, fresh=False)
    told = capsys.readouterr().out
    assert len(asked) == 4  # two modes, two dtypes
    assert "4 of 4 setups proven (" in told
    assert "s); 4 over whole trainings in float64 (880 steps)" in told
    assert "1.0e-06 10×32+880 " in told
    proof.verify(**FLAGS, output=tmp_path, fresh=False)
    told = capsys.readouterr().out
    assert len(asked) == 4
    assert "4 of 4 setups proven, 4 of them by earlier certificates" in told
    assert "10×32+880°" in told
    proof.verify(**FLAGS, output=tmp_path, fresh=True)
    assert len(asked) == 8
    assert {it.name for it in tmp_path.iterdir() if it.is_dir()} == set()


def test_what_is_not_proven_is_named_and_tried_again(proofs, tmp_path, capsys):
    outcomes, asked = proofs
    outcomes["eager"] = WRONG
    with pytest.raises(NotProven, match="2 of 4 setups not proven"):
        proof.verify(**FLAGS, output=tmp_path, fresh=False)
    told = capsys.readouterr().out
    assert "digits-mlp, reference:eager, float32 on cpu: NOT PROVEN: weights: step 3" in told
    assert "2 of 4 setups proven, 2 NOT proven" in told
    del outcomes["eager"]
    proof.verify(**FLAGS, output=tmp_path, fresh=False)
    assert [it.mode for it in asked[4:]] == ["eager", "eager"]


def test_unsupported_is_shown_and_no_failure(proofs, tmp_path, capsys):
    outcomes, _ = proofs
    outcomes["eager"] = ABSENT
    proof.verify(**FLAGS, output=tmp_path, fresh=False)
    told = capsys.readouterr().out
    assert "unsupported: not on a Monday" in told
    assert "2 of 4 setups proven, 2 unsupported" in told


def test_a_proof_that_broke_has_nothing_to_compare(proofs, tmp_path, capsys):
    proofs[0]["eager"] = GONE
    with pytest.raises(NotProven):
        proof.verify(**FLAGS, output=tmp_path, fresh=False)
    assert "NOT PROVEN –" in capsys.readouterr().out


def plan_of(**flags):
    return make_plan(resolve(None, {"blocks": 1, "seeds": 0} | FLAGS | flags))


def test_a_run_has_the_certificates_of_its_setups_and_proves_what_lacks_one(proofs, tmp_path):
    outcomes, asked = proofs
    plan = plan_of(frameworks=("reference:replay", "reference:eager"))
    assert any(it.twin for group in plan.groups for it in group.setups)
    outcomes["eager"] = WRONG
    with create(tmp_path) as store:
        made = proof.prove_first(plan, store, {TASK.data: tmp_path}, tmp_path, tmp_path, None)
        assert len(asked) == 2  # the twin is one of them
        store.add_run(make_info(plan, "a-run"), plan.tasks)
        store.relate("a-run", [it.key for it in made])
        found = {it.setup.label: it for it in store.load("a-run").certificates}
    assert found["reference:replay"].proven
    assert not found["reference:eager"].proven
    assert found["reference:replay"].logical_peak == {"train": 1000, "predict": None}


def test_a_run_says_what_is_proven_and_what_is_not(proofs, tmp_path):
    outcomes, asked = proofs
    outcomes["eager"] = WRONG
    plan = plan_of(frameworks=("reference:*",))
    console = Console(record=True, width=100, file=None, quiet=False)
    with create(tmp_path) as store:
        for _ in range(2):
            proof.prove_first(plan, store, {TASK.data: tmp_path}, tmp_path, tmp_path, console)
    told = console.export_text()
    assert "1 of 2 setups proven, 1 NOT proven" in told
    assert "1 of 2 setups proven, 1 of them by earlier certificates, 1 NOT proven" in told
    assert told.count("NOT PROVEN: weights: step 3") == 2
    assert [it.mode for it in asked].count("replay") == 1


def test_a_fresh_run_takes_no_earlier_proof(proofs, tmp_path):
    _, asked = proofs
    plan = plan_of(frameworks=("reference:*",))
    with create(tmp_path) as store:
        for fresh, count in ((False, 2), (False, 2), (True, 4)):
            made = proof.prove_first(
                plan, store, {TASK.data: tmp_path}, tmp_path, tmp_path, None, fresh=fresh
            )
            assert (len(made), len(asked)) == (2, count)


OTHER = make_setup(TASK, "pytorch:eager")
FORGED = {
    "another framework": {"setup": OTHER},
    "another mode": {"setup": make_setup(TASK, "reference:replay")},
    "another task": {"setup": make_setup(CATALOGUE["cancer-binary"], "reference:eager")},
    "another dtype": {"setup": make_setup(TASK, "reference:eager", dtype="float64")},
    "another lane": {"setup": make_setup(TASK, "reference:eager", lane="idiomatic")},
    "another device": {"setup": make_setup(TASK, "reference:eager", device="gpu:0")},
    "other threads": {"setup": make_setup(TASK, "reference:eager", threads=2)},
    "another tolerance": {"tolerance": "stock"},
    "another seed": {"seed": 1},
    "fewer steps": {"steps": 7},  # in float32 the last two may have no answer
    "fewer rows": {"rows": 1},
    "another version": {"framework_version": "0.0"},
    "other code": {"code": "0" * 16},
    "another machine": {"machine": "abacus"},
    "no memory": {"logical_peak": {}},
    "no training": {"whole": None},
    "a shorter training": {"whole": LongProof(steps=879, planned=880, rows=32)},
    "fewer rows of a training": {"whole": LongProof(steps=880, planned=880, rows=31)},
    "nothing checked": {"findings": ()},
    "another key": {"key": "that of the row it was taken from"},
}


@pytest.mark.parametrize("forged", FORGED.values(), ids=FORGED)
def test_a_certificate_of_something_else_under_the_key_of_a_claim_is_none(tmp_path, forged):
    setups = [(TASK, make_setup(TASK, "reference:eager"))]
    with create(tmp_path) as store:
        (need,) = needs(setups, store, quick=True, reach=QUICK)
        proved = fine(need.claim.request(tmp_path, 1.0))
        whole = fine(need.claim.long_request(tmp_path, 1.0)).whole
        honest = need.claim.certificate(need.key, proved.model_copy(update={"whole": whole}))
        store.add_certificate(honest)
        assert needs(setups, store, quick=True, reach=QUICK)[0].certificate == honest
        text = honest.model_copy(update=forged).model_dump_json()
        store._connection.execute(
            "INSERT INTO certificates (key, certificate, at) VALUES (?, ?, 0)", (need.key, text)
        )
        assert needs(setups, store, quick=True, reach=QUICK)[0].certificate is None


def test_a_run_with_a_certificate_under_another_key_is_damaged(tmp_path):
    certificate = make_certificate(OTHER)
    with create(tmp_path) as store:
        store.add_run(make_info(plan_of(), "a-run"), (TASK,))
        store._connection.execute(
            "INSERT INTO certificates (key, certificate, at) VALUES ('x', ?, 0)",
            (certificate.model_dump_json(),),
        )
        store.relate("a-run", ["x"])
        with pytest.raises(StoreError, match="under the key of another"):
            store.load("a-run")


def test_a_proof_is_of_the_task_and_not_of_its_name(proofs, tmp_path):
    _, asked = proofs
    named = TASK.model_copy(update={"name": "another-name"})
    with create(tmp_path) as store:
        for task, setup in ((TASK, OTHER), (named, make_setup(named, "pytorch:eager"))):
            (need,) = needs([(task, setup)], store, quick=True)
            if need.certificate is None:
                list(certificates.prove([need], store, {TASK.data: tmp_path}, tmp_path, tmp_path))
            assert len(asked) == 1
            certificate = store.certificate(need.key)
            assert not eligibility([Entry(setup, {}, {})], [certificate], {})[setup].proof


def test_a_full_certificate_counts_where_a_quick_one_would_do(proofs, tmp_path):
    _, asked = proofs
    proof.verify(**FLAGS, output=tmp_path, fresh=False)
    plan = plan_of(frameworks=("reference:*",), dtypes=("float64", "float32"))
    asked.clear()
    with create(tmp_path) as store:
        proof.prove_first(plan, store, {TASK.data: tmp_path}, tmp_path, tmp_path, None)
    assert asked == []


def test_a_run_takes_a_certificate_of_a_whole_training_where_there_is_one(proofs, tmp_path):
    """mnist-mlp is followed over its first steps unless a whole training is asked for."""
    _, asked = proofs
    task = CATALOGUE["mnist-mlp"]
    setups = [(task, make_setup(task, "reference:eager"))]
    data = {task.data: tmp_path}
    with create(tmp_path) as store:
        for reach, steps in ((WHOLE, 9375), (QUICK, 9375), (None, 9375)):
            (need,) = needs(setups, store, quick=True, reach=reach)
            if need.certificate is None:
                list(certificates.prove([need], store, data, tmp_path, tmp_path))
                (need,) = needs(setups, store, quick=True, reach=reach)
            assert need.certificate.whole.steps == steps
            assert len(asked) == 1
        (part,) = needs(setups, None, quick=True, reach=QUICK)
        assert part.claim.length.steps == 1000


def test_what_was_followed_over_its_first_steps_only_is_no_whole_training(proofs, tmp_path):
    task = CATALOGUE["mnist-mlp"]
    setups = [(task, make_setup(task, "reference:eager"))]
    with create(tmp_path) as store:
        quick = needs(setups, store, quick=True, reach=QUICK)
        list(certificates.prove(quick, store, {task.data: tmp_path}, tmp_path, tmp_path))
        assert needs(setups, store, quick=True, reach=QUICK)[0].certificate
        assert needs(setups, store, quick=True, reach=WHOLE)[0].certificate is None


def test_a_quick_certificate_is_not_enough_for_verify(proofs, tmp_path):
    setups = [(TASK, make_setup(TASK, "reference:eager", dtype="float64"))]
    with create(tmp_path) as store:
        (quick,) = needs(setups, store, quick=True)
        proved = fine(quick.claim.request(tmp_path, 1.0))
        store.add_certificate(quick.claim.certificate(quick.key, proved))
        (again,) = needs(setups, store, quick=True)
        assert again.certificate is not None
        (full,) = needs(setups, store, quick=False)
        assert full.certificate is None


def test_verify_counts_memory_on_the_smallest_task_and_a_run_on_its_own(proofs, tmp_path):
    _, asked = proofs
    tasks = ("digits-mlp", "diabetes-regression")
    proof.verify(**FLAGS | {"tasks": tasks, "dtypes": ("float32",)}, output=tmp_path)
    assert len(asked) == 4
    for task, again in (("diabetes-regression", 0), ("digits-mlp", 2)):
        asked.clear()
        plan = plan_of(tasks=(task,), frameworks=("reference:*",))
        with create(tmp_path) as store:
            data = {it.task.data: tmp_path for it in plan.groups}
            proof.prove_first(plan, store, data, tmp_path, tmp_path, None)
            assert len(asked) == again
            proof.prove_first(plan, store, data, tmp_path, tmp_path, None)
        assert len(asked) == again
    proof.verify(**FLAGS | {"tasks": tasks, "dtypes": ("float32",)}, output=tmp_path)
    assert len(asked) == 2


def test_memory_is_counted_once_of_each_kind():
    small = CATALOGUE["diabetes-regression"]
    labels = ("reference:eager", "reference:replay")
    setups = [
        (task, make_setup(task, label, dtype=dtype))
        for task in (TASK, small)
        for label in labels
        for dtype in ("float32", "float64")
    ]
    assert one_of_each(setups) == {setup for task, setup in setups if task is small}


def test_the_command_itself(tmp_path):
    """The reference, on the smallest task, in real processes; then from its certificates."""
    words = ("verify", "-t", "diabetes-regression", "-f", "reference", "-o", tmp_path)
    first = harness(*words, "--threads", 1, cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "4 of 4 setups proven (" in first.stdout
    again = harness(*words, "--threads", 1, cwd=tmp_path)
    assert "4 of them by earlier certificates" in again.stdout


def test_it_ends_with_5_where_something_is_not_proven(tmp_path):
    from tests.proof.test_prover import FAULTS

    told = harness(
        *("verify", "-t", "digits-mlp", "-f", "faulty:crash", "-f", "faulty:unsupported"),
        *("--dtype", "float32", "-o", tmp_path),
        cwd=tmp_path,
        SAMESTEP_IMPLS=str(FAULTS),
    )
    assert told.returncode == 5, told.stderr
    assert "SIGSEGV" in told.stdout
    assert "unsupported" in told.stdout
    assert told.stderr.count("\n") == 1
    assert "1 of 2 setups not proven" in told.stderr


@pytest.mark.parametrize(
    ("words", "what"),
    [(("-t", "nothing"), "task"), (("-f", "nothing"), "framework"), (("--dtype", "x"), "dtype")],
)
def test_a_wrong_request_writes_nothing(tmp_path, words, what):
    told = harness("verify", *words, "-o", tmp_path / "results", cwd=tmp_path)
    assert told.returncode == 2
    assert what in told.stderr
    assert not (tmp_path / "results").exists()
