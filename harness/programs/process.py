"""A program's worker as the harness sees it: a process of its own, killed as a group.

Nothing of a user's code is imported here; what comes back is JSON and plain arrays.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from harness.adapter import Array
from harness.cells import Setup
from harness.environment import CLEARED, THREAD_VARIABLES
from harness.errors import UsageError
from harness.programs.messages import (
    PROGRAM_REPLY,
    WEIGHT,
    Follow,
    Open,
    ProgramRequest,
    TrainWhole,
    read_arrays,
    unflattened,
    write_arrays,
)
from harness.proof.formulas import Batch
from harness.runs.files import plain
from harness.runs.process import ROOT, WorkerFailed, WorkerProcess
from harness.tasks.programs import Description, ShownStep

OPEN_SECONDS, FOLLOW_SECONDS, TRAIN_SECONDS = 120.0, 120.0, 1800.0
Result = TypeVar("Result")
NOMINAL = Setup(task="program", digest="", framework="", mode="")
TAIL = 300
"""Characters of what it printed, in an error."""


class ProgramWorker(WorkerProcess):
    program = ("-m", "harness.programs.worker")
    replies = PROGRAM_REPLY

    def _keep_log(self) -> None:
        """Of what a user's program printed, only the end is kept, however much that is."""
        self._printed = super().stderr_tail()
        self._output.close()

    def stderr_tail(self) -> str:
        return self._printed if self._output.closed else super().stderr_tail()

    def environment(self, setup: Setup, caches: Path | None, code: Path) -> Mapping[str, str]:
        """One thread, no GPU, and float64 as everybody's default."""
        variables = {name: it for name, it in os.environ.items() if name not in CLEARED}
        variables |= dict.fromkeys(THREAD_VARIABLES, "1")
        variables |= {"CUDA_VISIBLE_DEVICES": "", "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
        variables |= {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0"}
        if caches is not None:
            variables["KERAS_HOME"] = str(_keras_home(caches))
        paths = [str(code), variables.get("PYTHONPATH", "")]
        variables["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        return variables


def _keras_home(folder: Path) -> Path:
    """Keras reads its default dtype from a file when it is imported; the user's other settings, the
    backend among them, stay."""
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    content: dict[str, Any] = {}
    with contextlib.suppress(OSError, ValueError, TypeError):
        content = dict(json.loads((home / "keras.json").read_text()))
    made = folder / "keras"
    made.mkdir(exist_ok=True)
    (made / "keras.json").write_text(json.dumps({**content, "floatx": "float64"}))
    return made


class OpenProgram:
    """A process with a program, once that is read. Raises UsageError, in one line that names the
    program's file, where user code fails, hangs or gives what cannot be read."""

    title: str
    description: Description
    weights: dict[str, Array]

    def __init__(self, scratch: Path) -> None:
        folder = Path(tempfile.mkdtemp(dir=scratch))
        self._given, self._out = folder / "given.npz", folder / "out.npz"
        try:
            self._worker = ProgramWorker(NOMINAL, folder / "log.txt", folder, ROOT)
        except WorkerFailed as error:
            raise UsageError(f"no process for a program: {error}") from None

    def read(self, text: str, limit: float = OPEN_SECONDS) -> None:
        """Run the file of `FILE[:NAME]`, for what it describes."""
        file, name = file_and_name(text)
        self.title = f"{file.name}:{name}" if name else file.name
        request = Open(file=str(file), name=name, out=str(self._out))
        self.description = self._answer(request, limit).description
        self.weights = read_arrays(self._out)

    def follow(
        self, weights: Mapping[str, Array], batches: Sequence[Batch], *, dropout: bool = True
    ) -> tuple[list[ShownStep], bool]:
        """What every step shows from these weights on, and whether a step repeated is another."""
        given = _by_name(weights)
        for step, (x, y) in enumerate(batches):
            given |= {f"x{step}": x, f"y{step}": y}
        write_arrays(self._given, given)
        request = Follow(
            given=str(self._given), out=str(self._out), steps=len(batches), dropout=dropout
        )
        random = self._answer(request, FOLLOW_SECONDS).random
        return unflattened(read_arrays(self._out), len(batches)), random

    def train(self, weights: Mapping[str, Array], data: Mapping[str, Array]) -> Array:
        """The outputs for the test rows after a training."""
        write_arrays(self._given, {**_by_name(weights), **data})
        self._answer(TrainWhole(given=str(self._given), out=str(self._out)), TRAIN_SECONDS)
        return read_arrays(self._out)["outputs"]

    def _answer(self, request: ProgramRequest, limit: float) -> Any:
        try:
            return self._worker.request(request, limit)
        except WorkerFailed as error:
            printed = " ".join(self._worker.stderr_tail().split())[-TAIL:]
            clear = error.status == "unsupported" or "line " in error.error
            more = f"; it printed: {printed}" if printed and not clear else ""
            raise UsageError(f"{self.title}: {error}{more}") from None

    def close(self) -> None:
        self._worker.close()


def _by_name(weights: Mapping[str, Array]) -> dict[str, Array]:
    return {f"{WEIGHT}{name}": it for name, it in weights.items()}


@contextlib.contextmanager
def opened(*texts: str) -> Iterator[list[OpenProgram]]:
    """Programs by `FILE[:NAME]`, closed at the end with all that they started."""
    with tempfile.TemporaryDirectory(prefix="samestep-") as folder, contextlib.ExitStack() as open_:
        programs = []
        for _ in texts:
            programs.append(OpenProgram(plain(Path(folder))))
            open_.callback(programs[-1].close)
        side_by_side(lambda each: each[0].read(each[1]), list(zip(programs, texts, strict=True)))
        yield programs


def side_by_side(work: Callable[[Any], Result], items: Sequence[Any]) -> list[Result]:
    """The results for all items; each is waited for in a thread of its own."""
    with ThreadPoolExecutor(max(1, len(items))) as pool:
        return list(pool.map(work, items))


def file_and_name(text: str) -> tuple[Path, str]:
    """`net.py:model` as (net.py, model). A colon in a path is no name's unless one follows it."""
    path, colon, name = text.rpartition(":")
    if colon and name.isidentifier() and path:
        return Path(path).absolute(), name
    return Path(text).absolute(), ""
