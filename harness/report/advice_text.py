"""The advice of a summary in words, with links to its tables, and the commands that it suggests.

Only commands are suggested that `run` accepts, for this run and its machine.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Iterator, Sequence

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
from harness.report.content import Choice
from harness.report.safe_text import line
from harness.report.style import Places, lane_mark
from harness.runs.schedule import REACHED, blocks_with
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.variants import origin

LARGER_BATCH = 2 * LARGE_BATCH
LARGE_TASK = "digits-mlp"
"""Comes with what is installed, and has rows for a large batch."""
QUIETER = "more blocks would not; a quieter machine may"
REPLACED = ("--blocks", "--precision", "--budget")
"""Options of a run's own command that a suggestion gives anew."""


def unmeasured(scenario: ScenarioName, run: Run) -> str:
    """Why there is no advice for a scenario, and what would measure it here."""
    if scenario == "short":
        return "No start was timed by itself."
    if scenario == "memory":
        return "No peak of a whole process was counted."
    if scenario == "long":
        return "No training steps were timed; --phase train does that."
    if scenario == "single":
        return "No prediction of one example at a time was timed; --phase latency does that."
    if scenario == "large":
        task, batch = _large(run)
        way = f"-t {task} --set batch_size={batch}"
        return f"No batch here has {LARGE_BATCH:,} examples or more; {way} does."
    if any(facts.get("gpus") for facts in run.info.machines.values()):
        return "All of it ran on the CPU; --device gpu measures on the GPU."
    return "All of it ran on the CPU, and no GPU was found."


def _large(run: Run) -> tuple[str, int]:
    """A task with training rows for a large batch, of this run if it has one; and the batch."""
    names = [origin(it.name)[0] for it in run.tasks]
    known = [CATALOGUE[it] for it in (*names, LARGE_TASK) if it in CATALOGUE]
    task = next(it for it in known if it.data.shape.train >= LARGE_BATCH)
    return task.name, LARGER_BATCH if task.data.shape.train >= LARGER_BATCH else LARGE_BATCH


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
    """A command for all that this run could not tell; empty where nothing is open."""
    found = list(_open(summary))
    wanted = [it for it in found if it is not None]
    if not wanted:
        return f"{QUIETER} ({MOST_BLOCKS} blocks and more)" if found else ""
    options = _options(run, max(wanted), summary)
    words = list(run.info.command)
    if run.info.merged or "run" not in words or any(it.startswith("--resume") for it in words):
        return f"a run like this one with {shlex.join(options)}"
    return shlex.join([*_without(words, REPLACED), *options])


def _open(summary: Summary) -> Iterator[int | None]:
    """Blocks for each thing that could not be told."""
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
    """With a precision a run may end before its blocks do, and with a budget it may too."""
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
        if not skip and not any(word.startswith(f"{it}=") for it in options):
            skip = word in options
            if not skip:
                yield word
        else:
            skip = False


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
"""So many tables are named one by one; of more, only how many others there are is said."""


def choices(run: Run, summary: Summary, places: Places) -> tuple[Choice, ...]:
    """One choice a scenario; none where nothing was measured."""
    return tuple(_Told(run, summary.tables, places, it).choice() for it in summary.advice)


class _Told:
    """One advice, among the tables that it is about."""

    def __init__(self, run: Run, tables: Sequence[Table], places: Places, advice: Advice) -> None:
        self._run, self._tables, self._places, self._advice = run, tables, places, advice

    def choice(self) -> Choice:
        advice = self._advice
        answer, because = self._said()
        return Choice(
            scenario=TITLES[advice.scenario],
            answer=line(answer),
            because=line(because),
            anchors=tuple((self._anchor(it.table), self._name(it)) for it in advice.findings),
        )

    def _said(self) -> tuple[str, str]:
        advice, findings = self._advice, self._advice.findings
        if advice.kind == "not measured":
            return UNKNOWN, unmeasured(advice.scenario, self._run)
        if advice.kind == "differs":
            return DEPENDS, f"{'; '.join(self._groups())}."
        answer = {
            "one": f"{advice.setups[0]}{self._up_to()}" if advice.setups else "",
            "even": f"No difference that matters: {listed(advice.setups)}",
            "alone": "Nothing to choose from",
            "cannot tell": UNDECIDED,
        }[advice.kind]
        closest = min(findings, key=self._closeness)
        if len(findings) == 1:
            return answer, f"{_capital(self._because(closest))}."
        many = "In both tables" if len(findings) == 2 else f"In all {len(findings)} tables"
        told = "closest in" if closest.kind == "one" and (closest.pair or closest.lead) else "as in"
        return answer, f"{many}; {told} {self._name(closest)}: {self._because(closest)}."

    def _up_to(self) -> str:
        steps = self._advice.steps
        return "" if steps is None else f", for runs of up to {_floored(steps)} steps"

    def _closeness(self, it: Answer) -> float:
        if it.pair:
            return it.pair.speed.estimate
        if it.lead:
            return it.lead.seconds.estimate
        return math.inf

    def _because(self, it: Answer) -> str:
        by_evidence: dict[str, Callable[[Answer], str]] = {
            "speed": self._speed,
            "phases": self._start,
            "memory": self._memory,
        }
        if it.kind == "alone":
            only = f"only {it.labels[0]}" if it.labels else "nothing"
            beside = " beside the yardstick" if self._tables[it.table].yardsticks else ""
            return f"{only} may be ranked{beside}"
        if it.disturbed:
            return f"{it.disturbed}; run again on a quiet machine"
        said = by_evidence[self._advice.evidence](it)
        if it.kind != "cannot tell" or (it.pair and it.pair.denied_by):
            return said  # more blocks would find the same
        blocks = blocks_to_decide(self._advice.evidence, it, self._tables[it.table])
        return f"{said}; {way(blocks, self._advice.evidence)}"

    def _speed(self, it: Answer) -> str:
        if it.pair is None:
            return f"{it.labels[0]} shares no block with {listed(it.labels[1:])}"
        if it.kind == "one":
            return pair_sentence(it.pair)
        if it.kind == "even":
            within = f"no difference larger than {percent(it.pair.margin)}"
            return f"between {it.labels[0]} and {listed(it.labels[1:])} is {within}"
        said = f"{it.pair.label} is {ratio(it.pair.speed)} as fast as {it.pair.baseline}"
        said += f", {DIRECTLY}" if it.pair.speed.estimate < 1 else ""
        why = doubt(it.pair)
        return f"{said}: {why}" if why else said

    def _start(self, it: Answer) -> str:
        if it.lead is None:
            return f"{it.labels[0]} shares no start with {listed(it.labels[1:])}"
        lead = it.lead.seconds
        seconds = " ".join(fmt.seconds_interval(lead)).strip()
        if it.kind == "one":
            kept = ", and nothing overtakes it" if self._advice.steps is None else ""
            return f"{it.lead.label} is under way {seconds} before {it.lead.other}{kept}"
        starts = fmt.count(lead.n, "start")
        why = f"{starts} of each {'does' if lead.n == 1 else 'do'} not show it"
        if lead.low is None:
            why = f"{starts} of each says nothing of the spread"
        return (
            f"{it.lead.label} seems to be under way {seconds} before {it.lead.other}, "
            f"which is not sure: {why}"
        )

    def _memory(self, it: Answer) -> str:
        kind, peaks = weighed(self._tables[it.table])
        missing = [name for name in it.labels if name not in peaks]
        if missing:
            rows = {row.cell.setup.label: row.peaks for row in self._tables[it.table].rows}
            reasons = {getattr(rows[name], kind).reason for name in missing} - {""}
            why = f" ({listed(sorted(reasons))})" if reasons else ""
            return f"no peak of {listed(missing)} was counted{why}"
        what = "the whole process" if kind == "total_rss" else "on the device, all"
        own = f"{what} of {it.labels[0]} takes {_range(peaks[it.labels[0]])} at its peak"
        if it.kind == "even":
            return f"{own}, {listed(it.labels[1:])} within {percent(LEAST_MARGIN)} of it"
        others = [name for name in peaks if name not in it.labels]
        after = min(others, key=lambda name: peaks[name].bytes or 0) if others else it.labels[1]
        near = it.labels[1] if it.kind == "cannot tell" else after
        said = f"{own}, that of {near} {_range(peaks[near])}"
        if it.kind != "cannot tell":
            return said
        counts = min(peaks[name].n for name in (it.labels[0], near))
        told = fmt.count(counts, "count")
        if counts < FEWEST:
            return f"{said}: {told} of each, and it takes {FEWEST}"
        return f"{said}: {told} of each lie too near to one another"

    def _groups(self) -> list[str]:
        """Who is to be chosen where, those of most tables first."""
        groups: dict[tuple[str, frozenset[str]], list[Answer]] = {}
        for it in self._advice.findings:
            told = frozenset(it.labels) if it.kind in ("one", "even") else frozenset()
            groups.setdefault((it.kind, told), []).append(it)
        order = {"one": 0, "even": 1, "cannot tell": 2, "alone": 3}
        ordered = sorted(groups.values(), key=lambda own: (order[own[0].kind], -len(own)))
        return [
            f"{_group(own[0])} {self._where(own)}"
            + (f" ({self._because(own[0])})" if own[0].kind == "cannot tell" else "")
            for own in ordered
        ]

    def _where(self, findings: Sequence[Answer]) -> str:
        names, left = [self._name(it) for it in findings], len(findings) - NAMED
        if left <= 1:
            return f"in {listed(names)}"
        return f"in {', '.join(names[:NAMED])} and {left} more"

    def _name(self, it: Answer) -> str:
        """The table's task, and what tells it from the others of this advice."""
        table = self._tables[it.table]
        alike = len({self._tables[own.table].phase for own in self._advice.findings}) == 1
        phase = "" if alike else f" {table.phase}"
        place = self._places.differing(table)
        said = f"{table.task.name}{phase}{lane_mark(table.lane)}"
        return line(f"{said} ({place})" if place else said)

    def _anchor(self, number: int) -> str:
        """Only steady tables have starts and memory shown, and are numbered by themselves there."""
        steady = [n for n, it in enumerate(self._tables) if it.phase in THROUGHPUT]
        if self._advice.evidence == "speed" or number not in steady:
            return f"speed-{number + 1}"
        return f"{self._advice.evidence}-{steady.index(number) + 1}"


def _group(it: Answer) -> str:
    if it.kind == "one":
        return it.labels[0]
    if it.kind == "even":
        return f"no difference that matters between {listed(it.labels)}"
    return "cannot tell" if it.kind == "cannot tell" else "nothing to choose from"


def _range(amount: Amount) -> str:
    """A peak with the least and the most of its counts."""
    low, high = fmt.memory(amount.low), fmt.memory(amount.high)
    (least, unit), (_, other) = low.split(" "), high.split(" ")
    said = fmt.memory(amount.bytes)
    return said if low == high else f"{said} ({least if unit == other else low}–{high})"


def _floored(steps: float) -> str:
    """Two digits, rounded down so that it stays a bound."""
    scale = 10 ** max(0, math.floor(math.log10(steps)) - 1)
    return f"{math.floor(steps / scale) * scale:,}"


def _capital(text: str) -> str:
    # A name keeps its own spelling.
    first = text.split(" ", 1)[0]
    return text if ":" in first else text[:1].upper() + text[1:]
