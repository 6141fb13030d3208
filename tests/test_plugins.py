"""A package that is installed beside samestep brings a framework of its own.

`plugin_package` is one, HIPS autograd: pip installs it, and it is listed, proven and measured. What
is wrong with a plug-in is shown with others, which are written here.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest

from harness.adapter import ADAPTER_API
from harness.cli import machine as machine_verbs
from harness.doctor.checks import readable
from harness.doctor.facts import Facts, Watch
from harness.errors import UsageError
from harness.frameworks import (
    contestants,
    faults,
    folder_of,
    frameworks,
    install_command,
    plugin_of,
)
from harness.proof.certificates import code_of
from harness.runs.store import open_existing
from tests.test_cli import ROOT, SHORT, harness
from tests.test_frameworks import ENGINE

NUMBERS = itertools.count()


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Puts packages where Python looks for them, as pip does; each has a name of its own."""
    monkeypatch.syspath_prepend(tmp_path)
    packages = []

    def installed(name, content, file="{package}/__init__.py"):
        package = f"plugin{next(NUMBERS)}"
        packages.append(package)
        info = tmp_path / f"samestep_{package}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[samestep.frameworks]\n{name} = {package}\n")
        path = tmp_path / file.format(package=package)
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
        return package

    yield installed
    for name in [it for it in sys.modules if it.partition(".")[0] in packages]:
        del sys.modules[name]


def test_a_plugin_is_a_framework_like_any_other(install, monkeypatch):
    package = install("mine", ENGINE)
    assert (frameworks()["mine"].title, plugin_of("mine")) == ("Mine", f"{package} 1.0")
    assert plugin_of("reference") is None
    assert contestants(["mine"]) == [("mine", "only", "identical")]
    assert faults() == []
    before = code_of("mine")
    (folder_of("mine") / "adapter.py").write_text("first = 1\n")
    assert code_of("mine") != before
    monkeypatch.setenv("SAMESTEP_PLUGINS", "0")
    assert "mine" not in frameworks()


BROKEN = {
    "import not_installed_anywhere": "ModuleNotFoundError: No module named 'not_installed_anywhe",
    "raise SystemExit(3)": "SystemExit: 3",
    "": "declares no FRAMEWORK",
    ENGINE.replace("title=", f"adapter_api={ADAPTER_API + 1}, title="): (
        f"is written for adapter API {ADAPTER_API + 1}, samestep has {ADAPTER_API}: get a later"
    ),
}


@pytest.mark.parametrize("content", BROKEN)
def test_one_that_cannot_be_read_is_a_line(install, capsys, content):
    package = install("mine", content)
    other = install("other", ENGINE)
    assert "mine" not in frameworks()
    assert plugin_of("other") == f"{other} 1.0"
    line = f"left out: framework mine: {package} of {package} 1.0: {BROKEN[content]}"
    machine_verbs.list_()
    assert line in capsys.readouterr().out
    checked = readable(Facts(1, 1, Watch(1.0), left_out=tuple(faults())))
    assert (checked.level, line in checked.text) == ("note", True)
    with pytest.raises(UsageError, match=f"framework 'mine' is left out: {package} of"):
        contestants(["mine"])


def test_one_that_is_a_single_file_has_no_place_for_an_adapter(install):
    install("mine", ENGINE, file="{package}.py")
    ((what, why),) = faults()
    assert what == "framework mine"
    assert "is one file; name a package, with adapter.py beside its __init__.py" in why


def test_of_two_plugins_with_one_name_none_is_taken(install):
    first, second = install("mine", ENGINE), install("mine", ENGINE)
    assert "mine" not in frameworks()
    ((what, why),) = faults()
    assert what == "framework mine"
    assert f"{first} of {first} 1.0 and {second} of {second} 1.0" in why


def test_no_plugin_takes_the_name_of_a_folder(install):
    package = install("reference", ENGINE)
    assert frameworks()["reference"].title == "NumPy reference"
    assert faults() == [
        (f"framework reference of {package} 1.0", f"{ROOT / 'impls'} has one of this name")
    ]


def test_the_hint_to_install_leaves_the_name_of_a_plugin_alone():
    mine = replace(frameworks()["reference"], install="pip install samestep-mine 'samestep[all]'")
    assert install_command(mine).startswith("pip install samestep-mine -e ")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Where pip has installed `plugin_package`."""
    pytest.importorskip("autograd")
    if not all(map(importlib.util.find_spec, ("pip", "setuptools"))):
        pytest.skip("pip or setuptools is not installed")
    folder = tmp_path_factory.mktemp("plugin")
    source = shutil.copytree(  # pip leaves files beside what it builds
        ROOT / "tests/plugin_package", folder / "source", ignore=shutil.ignore_patterns("__pyc*")
    )
    offline = ("--no-build-isolation", "--no-deps", "--no-index", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", "-q", *offline, "--target", folder / "site"]
    told = subprocess.run([*command, source], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    return folder / "site"


def python(site, *words, cwd=ROOT):
    path = os.pathsep.join(map(str, (site, ROOT)))
    variables = {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *map(str, words)]
    return subprocess.run(command, cwd=cwd, env=variables, capture_output=True, text=True)


LISTED = """
import sys
from harness.cli.machine import list_
list_()
heavy = ("autograd", "jax", "keras", "numpy", "onnxruntime", "sklearn", "tensorflow", "torch")
print(*[it for it in heavy if it in sys.modules], "end")
"""


def test_it_is_listed_and_no_framework_is_imported(site):
    told = python(site, "-c", LISTED)
    assert told.returncode == 0, told.stderr
    assert "a plug-in of samestep-autograd 0.1" in " ".join(told.stdout.split())
    assert told.stdout.splitlines()[-1] in ("end", "numpy end")


@pytest.mark.slow
def test_it_is_proven_and_measured(site, tmp_path):
    words = ("-t", "diabetes-regression", "-f", "autograd", "-o", tmp_path)
    told = harness("verify", *words, "--dtype", "float32", PYTHONPATH=str(site))
    assert told.returncode == 0, told.stderr + told.stdout
    assert "1 of 1 setups proven" in told.stdout
    told = harness("run", *SHORT, *words, "-f", "reference", PYTHONPATH=str(site))
    assert told.returncode == 0, told.stderr + told.stdout
    (stored,) = tmp_path.glob("*/run.json")
    with open_existing(tmp_path) as store:
        run = store.load(stored.parent.name)
    assert {it.setup.framework for it in run.certificates if it.proven} == {"autograd", "reference"}
    assert all(it.status == "ok" for it in run.records)
    assert "autograd:tape" in stored.with_name("report.html").read_text(encoding="utf-8")
    base = ("-t", "diabetes-regression", "-f", "autograd", "-o", tmp_path, "--deterministic")
    told = harness("baseline", "save", "mine", *base, PYTHONPATH=str(site))
    assert told.returncode == 0, told.stderr + told.stdout


def test_its_author_proves_it_with_pytest(site):
    """Then with a fault in it, which is named."""
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "tanh-momentum and float64")
    author = site.parent / "source"
    told = python(site, *words, cwd=author)
    assert (told.returncode, "1 passed" in told.stdout) == (0, True), told.stdout + told.stderr
    wrong = shutil.copytree(site, site.parent / "wrong")
    adapter = wrong / "samestep_autograd" / "adapter.py"
    text = adapter.read_text(encoding="utf-8")
    adapter.write_text(text.replace("spec.momentum * slots[0] + g", "slots[0] + g"))
    told = python(wrong, *words, cwd=author)
    assert told.returncode == 1, told.stdout + told.stderr
    assert "1 failed" in told.stdout
    assert "velocity/layer" in told.stdout
