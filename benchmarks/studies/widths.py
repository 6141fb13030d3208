"""`python -m benchmarks.studies.widths DIR`: how long until the ratios of a real run are known?

Nothing is drawn again or assumed: the first comparison of the latest run in DIR is gone through
block by block, as the run itself did. Beside the text stand the log ratios and when each block
ended.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from benchmarks.studies.journal import table
from benchmarks.studies.kept import TARGETS, Ratio, Span, asked_for, keep, machine, measured, spans
from harness.analysis.stats import log_half_width, percent
from harness.analysis.stopping import known
from harness.analysis.summary import summarise_run
from harness.records import Run


def minutes(found: Sequence[Span]) -> dict[int, float]:
    """When each block ended, since the first trial began; of its attempts the last."""
    begun = min(it.begun for it in found)
    return {it.block: (it.ended - begun) / 60 for it in found}


def known_after(ratio: Ratio, target: float, least: int) -> int | None:
    """The block with which a ratio was known to the target, by the rule of a run."""
    blocks, logs = list(ratio.logs), list(ratio.logs.values())
    many = (n for n in range(1, len(logs) + 1) if known(logs[:n], target, least))
    first = next(many, None)
    return None if first is None else blocks[first - 1]


def asked(run: Run) -> str:
    """What the run was asked for, as a configuration file says it."""
    names = ("preset", "tasks", "modes", "phases", "seeds", "budget")
    config = {it: run.info.config[it] for it in names if it in run.info.config}
    return ", ".join(f"`{name} = {json.dumps(value)}`" for name, value in config.items())


def report(run: Run, ratios: Sequence[Ratio], ended: Mapping[int, float]) -> str:
    least = summarise_run(run).standings[0].least_blocks
    rows = []
    for it in ratios:
        reached = [known_after(it, target, least) for target in TARGETS]
        width = log_half_width(list(it.logs.values()))
        rows.append(
            (
                it.phase,
                it.label,
                *("–" if block is None else f"{ended[block]:.1f}" for block in reached),
                "–" if width is None else f"±{percent(width)}",
                str(len(it.logs)),
            )
        )
    head = ("phase", "setup", *(f"±{percent(it)}" for it in TARGETS), "in the end", "blocks")
    return (
        "# How long until ratios are known\n\n"
        f"Minutes of the run {run.info.name} until each ratio was known to a target, by the rule "
        "with which a run stops: its interval met the target after each of the last two blocks, "
        f"and not before {least} blocks. Who was known to the run's own target rested from then "
        "on.\n\n"
        f"{table(head, rows)}\n\n"
        f"- It ended: {run.stopped_by or 'not yet'}, after {max(ended.values()):.0f} minutes\n"
        f"- The run: {asked(run)}\n"
        "- This table, of the latest run in a results directory: "
        "`python -m benchmarks.studies.widths DIR`\n"
        f"- Machine: {machine(run)}\n"
    )


def raw(run: Run, ratios: Sequence[Ratio], ended: Mapping[int, float]) -> str:
    content = {
        "run": run.info.name,
        "minutes": {block: round(it, 3) for block, it in ended.items()},
        "log_ratios": {
            f"{it.phase} {it.label}": {block: round(log, 5) for block, log in it.logs.items()}
            for it in ratios
        },
    }
    return json.dumps(content, indent=0) + "\n"


def main() -> None:
    directory, run = asked_for(__doc__)
    ratios, ended = measured(run), minutes(spans(directory, run))
    text = report(run, ratios, ended)
    keep("widths.md", text)
    keep("widths.json", raw(run, ratios, ended))
    print(text)


if __name__ == "__main__":
    main()
