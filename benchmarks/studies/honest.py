"""`python -m benchmarks.studies.honest`: is any adapter refused that has no fault?

Every mode of every framework, in both dtypes, is proved from so many starts, each seed on the task
whose turn it is, and its work is checked as in a run. Two processes keep a core busy each
meanwhile, so that whatever is told by time is tried where time says least. Bar: no false alarm.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.studies.busy import strangers
from benchmarks.studies.journal import table
from benchmarks.studies.lab import RESULTS
from harness.proof.selftest import Case, Judgement, planted, tried, unmodified
from harness.runs import machine

STARTS, BESIDE, PROVERS = 20, 2, 2
Try = Callable[[Sequence[Case], int], Iterable[Judgement]]


def cases(starts: int) -> list[Case]:
    """Every start as a proof, and in float32 as what a worker measures."""
    proofs = unmodified(starts)
    return proofs + [replace(it, measured=True) for it in proofs if it.setup.dtype == "float32"]


def judged(starts: int, beside: int, tries: Try = tried) -> Iterator[Judgement]:
    """What came of all of them, beside so many busy processes."""
    with planted(), strangers(beside):
        wanted = [it for it in cases(starts) if not it.setup.framework.startswith("planted")]
        yield from tries(wanted, PROVERS)


def summary(judgements: Sequence[Judgement], starts: int, beside: int) -> str:
    """The page: one row for every setup, then every false alarm in words."""
    rows: dict[tuple[str, str, str], Counter[str]] = {}
    for it in judgements:
        key = (it.case.setup.label, it.case.setup.lane, "run" if it.case.measured else "verify")
        rows.setdefault(key, Counter())[it.outcome] += 1
    bad = [it for it in judgements if not it.good]
    head = ("framework:mode", "lane", "by", "starts", "false alarms", "unsupported")
    content = [
        (*key, counts.total(), counts["false alarm"], counts["unsupported"])
        for key, counts in sorted(rows.items())
    ]
    alarms = [
        f"- {it.case.setup.id}, {it.case.setup.task}, seed {it.case.seed}: "
        + "; ".join(f"{found.check}: {found.detail}" for found in it.failed)
        for it in bad
    ]
    return "\n\n".join(
        [
            "# Adapters without a fault, beside busy processes",
            f"False alarms: {len(bad)} of {len(judgements)}, over {starts} starts of every adapter "
            f"beside {beside} processes that keep a core busy each.",
            table(head, content),
            *(["\n".join(alarms)] if alarms else []),
            f"- Repeat it: `python -m benchmarks.studies.honest --starts {starts} "
            f"--beside {beside}`\n- {machine.fingerprint()['cpu']}, {machine.cores()} cores",
        ]
    )


def content(judgements: Iterable[Judgement]) -> str:
    """All of it as JSON."""
    return json.dumps(
        [
            {
                "setup": it.case.setup.model_dump(mode="json"),
                "seed": it.case.seed,
                "by": "run" if it.case.measured else "verify",
                "outcome": it.outcome,
                "failed": [found.model_dump(mode="json") for found in it.failed],
            }
            for it in judgements
        ],
        indent=1,
    )


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.studies.honest", description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=RESULTS, metavar="DIR")
    parser.add_argument("--starts", type=int, default=STARTS, help=f"[default: {STARTS}]")
    parser.add_argument("--beside", type=int, default=BESIDE, help=f"[default: {BESIDE}]")
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    found: list[Judgement] = []
    for it in judged(given.starts, given.beside):
        found.append(it)
        if not it.good:
            print(it.case.setup.id, it.case.seed, it.failed, flush=True)
        text = summary(found, given.starts, given.beside)
        (given.output / "honest.md").write_text(text + "\n", encoding="utf-8")
        (given.output / "honest.json").write_text(content(found) + "\n", encoding="utf-8")
    print(summary(found, given.starts, given.beside))


if __name__ == "__main__":
    main()
