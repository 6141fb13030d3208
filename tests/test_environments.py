"""Environments that a user did not mean for this program, or that lack what most have."""

from __future__ import annotations

import errno
import json
import os
import pwd
import subprocess
import sys

import pytest

from harness.__main__ import served
from harness.environment import DEBUGGING
from harness.errors import DataError, UsageError
from harness.runs.files import PLAIN, filesystem, plain
from harness.runs.process import cache_variables, environment, overruled
from harness.runs.runner import measuring
from harness.tasks.datasets import data_directory, load, missing
from harness.tasks.spec import Known
from impls.pytorch.compiler import without_compiler
from tests.fakes import setup
from tests.stores import make_store, named
from tests.sweeps import needs
from tests.test_cli import ROOT, harness

UNKNOWN_BACKEND = "module://a_notebook_that_is_not_installed.backend"


def test_a_report_needs_no_backend_and_none_of_the_users_fonts(tmp_path):
    """A notebook exports its own backend to every program that it starts."""
    store = make_store(tmp_path / "results", named("2026-01-01-0000-quick"))
    settings = tmp_path / "matplotlibrc"
    settings.write_text("backend: nowhere\ntext.usetex: True\nfont.family: Nowhere\n")
    hostile = {"MPLBACKEND": UNKNOWN_BACKEND, "MATPLOTLIBRC": str(settings)}
    told = harness("report", "-o", store, **hostile, MPLCONFIGDIR="/proc/nowhere")
    assert told.returncode == 0, told.stderr
    settings.write_bytes(b"backend: \xff\n")
    told = harness("report", "-o", store, **hostile)
    assert told.returncode == 4
    assert "the report cannot be written: 'utf-8' codec can't decode" in told.stderr


def test_workers_get_none_of_the_users_debugging_aids(monkeypatch):
    for name in DEBUGGING:
        monkeypatch.setenv(name, "error")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    variables = environment(setup("reference", "replay"))
    assert not variables.keys() & set(DEBUGGING)
    assert variables["PYTHONHASHSEED"] == "7"


def test_a_framework_names_the_threads_in_variables_of_its_own(monkeypatch):
    monkeypatch.setenv("PJRT_NPROC", "7")
    jax = setup("jax", "jit", threads=3)
    assert environment(jax)["PJRT_NPROC"] == environment(jax)["NPROC"] == "3"
    assert "PJRT_NPROC=7 (JAX gets 3)" in overruled([jax])


def children_of(name: str, code: str, variables: dict[str, str]) -> dict[str, object]:
    """What a script prints as JSON, in the environment of a framework's worker."""
    needs(name)
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr[-3000:]
    return json.loads(told.stdout.splitlines()[-1])


BUILT = """
import json
from harness.adapter import Options, Unsupported
from harness.proof.pool import in_child
from harness.tasks.catalogue import CATALOGUE
from harness.tasks.datasets import load
from harness.tasks.start import make_start
from impls.{framework}.{module} import {kind}

task = CATALOGUE["digits-mlp"]
rows = [it[:8] for it in load(task.data, None)[:2]]

def settings(mode, prepare=lambda: None):
    def built():
        prepare()
        adapter = {kind}(task, make_start(task, 0), Options(mode, "cpu", 1, "float32"))
        batch = adapter.stage(*rows)
        adapter.train_step(batch)
        adapter.predict(batch)
        return str(adapter.settings()["compile"])
    try:
        return in_child(built, 900)
    except Unsupported as reason:
        return str(reason)
"""
SWITCHES = """
import os
import torch._dynamo, torch._inductor.config

def disabled(): torch._dynamo.config.disable = True
def variable(): os.environ["TORCHDYNAMO_DISABLE"] = "1"
def other(): torch._dynamo.config.debug_backend_override = ">=0:eager"
def suppressed():
    torch._dynamo.config.suppress_errors = True
    torch._inductor.config.cpp.cxx = (None, "no-such-compiler")

print(json.dumps({it.__name__: settings("compile", it)
                  for it in (disabled, variable, other, suppressed)}))
"""


@pytest.mark.skipif(bool(without_compiler()), reason="no C++ compiler")
def test_a_step_that_was_not_compiled_is_not_called_compiled(tmp_path):
    """PyTorch has several switches for that; each is set as PyTorch itself would set it."""
    variables = dict(environment(setup("pytorch", "compile"), tmp_path))
    code = BUILT.format(framework="pytorch", module="adapter", kind="Adapter") + SWITCHES
    found = children_of("pytorch", code, variables)
    assert "compiled nothing" in found["disabled"]
    assert "compiled nothing" in found["variable"]
    # A release without this override compiles all the same.
    assert "another backend" in found["other"] or found["other"] == "inductor"
    assert "gave up on" in found["suppressed"]


EAGERLY = """
import keras, tensorflow as tf
print(json.dumps({
    "as it is": settings("tensorflow"),
    "eagerly": settings("tensorflow", lambda: tf.config.run_functions_eagerly(True)),
    "backend": keras.backend.backend(),
    "most steps": keras.config.max_steps_per_epoch() or 0,
}))
"""


def test_keras_runs_as_the_adapter_needs_it_whatever_the_user_has_set(tmp_path, monkeypatch):
    (tmp_path / ".keras").mkdir()
    (tmp_path / ".keras" / "keras.json").write_text('{"backend": "torch", "floatx": "float8"}')
    for name, value in {
        "HOME": str(tmp_path),
        "KERAS_BACKEND": "torch",
        "KERAS_NNX_ENABLED": "true",
        "KERAS_MAX_EPOCHS": "none",
        "KERAS_MAX_STEPS_PER_EPOCH": "1",
        "TF_USE_LEGACY_KERAS": "1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("KERAS_HOME", raising=False)
    variables = dict(environment(setup("keras", "tensorflow")))
    code = BUILT.format(framework="keras", module="idiom", kind="Idiom") + EAGERLY
    found = children_of("keras", code, variables)
    assert found == {
        "as it is": "tf.function",
        "eagerly": "TensorFlow traces nothing here: run_functions_eagerly is on",
        "backend": "tensorflow",
        "most steps": 0,
    }


@pytest.fixture
def homeless(monkeypatch):
    """A user of a container: no HOME, and no entry in the list of users."""

    def nobody(_: object) -> pwd.struct_passwd:
        raise KeyError("no such user")

    for name in ("HOME", "XDG_CACHE_HOME", "SAMESTEP_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", nobody)


@pytest.mark.usefixtures("homeless")
def test_only_data_that_are_read_need_a_home(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert data_directory(None) is None
    mnist = Known(name="mnist")
    assert "no data directory: this user has no home" in (missing(mnist, None) or "")
    with pytest.raises(DataError, match="name one with --data-dir or SAMESTEP_DATA"):
        load(mnist, None)
    assert served(["list"]) == 0
    assert served(["run", "-t", "digits-mlp", "-f", "reference", "--dry-run"]) == 0
    assert served(["data", "verify", "--data-dir", str(tmp_path)]) == 0
    assert capsys.readouterr().err == ""
    for words in (["data", "verify"], ["run", "-t", "mnist-mlp", "-f", "reference"]):
        assert served(words) == DataError.exit_code
        (line,) = capsys.readouterr().err.splitlines()
        assert "no data directory: this user has no home directory" in line


def test_a_missing_proc_is_named(tmp_path, monkeypatch, capsys):
    """psutil, which reads it, says of a file in it that there is none."""

    def absent(*_: object, **__: object) -> None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/proc/meminfo")

    exists = os.path.exists
    monkeypatch.setattr(os.path, "exists", lambda it: it != "/proc/self" and exists(it))
    monkeypatch.setattr("psutil.virtual_memory", absent)
    monkeypatch.setattr("psutil.disk_partitions", absent)
    assert filesystem(tmp_path) is None
    words = ["run", "-t", "digits-mlp", "-f", "reference", "-o", str(tmp_path / "results")]
    assert served(words) == UsageError.exit_code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: /proc/meminfo: /proc is not mounted")


def test_an_error_during_a_run_is_not_one_of_its_directory(tmp_path):
    with pytest.raises(FileNotFoundError, match="elsewhere"), measuring(tmp_path):
        (tmp_path / "elsewhere").read_bytes()


@pytest.mark.parametrize("name", ["a b", "it's", "50%", "$HOME", "é", '"', "\\", "x" * 220])
def test_compilers_get_a_path_that_needs_no_quotes(tmp_path, name):
    folder = tmp_path / name
    (given,) = cache_variables(setup("pytorch", "compile"), folder).values()
    assert PLAIN.fullmatch(given)
    assert plain(folder) == plain(folder)
    (plain(folder) / "program").write_text("compiled")
    assert (folder / "program").read_text() == "compiled"


def test_a_plain_path_is_left_alone(tmp_path):
    assert plain(tmp_path / "results") == tmp_path / "results"
