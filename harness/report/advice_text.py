"""The advice of a summary in words, with links to its tables, and the commands that it suggests.

Only commands are suggested that `run` accepts, for this run and its machine.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from harness.analysis.advice import (
    LARGE_BATCH,
    MOST_BLOCKS,
    Advice,
    Answer,
    Evidence,
    ScenarioName,
    blocks_for,
    starts_for,
    weighed,
)
from harness.analysis.cell_metrics import Amount
from harness.analysis.sentences import DIRECTLY, doubt, listed, pair_sentence, ratio
from harness.analysis.stats import FEWEST, percent
from harness.analysis.summary import Summary, Table
from harness.analysis.verdicts import LEAST_MARGIN
from harness.cells import THROUGHPUT
from harness.records import Run
from harness.report import format as fmt
from harness.report.columns import grouped
from harness.report.safe_text import line
from harness.report.style import Places, lane_mark
from harness.runs.schedule import REACHED, blocks_with
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.variants import origin


class Choice(NamedTuple):
    """What to choose in one scenario, and why; `anchors` are its tables, each with a text."""

    scenario: str
    answer: str
    because: str
    anchors: tuple[tuple[str, str], ...]


LARGER_BATCH = 2 * LARGE_BATCH
LARGE_TASK = "digits-mlp"
"""Comes with what is installed, and has rows for a large batch."""
QUIETER = "more blocks would not; a quieter machine may"
REPLACED = ("--blocks", "--precision", "--budget")
"""Options of a run's own command that a suggestion gives anew."""
UNMEASURED = {
    "short": "No start was timed by itself.",
    "memory": "No peak of a whole process was counted.",
    "long": "No training steps were timed; --phase train does that.",
    "single": "No prediction of one example at a time was timed; --phase latency does that.",
}


def unmeasured(scenario: ScenarioName, run: Run) -> str:
    """Why there is no advice for a scenario, and what would measure it here."""
    if scenario == "large":
        # A task with training rows for a large batch, of this run if it has one.
        names = [origin(it.name)[0] for it in run.tasks]
        known = [CATALOGUE[it] for it in (*names, LARGE_TASK) if it in CATALOGUE]
        task = next(it for it in known if it.data.shape.train >= LARGE_BATCH)
        batch = LARGER_BATCH if task.data.shape.train >= LARGER_BATCH else LARGE_BATCH
        command = f"-t {task.name} --set batch_size={batch}"
        return f"No batch here has {LARGE_BATCH:,} examples or more; {command} does."
    if scenario == "gpu":
        if any(facts.get("gpus") for facts in run.info.machines.values()):
            return "All of it ran on the CPU; --device gpu measures on the GPU."
        return "All of it ran on the CPU, and no GPU was found."
    return UNMEASURED[scenario]


def blocks_to_decide(evidence: Evidence, finding: Answer, table: Table) -> int | None:
    """Blocks of a run that would probably decide a finding; None where more would not."""
    if evidence == "speed":
        return blocks_for(finding.pair, table) if finding.pair else None
    starts = starts_for(finding, table, evidence)
    return None if starts is None else blocks_with(starts)


def way(blocks: int | None, evidence: Evidence) -> str:
    """What may decide something, in a few words."""
    if blocks is None:
        return "more blocks would not tell" if evidence == "memory" else QUIETER
    return f"--blocks {blocks} may decide it"


def to_decide(run: Run, summary: Summary) -> str:
    """A command for all that this run left undecided; empty where nothing is open."""
    needed = list(_needed(summary))
    blocks = [it for it in needed if it is not None]
    if not blocks:
        return f"{QUIETER} ({MOST_BLOCKS} blocks and more)" if needed else ""
    options = _options(run, max(blocks), summary)
    words = list(run.info.command)
    if run.info.merged or "run" not in words or any(it.startswith("--resume") for it in words):
        return f"a run like this one with {shlex.join(options)}"
    return shlex.join([*_without(words, REPLACED), *options])


def _needed(summary: Summary) -> Iterator[int | None]:
    """Blocks for each thing that is undecided; None where more would not decide it."""
    for table in summary.tables:
        for pair in table.pairs:
            if pair.verdict == "cannot tell" and not pair.denied_by:
                yield blocks_for(pair, table)
    for advice in summary.advice:
        for finding in advice.findings:
            denied = finding.pair and finding.pair.denied_by
            if finding.kind == "cannot tell" and not denied:
                yield blocks_to_decide(advice.evidence, finding, summary.tables[finding.table])


def _options(run: Run, blocks: int, summary: Summary) -> list[str]:
    """With a precision or a budget a run may end before its blocks do."""
    config = run.info.config
    precision, budget = config.get("precision"), config.get("budget")
    done = max((it.blocks for it in summary.standings), default=0) or 1
    options = ["--blocks", str(blocks)]
    if precision:
        options[1] = str(max(blocks, config.get("blocks", 0)))
        sharper = precision / 2 if run.stopped_by and REACHED in run.stopped_by else precision
        options += ["--precision", f"{100 * sharper:g}%"]
    if budget:
        options += ["--budget", f"{math.ceil(budget * max(2, blocks / done))}s"]
    return options


def _without(words: Sequence[str], options: Sequence[str]) -> Iterator[str]:
    """A command without some options and their values."""
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in options:
            skip = True
        elif not word.startswith(tuple(f"{it}=" for it in options)):
            yield word


TITLES = {
    "short": "Short experiments that start often",
    "long": "Long training",
    "single": "Inference of one example at a time",
    "large": "Large batches",
    "memory": "Tight memory",
    "gpu": "Work on a GPU",
}
DEPENDS, UNDECIDED, UNKNOWN = "It depends", "Cannot tell", "Not measured here"
NAMED = 3
"""Tables that are named one by one; of more, only the number of the others is given."""


def choices(run: Run, summary: Summary) -> tuple[Choice, ...]:
    """One choice a scenario; none where nothing was measured."""
    places = Places(summary)
    return tuple(_Wording(run, summary.tables, places, it).choice() for it in summary.advice)


class _Wording:
    """One advice in words, among the tables that it is about."""

    def __init__(self, run: Run, tables: Sequence[Table], places: Places, advice: Advice) -> None:
        self._run, self._tables, self._places, self._advice = run, tables, places, advice

    def choice(self) -> Choice:
        answer, because = self._answer()
        return Choice(
            scenario=TITLES[self._advice.scenario],
            answer=line(answer),
            because=line(because),
            anchors=tuple((self._anchor(it.table), self._name(it)) for it in self._advice.findings),
        )

    def _answer(self) -> tuple[str, str]:
        advice, findings, steps = self._advice, self._advice.findings, self._advice.steps
        if advice.kind == "not measured":
            return UNKNOWN, unmeasured(advice.scenario, self._run)
        if advice.kind == "differs":
            return DEPENDS, f"{'; '.join(self._groups())}."
        answer = {
            "one": listed(advice.setups),
            "even": f"No difference that matters: {listed(advice.setups)}",
            "alone": "Nothing to choose from",
            "cannot tell": UNDECIDED,
        }[advice.kind]
        if advice.kind == "one" and steps is not None:
            answer += f", for runs of up to {_floored(steps)} steps"
        closest = min(findings, key=_closeness)
        because = self._because(closest)
        if len(findings) == 1:
            return answer, f"{fmt.capital(because)}."
        many = "In both tables" if len(findings) == 2 else f"In all {len(findings)} tables"
        decided = closest.kind == "one" and _closeness(closest) < math.inf
        example = "closest in" if decided else "as in"
        return answer, f"{many}; {example} {self._name(closest)}: {because}."

    def _because(self, finding: Answer) -> str:
        if finding.kind == "alone":
            only = f"only {finding.labels[0]}" if finding.labels else "nothing"
            beside = " beside the yardstick" if self._tables[finding.table].yardsticks else ""
            return f"{only} may be ranked{beside}"
        if finding.disturbed:
            return f"{finding.disturbed}; run again on a quiet machine"
        evidence, table = self._advice.evidence, self._tables[finding.table]
        by_evidence = {"speed": self._speed, "phases": self._start, "memory": self._memory}
        text = by_evidence[evidence](finding)
        if finding.kind != "cannot tell" or (finding.pair and finding.pair.denied_by):
            return text  # more blocks would find the same
        return f"{text}; {way(blocks_to_decide(evidence, finding, table), evidence)}"

    def _speed(self, finding: Answer) -> str:
        first, others, pair = finding.labels[0], finding.labels[1:], finding.pair
        if pair is None:
            return f"{first} shares no block with {listed(others)}"
        if finding.kind == "one":
            return pair_sentence(pair)
        if finding.kind == "even":
            within = f"no difference larger than {percent(pair.margin)}"
            return f"between {first} and {listed(others)} is {within}"
        text = f"{pair.label} is {ratio(pair.speed)} as fast as {pair.baseline}"
        text += f", {DIRECTLY}" if pair.speed.estimate < 1 else ""
        why = doubt(pair)
        return f"{text}: {why}" if why else text

    def _start(self, finding: Answer) -> str:
        if finding.lead is None:
            return f"{finding.labels[0]} shares no start with {listed(finding.labels[1:])}"
        label, other, lead = finding.lead.label, finding.lead.other, finding.lead.seconds
        before = f"under way {' '.join(fmt.interval(lead, 'seconds')).strip()} before {other}"
        if finding.kind == "one":
            kept = ", and nothing overtakes it" if self._advice.steps is None else ""
            return f"{label} is {before}{kept}"
        starts = fmt.count(lead.n, "start")
        why = f"{starts} of each {'does' if lead.n == 1 else 'do'} not show it"
        if lead.low is None:
            why = f"{starts} of each says nothing of the spread"
        return f"{label} seems to be {before}, which is not sure: {why}"

    def _memory(self, finding: Answer) -> str:
        table = self._tables[finding.table]
        kind, peaks = weighed(table)
        missing = [name for name in finding.labels if name not in peaks]
        if missing:
            rows = {row.cell.setup.label: row.peaks for row in table.rows}
            reasons = {getattr(rows[name], kind).reason for name in missing} - {""}
            why = f" ({listed(sorted(reasons))})" if reasons else ""
            return f"no peak of {listed(missing)} was counted{why}"
        first, *others = finding.labels
        what = "the whole process" if kind == "total_rss" else "on the device, all"
        text = f"{what} of {first} takes {_range(peaks[first])} at its peak"
        if finding.kind == "even":
            return f"{text}, {listed(others)} within {percent(LEAST_MARGIN)} of it"
        if finding.kind == "one":
            others = [name for name in peaks if name != first]
            others.sort(key=lambda name: peaks[name].bytes or 0)
        text += f", that of {others[0]} {_range(peaks[others[0]])}"
        if finding.kind == "one":
            return text
        counts = min(peaks[first].n, peaks[others[0]].n)
        why = f", and it takes {FEWEST}" if counts < FEWEST else " lie too near to one another"
        return f"{text}: {fmt.count(counts, 'count')} of each{why}"

    def _groups(self) -> list[str]:
        """What to choose where, the choice of most tables first."""
        order = ("one", "even", "cannot tell", "alone")
        groups = grouped(
            self._advice.findings,
            lambda it: (it.kind, frozenset(it.labels) if it.kind in order[:2] else None),
        )
        groups.sort(key=lambda it: (order.index(it[0].kind), -len(it)))
        return [
            f"{_group(first)} {self._where([first, *others])}"
            + (f" ({self._because(first)})" if first.kind == "cannot tell" else "")
            for first, *others in groups
        ]

    def _where(self, findings: Sequence[Answer]) -> str:
        names, left = [self._name(it) for it in findings], len(findings) - NAMED
        if left <= 1:
            return f"in {listed(names)}"
        return f"in {', '.join(names[:NAMED])} and {left} more"

    def _name(self, finding: Answer) -> str:
        """The table's task, and what distinguishes it from the others of this advice."""
        table = self._tables[finding.table]
        phases = {self._tables[finding.table].phase for finding in self._advice.findings}
        phase = f" {table.phase}" if len(phases) > 1 else ""
        where = self._places.bracketed(table)
        return line(f"{table.task.name}{phase}{lane_mark(table.lane)}{where}")

    def _anchor(self, number: int) -> str:
        """Of starts and memory there is no table where single iterations were timed."""
        steady = self._tables[number].phase in THROUGHPUT
        return f"{self._advice.evidence if steady else 'speed'}-{number + 1}"


def _closeness(finding: Answer) -> float:
    """The size of the comparison that decided least clearly; infinite without any."""
    if finding.pair:
        return finding.pair.speed.estimate
    return finding.lead.seconds.estimate if finding.lead else math.inf


def _group(finding: Answer) -> str:
    return {
        "one": finding.labels[0] if finding.labels else "",
        "even": f"no difference that matters between {listed(finding.labels)}",
        "cannot tell": "cannot tell",
        "alone": "nothing to choose from",
    }[finding.kind]


def _range(amount: Amount) -> str:
    """A peak with the least and the most of its counts."""
    low, high, middle = map(fmt.memory, (amount.low, amount.high, amount.bytes))
    if low == high:
        return middle
    (least, unit), (_, other) = low.split(" "), high.split(" ")
    return f"{middle} ({least if unit == other else low}–{high})"


def _floored(steps: float) -> str:
    """Two digits, rounded down so that it stays a bound."""
    scale = 10 ** max(0, math.floor(math.log10(steps)) - 1)
    return f"{math.floor(steps / scale) * scale:,}"
