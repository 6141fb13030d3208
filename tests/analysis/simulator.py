"""Workers whose times are given: thousands of runs under every kind of noise, in NumPy, seeded.

A run has blocks, a block has rounds, and in a round every worker takes one turn, in an order drawn
anew. What a turn takes is the worker's step time, times what its process is like (memory lies
elsewhere in each), times what the machine does just then, times the sample's own noise. Everything
is on the logarithmic scale: 0.03 is 3 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis.stopping import known
from harness.records import Record
from tests.builders import make_record, make_setup

Logs = NDArray[np.float64]
ROUNDS = 10
MEASURED_SD = 0.0145
"""Of the block log ratio: eight A/A blocks of one PyTorch cell on the machine of the project."""
# Together they give MEASURED_SD: see `test_the_simulated_noise_is_what_was_measured`.
PROCESS_SD, SAMPLE_SD = 0.0085, 0.0152


@dataclass(frozen=True)
class Shape:
    """How many there are of each; `turns` are the places of all turns of a block, in time."""

    runs: int
    blocks: int
    workers: int
    rounds: int = ROUNDS

    @property
    def processes(self) -> tuple[int, int, int, int]:
        return (self.runs, self.blocks, 1, self.workers)

    @property
    def samples(self) -> tuple[int, int, int, int]:
        return (self.runs, self.blocks, self.rounds, self.workers)


Noise = Callable[[Shape, np.random.Generator], Logs]
"""Log step times, (runs, blocks, rounds, workers), of workers that are equally fast."""


def simulate(kind: str, shape: Shape, seed: int) -> Logs:
    """Log step times of one kind of noise, (runs, blocks, rounds, workers)."""
    return KINDS[kind](shape, np.random.default_rng(seed))


def block_logs(times: Logs, ours: int = 1, theirs: int = 0) -> Logs:
    """(runs, blocks): how many times as fast ours is, as `compare.log_ratios` has it."""
    ratios: Logs = np.median(times[..., theirs] - times[..., ours], axis=2)
    return ratios


def stopped(rows: Sequence[Sequence[float]], precision: float, least: int) -> int:
    """The blocks after which a run ends whose rows all have to be known; at most all of them."""
    most = len(rows[0])
    return next(
        (n for n in range(least, most) if all(known(it[:n], precision, least) for it in rows)), most
    )


def as_records(
    times: Logs, labels: Sequence[str], step: float = 1e-3, **setup: Any
) -> list[Record]:
    """One run's records from its log step times, (blocks, rounds, workers)."""
    return [
        make_record(
            make_setup(label=label, **setup),
            block,
            {"train": [step * float(it) for it in np.exp(times[block, :, worker])]},
        )
        for block in range(len(times))
        for worker, label in enumerate(labels)
    ]


def _measured(shape: Shape, rng: np.random.Generator, sample_sd: float = SAMPLE_SD) -> Logs:
    """What every kind has: processes that differ, samples that do, a machine that others share."""
    day = rng.normal(0, 0.1, (shape.runs, shape.blocks, 1, 1))
    process = rng.normal(0, PROCESS_SD, shape.processes)
    logs: Logs = day + process + rng.normal(0, sample_sd, shape.samples)
    return logs


def _in_turns(state: Logs, shape: Shape, rng: np.random.Generator) -> Logs:
    """The machine's state by place in time, dealt to the workers in the order of each round."""
    by_round = state.reshape(shape.samples)
    order = np.argsort(rng.random(shape.samples), axis=3)
    return np.take_along_axis(by_round, order, axis=3)


def _drift(shape: Shape, rng: np.random.Generator) -> Logs:
    """The machine wanders by 1 % from turn to turn."""
    turns = (shape.runs, shape.blocks, shape.rounds * shape.workers)
    walk = np.cumsum(rng.normal(0, 0.01, turns), axis=2)
    return _measured(shape, rng) + _in_turns(walk, shape, rng)


def _autocorrelated(shape: Shape, rng: np.random.Generator) -> Logs:
    """A worker's samples resemble its last ones: 3.3 % with a correlation of 0.62, as measured."""
    correlation, deviation = 0.62, 0.033
    noise = rng.normal(0, deviation, shape.samples)
    for number in range(1, shape.rounds):
        fresh = noise[:, :, number] * np.sqrt(1 - correlation**2)
        noise[:, :, number] = correlation * noise[:, :, number - 1] + fresh
    return _measured(shape, rng, 0.0) + noise


def _outliers(shape: Shape, rng: np.random.Generator) -> Logs:
    """One turn in twenty takes half as long again, one process in ten is a tenth slower."""
    turns = rng.exponential(0.5, shape.samples) * (rng.random(shape.samples) < 0.05)
    processes = rng.exponential(0.1, shape.processes) * (rng.random(shape.processes) < 0.1)
    return _measured(shape, rng) + turns + processes


def _bimodal(shape: Shape, rng: np.random.Generator) -> Logs:
    """Three processes in ten are 4 % slower from start to end."""
    return _measured(shape, rng) + 0.04 * (rng.random(shape.processes) < 0.3)


def _bimodal_one(shape: Shape, rng: np.random.Generator) -> Logs:
    """The same of the second worker only."""
    slow = 0.04 * (rng.random(shape.processes) < 0.3)
    slow[..., np.arange(shape.workers) != 1] = 0
    return _measured(shape, rng) + slow


def _slow_warm_up(shape: Shape, rng: np.random.Generator) -> Logs:
    """Every process begins up to half slower and settles within about three rounds."""
    return _measured(shape, rng) + _rise(shape, rng)


def _rise(shape: Shape, rng: np.random.Generator) -> Logs:
    height = rng.exponential(0.2, shape.processes)
    length = rng.uniform(0.5, 3, shape.processes)
    rounds = np.arange(shape.rounds)[:, None]
    rise: Logs = height * np.exp(-rounds / length)
    return rise


def _slow_warm_up_one(shape: Shape, rng: np.random.Generator) -> Logs:
    """The same of the second worker only."""
    warm = _measured(shape, rng)
    one = Shape(shape.runs, shape.blocks, 1, shape.rounds)
    warm[..., 1:2] += _rise(one, rng)
    return warm


def _neighbour(shape: Shape, rng: np.random.Generator) -> Logs:
    """Another process comes for three turns or so, every ten, and slows them by 20 to 80 %."""
    turns = (shape.runs, shape.blocks, shape.rounds * shape.workers)
    busy = np.zeros(turns, dtype=bool)
    change = rng.random(turns)
    for place in range(1, turns[2]):
        last = busy[:, :, place - 1]
        busy[:, :, place] = np.where(last, change[:, :, place] > 0.3, change[:, :, place] < 0.1)
    burst = busy * rng.uniform(0.2, 0.6, turns)
    return _measured(shape, rng) + _in_turns(burst, shape, rng)


KINDS: dict[str, Noise] = {
    "measured": _measured,
    "drift": _drift,
    "autocorrelated": _autocorrelated,
    "outliers": _outliers,
    "bimodal": _bimodal,
    "bimodal, one worker": _bimodal_one,
    "slow warm-up": _slow_warm_up,
    "slow warm-up, one worker": _slow_warm_up_one,
    "noisy neighbour": _neighbour,
}
SYMMETRIC = tuple(kind for kind in KINDS if not kind.endswith("one worker"))
"""Kinds that treat all workers alike, so that the true ratio of equals is 1."""
