"""Baselines from stored runs: of this code and this machine, or none."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.certificates import Divergence, Finding
from harness.errors import NotComparable, NotProven, StoreError
from harness.gate import check
from harness.gate.check import DEFAULTS
from harness.proof.certificates import claim
from harness.proof.pool import Proved
from harness.proof.prover import rows_compared
from harness.records import Limits, Source
from harness.runs import machine
from harness.runs.config import config_of, resolve
from harness.runs.plan import make_plan
from tests.builders import make_certificate, make_info, make_record, make_run
from tests.gate.making import SETUP, TASK, make_entry

LIMITS = Limits(product_seconds={"train": 5e-5})
TWIN = SETUP.model_copy(update={"twin": True})


@pytest.fixture(autouse=True)
def observed(monkeypatch):
    """Stands for what is observed now."""
    monkeypatch.setattr(machine, "commit", lambda measured: "0123abcd")
    found = make_entry(parity=(), timed={})
    monkeypatch.setattr(
        check, "observed", lambda pairs, data, logs: dict.fromkeys((it[1] for it in pairs), found)
    )


def shown(**changes):
    """The certificate that a proof of this code makes here."""
    wanted = claim(TASK, SETUP, quick=True)
    request = wanted.request(Path(), 1.0)
    proved = Proved(
        seconds=1.0,
        findings=(Finding(check="weights", ok=True),),
        divergence=tuple(Divergence(step=it, loss=1e-8) for it in range(request.steps)),
        rows=rows_compared(TASK),
        logical_peak={"train": 300_000},
    )
    return wanted.certificate("the key", proved).model_copy(update=changes)


def stored(**changes):
    """A run of three blocks, of which the first two measured the bare products."""
    records = [
        make_record(
            setup,
            block,
            {"train": [1e-4, 2e-4, 3e-4]},
            limits=LIMITS if block < 2 and not setup.twin else None,
        )
        for block in range(3)
        for setup in (SETUP, TWIN)
    ]
    certificate = shown()
    info = {"commit": "0123abcd", "machine": machine.fingerprint(), "certificates": [certificate]}
    return make_run(records, **(info | changes))


@pytest.fixture
def saved(tmp_path):
    def save(run):
        plan = check.plan_of(run, make_plan(resolve(None, DEFAULTS)))
        return check.save_from(plan, run, "before", lambda text: None, tmp_path)

    return save


def test_a_run_gives_times_proofs_and_peaks(saved):
    made = saved(stored())
    (entry,) = made.entries
    assert entry.setup == SETUP
    assert entry.timed["train"].steps == (2e-4, 2e-4)
    assert entry.timed["train"].products == (5e-5, 5e-5)
    assert entry.logical_peak == {"train": 300_000}
    assert entry.parity[0].proven
    assert made.tasks == (TASK,)
    assert made.revision == "0123abcd"


@pytest.mark.parametrize("commit", ["4567", "0123abcd+changes"])
def test_other_code_is_refused(saved, commit):
    with pytest.raises(NotComparable, match="made by the code of"):
        saved(stored(commit=commit))


def test_another_machine_is_refused(saved):
    with pytest.raises(NotComparable, match="another machine"):
        saved(stored(machine={"cpu": "abacus", "cores": 2}))


@pytest.mark.parametrize(
    "certificates", [[], [make_certificate(SETUP, "too far")], [shown(code="0" * 16)]]
)
def test_what_was_not_proven_is_nothing_to_be_held_to(saved, certificates):
    with pytest.raises(NotProven):
        saved(stored(certificates=certificates))


def test_a_tree_with_changes_is_no_revision(saved, monkeypatch):
    monkeypatch.setattr(machine, "commit", lambda measured: "0123abcd+changes")
    assert saved(stored(commit=None)).revision is None


def source(name, machine_name="", **config):
    return Source(machine=machine_name, info=make_info(name=name, config=config))


def lost(run):
    """The one setup failed in every block."""
    failed = [it.model_copy(update={"status": "crashed"}) for it in run.records]
    return run.model_copy(update={"records": tuple(failed)})


REFUSED = {
    "no trial of any setup": lambda: stored().model_copy(update={"records": ()}),
    "no proof or no good trial of": lambda: lost(stored()),
    "holds 2 machines": lambda: stored(merged=(source("a", "alpha"), source("b", "beta"))),
}


@pytest.mark.parametrize("said", REFUSED)
def test_a_run_that_gives_no_baseline_is_refused(saved, said):
    with pytest.raises((NotProven, NotComparable), match=said):
        saved(REFUSED[said]())


def test_a_configuration_that_is_none_is_one_line():
    """Of parts that differ in blocks, a merged run has none."""
    config = resolve(None, DEFAULTS).model_dump(mode="json")
    assert config_of(stored(config=config)).blocks == DEFAULTS["blocks"]
    del config["blocks"]
    with pytest.raises(StoreError, match="not one that this version understands: blocks"):
        config_of(stored(config=config))
    parts = (source("part-1", blocks=1), source("part-2", blocks=2))
    with pytest.raises(NotComparable, match=r"\(blocks: .*name one of those: part-1, part-2"):
        config_of(stored(config=config, merged=parts))
