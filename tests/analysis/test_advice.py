"""Advice never says more than the tables do, whatever pattern of verdicts they hold."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.analysis.advice import Contenders, advise, called_slower, fastest
from harness.analysis.ranking import taken_back, winner
from harness.analysis.summary import summarise
from harness.analysis.verdicts import compare_blocks
from harness.records import Memory
from tests.builders import (
    LABELS,
    MB,
    TASK,
    certified,
    make_phase,
    make_record,
    make_setup,
    make_task,
    measured,
)

FOUR = (*LABELS, "reference:replay")
TABLE = summarise([TASK], measured(labels=FOUR, blocks=6, rounds=1)).tables[0]
AGAINST = {"faster": "slower", "slower": "faster"}
VERDICTS = st.sampled_from(
    # What makes a difference between one, several and nobody comes most often.
    ["faster"] * 3 + ["slower"] + ["equivalent"] * 3 + ["cannot tell", "not ranked"]
)


def pair(label, other, verdict):
    return compare_blocks(label, other, [0.01] * 6).model_copy(update={"verdict": verdict})


@st.composite
def cases(draw):
    """A table with any verdicts between its rows, of which some may not be ranked."""
    ranked = draw(st.lists(st.sampled_from(FOUR), unique=True))
    between = {}
    for one, other in itertools.combinations(FOUR, 2):
        between[one, other] = verdict = draw(VERDICTS)
        between[other, one] = AGAINST.get(verdict, verdict)
    baseline = draw(st.sampled_from(ranked or FOUR))
    rows = []
    for label in FOUR:
        if label != baseline:
            # The correction over rows takes claims back and adds none.
            kept = label in ranked and draw(st.integers(0, 3)) > 0
            verdict = between[label, baseline] if kept else "cannot tell"
            rows.append(pair(label, baseline, verdict if label in ranked else "not ranked"))

    def of(label, other):
        return pair(label, other, between[label, other])

    best = winner(ranked, of)
    table = TABLE.model_copy(
        update={
            "baseline": baseline,
            "winner": None if best and taken_back(best, baseline, rows) else best,
            "pairs": tuple(rows),
            "rows": tuple(
                row.model_copy(update={"proof": "" if row.cell.setup.label in ranked else "no"})
                for row in TABLE.rows
            ),
        }
    )
    leader = best or next(iter(ranked), None)
    rivals = tuple(of(leader, it) for it in ranked if it != leader)
    return Contenders(table=table, leader=leader, rivals=rivals, first=None, head_starts=())


@settings(max_examples=150)
@given(cases())
def test_a_setup_stands_alone_only_where_it_wins(case):
    found, table = fastest(0, case), case.table
    verdicts = {it.label: it.verdict for it in table.pairs}
    if found.kind in ("one", "even"):
        assert set(found.labels) <= set(case.ranked)
        assert not set(found.labels) & called_slower(table)
    if found.kind == "one":
        assert found.labels == (table.winner,)
        if table.winner == table.baseline:
            assert {verdicts[it] for it in case.ranked if it != table.winner} == {"slower"}
        else:
            assert verdicts[table.winner] == "faster"
    else:
        assert table.winner is None
    if found.kind == "even":
        leader, *alike = found.labels
        assert alike
        assert found.pair.verdict == "equivalent"
        beaten = set(case.ranked) - set(found.labels)
        if table.baseline == leader:
            assert all(verdicts[it] == "slower" for it in beaten)
        if table.baseline in beaten:
            assert verdicts[leader] == "faster"


@pytest.mark.parametrize(("row", "kind"), [("slower", "even"), ("cannot tell", "cannot tell")])
def test_whom_a_row_takes_back_is_not_left_behind(row, kind):
    """a beats c by itself, and is even with b; the row of c says whether that holds for all."""
    a, b, c, _ = FOUR
    table = TABLE.model_copy(
        update={
            "baseline": a,
            "winner": None,
            "pairs": (pair(b, a, "equivalent"), pair(c, a, row)),
            "rows": tuple(
                it.model_copy(update={"proof": ""})
                for it in TABLE.rows
                if it.cell.setup.label in (a, b, c)
            ),
        }
    )
    rivals = (pair(a, b, "equivalent"), pair(a, c, "faster"))
    case = Contenders(table=table, leader=a, rivals=rivals, first=None, head_starts=())
    assert fastest(0, case).kind == kind


@settings(max_examples=50)
@given(st.lists(cases(), max_size=4))
def test_only_what_holds_in_every_table_is_recommended(every):
    for it in advise(every):
        named = [found for found in it.findings if found.kind in ("one", "even")]
        if it.setups:
            assert named == list(it.findings)
            assert all(set(found.labels) == set(it.setups) for found in named)
        if len(it.setups) == 1 and it.evidence == "speed":
            assert all(every[found.table].table.winner == it.setups[0] for found in it.findings)
        assert (it.kind == "not measured") == (not it.findings)


def trial(label, block, step, start, total=200):
    phase = make_phase([step], memory=Memory(incremental_peak_rss=MB, total_peak_rss=total * MB))
    phase = phase.model_copy(update={"first_call": step, "second_call": step})
    setup = make_setup(label=label)
    return make_record(setup, block, phases=(phase,), import_seconds=start, build_seconds=0.0)


def summary(times, blocks=9, unproven=()):
    """Of {label: (step, start, MB)}; blocks differ by a hair."""
    records = [
        trial(label, block, step * (1 + 1e-6 * block), start * (1 + 1e-3 * block), total)
        for label, (step, start, total) in times.items()
        for block in range(blocks)
    ]
    proofs = [it for it in certified(records) if it.setup.label not in unproven]
    return summarise([TASK], records, proofs)


def advice(name, *args, **keywords):
    (found,) = [it for it in summary(*args, **keywords).advice if it.scenario == name]
    return found


class TestShort:
    def test_who_starts_first_holds_up_to_where_it_may_be_overtaken(self):
        """A second earlier and a millisecond slower: ahead for a thousand steps."""
        found = advice("short", {"a:x": (3e-3, 1.0, 1), "b:y": (2e-3, 2.0, 1)})
        assert (found.kind, found.setups) == ("one", ("a:x",))
        assert found.steps == pytest.approx(1000, rel=0.02)
        assert found.steps < 1000.1

    def test_who_also_steps_faster_is_never_overtaken(self):
        found = advice("short", {"a:x": (1e-3, 1.0, 1), "b:y": (2e-3, 2.0, 1)})
        assert (found.setups, found.steps) == (("a:x",), None)

    def test_one_start_alone_has_no_interval(self):
        found = advice("short", {"a:x": (1e-3, 1.0, 1), "b:y": (2e-3, 2.0, 1)}, blocks=1)
        assert (found.kind, found.setups) == ("cannot tell", ())

    def test_the_unproven_are_not_there(self):
        times = {"a:x": (1e-3, 1.0, 1), "b:y": (2e-3, 2.0, 1), "c:z": (3e-3, 3.0, 1)}
        assert advice("short", times, unproven=["a:x"]).setups == ("b:y",)

    @settings(max_examples=25)
    @given(
        st.lists(st.tuples(st.floats(1e-3, 3e-3), st.floats(0.5, 5)), min_size=3, max_size=3),
        st.lists(st.floats(0.9, 1.1), min_size=21, max_size=21),
    )
    def test_its_lead_is_sure(self, drawn, noise):
        shaken = iter(noise)
        records = [
            trial(label, block, step * (factor := next(shaken)), start * factor)
            for label, (step, start) in zip(LABELS, drawn, strict=True)
            for block in range(7)
        ]
        made = summarise([TASK], records, certified(records))
        short, table = made.advice[0], made.tables[0]
        assert short.scenario == "short"
        if short.setups:
            rows = {row.cell.setup.label: row.starts[0].total.estimate for row in table.rows}
            assert short.setups == (min(rows, key=rows.get),)
            if short.setups[0] in called_slower(table):
                assert short.steps >= 1


class TestMemory:
    def test_who_takes_less_in_every_block(self):
        times = {"a:x": (1e-3, 1.0, 300), "b:y": (2e-3, 2.0, 200)}
        assert advice("memory", times).setups == ("b:y",)

    def test_a_percent_does_not_matter(self):
        found = advice("memory", {"a:x": (1e-3, 1, 1005), "b:y": (2e-3, 2, 1000)})
        assert (found.kind, found.setups) == ("even", ("b:y", "a:x"))

    def test_few_counts_tell_nothing(self):
        found = advice("memory", {"a:x": (1e-3, 1, 300), "b:y": (2e-3, 2, 200)}, blocks=2)
        assert (found.kind, found.setups) == ("cannot tell", ())

    @pytest.mark.parametrize(
        ("ours", "theirs", "kind"),
        [
            ((200, 202, 204), (213, 213, 216), "one"),  # ranges of 4 and 3, 9 apart
            ((200, 202, 204), (210, 211, 213), "cannot tell"),  # and 6 apart
            ((1000, 1001, 1001), (1003, 1003, 1002), "even"),
            ((1000, 1003, 1003), (1006, 1009, 1009), "cannot tell"),
        ],
    )
    def test_three_counts_must_lie_far_apart_or_very_near(self, ours, theirs, kind):
        records = [
            trial(label, block, step, 1.0, total)
            for label, step, totals in (("a:x", 1e-3, ours), ("b:y", 2e-3, theirs))
            for block, total in enumerate(totals)
        ]
        made = summarise([TASK], records, certified(records)).advice
        (found,) = [it for it in made if it.scenario == "memory"]
        assert found.kind == kind

    def test_where_one_was_not_counted_nobody_is_least(self):
        records = [
            make_record(
                make_setup(label=it),
                block,
                {"train": [1e-3]},
                memory=count and Memory(incremental_peak_rss=None, total_peak_rss=count),
            )
            for it, count in (("a:x", None), ("b:y", 5 * MB))
            for block in range(9)
        ]
        (found,) = [
            it
            for it in summarise([TASK], records, certified(records)).advice
            if it.scenario == "memory"
        ]
        assert (found.kind, found.setups) == ("cannot tell", ())


def test_where_tasks_disagree_it_depends():
    tasks = [make_task("one"), make_task("two")]
    records = measured(tasks, trains=False)
    made = {it.scenario: it for it in summarise(tasks, records, certified(records)).advice}
    assert made["long"].kind == "differs"
    assert [it.labels for it in made["long"].findings] == [("pytorch:eager",), ("reference:eager",)]
    assert made["memory"].setups == ("pytorch:eager",)


def test_no_difference_that_matters():
    records = measured(labels=LABELS[:2], speed=1.0001, noise=1e-4, blocks=9)
    found = summarise([TASK], records, certified(records)).advice[1]
    assert (found.scenario, found.kind, len(found.setups)) == ("long", "even", 2)


@pytest.mark.parametrize(
    ("phase", "changes", "scenario"),
    [
        ("predict-latency", {}, "single"),
        ("predict", {"batch_size": 1}, "single"),
        ("train", {"batch_size": 1024}, "large"),
    ],
)
def test_which_tables_a_scenario_looks_at(phase, changes, scenario):
    task = make_task("it", **changes)
    records = measured([task], phases=[phase], trains=False)
    made = {it.scenario: it for it in summarise([task], records, certified(records)).advice}
    assert made[scenario].setups == ("pytorch:eager",)
    others = {"single", "large", "gpu"} - {scenario}
    assert {made[it].kind for it in others} == {"not measured"}


def test_a_gpu_is_one():
    records = measured(device="gpu:0")
    made = {it.scenario: it for it in summarise([TASK], records, certified(records)).advice}
    assert made["gpu"].setups == ("pytorch:eager",)
    assert len(made["gpu"].findings) == 2


def test_without_a_table_there_is_no_advice():
    assert summarise([TASK], []).advice == ()
