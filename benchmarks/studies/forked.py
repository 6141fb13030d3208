"""`python -m benchmarks.studies.forked`: do forked workers measure what fresh ones do?

For each framework several processes that have imported it (servers) are alive at once. Workers
forked from them, and as many fresh ones as from one server, come one after the other in random
order, so that whatever the machine does hits all alike. Two questions: do the step times of forked
workers differ from those of fresh ones; and do those of one server resemble each other more than
those of others? If so, they are not as many observations as there are workers.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scipy import stats

from benchmarks.studies.journal import table
from harness.cells import THROUGHPUT, Phase, Setup
from harness.frameworks import phases_of
from harness.runs.config import SAMPLE_SECONDS, resolve
from harness.runs.engines import ForkedWorker, ForkServer
from harness.runs.machine import fingerprint
from harness.runs.plan import Group, make_plan
from harness.runs.process import WorkerProcess
from harness.runs.runner import staged_data
from harness.worker.messages import Finish, Import, Load, Prepare, TakeSample

RESULTS = Path("results/studies")
SERVERS, ROUNDS, SAMPLES = 8, 10, 8
LIMIT = 120.0
FRESH = -1


@dataclass(frozen=True)
class Reading:
    """A worker's median step in log seconds; of the fresh ones `server` is FRESH."""

    framework: str
    phase: Phase
    server: int
    step: float


def readings(group: Group, setup: Setup, data: str, folder: Path) -> list[Reading]:
    """One framework's, in the order in which they were taken."""
    phases = phases_of(setup.framework, THROUGHPUT)
    load = Load(task=group.task, setup=setup, seed=0, phases=phases, data=data)
    servers = [ForkServer(setup, folder / f"server-{it}.log") for it in range(SERVERS)]
    found: list[Reading] = []
    try:
        for server in servers:
            server.request(Import(setups=(setup,)), LIMIT)
        for _ in range(ROUNDS):
            for number in random.sample(range(FRESH, SERVERS), SERVERS + 1):
                log = folder / "worker.log"
                worker = (
                    WorkerProcess(setup, log)
                    if number == FRESH
                    else ForkedWorker(servers[number], setup, log, None)
                )
                try:
                    found.extend(
                        Reading(setup.framework, phase, number, step)
                        for phase, step in _steps(worker, load)
                    )
                finally:
                    worker.close()
    finally:
        for server in servers:
            server.close()
    return found


def _steps(worker: WorkerProcess, load: Load) -> Iterable[tuple[Phase, float]]:
    worker.request(load, LIMIT)
    worker.request(Prepare(sample_seconds=SAMPLE_SECONDS, warmup_seconds=0.2), LIMIT)
    for phase in load.phases:
        steps = []
        for round_ in range(SAMPLES):
            reply = worker.request(TakeSample(phase=phase, round=round_, turn=0), LIMIT)
            assert reply.answer == "sampled", reply
            steps.append(reply.sample.step_seconds)
        yield phase, math.log(statistics.median(steps))
    worker.request(Finish(), LIMIT)


def without_drift(steps: Sequence[float]) -> list[float]:
    """What is above or below the median of the neighbours in time, as many as there are kinds."""
    reach = SERVERS // 2 + 1
    return [
        step - statistics.median(steps[max(0, at - reach) : at + reach + 1])
        for at, step in enumerate(steps)
    ]


def between(groups: Sequence[Sequence[float]]) -> tuple[float, float]:
    """The share of the variance that lies between groups of one size: the intraclass correlation
    of a one-way analysis of variance, and the upper end of its 95 % interval (Shrout & Fleiss 1979,
    equation 7), each 0 at least."""
    many, size = len(groups), len(groups[0])
    f = float(stats.f_oneway(*groups).statistic)
    most = f * stats.f.ppf(0.975, many * (size - 1), many - 1)
    share, upper = ((it - 1) / (it - 1 + size) for it in (f, most))
    return max(0.0, share), max(0.0, float(upper))


def row(of_phase: Sequence[Reading]) -> tuple[str, ...]:
    values = without_drift([it.step for it in of_phase])
    of: dict[int, list[float]] = {it: [] for it in range(FRESH, SERVERS)}
    for reading, value in zip(of_phase, values, strict=True):
        of[reading.server].append(value)
    fresh, forked = of.pop(FRESH), list(of.values())
    together = [it for its in forked for it in its]
    test = stats.ttest_ind(together, fresh, equal_var=False)
    low, high = test.confidence_interval()
    share, upper = between(forked)
    apart = statistics.fmean(together) - statistics.fmean(fresh)
    return (
        f"{of_phase[0].framework}, {of_phase[0].phase}",
        _percent(statistics.stdev(fresh)),
        _percent(statistics.stdev(together)),
        f"{_percent(apart)} ({_percent(low)} to {_percent(high)})",
        f"{100 * share:.0f} % ({100 * upper:.0f} % at most)",
    )


def _percent(log: float) -> str:
    return f"{100 * math.expm1(log):.1f} %".replace("-", "−")


def report(found: Sequence[Reading], task: str) -> str:
    kinds = dict.fromkeys((it.framework, it.phase) for it in found)
    head = (
        "", "s, fresh", "s, forked", "forked steps are longer by", "of their variance among servers"
    )  # fmt: skip
    rows = [row([it for it in found if (it.framework, it.phase) == kind]) for kind in kinds]
    facts = ", ".join(f"{name} {value}" for name, value in fingerprint().items() if value)
    return (
        "# Do forked workers measure what fresh ones do?\n\n"
        f"{table(head, rows)}\n\n"
        f"Steps of `{task}`. Each row: {SERVERS} fork servers (they have imported the framework "
        f"and computed nothing), {ROUNDS} workers forked from each and {ROUNDS} fresh, in random "
        f"order one after the other; a worker counts by the median of its {SAMPLES} samples, its "
        "drift taken out (less the median of its neighbours in time). s is the standard deviation "
        "of the logarithm. A framework whose steps vary from server to server says so "
        "(`Tuning.import_varies`), and every block imports it anew.\n\n"
        "- Repeat it: `python -m benchmarks.studies.forked`\n"
        f"- Machine: {facts}\n"
    )


def main() -> None:
    argparse.ArgumentParser(description=__doc__).parse_args()
    plan = make_plan(resolve(None, {}))
    (group,) = plan.groups
    found: list[Reading] = []
    with tempfile.TemporaryDirectory() as place, staged_data(plan, Path(place) / "data") as data:
        for setup in group.setups:
            if not setup.twin:
                found += readings(group, setup, str(data[group.task.data]), Path(place))
                print(f"{setup.framework}: {len(found)} readings", flush=True)
    text = report(found, group.task.name)
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "forked.md").write_text(text, encoding="utf-8")
    raw = [[it.framework, it.phase, it.server, it.step] for it in found]
    (RESULTS / "forked.json").write_text(json.dumps(raw) + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
