"""Everything the report shows, computed once: one `Summary` of a run's records.

Tasks were measured in different blocks, so their ratios err independently. The mean of their
logarithms gets its interval from theirs by the method of variance estimates recovery (Zou & Donner
2008, Statistics in Medicine 27, 1693): with estimates xₜ in (lₜ, uₜ) over T tasks, it reaches from
x̄ − √Σ(xₜ − lₜ)² ÷ T to x̄ + √Σ(uₜ − xₜ)² ÷ T. The tasks are those of the run, not a sample of all.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.adapter import FrameworkFacts
from harness.analysis.advice import Advice, advise, contenders
from harness.analysis.cell_metrics import impossible
from harness.analysis.noise import GroupNoise, group_noise, margin
from harness.analysis.pairs import Entry, entries, pair_of
from harness.analysis.quality import QualityTable, quality_table
from harness.analysis.ranking import Contest, barred, eligibility
from harness.analysis.stats import Interval, exp
from harness.analysis.stopping import Standing, standing_of
from harness.analysis.tables import CellRow, Table, make_table
from harness.analysis.verdicts import Pair, judged
from harness.cells import LANES, PHASES, Lane, Phase, Setup, is_training
from harness.certificates import Certificate
from harness.records import Record, Run
from harness.tasks.spec import Frozen, Task

__all__ = ["CellRow", "Failure", "Summary", "Table", "summarise", "summarise_run"]


def rebased(tables: Iterable[Table], records: Iterable[Record]) -> tuple[tuple[Table, ...], ...]:
    """For each table, made of these records, the same one against each of its other rows, in order.

    Break-evens stay those of the first baseline.
    """
    timed = entries(records)
    return tuple(_others(table, timed) for table in tables)


def _others(table: Table, timed: Mapping[Setup, Entry]) -> tuple[Table, ...]:
    rows = {row.cell.setup.label: timed[row.cell.setup] for row in table.rows}
    unranked = {row.cell.setup: row.unranked for row in table.rows}
    contest = Contest(rows, unranked, table.baseline, table.phase, table.margin, table.yardsticks)
    return tuple(
        table.model_copy(update=contest.against(label)) for label in rows if label != table.baseline
    )


class Gain(Frozen):
    """An idiomatic mode against the default mode of its framework's identical lane.

    The verdict of the `pair` is corrected over the gains of the same phase and group.
    """

    phase: Phase
    idiom: Setup
    plain: Setup
    pair: Pair


def gains(
    phase: Phase,
    entries: Iterable[Entry],
    unranked: Mapping[Setup, str],
    defaults: Mapping[str, str],
    margin: float,
) -> tuple[Gain, ...]:
    """Every idiomatic mode against its framework's default mode, or else the first by name."""
    timed = [entry for entry in entries if entry.steps[phase]]
    plains = [entry for entry in timed if entry.setup.lane != "idiomatic"]
    alone: list[Gain] = []
    reasons: dict[str, str] = {}
    for ours in (entry for entry in timed if entry.setup.lane == "idiomatic"):
        modes = {it.setup.mode: it for it in plains if it.setup.name == ours.setup.name}
        default = defaults.get(ours.setup.framework, "")
        theirs = modes[default if default in modes else min(modes)] if modes else None
        if theirs and (pair := pair_of(ours, theirs, phase, margin)):
            alone.append(Gain(phase=phase, idiom=ours.setup, plain=theirs.setup, pair=pair))
            if reason := barred(ours, theirs, unranked):
                reasons[pair.label] = reason
    pairs = judged([it.pair for it in alone], reasons)
    return tuple(
        gain.model_copy(update={"pair": it}) for gain, it in zip(alone, pairs, strict=True)
    )


LEAST_TASKS = 2


class Aggregate(Frozen):
    """The geometric mean of a setup's speed ratios over `tasks`, in one phase and lane.

    `missing` are tasks in which the two are not ranked against each other, or pauses deny their
    ratio. `speed.n` is the smallest number of blocks of any task.
    """

    phase: Phase
    lane: Lane
    device: str
    threads: int
    dtype: str
    label: str
    baseline: str
    speed: Interval
    tasks: tuple[str, ...]
    missing: tuple[str, ...]


def aggregates(tables: Iterable[Table]) -> tuple[Aggregate, ...]:
    """Every setup that is ranked against the same baseline in at least two tasks."""
    groups: dict[tuple[Phase, Lane, str, int, str], list[Table]] = defaultdict(list)
    for table in tables:
        groups[table.phase, table.lane, table.device, table.threads, table.dtype].append(table)
    return tuple(aggregate for group in groups.values() for aggregate in _aggregates(group))


def geometric_mean(speeds: Sequence[Interval]) -> Interval:
    """The geometric mean of independent ratios; without bounds where one of them has none."""
    logs = [math.log(speed.estimate) for speed in speeds]
    n, mean = len(logs), math.fsum(logs) / len(logs)
    below = [log - math.log(it.low) for it, log in zip(speeds, logs, strict=True) if it.low]
    above = [math.log(it.high) - log for it, log in zip(speeds, logs, strict=True) if it.high]
    ends = None
    if len(below) == len(above) == n:
        ends = exp(mean - math.hypot(*below) / n), exp(mean + math.hypot(*above) / n)
    least = min(speed.n for speed in speeds)
    return Interval.of(math.exp(mean), ends, least, "combined", "a task has no interval")


def _aggregates(tables: Sequence[Table]) -> list[Aggregate]:
    pairs: dict[tuple[str, str], dict[str, Pair]] = defaultdict(dict)
    for table in tables:
        for pair in table.pairs:
            if pair.verdict != "not ranked" and not pair.denied_by:
                pairs[pair.label, pair.baseline][table.task.name] = pair
    first, names = tables[0], [table.task.name for table in tables]
    return [
        Aggregate(
            phase=first.phase,
            lane=first.lane,
            device=first.device,
            threads=first.threads,
            dtype=first.dtype,
            label=label,
            baseline=baseline,
            speed=geometric_mean([pair.speed for pair in by_task.values()]),
            tasks=tuple(by_task),
            missing=tuple(name for name in names if name not in by_task),
        )
        for (label, baseline), by_task in pairs.items()
        if len(by_task) >= LEAST_TASKS
    ]


NO_FACTS = FrameworkFacts()
Group = tuple[str, str, str, int, str]
"""`Setup.group`: task and digest come first."""


class Failure(Frozen):
    """Trials of one setup that did not end well, for one reason."""

    setup: Setup
    status: str
    error: str
    trials: int
    stderr_tail: str


class Summary(Frozen):
    """All rows of a report.

    `idioms` is what the idiomatic lane gains over the identical one, `aggregates` are geometric
    means over tasks; `noise` and `standings` have one entry a group, in the same order. `advice`
    has one entry a scenario. `only_predict` are setups that do not train, in groups in which others
    do.
    """

    tables: tuple[Table, ...]
    qualities: tuple[QualityTable, ...]
    failures: tuple[Failure, ...]
    idioms: tuple[Gain, ...] = ()
    aggregates: tuple[Aggregate, ...] = ()
    noise: tuple[GroupNoise, ...] = ()
    standings: tuple[Standing, ...] = ()
    advice: tuple[Advice, ...] = ()
    only_predict: tuple[Setup, ...] = ()


def summarise(
    tasks: Iterable[Task],
    records: Sequence[Record],
    certificates: Iterable[Certificate] = (),
    facts: FrameworkFacts = NO_FACTS,
    *,
    precision: float | None = None,
    least_blocks: int = 0,
) -> Summary:
    """All rows of a report. Tables stand in the order of tasks, their rows fastest first.

    Only setups with a passing certificate are ranked. `facts` have the default modes of frameworks
    and the yardsticks. `precision` and `least_blocks` are those of the run's early stop, if it had
    one.
    """
    # By name too: a user's copy of a task has the same digest under another name.
    known = {(task.name, task.digest): task for task in tasks}
    order = list(known)
    groups: dict[Group, list[Record]] = defaultdict(list)
    for record in records:
        groups[record.setup.group].append(record)
    proofs = tuple(certificates)
    parts = [
        _Part(known[group[0], group[1]], groups[group], proofs, facts, precision)
        for group in sorted(groups, key=lambda it: (order.index((it[0], it[1])), it[2:]))
    ]
    tables = tuple(it for part in parts for it in part.tables)
    return Summary(
        tables=tables,
        qualities=tuple(it for part in parts for it in part.qualities),
        failures=tuple(_failures(records)),
        idioms=tuple(it for part in parts for it in part.idioms),
        aggregates=aggregates(tables),
        noise=tuple(part.noise for part in parts),
        standings=tuple(
            standing_of(part.rankable, precision=precision, least_blocks=least_blocks)
            for part in parts
        ),
        advice=advise([it for part in parts for it in part.contenders]),
        only_predict=tuple(it for part in parts for it in part.only_predict),
    )


def summarise_run(run: Run, facts: FrameworkFacts = NO_FACTS) -> Summary:
    config = run.info.config
    return summarise(
        run.tasks,
        run.records,
        run.certificates,
        facts,
        precision=config.get("precision"),
        least_blocks=config.get("least_blocks", 0),
    )


class _Part:
    """What one group adds to the summary."""

    def __init__(
        self,
        task: Task,
        records: Sequence[Record],
        certificates: Sequence[Certificate],
        facts: FrameworkFacts,
        precision: float | None,
    ) -> None:
        good = entries(records)
        entered = [entry for entry in good.values() if not entry.setup.twin]
        lanes = [[it for it in entered if it.setup.lane == lane] for lane in LANES]
        eligible = eligibility(entered, certificates, impossible(task, entered))
        unranked = {setup: it.unranked for setup, it in eligible.items()}
        self.only_predict = _only_predict(entered)
        self.rankable = [entry for entry in entered if not unranked[entry.setup]]
        self.noise = group_noise(records, good)
        floors = {it: tuple(n for n in self.noise.floors if n.phase == it) for it in PHASES}
        made = [
            make_table(task, phase, lane, eligible, floors[phase], precision, facts.references)
            for lane in lanes
            for phase in PHASES
        ]
        self.tables = [it[0] for it in made if it]
        self.contenders = [contenders(*it) for it in made if it]
        self.idioms = [
            gain
            for phase in PHASES
            for gain in gains(phase, entered, unranked, facts.defaults, margin(floors[phase]))
        ]
        diverged = [record for record in records if record.status == "diverged"]
        trained = [
            quality_table(task, {entry.setup: entry.records for entry in lane}, diverged)
            for lane in lanes
        ]
        self.qualities = [table for table in trained if table]


def _only_predict(entered: Sequence[Entry]) -> list[Setup]:
    """By their records alone: a store outlives the frameworks that are declared here."""

    def trains(entry: Entry) -> bool:
        phases = (phase.phase for record in entry.records for phase in record.phases)
        return any(map(is_training, phases)) or any(record.quality for record in entry.records)

    others = [entry.setup for entry in entered if not trains(entry)]
    return others if len(others) < len(entered) else []


def _failures(records: Sequence[Record]) -> list[Failure]:
    reasons: dict[tuple[Setup, str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.status != "ok":
            reasons[record.setup, record.status, record.error or ""].append(record)
    return [
        Failure(
            setup=setup,
            status=status,
            error=error,
            trials=len(trials),
            stderr_tail=next((it.stderr_tail for it in reversed(trials) if it.stderr_tail), ""),
        )
        for (setup, status, error), trials in reasons.items()
    ]
