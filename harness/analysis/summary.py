"""Everything the report shows, computed once: one `Summary` of a run's records."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.analysis.advice import Advice, advise
from harness.analysis.aggregate import Aggregate, aggregates
from harness.analysis.compare import BASELINE, Entry, baseline_of, entries
from harness.analysis.efficiency import impossible
from harness.analysis.grounds import grounds
from harness.analysis.idioms import Gain, gains
from harness.analysis.noise import ArenaNoise, arena_noise, margin
from harness.analysis.quality import QualityTable, TrainingRow, quality_table
from harness.analysis.ranking import Eligibility
from harness.analysis.rows import CellRow
from harness.analysis.stopping import Standing, standing_of
from harness.analysis.tables import Table, make_table
from harness.cells import LANES, PHASES, Setup
from harness.certificates import Certificate
from harness.records import Record, Run
from harness.tasks.frozen import Frozen
from harness.tasks.spec import Task

__all__ = ["BASELINE", "CellRow", "Failure", "Summary", "Table", "summarise", "summarise_run"]

Arena = tuple[str, str, str, int, str]
"""`Setup.arena`: task and digest come first."""


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
    means over tasks; `noise` and `standings` have one entry an arena, in the same order. `advice`
    has one entry a scenario, or none where there is no table.
    """

    tables: tuple[Table, ...]
    qualities: tuple[QualityTable, ...]
    failures: tuple[Failure, ...]
    idioms: tuple[Gain, ...] = ()
    aggregates: tuple[Aggregate, ...] = ()
    noise: tuple[ArenaNoise, ...] = ()
    standings: tuple[Standing, ...] = ()
    advice: tuple[Advice, ...] = ()

    @property
    def trainings(self) -> tuple[TrainingRow, ...]:
        """Every training of every setup."""
        return tuple(it for table in self.qualities for row in table.rows for it in row.trainings)


def summarise(
    tasks: Iterable[Task],
    records: Sequence[Record],
    certificates: Iterable[Certificate] = (),
    defaults: Mapping[str, str] | None = None,
    *,
    precision: float | None = None,
    least_blocks: int = 0,
) -> Summary:
    """All rows of a report. Tables stand in the order of tasks, their rows fastest first.

    Only setups with a passing certificate are ranked. `defaults` maps a framework to its default
    mode, which its idiomatic modes are compared with. `precision` and `least_blocks` are those of
    the run's early stop, if it had one.
    """
    # By name too: a user's copy of a task has the same digest under another name.
    known = {(task.name, task.digest): task for task in tasks}
    order = list(known)
    arenas: dict[Arena, list[Record]] = defaultdict(list)
    for record in records:
        arenas[record.setup.arena].append(record)
    eligibility = Eligibility(certificates)
    parts = [
        _Part(known[arena[0], arena[1]], arenas[arena], eligibility, defaults or {}, precision)
        for arena in sorted(arenas, key=lambda it: (order.index((it[0], it[1])), it[2:]))
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
        advice=advise([it for part in parts for it in part.grounds]),
    )


def summarise_run(run: Run, defaults: Mapping[str, str] | None = None) -> Summary:
    """The same of a stored run, with the certificates that its setups had."""
    config = run.info.config
    return summarise(
        run.tasks,
        run.records,
        run.certificates,
        defaults,
        precision=config.get("precision"),
        least_blocks=config.get("least_blocks", 0),
    )


class _Part:
    """What one arena adds to the summary."""

    def __init__(
        self,
        task: Task,
        records: Sequence[Record],
        eligibility: Eligibility,
        defaults: Mapping[str, str],
        precision: float | None,
    ) -> None:
        good = entries(records)
        contestants = [it for it in good.values() if not it.setup.twin]
        lanes: list[list[Entry]] = [
            own for lane in LANES if (own := [it for it in contestants if it.setup.lane == lane])
        ]
        eligibility.bar(impossible(task, contestants))
        self.rankable = [it for it in contestants if not eligibility.of_setup(it)]
        self.noise = arena_noise(records, good)
        floors = {it: self.noise.floors_of(it) for it in PHASES}
        made = [
            (table, lane)
            for lane in lanes
            for phase in PHASES
            if (table := make_table(task, phase, lane, eligibility, floors[phase], precision))
        ]
        self.tables = [table for table, _ in made]
        self.grounds = [grounds(table, lane, eligibility) for table, lane in made]
        self.idioms = [
            gain
            for phase in PHASES
            for gain in gains(phase, contestants, eligibility, defaults, margin(floors[phase]))
        ]
        self.qualities = [
            trained
            for lane in lanes
            if (
                trained := quality_table(
                    task,
                    {own.setup: own.records for own in lane},
                    [it for it in records if it.status == "diverged"],
                    baseline_of([own.setup.label for own in lane]),
                )
            )
        ]


def _failures(records: Sequence[Record]) -> list[Failure]:
    reasons: dict[tuple[Setup, str, str], list[Record]] = defaultdict(list)
    for it in records:
        if it.status != "ok":
            reasons[it.setup, it.status, it.error or ""].append(it)
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
