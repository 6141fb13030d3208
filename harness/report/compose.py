"""A run and its summary → what its report says, in order and in words, without markup."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import harness
from harness.analysis.cell_metrics import PEAK_MARGIN, PRODUCTS_MARGIN
from harness.analysis.sentences import listed, precision_sentence
from harness.analysis.stats import CONFIDENCE, percent
from harness.analysis.summary import Summary, Table
from harness.analysis.verdicts import MOST_MARGIN
from harness.cells import THROUGHPUT
from harness.records import Run
from harness.report import format as fmt
from harness.report import noise_sections, proof_sections, sections
from harness.report.advice_text import choices, to_decide
from harness.report.columns import Column, grid
from harness.report.safe_text import line, lines
from harness.report.style import Places, framework_title, label, place

QUESTION = (
    "Given the same network, the same first weights, the same batches and the same mathematics: "
    "how fast is each framework, how much memory does it take, and how accurate does it get, "
    "on this machine?"
)


class Trouble(NamedTuple):
    """Trials of one setup that ended badly for one reason; `tail` keeps its lines."""

    label: str
    task: str
    place: str
    status: str
    trials: str
    error: str
    tail: str


class Content:
    """The whole report of a run, in the order in which it is read.

    Every text is safe to show, every number already formatted.
    """

    def __init__(
        self, run: Run, summary: Summary, others: Sequence[tuple[Table, ...]] = ()
    ) -> None:
        """`others` are the tables against every other baseline, as `summary.rebased` makes them."""
        places, info = Places(summary), run.info
        steady = [(n, it) for n, it in enumerate(summary.tables, 1) if it.phase in THROUGHPUT]
        self.title = _title(summary)
        self.question = QUESTION
        self.byline = (
            f"Run {line(info.name)}, {line(info.created)}, "
            f"by samestep {line(info.versions.get('samestep', harness.__version__))}"
        )
        self.facts = facts(run, summary)
        self.choices = choices(run, summary)
        before = [None, *(it.task for it in summary.tables)]
        tables = zip(summary.tables, others or [()] * len(summary.tables), strict=True)
        self.speed = [
            sections.speed(it, n, places, probes=it.task != before[n - 1], others=rebased)
            for n, (it, rebased) in enumerate(tables, 1)
        ]
        self.quality = [
            proof_sections.quality(it, n, places) for n, it in enumerate(summary.qualities, 1)
        ]
        self.phases = [sections.phases(it, n, places) for n, it in steady]
        self.memory = [sections.memory(it, n, places, first=it is steady[0][1]) for n, it in steady]
        self.sameness = proof_sections.sections(run)
        self.settings = sections.settings_sections(run)
        self.idioms = sections.gain_sections(summary.idioms)
        self.means = sections.aggregate_sections(summary.aggregates)
        self.noise = noise_sections.sections(
            summary, _stopped_by(run), repeats=info.config.get("repeat_noisy", True)
        )
        self.troubles = troubles(summary)
        self.left_out = left_out(run)
        self.method = _method(run, summary)
        self.everything = sections.everything(run, summary)
        self.command = line(shlex.join(info.command))
        self.commit = line(info.commit or "unknown")
        known: dict[str, Mapping[str, object]] = {
            "Versions": info.versions,
            "Machine": info.machine,
            "Environment": info.environment,
        }
        self.environment = [(name, grid(FACTS, it.items())) for name, it in known.items() if it]
        self.config = lines(json.dumps(info.config, indent=2, ensure_ascii=False))


def _title(summary: Summary) -> str:
    setups = [row.cell.setup for table in summary.tables for row in table.rows]
    setups += [row.setup for table in summary.qualities for row in table.rows]
    if not setups:
        return "Nothing was measured"
    names = {f"{framework_title(it.framework)} {it.version}".strip() for it in setups}
    tasks = sorted({line(it.task) for it in setups})
    on = tasks[0] if len(tasks) == 1 else f"{len(tasks)} tasks"
    return f"{listed(sorted(names, key=str.lower))} on {on}"


def facts(run: Run, summary: Summary) -> tuple[tuple[str, str], ...]:
    """The machine, how much was measured, and why it ended: a line each."""
    rows = [
        (f"Machine {line(name)}".strip(), machine(facts))
        for name, facts in run.info.machines.items()
    ]
    if run.info.merged:
        names = [
            line(f"{it.info.name} ({it.machine})" if it.machine else it.info.name)
            for it in run.info.merged
        ]
        rows.append(("Merged from", listed(names)))
    if common := Places(summary).common:
        rows.append(("Measured on", common))
    if summary.tables:
        rows.append(("Measured in", measured_in(summary)))
    rows.append(("Sameness", proof_sections.fact(summary)))
    if only := sorted({label(it) for it in summary.only_predict}):
        rows.append(("Without training", f"{listed(only)} only predict{'s' * (len(only) == 1)}"))
    if floor := noise_sections.fact(summary.noise):
        rows.append(("Noise floor", floor))
    rows += [("Disturbed", line(it)) for it in noise_sections.disturbed(summary.noise)]
    rows += [("Without rest", it) for it in noise_sections.restless(summary.noise)]
    took = f" after {fmt.seconds(run.seconds)}" if run.seconds is not None else ""
    ended = f"not by itself{took}: it was killed, or it still goes on"
    if run.stopped_by is not None:
        ended = f"{line(run.stopped_by)}{took}"
    rows.append(("Ended", ended))
    if command := to_decide(run, summary):
        rows.append(("To decide what is open", line(command)))
    return tuple(rows)


def measured_in(summary: Summary) -> str:
    """Blocks, and how well the ratios are known: of several groups the least well known one."""
    groups = zip(summary.noise, summary.standings, strict=True)
    known = [(group, standing) for group, standing in groups if standing.widest]
    if known and len(summary.standings) == 1:
        return line(precision_sentence(summary.standings[0]))
    blocks = [row.step.n for table in summary.tables for row in table.rows]
    text = fmt.span(min(blocks), max(blocks), "block")
    target = next((it.precision for _, it in known if it.precision is not None), None)
    if target is not None:
        reached = sum(it.reached for _, it in known)
        text += f"; {reached} of {len(known)} comparisons reached ±{percent(target)}"
    if known:
        group, widest = max(known, key=lambda it: it[1].breadth)
        text += f"; the least well known is {group.task} on {group.device}: "
        text += precision_sentence(widest)
    return line(text)


def machine(facts: Mapping[str, object]) -> str:
    """The machine in one line, from whichever of its facts are known."""
    cores, whole = facts.get("cores"), facts.get("cores_of_machine")
    memory, python = facts.get("memory_bytes"), facts.get("python")
    of_machine = "" if whole in (None, cores) else f" of {whole}"
    parts = [
        facts.get("cpu"),
        f"{cores}{of_machine} cores" if cores else None,
        f"{fmt.memory(memory)} of memory" if isinstance(memory, int | float) else None,
        facts.get("gpus"),
        "virtual" if facts.get("virtual") else None,
        facts.get("system"),
        f"Python {python}" if python else None,
    ]
    return ", ".join(line(str(it)) for it in parts if it) or "unknown"


def troubles(summary: Summary) -> tuple[Trouble, ...]:
    """Every setup that did not end well, unsupported ones last."""
    return tuple(
        Trouble(
            label=label(it.setup),
            task=line(it.setup.task),
            place=place(it.setup),
            status=it.status,
            trials=fmt.count(it.trials, "trial"),
            error=line(it.error),
            tail=lines(it.stderr_tail),
        )
        for it in sorted(summary.failures, key=lambda it: it.status == "unsupported")
    )


def left_out(run: Run) -> tuple[tuple[str, str], ...]:
    """What cannot run here, and every comparison without a block; each with the reason."""
    begun = {it.setup.group for it in run.records}
    planned = {it.setup.group: it.setup for it in run.certificates}
    why = f"no block of it was begun: {_stopped_by(run)}"
    return (
        *((line(it.what), line(it.reason)) for it in run.info.unavailable),
        *(
            (f"{line(it.task)} on {place(it)}", why)
            for group, it in planned.items()
            if group not in begun
        ),
    )


def _stopped_by(run: Run) -> str:
    return line(run.stopped_by or "it was killed, or still goes on")


def _method(run: Run, summary: Summary) -> tuple[tuple[str, str], ...]:
    """How it was measured: only what this run's configuration does."""
    process = "One fresh process for every framework and mode of a comparison."
    if any(it.forked for it in run.records):
        process = (
            "One process for every framework and mode of a comparison: a fresh one in blocks whose "
            "starts are timed, else one forked from a process that had imported the framework."
        )
    delta = "1 %"
    if any(it.floors for it in summary.noise):
        delta = (
            "1 %, or what a setup against itself could not rule out in this run if that is more; "
            f"beyond {percent(MOST_MARGIN)} nothing is called equivalent"
        )
    resting = ""
    if run.info.config.get("precision") is not None:
        resting = " A setup whose ratios have all met the target precision sits out from then on."
    method = {
        "Block": f"{process} All start in random order and stay alive side by side. The block is "
        "the unit of statistics: samples of different blocks are never pooled.",
        "Turn": "One process takes one sample while all others wait, in a new random order each "
        "round. A sample times enough steps to be read well, always the same ones from the same "
        "first weights, and ends when the device has finished. A turn’s first steps are not timed.",
        "Ratio": "The baseline’s step time ÷ that of this cell: the median over the rounds of a "
        "block, then over blocks. Above 1 it is faster than the baseline.",
        "Interval": f"Brackets hold the median over blocks with {fmt.whole_percent(CONFIDENCE)} "
        "confidence: two ordered block values, exact for any distribution. Fewer than 6 blocks "
        "have a range, which has no confidence. Bounds a factor of 4 apart or more are not shown: "
        f"the number is “not known”; results.csv has them all the same.{resting}",
        "Verdict": "Faster and slower are exact sign tests of the block ratios. Equivalent is two "
        f"one-sided tests that the difference is below δ: {delta}. Both are corrected over the "
        "rows of a table (Holm): a table holds a false answer in at most one of 20 runs. “Cannot "
        "tell” is what neither decides. A winner is faster than every other, compared directly: "
        "two ratios to a third setup do not divide exactly.",
        "Pauses": "A median hides what happens in fewer than half of the rounds. So examples/s and "
        "GFLOP/s are of the mean step. There is no verdict where the ratio of mean times, or of "
        "full trainings in the same blocks, contradicts the median beyond both intervals.",
        "Disturbed": noise_sections.DISTURBED,
        "Ranked": "Only setups that compute what the float64 reference computes, by their "
        "certificate, and whose workers ran alike, with the settings asked for. Impossible ones "
        f"are not: those at more than {PEAK_MARGIN:g} × the rate of the best large product of "
        f"other frameworks and of NumPy, or with a step in less than 1/{PRODUCTS_MARGIN:g} of the "
        "arithmetic of their shortest bare products. Others are shown with the reason. A reference "
        "beside other frameworks is the yardstick, neither winner nor recommended: it shows what "
        "a step costs without their overhead.",
        "Choice": "In speed only a winner of all tables of a scenario is recommended alone. A "
        "short experiment is decided by the first start: by the interval of its lead over every "
        "other, up to the step where it may lose it. Memory is the peak of the whole process, or "
        "what a framework allocates on a GPU; two setups differ where no count of one reaches "
        "those of the other.",
        "Columns": "GFLOP/s counts the matrix products of the task, not what a framework executes. "
        "CPU is CPU time ÷ wall time during samples; 100 % is one busy core. 1 MB is 10⁶ bytes.",
    }
    if summary.qualities:
        method["Quality"] = (
            "A full training from the shared start of each seed. The time to the target is without "
            "evaluation; a target that was not reached counts as infinite and is never dropped."
        )
    return tuple(method.items())


FACTS: tuple[Column[tuple[str, object]], ...] = (
    Column("name", lambda it: it[0], "name"),
    Column("value", lambda it: None if it[1] is None else str(it[1]), "text"),
)
