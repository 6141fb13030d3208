"""When to run which block, and when to stop."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from harness.analysis.contention import by_block
from harness.analysis.noise import BlockNoise, block_noise
from harness.analysis.stopping import Standing, standing
from harness.cells import Setup
from harness.frameworks import phases_of
from harness.records import Record
from harness.runs.block import Block, is_trained
from harness.runs.config import RunConfig
from harness.runs.machine import cores
from harness.runs.plan import Group, Plan
from harness.tasks.costs import flops

GENERATION = 4
"""So many blocks in a row may share what their workers are forked from."""
MOST_ALONE = 9
"""In the first block of so many generations workers start one after the other, so that their starts
can be timed: enough for an exact interval that one outlier cannot widen."""
MOST_ADDED = 3
"""One block is added for noise to so many planned ones, at most."""
FINISHED, REACHED = "all blocks done", "precision reached"

# Rough figures for a first estimate only; after one block the run's own times take over.
START_SECONDS, SETTLE_SECONDS, STEP_OVERHEAD = 4.0, 0.01, 0.5e-3
FLOPS_PER_THREAD, FLOPS_OF_A_GPU = 1e10, 2e12


def blocks_with(starts: int) -> int | None:
    """The fewest blocks in which each worker starts alone so often; None where it never does."""
    return (starts - 1) * GENERATION + 1 if starts <= MOST_ALONE else None


@dataclass(eq=False)
class Course:
    """A group's way through its blocks, by the rules that the configuration declares.

    What is left depends on nothing but the records so far, so that a resumed run goes on as it
    would have. With a precision, a setup whose ratios are all known is `resting`: it takes part in
    trainings only, so that the time goes to the others. The ratios of `unranked` setups need not
    reach the precision.
    """

    group: Group
    config: RunConfig
    unranked: Collection[Setup] = frozenset()

    def __post_init__(self) -> None:
        self.done: dict[int, Sequence[Record]] = {}
        self._noise: dict[int, BlockNoise] = {}
        self.resting: frozenset[Setup] = frozenset()
        self.reached = False

    def learn(self, number: int, records: Sequence[Record]) -> None:
        """A block is done."""
        config = self.config
        self.done[number] = records
        everything = [it for of_block in self.done.values() for it in of_block]
        self._noise[number] = block_noise(records, by_block(everything).get(number))
        if config.precision is not None:
            so_far = [
                record
                for block in sorted(self.done)
                for record in self.done[block]
                if record.setup not in self.unranked
            ]
            now = standing(so_far, precision=config.precision, least_blocks=config.least_blocks)
            self.reached = now.reached
            self.resting = frozenset(_resting(self.group.setups, now))

    def noise(self, number: int) -> str:
        """Why a block that is done counts as noisy or disturbed; empty if it counts as neither.

        If no block is added for a noisy one, only a disturbance counts.
        """
        noise = self._noise[number]
        why = noise.disturbed or (noise.reason if self.config.repeat_noisy else "")
        return why and f"{noise.state}: {why}"

    @property
    def added(self) -> int:
        """Blocks added for noisy ones, as far as the rule allows."""
        if not self.config.repeat_noisy:
            return 0
        return min(self.config.blocks // MOST_ADDED, sum(map(bool, map(self.noise, self._noise))))

    def covers(self, number: int, records: Iterable[Record]) -> bool:
        """Whether these are all that the block was to have: a killed run began some only."""
        return {it.setup for it in records} >= set(self._block(number).setups)

    def left(self) -> list[Block]:
        """What is still to be run, in order."""
        numbers = range(self._planned + self.added)
        blocks = [self._block(number) for number in numbers if number not in self.done]
        return [it for it in blocks if it.setups and (it.phases or it.trains)]

    @property
    def _planned(self) -> int:
        return max(self.config.blocks, self.config.seeds)

    def _block(self, number: int) -> Block:
        config = self.config
        # A seed beyond the timed blocks has one without timing; added blocks follow those.
        timed = not self.reached and (number < config.blocks or number >= self._planned)
        trains = number < config.seeds
        resting = frozenset() if trains else self.resting
        generation, place = divmod(number, GENERATION)
        return Block(
            number=number,
            task=self.group.task,
            # Without timing a twin has nothing to do, nor a framework that only predicts.
            setups=tuple(
                it for it in self.group.setups if it not in resting and (timed or is_trained(it))
            ),
            phases=config.phases if timed else (),
            rounds=config.rounds,
            seed=number,
            trains=trains,
            alone=place == 0 and generation < MOST_ALONE,
            sample_seconds=config.sample_seconds,
            warmup_seconds=config.warmup_seconds,
            memory_limit=config.memory_limit,
            generation=generation,
            more=max(0, min(GENERATION - place, config.blocks - number) - 1),
        )


def _resting(setups: Iterable[Setup], now: Standing) -> list[Setup]:
    """The setups whose ratios are all known; others go on with their baseline and its twin.

    A setup without a ratio after so many blocks will get none.
    """
    if now.blocks < now.least_blocks:
        return []
    open_ = [it for it in now.widths if not (it.known and it.calm >= now.least_blocks)]
    going_on = {(it.lane, label) for it in open_ for label in (it.label, it.baseline)}
    return [it for it in setups if (it.lane, it.original.label) not in going_on]


def courses(plan: Plan, unranked: Collection[Setup] = frozenset()) -> list[Course]:
    return [Course(group, plan.config, unranked) for group in plan.groups]


def following(
    all_courses: Iterable[Course], fits: Callable[[Block], bool] = lambda block: True
) -> tuple[Course, Block] | None:
    """What runs next: one block of every group before the second of any, so that a budget that
    ends early has cut all of them alike. A group whose next block `fits` no more holds up none
    whose block does."""
    waiting = [(course, left[0]) for course in all_courses if (left := course.left())]
    fitting = [it for it in waiting if fits(it[1])]
    return min(fitting, key=lambda it: it[1].number, default=None)


def verdict(all_courses: Sequence[Course]) -> str:
    """The rule that ended a run in which nothing is left."""
    reached = sum(course.reached for course in all_courses)
    if reached in (0, len(all_courses)):
        return REACHED if reached else FINISHED
    return f"{REACHED} in {reached} of {len(all_courses)} comparisons, {FINISHED} in the others"


class Clock:
    """How long blocks take: guessed before any has run, learnt from then on."""

    def __init__(self) -> None:
        self._cores = cores()
        # Seconds by kind of block; and by group how far each guess was off.
        self._took: dict[tuple[object, ...], list[float]] = defaultdict(list)
        self._off: dict[tuple[object, ...], list[float]] = defaultdict(list)

    def learn(self, block: Block, seconds: float) -> None:
        self._took[_kind(block)].append(seconds)
        self._off[block.group].append(seconds / self._guess(block))

    def expected(self, block: Block) -> float:
        """Seconds that a block will take."""
        if took := self._took[_kind(block)]:
            return statistics.fmean(took)
        return self._guess(block) * statistics.fmean(self._off[block.group] or [1.0])

    def _guess(self, block: Block) -> float:
        workers = len(block.setups)
        starts = workers if block.alone else max(1.0, workers / self._cores)
        trained = sum(map(is_trained, block.setups)) if block.trains else 0
        step = _step_seconds(block)
        # Half of a turn wakes the worker; after the turn its threads come to rest.
        turns = block.rounds * (2 * max(block.sample_seconds, step) + SETTLE_SECONDS)
        phase = turns + max(block.warmup_seconds, 10 * step)
        phases = sum(len(phases_of(it.framework, block.phases)) for it in block.setups)
        epochs = trained * block.task.epochs
        return START_SECONDS * starts + phases * phase + epochs * block.task.steps_per_epoch * step


def _kind(block: Block) -> tuple[object, ...]:
    """What the time of a block depends on."""
    return (*block.group, block.alone, block.phases, block.trains, len(block.setups))


def _step_seconds(block: Block) -> float:
    setup = block.setups[0]
    per_second = FLOPS_PER_THREAD * setup.threads if setup.device == "cpu" else FLOPS_OF_A_GPU
    return flops(block.task, "train") / per_second + STEP_OVERHEAD


def planned_seconds(plan: Plan) -> float:
    """A guess before anything has run: of all blocks, though a precision may need fewer."""
    clock = Clock()
    return sum(clock.expected(block) for course in courses(plan) for block in course.left())
