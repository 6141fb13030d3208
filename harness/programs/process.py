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

import numpy as np

from harness.adapter import Array
from harness.cells import Setup
from harness.environment import CLEARED, THREAD_VARIABLES
from harness.errors import DataError, UsageError
from harness.programs.messages import ANSWERED, Follow, Open, Refused, TrainWhole
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
    replies = ANSWERED

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
    with contextlib.suppress(OSError, ValueError):
        content = json.loads((home / "keras.json").read_text())
    if not isinstance(content, dict):
        content = {}
    ours = folder / "keras"
    ours.mkdir(exist_ok=True)
    (ours / "keras.json").write_text(json.dumps({**content, "floatx": "float64"}))
    return ours


class OpenProgram:
    """A program that was read. Raises UsageError, in one line that names the file, where user code
    fails, hangs or gives what cannot be read."""

    description: Description
    weights: dict[str, Array]

    def __init__(self, text: str, scratch: Path) -> None:
        self._file, self._name = file_and_name(text)
        self.title = f"{self._file.name}:{self._name}" if self._name else self._file.name
        self.folder = Path(tempfile.mkdtemp(dir=scratch))
        self._worker = self._started()

    def read(self, limit: float = OPEN_SECONDS) -> None:
        """Run the program's file, for what it describes."""
        weights = self.folder / "weights.npz"
        request = Open(file=str(self._file), name=self._name, weights=str(weights))
        self.description = self._asked(request, limit).description
        self.weights = read_arrays(weights)

    def _started(self) -> ProgramWorker:
        try:
            return ProgramWorker(NOMINAL, self.folder / "log.txt", self.folder, ROOT)
        except WorkerFailed as error:
            raise UsageError(f"{self.title}: {error}") from None

    def follow(
        self,
        weights: Mapping[str, Array],
        batches: list[tuple[Array, Array]],
        *,
        dropout: bool = True,
        limit: float = FOLLOW_SECONDS,
    ) -> tuple[Trajectory, bool]:
        """What every step shows from these weights on, and whether a step repeated is another."""
        out = Path(tempfile.mkdtemp(dir=self.folder))
        write_arrays(out / "start.npz", weights)
        fed = {f"x{it}": x for it, (x, _) in enumerate(batches)}
        fed |= {f"y{it}": y for it, (_, y) in enumerate(batches)}
        write_arrays(out / "batches.npz", fed)
        request = Follow(
            weights=str(out / "start.npz"),
            batches=str(out / "batches.npz"),
            steps=len(batches),
            out=str(out),
            dropout=dropout,
        )
        followed = self._asked(request, limit)
        return Trajectory(out, len(batches)), followed.random

    def train(
        self, weights: Mapping[str, Array], data: Mapping[str, Array], limit: float = TRAIN_SECONDS
    ) -> Array:
        """The outputs for the test rows after a training."""
        start, given, out = (self.folder / f"{it}.npz" for it in ("start", "data", "outputs"))
        write_arrays(start, weights)
        write_arrays(given, data)
        self._asked(TrainWhole(weights=str(start), data=str(given), out=str(out)), limit)
        return read_arrays(out)["outputs"]

    def _asked(self, request: Any, limit: float) -> Any:
        try:
            answer = self._worker.request(request, limit)
        except WorkerFailed as error:
            said = f"{self.title}: {error}"
            tail = " ".join(self._worker.stderr_tail().split())[-TAIL:]
            told = "" if "line " in str(error) or not tail else f"; it printed: {tail}"
            self.close()
            raise UsageError(said + told) from None
        if isinstance(answer, Refused):
            raise UsageError(f"{self.title}: {answer.error}")
        return answer

    def close(self) -> None:
        self._worker.close()


class Trajectory:
    """What a program showed, step by step, read from its files when it is asked for."""

    def __init__(self, folder: Path, steps: int) -> None:
        self._folder, self.steps = folder, steps
        self._read: dict[int, ShownStep] = {}

    def __getitem__(self, step: int) -> ShownStep:
        """The step of this number, from 1."""
        if step not in self._read:
            flat = read_arrays(self._folder / f"step{step}.npz")
            parts: dict[str, dict[str, Array]] = {"gradients": {}, "weights": {}, "slots": {}}
            for name, values in flat.items():
                quantity, colon, tensor = name.replace("|", "/").partition(":")
                if colon and quantity in parts:
                    parts[quantity][tensor] = values
            self._read[step] = ShownStep(flat["logits"], float(flat["loss"]), **parts)
        return self._read[step]


@contextlib.contextmanager
def opened(*texts: str) -> Iterator[list[OpenProgram]]:
    """Programs by `FILE[:NAME]`, closed at the end with all that they started."""
    with tempfile.TemporaryDirectory(prefix="samestep-") as folder, contextlib.ExitStack() as open_:
        scratch = plain(Path(folder))
        programs = [OpenProgram(text, scratch) for text in texts]
        for program in programs:
            open_.callback(program.close)
        side_by_side(OpenProgram.read, programs)
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


def read_arrays(path: Path) -> dict[str, Array]:
    """The arrays of an npz file, no objects. Raises DataError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except Exception as error:  # whatever zipfile and NumPy make of a broken file
        raise DataError(f"{path.name}: not a readable npz file ({error})") from None


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    np.savez(path, **arrays)  # type: ignore[arg-type]
