"""Frameworks are found by their folders, and none is imported to be found."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

import impls
from harness.adapter import Tuning
from harness.cli import machine as machine_verbs
from harness.errors import UsageError
from harness.frameworks import (
    absence,
    contestants,
    faults,
    frameworks,
    install_command,
    modes_of,
    undeclared,
    version,
)
from harness.runs.config import resolve
from harness.runs.plan import make_plan
from harness.worker.system import hide_from
from tests.sweeps import needs
from tests.test_cli import ROOT

ENGINE = """
from harness.adapter import Framework
FRAMEWORK = Framework(
    title="Mine", distributions=("numpy",), install="", modes={"only": "one"}, color="#000000"
)
"""


@pytest.fixture
def further(tmp_path, monkeypatch):
    """A folder of further frameworks."""
    monkeypatch.setattr(impls, "__path__", [*impls.__path__, str(tmp_path)])
    yield tmp_path
    for name in [it for it in sys.modules if it.startswith("impls.mine")]:
        del sys.modules[name]


def test_they_are_there_each_with_a_default_mode():
    known = frameworks()
    assert {"keras", "pytorch", "tensorflow", "reference"} <= known.keys()
    for framework in known.values():
        assert framework.default_mode in (framework.modes or framework.idioms)
        assert all(framework.modes.values())
    assert len({framework.color for framework in known.values()}) == len(known)


def test_a_folder_is_all_that_a_framework_needs(further):
    (further / "mine").mkdir()
    (further / "mine" / "__init__.py").write_text(ENGINE)
    assert faults() == []
    assert frameworks()["mine"].title == "Mine"
    assert contestants(["mine"]) == [("mine", "only", "identical")]


BROKEN = {
    "": "declares no FRAMEWORK",
    "import not_installed_anywhere": "ModuleNotFoundError: No module named 'not_installed_anywhe",
    "raise SystemExit(3)": "SystemExit: 3",
    "def": "SyntaxError: invalid syntax",
    "FRAMEWORK = {'title': 'Mine'}": "FRAMEWORK is a dict, not a harness.adapter.Framework",
    ENGINE.replace(
        '("numpy",)', '"numpy"'
    ): "FRAMEWORK: distributions: Input should be a valid tup",
    ENGINE.replace('{"only": "one"}', "{}"): "FRAMEWORK: modes: there is none",
    ENGINE.replace('title="Mine"', 'title="Mine", phases=("train",)'): (
        "FRAMEWORK: phases: every framework predicts"
    ),
}


@pytest.mark.parametrize("content", BROKEN)
def test_a_folder_that_declares_no_framework_is_left_out(further, capsys, content):
    (further / "mine").mkdir()
    (further / "mine" / "__init__.py").write_text(content)
    assert "mine" not in frameworks()
    said = f"{further}/mine/__init__.py: {BROKEN[content]}"
    assert undeclared()["mine"].startswith(said)
    plans = [make_plan(resolve(None, {"frameworks": it})) for it in ((), ("reference",), ("*",))]
    assert [
        [it.reason.startswith(said) for it in plan.unavailable if it.what == "framework mine"]
        for plan in plans
    ] == [[True], [], [True]]
    for pattern in ("mine", "min*", "mine:only"):
        with pytest.raises(UsageError, match=r"framework 'mine' is left out: .*mine/__init__"):
            make_plan(resolve(None, {"frameworks": (pattern,)}))
    machine_verbs.list_()
    assert f"left out: framework mine: {said}" in capsys.readouterr().out


def test_a_folder_that_holds_no_framework_is_said(tmp_path, monkeypatch):
    for name in ("empty", "first/mine", "second/mine", "odd/my:net"):
        (tmp_path / name).mkdir(parents=True)
    for it in ("first/mine", "second/mine", "odd/my:net"):
        (tmp_path / it / "__init__.py").write_text(ENGINE)
    (tmp_path / "file").touch()
    words = ("absent", "file", "empty", "first", "second", "first/mine", "odd")
    before = os.environ.get("SAMESTEP_IMPLS", "")
    monkeypatch.setenv(
        "SAMESTEP_IMPLS", os.pathsep.join([before, *(str(tmp_path / it) for it in words)])
    )
    code = "import harness.frameworks as f; print(*f.faults(), sep='\\n'); print(*f.frameworks())"
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    *faults, names = told.stdout.replace(f"{tmp_path}/", "").splitlines()
    assert [it.replace(str(tmp_path), "") for it in faults] == [
        "('framework my:net', \"odd/my:net/__init__.py: 'my:net' is no name: use letters, digits, "
        '_ and -")',
        "('framework mine of second', 'first has one of this name')",
        "('folder absent', 'No such file or directory; SAMESTEP_IMPLS names it')",
        "('folder file', 'Not a directory; SAMESTEP_IMPLS names it')",
        "('folder empty', 'holds no framework: no folder with an __init__.py')",
        "('folder first/mine', \"is a framework's own; name the one above, first\")",
    ], told.stderr
    assert set(names.split()) == {*frameworks(), "mine"}


def test_globs_and_modes():
    eager, compiled = (("pytorch", it, "identical") for it in ("eager", "compile"))
    assert contestants(["pytorch:*"]) == [eager, compiled]
    assert contestants(["tensorflow"], "all") == [
        ("tensorflow", mode, "identical") for mode in ("graph", "eager", "xla")
    ]
    assert contestants(["pytorch", "pytorch:eager"]) == [eager]
    installed = {name for name, it in frameworks().items() if it.modes and version(it)}
    assert {name for name, *_ in contestants([])} == installed


def test_each_lane_has_modes_of_its_own():
    known = frameworks()
    assert modes_of(known["tensorflow"], "identical") == known["tensorflow"].modes
    assert list(modes_of(known["keras"], "idiomatic")) == ["tensorflow", "jax", "torch"]
    assert not modes_of(known["tensorflow"], "idiomatic")
    compiled, eager = (("pytorch", it, "idiomatic") for it in ("compile", "eager"))
    assert contestants(["pytorch"], lanes=("idiomatic",)) == [compiled]
    assert contestants(["pytorch"], "all", ("idiomatic",)) == [compiled, eager]


def test_a_pattern_need_fit_one_of_the_lanes_only():
    lanes = ("identical", "idiomatic")
    assert contestants(["tensorflow:graph", "pytorch:eager", "reference"], lanes=lanes) == [
        ("tensorflow", "graph", "identical"),
        ("pytorch", "eager", "identical"),
        ("reference", "replay", "identical"),
        ("pytorch", "eager", "idiomatic"),
        ("reference", "replay", "idiomatic"),
    ]
    assert contestants(["*torch:compile"]) == [("pytorch", "compile", "identical")]
    with pytest.raises(UsageError, match="unknown mode of PyTorch 'graph'; choose from: compile"):
        contestants(["pytorch:graph"], lanes=("idiomatic",))
    with pytest.raises(UsageError, match="unknown mode of PyTorch 'eagre'; did you mean 'eager'"):
        contestants(["pytorch:eagre"], lanes=lanes)
    with pytest.raises(UsageError, match="a mode must follow the colon"):
        contestants(["pytorch:"], lanes=lanes)


def test_where_no_lane_is_asked_for_each_framework_takes_part_in_its_usual_one():
    assert contestants(["keras", "pytorch", "keras:torch"], lanes=()) == [
        ("pytorch", "eager", "identical"),
        ("keras", "tensorflow", "idiomatic"),
        ("keras", "torch", "idiomatic"),
    ]
    for pattern, why in {"keras": "no mode in the lane", "keras:graph": "no mode in"}.items():
        with pytest.raises(UsageError, match=why):
            contestants([pattern])
    with pytest.raises(UsageError, match="unknown mode of PyTorch 'torch'; choose from: compile"):
        contestants(["pytorch:torch"], lanes=())


def test_a_framework_without_idioms_takes_no_part_in_their_lane(further):
    (further / "mine").mkdir()
    (further / "mine" / "__init__.py").write_text(ENGINE)
    assert contestants(["mine"], lanes=("identical", "idiomatic")) == [
        ("mine", "only", "identical")
    ]
    for patterns in ([], ["*"]):
        assert "mine" not in {name for name, *_ in contestants(patterns, lanes=("idiomatic",))}
    with pytest.raises(UsageError, match="'mine' has no mode in the lane idiomatic"):
        contestants(["mine"], lanes=("idiomatic",))


AHEAD = """
import importlib, os, sys
from pathlib import Path
package, ahead = sys.argv[1:]
importlib.import_module(f"{package}.adapter")
threads = lambda: len(list(Path("/proc/self/task").iterdir()))
before = threads()
importlib.import_module(ahead)
print(threads() - before)
isa = sys.modules.get("torch._inductor.cpu_vec_isa")
print(isa and isa.valid_vec_isa_list.cache_info().currsize)
"""


@pytest.mark.parametrize(
    ("name", "mode"),
    [(name, mode) for name, it in frameworks().items() for mode in it.tuning.ahead],
)
def test_what_is_imported_ahead_starts_no_thread(name, mode):
    """Threads of a process do not live on in those that it forks."""
    framework = frameworks()[name]
    assert mode in {**framework.modes, **framework.idioms}
    if version(framework) is None:
        pytest.skip(f"{name} is not installed")
    if not Path("/proc/self/task").is_dir():
        pytest.skip("threads are counted on Linux only")
    command = [sys.executable, "-c", AHEAD, f"impls.{name}", framework.tuning.ahead[mode]]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    threads, asked = told.stdout.split()
    assert threads == "0", told.stderr
    # Its module bears with a version that cannot be asked; the pinned one can.
    if (name, mode) == ("pytorch", "compile"):
        assert asked == "1", "what the compiler asks of the machine has not been asked ahead"


UNAWARE = """
import importlib, sys
from harness.frameworks import frameworks
from harness.worker.system import hide_from
import {package}
assert frameworks()
hide_from({package}.FRAMEWORK)
if {package}.FRAMEWORK.modes:
    importlib.import_module("{package}.adapter")
if {package}.FRAMEWORK.idioms:
    importlib.import_module("{package}.idiom")
print([it for it in {package}.FRAMEWORK.tuning.unaware_of if sys.modules.get(it)])
if "tensorflow" in sys.modules:
    sys.modules["tensorflow"].constant
"""


@pytest.mark.parametrize("name", frameworks())
def test_a_framework_imports_nothing_that_is_here_for_the_harness(name):
    """Keras would import scikit-learn, pandas and matplotlib: three of seven seconds. And our
    folder `tensorflow` does not shadow the real one."""
    needs(name)
    code = UNAWARE.format(package=f"impls.{name}")
    told = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (told.returncode, told.stdout.strip()) == (0, "[]"), told.stderr


def test_what_is_hidden_is_as_if_it_were_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", sys)  # here already: it stays
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    framework = replace(
        frameworks()["reference"], tuning=Tuning(unaware_of=("sklearn", "colorsys"))
    )
    hide_from(framework)
    try:
        assert sys.modules["sklearn"] is sys
        assert importlib.util.find_spec("colorsys") is None
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("colorsys")
    finally:
        sys.modules.pop("colorsys")


def test_a_framework_that_is_too_old_is_left_out_and_says_so(monkeypatch, capsys):
    torch = frameworks()["pytorch"]
    old = {"torch": "2.3.1+cpu", "numpy": "2.0.0rc1", "tensorflow-cpu": "10.0"}
    monkeypatch.setattr("importlib.metadata.version", lambda name: old.get(name, "99.0"))
    reason = "too old: 2.3.1+cpu is installed, 2.4 or later is needed; get it with: pip install"
    assert (absence(torch) or "").startswith(reason)
    assert [name for name, it in frameworks().items() if absence(it)] == ["pytorch"]
    usual = {name for name, it in frameworks().items() if it.modes}
    assert {name for name, *_ in contestants([])} == usual - {"pytorch"}
    with pytest.raises(UsageError, match="framework 'pytorch' is too old"):
        make_plan(resolve(None, {"frameworks": ("pytorch",)}))
    plan = make_plan(resolve(None, {}))
    assert [it.what for it in plan.unavailable if "too old" in it.reason] == ["framework pytorch"]
    machine_verbs.list_()
    assert "too old: 2.3.1+cpu" in capsys.readouterr().out


def test_the_hint_to_install_fits_a_checkout_and_a_wheel(tmp_path, monkeypatch):
    torch, mine = frameworks()["pytorch"], replace(frameworks()["pytorch"], install="pip install x")
    assert install_command(torch, tmp_path) == "pip install 'samestep[pytorch]'"
    checkout = tmp_path / "a checkout"
    checkout.mkdir()
    (checkout / "pyproject.toml").touch()
    assert shlex.split(install_command(torch, checkout)) == [
        *("pip", "install", "-e", f"{checkout}[pytorch]", "-c", f"{checkout}/constraints.txt")
    ]
    monkeypatch.chdir(checkout)
    here = "pip install -e '.[pytorch]' -c constraints.txt"
    assert install_command(torch, checkout) == here
    assert install_command(mine, checkout) == "pip install x"
    assert (ROOT / "pyproject.toml").is_file()
    assert (ROOT / "constraints.txt").is_file()


def test_a_hint_names_an_extra_that_there_is():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    hints = [it.install for it in frameworks().values() if "samestep[" in it.install]
    named = {re.search(r"samestep\[(\w+)\]", it)[1] for it in hints}
    assert {"pytorch", "tensorflow"} <= named <= project["optional-dependencies"].keys()


def test_what_was_removed_by_halves_is_not_installed(monkeypatch):
    """Of a distribution a folder is left, without the file that tells its version."""
    monkeypatch.setattr("importlib.metadata.version", lambda name: None)
    assert (absence(frameworks()["pytorch"]) or "").startswith("not installed")


def test_the_oldest_versions_are_those_that_are_asked_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lists = [project["dependencies"], *project["optional-dependencies"].values()]
    wanted = [it for each in lists for it in each]
    asked = {name: it for name, it in frameworks().items() if "samestep" in it.install}
    assert {"pytorch", "tensorflow", "reference"} <= asked.keys()
    for framework in asked.values():
        needs = [it for it in wanted if re.split(r"[>\[=]", it)[0] in framework.distributions]
        assert needs
        assert {re.search(r">=([\d.]+)", it)[1] for it in needs} == {framework.least}
