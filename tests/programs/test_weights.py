"""`run --weights`: every training starts from the user's own weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.runs.store import open_existing
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.start import make_start
from tests.test_cli import SHORT, harness

TASK = CATALOGUE["diabetes-regression"]


BESIDE_REFERENCE = [(), pytest.param(("-f", "sklearn"), marks=pytest.mark.slow)]


@pytest.mark.parametrize("more", BESIDE_REFERENCE, ids=["reference", "sklearn"])
def test_a_run_starts_from_them_and_needs_their_file_only_once(
    tmp_path: Path, more: tuple[str, ...]
) -> None:
    weights = {name: 0.5 * it for name, it in make_start(TASK, 7).weights.items()}
    np.savez(tmp_path / "mine.npz", **weights)
    words = [*SHORT, "-t", TASK.name, "-f", "reference", *more, "--lane", "both", "--seeds", "1"]
    words += ["--threads", "1", "-o", "out"]
    data = {"SAMESTEP_DATA": str(tmp_path / "data")}
    told = harness("run", *words, "--weights", "mine.npz", cwd=tmp_path, **data)
    assert told.returncode == 0, told.stderr + told.stdout
    (tmp_path / "mine.npz").unlink()
    with open_existing(tmp_path / "out") as store:
        (name,) = store.runs()
        run = store.load(name)
    (task,) = run.tasks
    assert all(it.status == "ok" and it.setup.digest == task.digest for it in run.records)
    assert all(it.proven for it in run.certificates)
    assert task.digest != TASK.digest
    assert str(tmp_path) not in run.model_dump_json()
    told = harness("run", "--resume", name, "-o", "out", cwd=tmp_path, **data)
    assert (told.returncode, told.stderr) == (0, ""), told.stderr


def test_the_start_is_theirs_whatever_the_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from harness.tasks.start import started_from

    monkeypatch.setenv("SAMESTEP_DATA", str(tmp_path))
    weights = {name: it + 1 for name, it in make_start(TASK, 3).weights.items()}
    np.savez(tmp_path / "mine.npz", **weights)
    (task,) = started_from(tmp_path / "mine.npz", [TASK])
    for seed in (0, 1):
        start = make_start(task, seed)
        assert all(np.array_equal(start.weights[name], it) for name, it in weights.items())
    orders = [make_start(it, 1).epoch_order(0) for it in (task, TASK)]
    assert np.array_equal(*orders)
