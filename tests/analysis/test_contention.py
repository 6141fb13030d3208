"""Disturbed blocks: which they are, and that nothing is told apart on their strength."""

from __future__ import annotations

import pytest

from harness.analysis.contention import DISTURBED_SHARE, by_block, crowding, why
from harness.analysis.noise import block_noise
from harness.analysis.stopping import standing
from harness.analysis.summary import summarise, summarise_run
from harness.records import Around, Record
from harness.report.advice_text import choices
from harness.report.noise_sections import DISTURBED
from tests.builders import TASK, certified, make_run, measured

CALM = Around(
    seconds=4.0,
    cores=2,
    others_seconds=0.1,
    stolen_seconds=0.1,
    ran_seconds=6.0,
    waited_seconds=0.3,
    fixed=(0.005, 0.0051, 0.0055),
)
BUSY = CALM.model_copy(update={"others_seconds": 7.6})
SAID = "other processes used 1.9 of 2 cores"


def beside(records: list[Record], blocks, around: Around = BUSY) -> list[Record]:
    """The records with these surroundings in these blocks, and calm ones in the others."""
    return [
        it.model_copy(update={"around": around if it.block in blocks else CALM}) for it in records
    ]


def summary_of(blocks, records=None):
    records = beside(records or measured(threads=2), blocks)
    return summarise([TASK], records, certified(records))


@pytest.mark.parametrize(
    ("threads", "changes", "cause"),
    [
        (2, {}, ""),
        (2, {"others_seconds": None, "waited_seconds": None, "fixed": ()}, ""),
        (2, {"others_seconds": 2.0}, "others"),
        (1, {"others_seconds": 3.9}, ""),  # the second core is free for others
        (1, {"others_seconds": 7.0}, "others"),
        (1, {"others_seconds": 3.9, "waited_seconds": 3.0}, "waited"),
        (2, {"waited_seconds": 3.0}, ""),  # threads that displace each other
        (2, {"stolen_seconds": 1.0}, "stolen"),
        (2, {"fixed": (0.005, 0.009, 0.009)}, "slowed"),
    ],
)
def test_what_disturbs_a_block(threads, changes, cause):
    records = beside(measured(blocks=2, threads=threads), {1}, CALM.model_copy(update=changes))
    found = by_block(records)
    assert (found[0].cause, found[1].cause) == ("", cause)
    assert bool(why(found[1])) is bool(cause)


def test_the_cores_that_threads_leave_free_may_be_taken():
    assert crowding(2.0, cores=16, threads=8) == 0
    assert crowding(2.0, cores=16, threads=16) == 0.125


def test_a_block_is_calm_noisy_or_disturbed():
    records = beside(measured(blocks=2, drift=0.5, threads=2), {1})
    found = by_block(records)
    noises = [
        block_noise([it for it in records if it.block == number], found[number])
        for number in range(2)
    ]
    assert [it.state for it in noises] == ["noisy", "disturbed"]
    calm = beside(measured(blocks=1, drift=0.001), set())
    assert block_noise(calm, by_block(calm)[0]).state == "calm"


def test_a_record_of_before_has_no_surroundings_and_is_judged():
    records = measured()
    assert by_block(records) == {}
    assert all(it.winner for it in summarise([TASK], records, certified(records)).tables)


@pytest.mark.parametrize("bad", [3, 9])
def test_a_table_of_disturbed_blocks_names_no_winner_and_recommends_nothing(bad):
    run = make_run(beside(measured(threads=2), range(bad)))
    summary = summarise_run(run)
    for table in summary.tables:
        assert table.winner is None
        assert {it.verdict for it in table.pairs} == {"cannot tell"}
        assert all(it.reason == f"{SAID} in {bad} of 9 blocks" for it in table.pairs)
        assert f"cannot tell: {SAID} in {bad} of 9 blocks" in table.sentence
    assert not any(it.setups for it in summary.advice)
    told = [it for it in choices(run, summary) if SAID in it.because.lower()]
    assert told
    assert {it.answer for it in told} == {"Cannot tell"}


def test_a_few_disturbed_blocks_are_said_and_do_not_forbid_a_verdict():
    for table in summary_of(range(2)).tables:
        assert table.winner
        assert {it.verdict for it in table.pairs} <= {"faster", "slower"}
        assert f"{SAID} in 2 of 9 blocks" in table.sentence


def test_no_winner_is_equivalent_either():
    same = measured(threads=2, speed=1.0, noise=1e-4, drift=1e-4)
    assert {it.verdict for table in summary_of((), same).tables for it in table.pairs} == {
        "equivalent"
    }
    assert {it.verdict for table in summary_of(range(9), same).tables for it in table.pairs} == {
        "cannot tell"
    }


def test_no_precision_is_reached_on_the_strength_of_disturbed_blocks():
    records = measured(blocks=12, noise=1e-4, threads=2)

    def reached(bad: int) -> bool:
        return standing(beside(records, range(bad)), precision=0.02, least_blocks=8).reached

    assert reached(0)
    assert reached(2)
    assert not reached(3)
    assert not reached(12)


def test_the_method_says_which_share_of_blocks_is_too_much():
    assert f"{100 * DISTURBED_SHARE:g} % of its blocks" in DISTURBED
