"""Merging changes nothing that was measured, and never lets two machines into one table."""

from __future__ import annotations

import pytest

from harness.analysis.pairs import entries
from harness.analysis.summary import summarise_run
from harness.errors import NotComparable, UsageError
from harness.runs.merge import Part, merge_runs
from tests.builders import (
    ERROR_TASK,
    TASK,
    make_certificate,
    make_info,
    make_run,
    make_setup,
    make_task,
    measured,
)

MACHINE = make_info().machine
OTHER = MACHINE | {"cpu": "another"}


def run(name, tasks=(TASK,), info=None, records=None, **measures):
    made = measured(tasks, **measures) if records is None else records
    # As in a store: no two trials have one name.
    own = [it.model_copy(update={"trial": f"{name}/{it.trial}"}) for it in made]
    return make_run(own, tasks, name=name, **(info or {}))


def merged(*parts):
    named = [it if isinstance(it, Part) else Part("", it) for it in parts]
    return merge_runs(named, "all", "2026-01-02T03:04:05Z", ("python",))


def test_machines_are_apart_in_every_table_ratio_and_mean():
    tasks = (TASK, ERROR_TASK)
    one, two = run("a", tasks), run("b", tasks, {"machine": OTHER}, seed=1, speed=0.8)
    whole, _ = merged(Part("alpha", one), Part("beta", two))
    summary = summarise_run(whole)
    assert {it.device for it in summary.tables} == {"cpu@alpha", "cpu@beta"}
    for table in (*summary.tables, *summary.qualities):
        rows = [getattr(it, "cell", it).setup for it in table.rows]
        assert {it.machine for it in rows} == {table.device.partition("@")[2]}
    assert all(it.device in ("cpu@alpha", "cpu@beta") for it in summary.aggregates)
    # Each machine's numbers are those of its own run.
    for machine, alone in (("alpha", summarise_run(one)), ("beta", summarise_run(two))):
        own = [it for it in summary.tables if it.device == f"cpu@{machine}"]
        assert [it.pairs for it in own] == [it.pairs for it in alone.tables]
        assert [it.sentence for it in own] == [it.sentence for it in alone.tables]
        means = [it.speed for it in summary.aggregates if it.device == f"cpu@{machine}"]
        assert means == [it.speed for it in alone.aggregates]


def test_proofs_and_failures_stay_with_their_machine():
    failed = make_certificate(make_setup(), "too far")
    one = run("a", trains=False)
    two = run("b", info={"machine": OTHER, "certificates": [failed]}, trains=False)
    whole, _ = merged(one, two)
    tables = {it.device: it for it in summarise_run(whole).tables if it.phase == "train"}
    assert not any(it.proof for it in tables["cpu@m1"].rows)
    proofs = {it.cell.setup.label: it.proof for it in tables["cpu@m2"].rows}
    assert proofs["pytorch:eager"] == "not proven: gradients: too far"
    # No later run in that store may take another machine's proof for its own.
    assert {it.key.rpartition("@")[2] for it in whole.certificates} == {"m1", "m2"}
    shards, _ = merged(one, run("c", trains=False, seed=1))
    assert {it.key.rpartition("@")[2] for it in shards.certificates} == {"merged"}


def test_settings_are_held_to_the_device_without_its_machine():
    records = [
        it.model_copy(update={"settings": {"device": "cpu", "threads": 1}})
        for it in measured(trains=False, blocks=2)
    ]
    whole, _ = merged(run("a", records=records), run("b", info={"machine": OTHER}))
    assert not any(it.faults for table in summarise_run(whole).tables for it in table.rows)


def test_shards_of_one_machine_are_one_run():
    """Blocks 0 to 4 and 5 to 8, as one run would have made them."""
    records = measured(blocks=9)
    first = run("a", records=[it for it in records if it.block < 5])
    second = run("b", records=[it for it in records if it.block >= 5])
    found, repeated = merged(first, second)
    assert repeated == 0
    assert found.info.machines == {"": MACHINE}
    assert summarise_run(found) == summarise_run(run("whole", records=records))


def test_shards_of_different_tasks_stand_beside_each_other():
    one, two = run("a", (TASK,)), run("b", (ERROR_TASK,))
    summary = summarise_run(merged(one, two)[0])
    assert [it.task.name for it in summary.tables] == ["digits-mlp"] * 2 + [ERROR_TASK.name] * 2
    assert summary.tables[0].pairs == summarise_run(one).tables[0].pairs


def test_blocks_of_one_number_are_not_one_block():
    one, two = run("a", blocks=4), run("b", blocks=4, seed=1)
    found, repeated = merged(one, two)
    good = entries(found.records)[make_setup()]
    assert sorted(good.blocks) == [*range(8)]
    assert summarise_run(found).tables[0].rows[0].step.n == 8
    # Both trained seeds 0 to 3, and no seed is two seeds.
    assert repeated == 4 * 3
    assert summarise_run(found).qualities[0].seeds == (0, 1, 2, 3)


def test_trials_keep_what_they_measured_and_never_share_a_name():
    one, two = run("a", blocks=2), run("b", blocks=2, seed=1)
    records = merged(one, two)[0].records
    assert len({it.trial for it in records}) == len(records)
    assert [it.phases for it in records] == [it.phases for it in (*one.records, *two.records)]


def test_what_all_share_is_told_once_and_what_differs_with_its_machine():
    newer = make_info().versions | {"pytorch": "9.9"}
    info = merged(
        Part("alpha", run("a", blocks=1)),
        Part("beta", run("b", info={"machine": OTHER, "versions": newer}, blocks=1)),
    )[0].info
    assert info.versions["pytorch"] == "2.13.0 (alpha), 9.9 (beta)"
    assert info.versions["samestep"] == "0.1.0"
    assert "cpu" not in info.machine
    assert info.machine["cores"] == 2
    assert info.machines == {"alpha": MACHINE, "beta": OTHER}
    assert [it.info.name for it in info.merged] == ["a", "b"]


def test_one_machine_in_two_versions_must_be_named():
    newer = make_info().versions | {"pytorch": "9.9"}
    one, two = run("a", blocks=1), run("b", info={"versions": newer}, blocks=1)
    with pytest.raises(NotComparable, match=r"differ in pytorch \(2.13.0, 9.9\).*NAME=RUN"):
        merged(one, two)
    whole, _ = merged(Part("old", one), Part("new", two))
    assert {it.setup.machine for it in whole.records} == {"old", "new"}


@pytest.mark.parametrize(
    ("other", "kind", "said"),
    [
        (lambda one: one, UsageError, "hold the same trial"),
        (
            lambda one: run("b", (make_task(batch_size=64),), blocks=1),
            NotComparable,
            "another one here: its digest",
        ),
        (
            lambda one: merged(one, run("b", info={"machine": OTHER}, blocks=1))[0],
            UsageError,
            "merged already",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(other, kind, said):
    one = run("a", blocks=1)
    with pytest.raises(kind, match=said):
        merged(one, other(one))


def test_one_name_is_one_machine():
    one, two = run("a", blocks=1), run("b", info={"machine": OTHER}, blocks=1)
    with pytest.raises(NotComparable, match="not of one machine 'x'"):
        merged(Part("x", one), Part("x", two))
