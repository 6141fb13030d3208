"""Versions of a framework as contestants: environments, selection, proof, run and report."""

from __future__ import annotations

import csv
import sys

import pytest
from pydantic import ValidationError

import impls
from harness import install
from harness.__main__ import served
from harness.analysis.summary import summarise_run
from harness.cells import Setup
from harness.errors import UsageError
from harness.frameworks import contestants, framework_facts, frameworks, matches
from harness.proof.certificates import claim, key_of
from harness.proof.pool import group_of
from harness.report.style import look
from harness.runs import machine
from harness.runs.config import resolve
from harness.runs.engines import key_of as server_of
from harness.runs.plan import make_plan
from harness.runs.process import WorkerFailed, WorkerProcess, cache_variables, environment
from harness.runs.store import open_existing
from harness.venvs import REQUESTED, interpreter
from harness.worker.session import NotImported, lacking, refuse_other_version
from tests.builders import TASK, make_run, make_setup, measured
from tests.test_cli import harness
from tests.wheels import environment_of, needed, only_from, wheel

DECLARES = """
from harness.adapter import Framework
FRAMEWORK = Framework(
    "Toy", ("toyframe",), "pip install toyframe",
    {"eager": "the reference, slowed down", "modern": "uses what version 2 has"},
    "#123456", least="1.0", devices=("cpu",),
)
"""
ADAPTS = """
from dataclasses import replace
import toyframe
from impls.reference import adapter as reference

class Adapter(reference.Adapter):
    def __init__(self, task, start, options):
        if options.mode == "modern":
            toyframe.modern()
        super().__init__(task, start, replace(options, mode="eager"))

    def train_step(self, batch):
        toyframe.work()
        return super().train_step(batch)

    def predict(self, batch):
        toyframe.work()
        return super().predict(batch)
"""
SLOW = """
import time
def work():
    end = time.perf_counter() + 0.002
    while time.perf_counter() < end: pass
"""
FAST = """
def work(): pass
def modern(): pass
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a framework, wheels of three versions of it, and one for environments."""
    place = tmp_path_factory.mktemp("versions")
    for name in ("impls/toy", "wheels", "envs"):
        (place / name).mkdir(parents=True)
    (place / "impls/toy/__init__.py").write_text(DECLARES)
    (place / "impls/toy/adapter.py").write_text(ADAPTS)
    for version, code in (("0.5", SLOW), ("1.0", SLOW), ("2.0+local", FAST)):
        wheel(place / "wheels", "toyframe", version, {"toyframe.py": code})
    needed(place / "wheels")
    return place


@pytest.fixture(scope="module")
def toy(place):
    """The command line where this framework is known and pip knows its wheels only."""
    variables = {"SAMESTEP_IMPLS": str(place / "impls"), "SAMESTEP_ENVS": str(place / "envs")}

    def command(*words, **more):
        return harness(*words, **variables, **only_from(place / "wheels"), **more)

    return command


@pytest.fixture(scope="module")
def both(toy):
    """What `env add` printed of both versions, by the framework's name and by a distribution's."""
    told = [toy("env", "add", "toy==1.0"), toy("env", "add", "toyframe", "toyframe>1")]
    for it in told:
        assert it.returncode == 0, it.stderr
    return told


def test_an_environment_is_made_and_its_size_and_place_are_told(both, place):
    for it, name in zip(both, ("toy@1.0", "toy@2.0+local"), strict=True):
        assert it.stdout.startswith(f"{name}: ")
        assert f" GB in {place / 'envs' / name}" in it.stdout
        assert (place / "envs" / name / REQUESTED).read_text().startswith("toyframe")
    assert sorted(it.name for it in (place / "envs").iterdir()) == ["toy@1.0", "toy@2.0+local"]


def test_environments_are_listed(both, toy):
    told = toy("env", "list", COLUMNS="300").stdout
    assert "toy@1.0" in told
    assert "made from toyframe==1.0" in told
    listed = toy("list", COLUMNS="300").stdout
    assert "Toy not installed" in listed
    assert "toy@2.0+local: in an environment of its own" in listed


@pytest.mark.slow
def test_two_versions_are_proven_and_ranked_in_one_block(both, toy, tmp_path):
    few = ("--blocks", "2", "--seeds", "0", "--phase", "train", "--threads", "1", "--no-twin")
    asked = ("-t", "diabetes-regression", "-f", "toy@*", "--no-wait", "-o", tmp_path)
    told = toy("run", *asked, *few)
    assert told.returncode == 0, told.stderr + told.stdout
    assert "2 of 2 setups proven" in told.stdout
    (stored,) = tmp_path.glob("*/run.json")
    with open_existing(tmp_path) as store:
        run = store.load(stored.parent.name)
    assert {it.setup.version: it.framework_version for it in run.certificates} == {
        "1.0": "1.0",
        "2.0+local": "2.0+local",
    }
    assert {it.forked for it in run.records} == {False, True}
    assert run.info.versions["toy@1.0"] == "1.0"
    assert run.info.versions["numpy (toy@1.0)"] == "99.0"
    table = summarise_run(run, framework_facts()).tables[0]
    assert [(it.cell.setup.label, it.unranked) for it in table.rows] == [
        ("toy@2.0+local:eager", ""),
        ("toy@1.0:eager", ""),
    ]
    (pair,) = table.pairs
    assert {pair.label, pair.baseline} == {"toy@1.0:eager", "toy@2.0+local:eager"}
    html = stored.with_name("report.html").read_text(encoding="utf-8")
    assert "toy@2.0+local:eager" in told.stdout
    assert "toy@2.0+local:eager" in html
    again = toy("history", "-o", tmp_path, "-t", "*", "-f", "toy@1*")
    assert "toy@1.0:eager" in again.stdout, again.stderr
    name = stored.parent.name
    compared = toy("compare", name, name, "-o", tmp_path, COLUMNS="200")
    assert "toy@2.0+local:eager" in compared.stdout, compared.stderr
    exported = toy("export", "--what", "cells", "-o", tmp_path)
    rows = list(csv.DictReader(exported.stdout.splitlines()))
    assert {(it["framework"], it["version"]) for it in rows} == {
        ("toy", "1.0"),
        ("toy", "2.0+local"),
    }


def test_what_an_old_version_cannot_do_is_unsupported(both, toy, tmp_path):
    asked = ("-t", "diabetes-regression", "--dtype", "float64", "--no-whole", "-o", tmp_path)
    told = toy("verify", "-f", "toy@*:modern", *asked)
    assert told.returncode == 0, told.stderr + told.stdout
    assert "1 of 2 setups proven, 1 unsupported" in told.stdout
    assert "toy@1.0 lacks what its adapter uses" in told.stdout
    assert "no attribute 'modern'" in told.stdout


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["toy==0.5"], 2, "toy 0.5 is too old: 1.0 or later is needed"),
        pytest.param(
            *(["toyframe<1"], 2, "toy 0.5 is too old: 1.0 or later is needed"),
            marks=pytest.mark.slow,
        ),
        (["toyframe==9"], 8, "installed: No matching distribution found for toyframe==9"),
        (["toyframe<1.1", "no-such-thing"], 8, "No matching distribution found for no-such-thing"),
        (["toyframe==1.0"], 2, "toy@1.0 exists already"),
        pytest.param(["toyframe<2"], 2, "toy@1.0 exists already", marks=pytest.mark.slow),
        (["toyfrane==1"], 2, "did you mean 'toyframe'?"),
        (["../toyframe.whl"], 2, "is no requirement such as tensorflow==2.18.1"),
    ],
)
def test_what_cannot_be_made_leaves_nothing_behind(
    both, place, monkeypatch, capsys, words, code, line
):
    before = sorted((place / "envs").iterdir())
    for name, value in only_from(place / "wheels").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SAMESTEP_ENVS", str(place / "envs"))
    monkeypatch.setattr(impls, "__path__", [*impls.__path__, str(place / "impls")])
    assert served(["env", "add", *words]) == code
    told = capsys.readouterr().err
    assert line in told
    assert told.count("\n") == 1
    assert sorted((place / "envs").iterdir()) == before


@pytest.fixture
def envs(tmp_path, monkeypatch):
    folder = tmp_path / "envs"
    monkeypatch.setenv("SAMESTEP_ENVS", str(folder))
    return folder


@pytest.fixture
def old_numpy(envs):
    return environment_of(envs, "reference", "2.0.2", numpy="2.0.2", scipy="1.13.0")


def planned(*patterns):
    flags = {"frameworks": patterns, "tasks": ["digits-mlp"], "twin": False, "threads": [1]}
    return make_plan(resolve(None, flags))


def test_a_setup_without_a_version_is_what_it_was():
    setup, other = make_setup(label="pytorch:eager"), make_setup(label="pytorch@2.6.0+cpu:eager")
    assert "version" not in setup.model_dump_json()
    assert setup.id.endswith("/pytorch:eager/identical/cpu/t1/float32")
    assert other.label == "pytorch@2.6.0+cpu:eager"
    assert other.ranking == setup.ranking
    assert Setup.model_validate_json(other.model_dump_json()) == other
    for kind in (group_of, server_of, look, interpreter):
        assert kind(other) != kind(setup)


@pytest.mark.parametrize("version", ["../2", "a/b", ".1", "1\n", "1" * 65, "2@3", "2:x"])
def test_no_version_leads_out_of_the_folder(version):
    with pytest.raises(ValidationError, match="version"):
        make_setup(version=version)


def test_patterns_choose_versions(old_numpy, envs):
    environment_of(envs, "reference", "2.1.0+mkl", numpy="2.1.0+mkl")
    assert contestants(["reference"]) == [("reference", "replay", "identical")]
    assert contestants(["ref*@2.0*:eager"]) == [("reference@2.0.2", "eager", "identical")]
    for pattern in ("reference@2.1.0", "reference@2.1.0+mkl", "*@*mkl"):
        assert contestants([pattern]) == [("reference@2.1.0+mkl", "replay", "identical")]
    assert [it for it, *_ in contestants(["*@*"])] == ["reference@2.0.2", "reference@2.1.0+mkl"]
    assert not any("@" in it for it, *_ in contestants([]))
    with pytest.raises(UsageError, match=r"env add numpy==9; there are: reference@2\.0\.2"):
        contestants(["reference@9"])
    setup = make_setup(label="reference@2.0.2:eager")
    for pattern, fits in (
        ("reference", True),
        ("reference@2*", True),
        ("ref*@*:eager", True),
        ("reference@3", False),
    ):
        assert matches(setup, pattern) == fits


def test_a_plan_has_both_versions_in_one_block(old_numpy):
    (group,) = planned("reference", "reference@2.0.2").groups
    assert [it.label for it in group.setups] == ["reference:replay", "reference@2.0.2:replay"]
    here, there = group.setups
    assert interpreter(here) == sys.executable
    assert interpreter(there) == str(old_numpy.interpreter)
    assert environment(there)["PYTHONPATH"] == environment(here)["PYTHONPATH"]
    versions = machine.versions(group.setups)
    assert versions["reference@2.0.2"] == "2.0.2"
    assert versions["scipy (reference@2.0.2)"] == "1.13.0"


def test_versions_share_no_compile_cache(tmp_path):
    ours, others = (make_setup(label=f"pytorch{it}:eager") for it in ("", "@2.6.0"))
    assert cache_variables(ours, tmp_path) != cache_variables(others, tmp_path)


def test_a_broken_environment_is_one_line_with_the_way_out(old_numpy, tmp_path):
    (old_numpy.folder / REQUESTED).write_text("numpy<2.1\n")
    setup = planned("reference@2.0.2").setups[0]
    old_numpy.interpreter.unlink()
    with pytest.raises(UsageError) as broken:
        planned("reference@2.0.2")
    assert str(broken.value) == (
        f"framework 'reference@2.0.2' is an environment that is broken: {old_numpy.interpreter} is "
        "gone; python -m harness env remove reference@2.0.2, then env add 'numpy<2.1'"
    )
    plan = planned("reference", "reference@2.0.2")
    assert [it.label for it in plan.setups] == ["reference:replay"]
    assert [it.what for it in plan.unavailable] == ["framework reference@2.0.2"]
    with pytest.raises(WorkerFailed, match=r"envs/reference@2\.0\.2/bin/python"):
        WorkerProcess(setup, tmp_path / "log")


def test_an_environment_of_another_version_than_its_name_is_broken(envs):
    environment_of(envs, "reference", "2.0.2", numpy="2.1.0")
    with pytest.raises(UsageError, match=r"2\.1\.0 is installed in it"):
        planned("reference@2.0.2")


def test_a_key_holds_every_package_of_the_environment(old_numpy, envs):
    def key(label):
        return key_of(claim(TASK, make_setup(label=label), quick=True))

    keys = {key("reference:replay"), key("reference@2.0.2:replay")}
    environment_of(envs, "reference", "2.0.3", numpy="2.0.2", scipy="1.13.0")
    keys.add(key("reference@2.0.3:replay"))
    site = next(old_numpy.folder.rglob("site-packages"))
    (site / "more-1.dist-info").mkdir()
    (site / "more-1.dist-info/METADATA").write_text("Name: more\nVersion: 1\n")
    keys.add(key("reference@2.0.2:replay"))
    assert len(keys) == 4


def test_environments_are_removed_by_name_and_by_glob(old_numpy, envs):
    environment_of(envs, "reference", "2.1.0", numpy="2.1.0")
    told = harness("env", "remove", "reference@9")
    assert told.returncode == 2
    assert "unknown environment 'reference@9'; did you mean" in told.stderr
    told = harness("env", "remove", "*@2.0*")
    assert told.returncode == 0, told.stderr
    assert told.stdout.startswith("removed reference@2.0.2: ")
    assert [it.name for it in envs.iterdir()] == ["reference@2.1.0"]


def test_what_a_killed_process_left_is_removed(envs):
    envs.mkdir()
    mine, dead = (envs / f"{install.UNFINISHED}{pid}" for pid in (1, 2**22 + 1))
    mine.mkdir()
    dead.mkdir()
    install._remove_unfinished(envs)
    assert (mine.exists(), dead.exists()) == (True, False)


@pytest.mark.parametrize("configured", [True, False])
def test_uv_installs_where_pip_has_no_configuration(old_numpy, tmp_path, monkeypatch, configured):
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\n")
    uv.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    told = "global.index-url='mirror'\n" if configured else ""
    done = install.subprocess.CompletedProcess([], 0, told)
    monkeypatch.setattr(install.subprocess, "run", lambda *_, **__: done)
    into = str(old_numpy.interpreter)
    assert install._installer(into) == (
        [sys.executable, "-m", "pip", "--python", into, "install"]
        if configured
        else [str(uv), "pip", "install", "--python", into]
    )


def test_a_conflict_is_told_and_not_where_to_read_of_it():
    lines = [
        "ERROR: Cannot install a and b because these versions have conflicting dependencies.\n",
        "The conflict is caused by:\n",
        "ERROR: ResolutionImpossible: for help visit a page\n",
    ]
    told = install._last_words(lines)
    assert told.startswith("Cannot install a and b because")
    assert install._last_words(["first\n", "last\n", "\n"]) == "last\n"


def test_no_other_version_is_taken_for_the_one_asked_for():
    refuse_other_version(make_setup(label="reference:eager"))
    with pytest.raises(NotImported, match=r"reference@0\.1 was asked for, and \d"):
        refuse_other_version(make_setup(label="reference@0.1:eager"))


def test_of_an_installed_harness_an_environment_sees_nothing_else(old_numpy, tmp_path):
    site = tmp_path / "site-packages"
    for name in ("harness", "impls", "torch", "torch-2.13.dist-info"):
        (site / name).mkdir(parents=True)
    links = old_numpy.code(site)
    assert links == old_numpy.code(site)
    assert {it.name: it.readlink() for it in links.iterdir()} == {
        name: site / name for name in ("harness", "impls")
    }


def test_the_needs_are_those_of_the_project():
    declared = (install.Path(install.__file__).parents[1] / "pyproject.toml").read_text()
    assert all(f'"{it}",' in declared for it in install.NEEDS)


@pytest.mark.parametrize(
    ("error", "unsupported"),
    [
        (AttributeError("module 'torch' has no attribute 'x'"), True),
        (ImportError("cannot import name 'x' from 'torch'"), True),
        (ModuleNotFoundError("No module named 'numpy'"), False),
        (ValueError("wrong"), False),
    ],
)
@pytest.mark.parametrize("label", ["pytorch:eager", "pytorch@2.4.0:eager"])
def test_only_another_version_may_lack_something(label, error, unsupported):
    with pytest.raises(Exception, match=r".") as caught, lacking(make_setup(label=label)):
        raise error
    lacks = "pytorch@2.4.0 lacks what its adapter uses" in str(caught.value)
    assert lacks == (unsupported and "@" in label)


def test_versions_are_ranked_and_shown_by_their_label():
    labels = ("tensorflow:graph", "tensorflow@2.18.1:graph", "pytorch:eager")
    run = make_run(measured(labels=labels))
    summary = summarise_run(run, framework_facts())
    table = summary.tables[0]
    assert table.winner == "tensorflow:graph"
    assert table.baseline == "pytorch:eager"
    assert {it.label: it.verdict for it in table.pairs} == dict.fromkeys(labels[:2], "faster")
    assert type(run).model_validate_json(run.model_dump_json()) == run
    assert frameworks()["tensorflow"].color == look(make_setup(label=labels[1])).color
