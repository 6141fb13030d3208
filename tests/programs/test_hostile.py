"""Programs that fail, hang or give nonsense end in one clear line, and harm nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.errors import DataError, HarnessError, UsageError
from harness.programs.messages import read_arrays
from harness.programs.process import OpenProgram
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.start import fitting_weights, kept_weights, read_weights, started_from

GOOD = """
import numpy as np
def weights():
    return {"layer0.weight": np.ones((3, 2)), "layer0.bias": np.zeros(2)}
def forward(w, x):
    return x @ w["layer0.weight"] + w["layer0.bias"]
def step(w, slots, x, y, t):
    return {"loss": 1.0, "weights": w}
"""
HOSTILE = {
    "empty": ("", "gives no model"),
    "syntax": ("def f(:\n", "line 1: SyntaxError"),
    "raises": ("x = 1\nraise ValueError('on\\npurpose')", "line 2: ValueError: on purpose"),
    "import": ("import no_such_module_at_all", "line 1: ModuleNotFoundError"),
    "exit": ("import sys\nsys.exit(0)", "line 2: SystemExit"),
    "recursion": ("def f(): f()\nf()", "line 1: RecursionError"),
    "more memory than there is": (
        "import os\nx = bytearray(os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'))",
        "line 2: MemoryError",
    ),
    "no model": ("model = 3", "model is a builtins.int; nothing reads such"),
    "model is text": ("model = 'net'", "model is a builtins.str"),
    "build takes": ("def build(a): pass", "TypeError"),
    "build gives 4": ("def build(): return 1, 2, 3, 4", "returns 4 things"),
    "build gives none": ("def build(): return None", "gives no model"),
    "build gives strange": ("def build(): return {'net': 1}", "gives 'net'; known are model"),
    "train_step": ("model = 3\ntrain_step = 4", "train_step is no function"),
    "batch of none": (GOOD + "batch_size = 0", "batch_size is 0; at least 1 is due"),
    "epochs to come": (GOOD + "epochs = -2", "epochs is -2"),
    "weights NaN": (GOOD.replace("np.zeros(2)", "np.full(2, np.nan)"), "holds what is no finite"),
    "weights none": (GOOD.replace("np.zeros(2)", "np.zeros(0)"), "layer0.bias is empty"),
    "weights list": (GOOD.replace('return {"layer0', 'return [] and {"layer0'), "a list, not"),
    "weights names": (GOOD.replace('layer0.bias": np', 'bias": np'), "names are layer0.weight"),
    "weights shape": (GOOD.replace("np.ones((3, 2))", "np.ones(3)"), "(in, out) is due"),
}
DEADLY = {
    "hard exit": ("import os\nprint('bye', flush=True)\nos._exit(3)", "exited with code 3"),
    "signal": ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "killed by SIGSEGV"),
    "hangs": ("while True: pass", "no answer to 'open' within 1 s"),
    "floods": (
        "from resource import RLIMIT_FSIZE, getrlimit, setrlimit\n"
        "most = min(getrlimit(RLIMIT_FSIZE)[0] >> 12, 2**20)\n"  # 1 MiB of 4 GiB
        "setrlimit(RLIMIT_FSIZE, (most, -1))\nwhile True: print('x' * 10**5)",
        "line 4: OSError: [Errno 27] File too large",
    ),
    "threads": (
        "import threading, time\n"
        "threading.Thread(target=time.sleep, args=(60,)).start()\nraise SystemExit(1)",
        "line 3: SystemExit",
    ),
}
"""Those that end their process, or leave something in it."""


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenProgram]:
    """One process for all programs that leave it as it was."""
    program = OpenProgram(tmp_path_factory.mktemp("scratch"))
    yield program
    program.close()


def refusal(program: OpenProgram, text: str, limit: float = 60.0) -> str:
    with pytest.raises(UsageError) as error:
        program.read(text, limit)
    return str(error.value)


def check_one_line(program: OpenProgram, file: Path, code: str, expected: str) -> None:
    file.write_text(code)
    line = refusal(program, str(file), 1.0 if file.stem == "hangs" else 60.0)
    assert expected in line
    assert line.startswith(file.name)
    assert len(line) < 600


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_program_is_refused_in_one_line(
    name: str, shared: OpenProgram, tmp_path: Path
) -> None:
    check_one_line(shared, tmp_path / f"{name.replace(' ', '-')}.py", *HOSTILE[name])


@pytest.mark.parametrize("name", DEADLY)
def test_a_program_that_harms_its_process_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    program = OpenProgram(tmp_path)
    try:
        check_one_line(program, tmp_path / f"{name.replace(' ', '-')}.py", *DEADLY[name])
    finally:
        program.close()
    assert not list(tmp_path.rglob("log.txt"))


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("absent.py", None, "there is no such file"),
        ("net.txt", b"model", "not a .py, .keras, .h5, .json or .onnx file"),
        ("good.py:missing", GOOD.encode(), "the file has no 'missing'"),
        ("nul.py", b"\x00\x01", "SyntaxError"),
    ],
)
def test_a_file_that_is_no_program(
    name: str, content: bytes | None, expected: str, shared: OpenProgram, tmp_path: Path
) -> None:
    path = tmp_path / name.partition(":")[0]
    if content is not None:
        path.write_bytes(content)
    assert expected in refusal(shared, str(tmp_path / name))


STEPS = {
    "none": ("return None", "step must return a dictionary"),
    "no loss": ("return {'weights': w}", "with loss and weights"),
    "shapes": (
        "return {'loss': 1, 'weights': {k: v[:1] for k, v in w.items()}}",
        "other names or shapes",
    ),
    "text": ("return {'loss': 'high', 'weights': w}", "ValueError"),
}


@pytest.mark.parametrize("name", STEPS)
def test_a_hostile_step_is_refused(name: str, shared: OpenProgram, tmp_path: Path) -> None:
    code, expected = STEPS[name]
    file = tmp_path / "net.py"
    file.write_text(GOOD.replace('return {"loss": 1.0, "weights": w}', code))
    shared.read(str(file))
    assert set(shared.weights) == {"layer0.weight", "layer0.bias"}
    with pytest.raises(UsageError, match=expected):
        shared.follow(shared.weights, [(np.ones((4, 3)), np.zeros(4, np.int64))])


def test_objects_in_an_npz_file_are_never_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", a=np.array([{}], object))
    with pytest.raises(UsageError, match="not a readable npz"):
        read_weights(tmp_path / "objects.npz")
    with pytest.raises(DataError, match="not a readable npz"):
        read_arrays(tmp_path / "objects.npz")


def digits_weights() -> dict[str, np.ndarray]:
    random, made = np.random.default_rng(0), {}
    for index, (fan_in, fan_out) in enumerate(CATALOGUE["digits-mlp"].layers):
        made[f"layer{index}.weight"] = random.normal(size=(fan_in, fan_out))
        made[f"layer{index}.bias"] = random.normal(size=fan_out)
    return made


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"layer0.weight": None}, "has no 'layer0.weight'"),
        ({"extra": np.ones(2)}, "has a strange 'extra'"),
        ({"layer1.bias": np.ones(3)}, "layer1.bias has shape"),
        ({"layer1.bias": np.full(64, np.nan)}, "no finite number"),
        ({"layer1.bias": np.full(64, "x")}, "no finite number"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    change: dict[str, np.ndarray | None], expected: str, tmp_path: Path
) -> None:
    weights = {k: it for k, it in (digits_weights() | change).items() if it is not None}
    np.savez(tmp_path / "w.npz", **weights)
    with pytest.raises(HarnessError, match=expected):
        fitting_weights(CATALOGUE["digits-mlp"], read_weights(tmp_path / "w.npz"), "w.npz")


def test_the_digest_covers_a_users_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMESTEP_DATA", str(tmp_path / "data"))
    task, weights = CATALOGUE["digits-mlp"], digits_weights()
    np.savez(tmp_path / "w.npz", **weights)
    (one,) = started_from(tmp_path / "w.npz", [task])
    weights["layer2.bias"][3] += 1e-12
    np.savez(tmp_path / "w.npz", **weights)
    (other,) = started_from(tmp_path / "w.npz", [task])
    assert len({task.digest, one.digest, other.digest}) == 3
    assert kept_weights(other)["layer2.bias"][3] == weights["layer2.bias"][3]
