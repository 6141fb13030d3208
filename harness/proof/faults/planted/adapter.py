"""A task with the fault that the mode names; see `harness.proof.faults`."""

from harness.adapter import Options
from harness.proof.faults.table import FAULTS, Planted
from harness.tasks.spec import Task
from harness.tasks.start import Start


class Adapter:
    """Stands for the class of the fault."""

    def __new__(cls, task: Task, start: Start, options: Options) -> Planted:  # type: ignore[misc]
        fault = FAULTS.get(options.mode)
        return fault.build(task, start, options) if fault else Planted(task, start, options)
