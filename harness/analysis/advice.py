"""Which setup to choose, scenario by scenario, as far as the tables decide it.

A rule answers for one table at a time. What holds in all tables of a scenario is the advice; where
they differ, that is the advice. A setup is recommended alone only if it wins its table. Otherwise
`blocks_for` and `starts_for` estimate how much more measuring would decide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, NamedTuple

from harness.analysis.cell_metrics import Amount, scarce
from harness.analysis.ranking import Contest, taken_back
from harness.analysis.startup import EACH, HeadStart, head_start
from harness.analysis.stats import FEWEST, LEAST_EXACT, half_width, least_blocks_for, least_exact
from harness.analysis.tables import Table
from harness.analysis.verdicts import LEAST_MARGIN, Pair
from harness.cells import THROUGHPUT
from harness.tasks.spec import Frozen


class Contenders(NamedTuple):
    """The contestants of one table: its leader and its first starter, each against all others.

    The leader is the winner, or else the first of the rows; `rivals` are its pairs, each judged by
    itself. `first` starts in the shortest median time, None where no start was timed, or some began
    with another phase; `head_starts` are its leads. Setups that share no block with them are
    missing.
    """

    table: Table
    leader: str | None
    rivals: tuple[Pair, ...]
    first: str | None
    head_starts: tuple[HeadStart, ...]

    @property
    def ranked(self) -> tuple[str, ...]:
        return self.table.contestants


def contenders(table: Table, contest: Contest) -> Contenders:
    """Those of a table; `contest` has its pairs."""
    timed, ranked = contest.timed, table.contestants
    starts = {
        row.cell.setup.label: start.total.estimate
        for row in table.rows
        for start in row.starts[:1]
        if row.cell.setup.label in ranked and start.total and not start.cold
    }
    records = (record for entry in timed.values() for record in entry.records)
    if any(it.phases and it.phases[0].phase != table.phase for it in records):
        starts = {}  # a setup that only predicts begins with that, others with their training
    leader = table.winner or next(iter(ranked), None)
    first = min(starts, key=lambda it: (starts[it], it), default=None)
    others = [timed[label] for label in ranked if label != first]
    leads = [head_start(timed[first], other, table.phase) for other in others] if first else []
    return Contenders(
        table=table,
        leader=leader,
        rivals=contest.rivals(leader) if leader else (),
        first=first,
        head_starts=tuple(lead for lead in leads if lead),
    )


LARGE_BATCH = 1024
"""Examples a step from which on a batch counts as large."""
ScenarioName = Literal["short", "long", "single", "large", "memory", "gpu"]
Kind = Literal["one", "even", "cannot tell", "alone"]
Evidence = Literal["speed", "phases", "memory"]


class Answer(Frozen):
    """What one table says for a scenario; `table` is its place among the summary's tables.

    `one`: the setup in `labels` beats every other. `even`: all but those in `labels` are behind the
    first of them, and between it and the rest of them is no difference that matters. `cannot tell`:
    the first of `labels` seems best, but does not surely beat the rest. `alone`: at most one may be
    ranked.

    `pair` or `lead` is the comparison that was closest to another answer, or the first that decides
    nothing. The answer holds for `steps` of a short experiment, None where for ever. `disturbed`
    says what others did in too many blocks of the table.
    """

    table: int
    kind: Kind
    labels: tuple[str, ...]
    pair: Pair | None = None
    lead: HeadStart | None = None
    steps: float | None = None
    disturbed: str = ""


class Advice(Frozen):
    """The advice for one scenario, and the findings that it rests on.

    `setups` is recommended in every table: one setup where `kind` is `one`, several without a
    difference that matters where it is `even`, else none. `differs`: the findings are not the same.
    The advice holds for `steps` of a short experiment, None where for ever.
    """

    scenario: ScenarioName
    evidence: Evidence
    kind: Kind | Literal["differs", "not measured"]
    setups: tuple[str, ...]
    findings: tuple[Answer, ...]
    steps: float | None = None


def advise(cases: Sequence[Contenders]) -> tuple[Advice, ...]:
    """One advice a scenario, `cases` in the order of the summary's tables; none without tables."""
    return tuple(_advice(it, cases) for it in SCENARIOS) if cases else ()


class Scenario(NamedTuple):
    """A rule: to which tables it applies, and what it finds in one of them."""

    name: ScenarioName
    evidence: Evidence
    applies: Callable[[Contenders], bool]
    answer: Callable[[int, Contenders], Answer]


def _advice(scenario: Scenario, cases: Sequence[Contenders]) -> Advice:
    findings = [_answer(scenario, n, it) for n, it in enumerate(cases) if scenario.applies(it)]
    answers = {(it.kind, frozenset(it.labels)) for it in findings}
    kinds = {it.kind for it in findings}
    kind: Kind | Literal["differs", "not measured"] = "differs"
    if not findings:
        kind = "not measured"
    elif len(answers) == 1 or kinds in ({"cannot tell"}, {"alone"}):
        kind = findings[0].kind
    return Advice(
        scenario=scenario.name,
        evidence=scenario.evidence,
        kind=kind,
        setups=findings[0].labels if kind in ("one", "even") else (),
        findings=tuple(findings),
        steps=min((it.steps for it in findings if it.steps is not None), default=None),
    )


def _answer(scenario: Scenario, number: int, case: Contenders) -> Answer:
    """What the scenario finds; nothing in a table that others disturbed."""
    if reason := case.table.disturbed:
        return Answer(table=number, kind="cannot tell", labels=case.ranked, disturbed=reason)
    return scenario.answer(number, case)


def fastest(number: int, case: Contenders) -> Answer:
    """By the verdicts on steady steps."""
    leader, ranked, rivals = case.leader, case.ranked, case.rivals
    if leader is None or len(ranked) < 2:
        return Answer(table=number, kind="alone", labels=ranked)
    if case.table.winner:
        closest = min(rivals, key=lambda it: it.speed.estimate, default=None)
        return Answer(table=number, kind="one", labels=(case.table.winner,), pair=closest)
    alike = [it for it in rivals if it.verdict == "equivalent"]
    beaten = [it.baseline for it in rivals if it.verdict == "faster"]
    if alike and len(alike) + len(beaten) == len(ranked) - 1:
        labels = (leader, *(it.baseline for it in alike))
        if not _doubted(case, beaten) and not called_slower(case.table) & set(labels):
            widest = max(alike, key=lambda it: it.hidden or 0)
            return Answer(table=number, kind="even", labels=labels, pair=widest)
    open_ones = [it for it in ranked if it not in (leader, *beaten)]
    undecided = next((it for it in rivals if it.baseline in open_ones), None)
    labels = (leader, *open_ones)
    return Answer(table=number, kind="cannot tell", labels=labels, pair=undecided)


def called_slower(table: Table) -> set[str]:
    """The contestants that are slower than another in the table's rows."""
    slower = {it.label for it in table.contest if it.verdict == "slower"}
    return slower | {it.baseline for it in table.contest if it.verdict == "faster"}


def _doubted(case: Contenders, beaten: Iterable[str]) -> bool:
    """Whether a row of the table takes back that the leader beats these."""
    assert case.leader is not None
    rows = [it for it in case.table.contest if {it.label, it.baseline} & set(beaten)]
    return taken_back(case.leader, case.table.baseline, rows) is not None


def earliest(number: int, case: Contenders) -> Answer:
    """By which is under way first, and for how long that is a lead."""
    others = [label for label in case.ranked if label != case.first]
    if case.first is None or not others:
        return Answer(table=number, kind="alone", labels=case.ranked)
    sure = {it.other for it in case.head_starts if it.steps is None or it.steps >= 1}
    doubtful = [label for label in others if label not in sure]
    leads = sorted(case.head_starts, key=lambda it: (it.other in sure, it.seconds.estimate))
    return Answer(
        table=number,
        kind="cannot tell" if doubtful else "one",
        labels=(case.first, *doubtful),
        lead=leads[0] if leads and (not doubtful or leads[0].other in doubtful) else None,
        steps=min((it.steps for it in leads if it.steps is not None), default=None),
    )


def weighed(table: Table) -> tuple[str, dict[str, Amount]]:
    """The kind of memory that is scarce, and the peak of every contestant that has its count."""
    rows = [it for it in table.rows if it.cell.setup.label in table.contestants]
    kind = scarce(table.device, [it.peaks for it in rows])
    peaks = {it.cell.setup.label: getattr(it.peaks, kind) for it in rows}
    return kind, {label: it for label, it in peaks.items() if it.bytes is not None}


def leanest(number: int, case: Contenders) -> Answer:
    """By the peak of the memory that is scarce."""
    _, peaks = weighed(case.table)
    if len(case.ranked) < 2 or len(peaks) < len(case.ranked):
        kind: Kind = "alone" if len(case.ranked) < 2 else "cannot tell"
        return Answer(table=number, kind=kind, labels=case.ranked)
    least, *others = sorted(peaks, key=lambda it: (peaks[it].bytes, it))
    kinds = {label: _less(peaks[least], peaks[label]) for label in others}
    alike = [label for label, kind in kinds.items() if kind == "even"]
    close = [label for label, kind in kinds.items() if kind == "cannot tell"]
    kind = "cannot tell" if close else "even" if alike else "one"
    return Answer(table=number, kind=kind, labels=(least, *alike, *close))


def _less(ours: Amount, theirs: Amount) -> Kind:
    """`one` if no count reaches the other's; `even` if all lie within what makes no difference."""
    mine, others = ours.reach, theirs.reach
    if not (mine and others):
        return "cannot tell"
    if max(mine[1], others[1]) <= min(mine[0], others[0]) * (1 + LEAST_MARGIN):
        return "even"
    return "one" if mine[1] < others[0] else "cannot tell"


def _single(case: Contenders) -> bool:
    by_batch = case.table.phase == "predict" and case.table.task.batch == 1
    return by_batch or case.table.phase == "predict-latency"


def _large(case: Contenders) -> bool:
    return case.table.phase in THROUGHPUT and case.table.task.batch >= LARGE_BATCH


def _weighed(case: Contenders) -> bool:
    """A process that trains and predicts is weighed once, in the phase that it began with."""
    began = case.table.phase == "train" or (case.table.phase == "predict" and case.first)
    return bool(began and weighed(case.table)[1])


SCENARIOS = (
    Scenario("short", "phases", lambda it: it.first is not None, earliest),
    Scenario("long", "speed", lambda it: it.table.phase == "train", fastest),
    Scenario("single", "speed", _single, fastest),
    Scenario("large", "speed", _large, fastest),
    Scenario("memory", "memory", _weighed, leanest),
    Scenario("gpu", "speed", lambda it: it.table.device.startswith("gpu"), fastest),
)


MOST_BLOCKS = 200
"""Beyond so many a quieter machine is the better way."""


def blocks_for(pair: Pair, table: Table) -> int | None:
    """Blocks that would probably decide a pair of the table; None where it takes too many.

    Beyond the fewest that the exact tests of all rows need, an interval narrows as the square root
    of their number grows, until it excludes 1 or lies within the margin.
    """
    least = least_blocks_for(sum(it.verdict != "not ranked" for it in table.pairs) or 1)
    half = half_width(pair.speed)
    if pair.n < least or half is None:
        return least
    distance = abs(math.log(pair.speed.estimate))
    wanted = max(distance, math.log1p(pair.margin) - distance)
    needed = MOST_BLOCKS
    if half < wanted * MOST_BLOCKS:
        needed = math.ceil(pair.n * (half / wanted) ** 2)
    return max(needed, pair.n + 1) if needed < MOST_BLOCKS else None


def starts_for(finding: Answer, table: Table, evidence: Evidence) -> int | None:
    """Starts of each setup that would probably decide a finding; None where more would not."""
    if evidence == "phases":
        done, exact = (finding.lead.n if finding.lead else 0), least_exact(EACH)
    else:
        counts = weighed(table)[1]
        done = min((counts[it].n for it in finding.labels if it in counts), default=0)
        exact = LEAST_EXACT
    return next((number for number in (FEWEST, exact) if number > done), None)
