"""Timing inside a worker, with an adapter that only counts."""

from __future__ import annotations

import json
import math
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.adapter import DeviceMemory
from harness.runs.config import PRESETS
from harness.worker import measure
from harness.worker.loops import IdiomLoop, LatencyLoop, StepLoop
from harness.worker.measure import FEWEST_SECONDS, Diverged, OtherWork, PhaseRun, allowed, settle
from harness.worker.messages import Finish


class Counting:
    """Counts what it is asked; a step takes a given time, its loss is the number of steps."""

    def __init__(self, seconds: float = 0.0005) -> None:
        self.calls: list[str] = []
        self.steps = 0
        self._seconds = seconds

    def train_step(self, batch):
        self.calls.append(f"train {batch}")
        time.sleep(self._seconds)
        self.steps += 1
        return self.steps

    def predict(self, batch):
        self.calls.append(f"predict {batch}")
        return batch

    def fit(self, loader, steps):
        self.calls.append(f"fit {loader} {steps}")
        time.sleep(self._seconds * steps)
        return 1.5

    def reset(self):
        self.calls.append("reset")
        self.steps = 0

    def synchronize(self):
        self.calls.append("synchronize")

    def to_numpy(self, handle):
        return np.asarray(handle)

    def reset_device_memory(self):
        self.calls.append("reset device memory")

    def device_memory(self):
        return None


def stepping(adapter, batches="ab", phase="train") -> PhaseRun:
    step = adapter.train_step if phase == "train" else adapter.predict
    return PhaseRun(adapter, phase, StepLoop(step, batches), "float32")


def ready(run: PhaseRun, sample=0.005, warmup=0.01) -> PhaseRun:
    run.first_calls()
    run.warm_up(sample, warmup)
    return run


def test_a_peak_that_cannot_begin_anew_counts_where_it_is_the_largest_so_far():
    class Counted(Counting):
        peak = 0

        def reset_device_memory(self):
            return False

        def device_memory(self):
            return DeviceMemory(1, self.peak, None)

    adapter = Counted()
    for peak, phase, found in ((9, "train", 9), (9, "predict", None), (12, "train-latency", 12)):
        run = PhaseRun(adapter, phase, StepLoop(adapter.train_step, "ab"), "float32")
        run._open()
        adapter.peak = peak
        run._keep()
        assert run.record.memory.device_peak_allocated == found


def test_samples_go_through_other_batches_every_few_rounds():
    adapter, sets = Counting(), ("ab", "cd", "ef", "gh")
    run = PhaseRun(
        adapter, "train", StepLoop(adapter.train_step, "ab", sets.__getitem__), "float32"
    )
    ready(run)
    seen = []
    for round_ in range(4 * 4 + 1):
        adapter.calls.clear()
        run.sample(round_, 0)
        seen.append("".join(sorted({it[-1] for it in adapter.calls if it.startswith("train")})))
    assert seen == [it for it in sets for _ in range(4)] + ["ab"]
    # The loss of a set is compared with that of the same set only.
    assert run.losses.keys() == {0, 1, 2, 3}
    run.losses[0] += 1
    with pytest.raises(OtherWork):
        run.sample(0, 0)


def test_outputs_of_a_call_that_was_timed_are_kept():
    adapter, batches = Counting(), [np.full(1, it) for it in range(7)]
    run = ready(stepping(adapter, batches, "predict"), 0.0001)
    run.sample(0, 0)
    batch, outputs = run.kept[0]
    assert outputs == batch


def test_a_sample_begins_from_the_start_and_is_synchronised_once_at_its_end():
    # More batches than steps fit into a sample: where it goes on from is seen.
    adapter, batches = Counting(), "abcdefghijklm"
    run = ready(stepping(adapter, batches))
    adapter.calls.clear()
    sample = run.sample(3, 1)
    many = run.record.iterations
    assert run.waking < len(batches)
    steps = [f"train {batches[it % len(batches)]}" for it in range(run.waking + many)]
    untimed, timed = steps[: run.waking], steps[run.waking :]
    assert adapter.calls == ["reset", *untimed, "synchronize", *timed, "synchronize"]
    assert (sample.round, sample.turn, sample.iterations) == (3, 1, run.record.iterations)
    assert sample.loss == run.waking + run.record.iterations
    assert sample.readings == ()
    assert sample.seconds >= run.record.iterations * 0.0005
    assert sample.step_seconds == sample.seconds / run.record.iterations


def test_first_calls_warm_up_and_calibration_are_kept():
    adapter = Counting()
    run = stepping(adapter, "abc")
    run.first_calls()
    loaded = run.record
    assert adapter.calls[0] == "reset"
    assert [it for it in adapter.calls if "train" in it] == ["train a", "train b"]
    assert loaded.first_call >= 0.0005
    assert loaded.second_call >= 0.0005
    assert (loaded.warmup, loaded.iterations) == ((), 0)
    run.warm_up(0.05, 0.02)
    record = run.record
    assert (record.first_call, record.second_call) == (loaded.first_call, loaded.second_call)
    assert len(record.warmup) >= 20
    assert sum(record.warmup) >= 0.02
    assert record.staged_batches == 3
    # About 0.05 s of steps that take a little more than 0.5 ms.
    assert 1 <= record.iterations <= 100
    assert len([it for it in adapter.calls if it.startswith("train")]) == len(record.warmup) + 2


def test_a_warm_up_goes_through_all_batches():
    adapter = Counting()
    run = stepping(adapter, "abc")
    run.first_calls()
    adapter.calls.clear()
    run.warm_up(0.001, 0.01)
    seen = [it for it in adapter.calls if it.startswith("train")]
    assert seen[:5] == ["train a", "train b", "train c", "train a", "train b"]


def test_every_reading_of_the_warm_up_is_synchronised():
    adapter = Counting()
    run = ready(stepping(adapter, "a", "predict"), 0.001, 0.0001)
    steps = [it for it in adapter.calls if not it.startswith("reset")]
    # Each of the two parts begins with a reset that is synchronised by itself.
    assert steps.count("predict a") == len(run.record.warmup) + 2
    assert steps.count("synchronize") == len(run.record.warmup) + 2 + 2


def test_a_slow_step_is_not_warmed_up_for_ever():
    run = ready(stepping(Counting(0.03), "a"), 0.05, 0.001)
    assert len(run.record.warmup) == 1
    assert run.waking in (1, 2)
    # A little longer than asked for: see FEWEST_STEPS.
    assert run.record.iterations <= FEWEST_SECONDS / 0.03


def test_a_block_has_steps_enough_for_a_pause_at_every_fiftieth():
    run = ready(stepping(Counting(0.002), "a"), 0.004, 0.001)
    assert run.waking <= 2
    assert PRESETS["quick"]["rounds"] * run.record.iterations >= 3 * 50


class Disturbed(Counting):
    """Two steps of three take forty times as long."""

    def train_step(self, batch):
        self._seconds = 0.0005 if self.steps % 3 else 0.02
        return super().train_step(batch)


def test_a_neighbour_in_the_warm_up_does_not_make_samples_short():
    run = ready(stepping(Disturbed()), 0.05, 0.05)
    assert run.record.iterations > 0.05 / 0.005


def test_prediction_has_no_loss():
    assert ready(stepping(Counting(), "a", "predict")).sample(0, 0).loss is None


def test_of_a_latency_phase_every_iteration_is_synchronised_and_kept():
    adapter = Counting()
    loop = LatencyLoop(adapter.train_step, "ab", synchronize=adapter.synchronize)
    run = ready(PhaseRun(adapter, "train-latency", loop, "float32"))
    adapter.calls.clear()
    sample = run.sample(0, 0)
    many = run.record.iterations
    both = run.waking + many
    steps = [it for n in range(both) for it in (f"train {'ab'[n % 2]}", "synchronize")]
    waking, timed = steps[: 2 * run.waking], steps[2 * run.waking :]
    assert adapter.calls == ["reset", *waking, "synchronize", *timed, "synchronize"]
    assert len(sample.readings) == sample.iterations == many
    assert sum(sample.readings) <= sample.seconds
    assert min(sample.readings) >= 0.0005
    assert sample.loss == run.waking + sample.iterations


def test_a_sample_of_latencies_is_not_endless():
    adapter = Counting(0)
    loop = LatencyLoop(adapter.predict, "a", synchronize=adapter.synchronize)
    run = ready(PhaseRun(adapter, "predict-latency", loop, "float32"), 10.0, 0.001)
    assert run.record.iterations == 1000


def test_a_loop_of_the_frameworks_own_is_called_for_many_steps_at_once():
    adapter = Counting(0.0001)
    run = PhaseRun(adapter, "train", IdiomLoop(adapter.fit, "all", 20), "float32")
    run.first_calls()
    assert [it for it in adapter.calls if it.startswith("fit")] == ["fit all 1"] * 2
    adapter.calls.clear()
    run.warm_up(0.0005, 0.01)
    assert {it for it in adapter.calls if it.startswith("fit")} == {"fit all 20"}
    assert all(0.0001 <= it < 20 * 0.0001 for it in run.record.warmup)
    assert run.record.iterations == 20  # an epoch, though less would fill a sample
    adapter.calls.clear()
    sample = run.sample(0, 0)
    # What wakes it fits into a sample, an epoch does not.
    waking = adapter.calls.pop(1)
    assert waking in {f"fit all {it}" for it in range(1, 6)}
    assert adapter.calls == ["reset", "synchronize", "fit all 20", "synchronize"]
    assert sample.loss == 1.5
    assert run.record.staged_batches == 20


def test_the_least_of_an_own_loop_is_an_epoch_or_64_steps():
    assert IdiomLoop(lambda loader, steps: None, None, 7).fewest == 7
    assert IdiomLoop(lambda loader, steps: None, None, 900).fewest == 64


class Shifting(Counting):
    """Its loss is another after each reset, by the factors given."""

    def __init__(self, factors) -> None:
        super().__init__()
        self._factors = iter(factors)
        self._factor = 1.0

    def train_step(self, batch):
        return self._factor * super().train_step(batch)

    def reset(self):
        super().reset()
        self._factor = next(self._factors)


def test_a_sample_that_ends_with_another_loss_did_other_work():
    # Two resets come before the first sample.
    run = ready(stepping(Shifting([1, 1, 1, 1 + 1e-7, 1.01])))
    first, second = run.sample(0, 0), run.sample(1, 0)
    assert first.loss != second.loss
    with pytest.raises(OtherWork, match="a sample did other work than the one before"):
        run.sample(2, 0)


def test_a_loss_that_is_no_number_diverged():
    run = ready(stepping(Shifting([1, 1, math.nan])))
    with pytest.raises(Diverged, match="the training loss became nan"):
        run.sample(0, 0)


def test_what_may_differ_grows_with_the_steps_from_rounding_to_anything():
    assert allowed(2.0, 2.0, 0, "float32") == pytest.approx(2e-5)
    assert allowed(2.0, 2.0, 0, "float64") == pytest.approx(2e-9)
    # Measured: rounding alone moved losses by up to 3e-7 after 100 steps, 18 % after 1000.
    assert allowed(1.0, 1.0, 100, "float32") < 1e-4
    assert allowed(1.0, 1.0, 1000, "float32") > 0.2
    # A step more or less of a training that converges moves its loss by more than that.
    assert allowed(1.0, 0.99, 300, "float32") < 0.01


@given(st.floats(0, 1e3), st.floats(0, 1e3), st.integers(1, 10**7))
def test_what_may_differ_is_symmetric_and_finite(one, other, steps):
    bound = allowed(one, other, steps, "float32")
    assert bound == allowed(other, one, steps, "float32")
    assert 0 < bound < math.inf


class FakeTime:
    """A clock of a process with one thread more, which spins until a given moment."""

    def __init__(self, spins_until: float) -> None:
        self.now = 0.0
        self._spins_until = spins_until

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def others_work(self) -> bool:
        return self.now < self._spins_until


@pytest.mark.parametrize(
    ("spins", "settled"), [(0.0, 0.001), (0.1, 0.1), (0.1055, 0.106), (9.0, 1.0)]
)
def test_a_turn_ends_when_no_thread_works_any_more(monkeypatch, spins, settled):
    fake = FakeTime(spins)
    monkeypatch.setattr(measure, "time", fake)
    monkeypatch.setattr(measure.system, "others_work", fake.others_work)
    settle()
    assert fake.now == pytest.approx(settled, abs=0.0011)
    assert fake.now >= min(spins, measure.SETTLE_LIMIT)


def test_a_thread_that_never_rests_does_not_hold_the_turn(monkeypatch):
    monkeypatch.setattr(measure, "SETTLE_LIMIT", 0.05)
    rest = threading.Event()

    def spin():
        while not rest.is_set():
            pass

    spinner = threading.Thread(target=spin)
    spinner.start()
    settle()
    rest.set()
    spinner.join()


def test_a_worker_of_older_code_is_told_of_no_checks():
    assert set(json.loads(Finish(limits=True).model_dump_json())) == {"ask", "limits"}
    assert json.loads(Finish(checks=True).model_dump_json())["checks"]
