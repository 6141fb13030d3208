"""What no device can do is not ranked, by a yardstick that is never the setup's own."""

from __future__ import annotations

import pytest

from harness.analysis.cell_metrics import PEAK_MARGIN, impossible
from harness.analysis.pairs import entries
from harness.analysis.summary import rebased, summarise, summarise_run
from harness.records import Limits, Record
from harness.report.advice_text import choices
from harness.tasks.costs import flops
from tests.builders import TASK, certified, make_record, make_run, make_setup, measured

WORK = flops(TASK, "predict")
PEAK, ARITHMETIC, CALLS = 1e11, 10e-6, 5e-6
AT_PEAK = WORK / PEAK
QUICK, USUAL = "quick:eager", "pytorch:eager"


def limits(peak: float = PEAK, arithmetic: float = 0.0, **changes: object) -> Limits:
    """Of a device that its framework sees with this peak; no bare products unless asked for."""
    times = {
        "product_seconds": {"predict": arithmetic + CALLS},
        "dispatch_seconds": {"predict": CALLS},
    }
    return Limits.model_validate({"peak_flops": peak} | (times if arithmetic else {}) | changes)


def run_of(step: float, own: Limits | None, other: Limits | None, blocks: int = 9) -> list[Record]:
    """One setup with this step beside a usual one; blocks vary by a few percent."""
    return [
        make_record(
            make_setup(label=label),
            block,
            {"predict": [seconds * (1 + 0.01 * ((block + it) % 5)) for it in range(6)]},
            limits=found if block % 4 == 0 else None,
        )
        for block in range(blocks)
        for label, seconds, found in ((QUICK, step, own), (USUAL, 1e-4, other))
    ]


def barred(records: list[Record]) -> dict[str, str]:
    found = impossible(TASK, entries(records).values())
    return {setup.label: why for setup, why in found.items()}


@pytest.mark.parametrize(
    ("step", "own", "other", "why"),
    [
        (AT_PEAK / 14.6, limits(), limits(), "predict at 14"),
        (AT_PEAK / 14.6, limits(100 * PEAK), limits(), "predict at 14"),  # it cannot set the peak
        (AT_PEAK / 14.6, limits(plain=limits()), None, "predict at 14"),  # by NumPy beside it
        (AT_PEAK / 14.6, limits(), None, ""),  # there is no yardstick
        (AT_PEAK / 1.5, limits(), limits(), ""),  # within what peaks scatter
        (AT_PEAK / 3, limits(), limits(PEAK, plain=limits(4 * PEAK)), ""),  # the best one counts
        (2e-6, None, limits(1e13, ARITHMETIC), "predict step in 0.2"),
        (4e-6, None, limits(1e13, ARITHMETIC), ""),
        # Of a small batch calls are nearly everything: a step that is compiled does without.
        (0.5e-6, None, limits(1e13, 0.2e-6), ""),
        (0.5e-6, None, limits(1e13, -1e-6), ""),
    ],
)
@pytest.mark.parametrize("blocks", [1, 9])
def test_what_is_impossible(step, own, other, why, blocks):
    found = barred(run_of(step, own, other, blocks))
    assert list(found) == ([QUICK] if why else [])
    assert why in found.get(QUICK, "")


def test_another_mode_of_the_same_framework_is_no_yardstick():
    step = AT_PEAK / 14
    own = limits(100 * PEAK)
    records = run_of(step, own, limits()) + [
        make_record(make_setup(label="quick:compiled"), block, {"predict": [step]}, limits=own)
        for block in range(9)
    ]
    assert set(barred(records)) == {QUICK, "quick:compiled"}


def test_a_slow_block_is_given_the_benefit_of_the_doubt():
    records = run_of(AT_PEAK / 5, limits(), limits(), 3)
    assert barred(records)
    slow = make_record(make_setup(label=QUICK), 3, {"predict": [AT_PEAK] * 6})
    assert not barred([*records, slow])


def test_it_is_not_ranked_and_the_reason_is_said():
    run = make_run(run_of(AT_PEAK / 14.6, limits(), limits()))
    summary = summarise_run(run)
    (table,) = summary.tables
    assert table.winner is None
    row = next(it for it in table.rows if it.cell.setup.label == QUICK)
    assert row.unranked.startswith("impossible: predict at 14")
    assert row.unranked.endswith("× the device's peak")
    assert "1 setup is not ranked" in table.sentence
    others = rebased(summary.tables, run.records)
    assert [it.winner for its in others for it in its] == [None] * sum(map(len, others))
    assert not any(QUICK in it.answer for it in choices(run, summary))


def test_ordinary_runs_have_nothing_impossible():
    records = [
        it.model_copy(update={"limits": limits(plain=limits(arithmetic=ARITHMETIC))})
        for it in measured()
    ]
    assert barred(records) == {}
    assert all(it.winner for it in summarise([TASK], records, certified(records)).tables)


def test_the_margin_is_wider_than_what_peaks_scatter():
    assert PEAK_MARGIN > 79 / 58
