"""The reference with the fault that the mode names."""

from harness.adapter import Options
from harness.proof.faults import FAULTS
from harness.proof.faults.fault import Faulty, Planted
from harness.tasks.spec import Task
from harness.tasks.start import Start


def build(task: Task, start: Start, options: Options) -> Planted | Faulty:
    """The adapter of the fault, or the reference where the mode names none."""
    fault = FAULTS.get(options.mode)
    return fault.build(task, start, options) if fault else Planted(task, start, options)


Adapter = build
