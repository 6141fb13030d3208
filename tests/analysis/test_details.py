"""What is derived beside the ratios: starts and break-even, latency, efficiency, memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.cell_metrics import (
    device_peak,
    efficiency,
    latency,
    memory_peaks,
    needed,
    percentile,
)
from harness.analysis.startup import break_evens, startups
from harness.cells import Cell
from harness.records import Limits, Memory
from harness.tasks.costs import flops, least_bytes
from tests.builders import (
    MB,
    TASK,
    entry_of,
    make_certificate,
    make_phase,
    make_record,
    make_setup,
)

OURS, THEIRS = make_setup(label="reference:replay"), make_setup(label="pytorch:eager")


def trial(setup, block, step, *, start=1.0, **changes):
    """A record whose import takes `start` and whose build and calls cost next to nothing."""
    phase = make_phase([step] * 5).model_copy(update={"first_call": step, "second_call": step})
    content = {"import_seconds": start, "build_seconds": 0.0, "phases": (phase,)}
    return make_record(setup, block, **(content | changes))


def blocks(setup, step, *, start=1.0, n=9, **changes):
    return {it: trial(setup, it, step * (1 + 1e-6 * it), start=start, **changes) for it in range(n)}


class TestStarts:
    def test_only_trials_that_started_alone_count(self):
        found = blocks(OURS, 1e-3)
        for block in (1, 2, 4, 5, 7, 8):
            found[block] = trial(OURS, block, 1e-3, start=50.0, alone=False)
        (start,) = startups(entry_of(found), "train")
        assert start.n == 3
        assert start.import_seconds is not None
        assert start.import_seconds.estimate == 1.0
        assert start.total is not None
        assert start.total.estimate == pytest.approx(1.0)

    def test_one_trial_has_no_interval_and_says_so(self):
        (start,) = startups(entry_of({0: trial(OURS, 0, 1e-3)}), "train")
        assert start.import_seconds is not None
        assert start.import_seconds.low is None
        assert "one trial" in start.reason

    def test_cold_and_warm_caches_are_never_mixed(self):
        found = blocks(OURS, 1e-3, n=4)
        found[0] = trial(OURS, 0, 1e-3, start=12.0, cold=True)
        warm, cold = startups(entry_of(found), "train")
        assert (warm.cold, warm.n, cold.cold, cold.n) == (False, 3, True, 1)
        assert warm.import_seconds is not None
        assert cold.import_seconds is not None
        assert (warm.import_seconds.estimate, cold.import_seconds.estimate) == (1.0, 12.0)

    def test_few_times_have_a_range(self):
        found = {0: trial(OURS, 0, 1e-3, start=1.0), 1: trial(OURS, 1, 1e-3, start=3.0)}
        (start,) = startups(entry_of(found), "train")
        assert start.import_seconds is not None
        assert start.import_seconds.low is None
        assert (start.import_seconds.least, start.import_seconds.most) == (1.0, 3.0)


class TestBreakEven:
    def test_by_hand(self):
        """2 s later at the start, 1 ms a step faster: level after 2000 steps of 3 ms."""
        ours, theirs = blocks(OURS, 2e-3, start=3.0), blocks(THEIRS, 3e-3, start=1.0)
        (found,) = break_evens(entry_of(ours), entry_of(theirs), "train")
        assert found.verdict == "overtakes"
        assert found.steps is not None
        assert found.seconds is not None
        assert found.steps.estimate == pytest.approx(2000, rel=1e-3)
        assert found.seconds.estimate == pytest.approx(1 + 2000 * 3e-3, rel=1e-3)
        assert found.steps.low < found.steps.estimate < found.steps.high < 2000.001

    def test_whoever_starts_first_and_steps_slower_is_overtaken(self):
        ours, theirs = blocks(OURS, 3e-3, start=1.0), blocks(THEIRS, 2e-3, start=3.0)
        (found,) = break_evens(entry_of(ours), entry_of(theirs), "train")
        assert found.verdict == "is overtaken"
        assert found.steps is not None
        assert found.steps.estimate == pytest.approx(2000, rel=1e-3)

    @pytest.mark.parametrize(
        ("step", "start", "verdict"),
        [(1e-3, 0.5, "from the first step"), (4e-3, 5.0, "never")],
    )
    def test_there_need_be_no_such_point(self, step, start, verdict):
        ours, theirs = blocks(OURS, step, start=start), blocks(THEIRS, 2e-3, start=1.0)
        (found,) = break_evens(entry_of(ours), entry_of(theirs), "train")
        assert (found.verdict, found.steps) == (verdict, None)

    def test_equal_steps_cannot_tell(self):
        ours = {
            it: trial(OURS, it, 2e-3 * (1.01 if it % 2 else 0.99), start=3.0) for it in range(9)
        }
        (found,) = break_evens(entry_of(ours), entry_of(blocks(THEIRS, 2e-3)), "train")
        assert found.verdict == "cannot tell"
        assert "cannot be told apart" in found.reason

    def test_without_a_block_in_common_there_is_nothing_to_say(self):
        late = {it + 20: trial(OURS, it + 20, 1e-3) for it in range(3)}
        assert break_evens(entry_of(late), entry_of(blocks(THEIRS, 2e-3)), "train") == ()

    @given(st.floats(1.05, 20), st.floats(0.1, 30))
    def test_it_lies_where_the_two_lines_cross(self, times, delay):
        ours, theirs = blocks(OURS, 1e-3, start=1 + delay), blocks(THEIRS, times * 1e-3)
        (found,) = break_evens(entry_of(ours), entry_of(theirs), "train")
        assert found.steps is not None
        n = found.steps.estimate
        assert 1 + delay + n * 1e-3 == pytest.approx(1 + n * times * 1e-3, rel=1e-3)


def single(setup, block, readings):
    (sample, *_) = make_phase([1e-3]).samples
    samples = (sample.model_copy(update={"readings": tuple(readings)}),)
    phase = make_phase([1e-3], "train-latency").model_copy(update={"samples": samples})
    return make_record(setup, block, phases=(phase,))


class TestLatency:
    def test_percentiles_are_those_of_each_block(self):
        readings = [n * 1e-3 for n in range(1, 101)]
        found = latency({it: single(OURS, it, readings) for it in range(6)}, "train-latency")
        assert found is not None
        assert found.p50 is not None
        assert found.p99 is not None
        assert (found.p50.estimate, found.p99.estimate) == (0.05, 0.099)
        assert (found.maximum, found.readings, found.blocks) == (0.1, 600, 6)
        assert found.reason == ""

    def test_a_percentile_that_would_be_the_maximum_is_not_given(self):
        found = latency({0: single(OURS, 0, [1e-3] * 99)}, "train-latency")
        assert found is not None
        assert found.p95 is not None
        assert found.p99 is None
        assert "100 readings" in found.reason

    def test_without_single_readings_there_is_no_distribution(self):
        assert latency({0: make_record(OURS, 0, {"train": [1e-3]})}, "train") is None

    @given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=300), st.integers(1, 99))
    def test_at_least_that_share_does_not_exceed_it(self, readings, share):
        value = percentile(sorted(readings), share)
        assert value in readings
        assert sum(it <= value for it in readings) >= share * len(readings) / 100
        assert sum(it < value for it in readings) < share * len(readings) / 100

    def test_needed(self):
        assert [needed(it) for it in (50, 95, 99)] == [2, 20, 100]


class TestEfficiency:
    def limited(self, setup, peak, product=1e-4):
        limits = Limits(peak_flops=peak, product_seconds={"train": product})
        return {it: make_record(setup, it, {"train": [1e-3] * 5}, limits=limits) for it in range(6)}

    def test_by_hand(self):
        ours = self.limited(OURS, 2e10)
        peak = device_peak({OURS: ours, THEIRS: self.limited(THEIRS, 1e10)})
        assert peak is not None
        assert (peak.setup, peak.flops.estimate) == (OURS, 2e10)
        found = efficiency(TASK, "train", entry_of(ours), peak)
        assert found.of_peak is not None
        assert found.over_products is not None
        assert found.of_peak.estimate == pytest.approx(flops(TASK, "train") / 1e-3 / 2e10)
        assert found.over_products.estimate == pytest.approx(10)

    def test_what_was_not_measured_has_a_reason(self):
        plain = {0: make_record(OURS, 0, {"train": [1e-3]})}
        assert device_peak({OURS: plain}) is None
        found = efficiency(TASK, "train", entry_of(plain), None)
        assert (found.of_peak, found.over_products) == (None, None)
        assert "peak of the device" in found.reason
        assert "bare matrix products" in found.reason


class TestMemory:
    def peaks(self, memory, certificate=None, setup=OURS):
        found = {it: make_record(setup, it, {"train": [1e-3]}, memory=memory) for it in range(3)}
        return memory_peaks(TASK, Cell(setup=setup, phase="train"), found, certificate)

    def test_every_kind_by_itself(self):
        memory = Memory(incremental_peak_rss=3 * MB, total_peak_rss=200 * MB)
        certificate = make_certificate(OURS, logical_peak={"train": 2 * MB})
        found = self.peaks(memory, certificate)
        assert found.incremental_rss.bytes == 3 * MB
        assert found.total_rss.bytes == 200 * MB
        assert found.logical.bytes == 2 * MB
        assert found.least == least_bytes(TASK, "train", "float32")
        assert found.logical_over_least == pytest.approx(2 * MB / found.least)
        assert found.device_allocated.bytes is None
        assert found.device_allocated.reason == "runs on the CPU"

    def test_a_counter_that_reads_zero_does_not_count(self):
        memory = Memory(incremental_peak_rss=0, total_peak_rss=0)
        found = self.peaks(memory, make_certificate(OURS, logical_peak={"train": 0}))
        assert found.incremental_rss.bytes == 0  # a growth may be none
        assert found.total_rss.bytes is None
        assert found.logical.bytes is None
        assert "reads 0" in found.total_rss.reason
        assert "reads 0" in found.logical.reason

    @pytest.mark.parametrize(
        ("certificate", "reason"),
        [
            (None, "no certificate"),
            (make_certificate(OURS, logical_peak={}), "did not look at this phase"),
            (make_certificate(OURS, logical_peak={"train": None}), "keeps no account"),
        ],
    )
    def test_no_account_is_null_with_a_reason(self, certificate, reason):
        found = self.peaks(Memory(incremental_peak_rss=None, total_peak_rss=1), certificate)
        assert found.logical.bytes is None
        assert found.logical_over_least is None
        assert reason in found.logical.reason
        assert "could not be reset" in found.incremental_rss.reason
