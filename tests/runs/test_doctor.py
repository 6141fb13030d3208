"""The doctor on made-up machines: facts in, findings out; and the readers on a made-up `/`."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from harness.cli.machine import sentence, show_checkup
from harness.doctor import facts as sensors
from harness.doctor.checks import CHECKS, LEVELS, collect, examine, scatter
from harness.doctor.facts import Busy, Counted, Facts, Watch, watched
from harness.runs.machine import cores, usable
from impls.pytorch.compiler import without_compiler
from tests.test_cli import harness

GB = 1_000_000_000
QUIET = Watch(
    seconds=1.0,
    busy=(Busy("sshd", 0.01),),
    busy_cores=0.02,
    steal_cores=0.0,
    swapped=0,
    throttled=0,
    overheated=0,
)
FIT = Facts(
    cores=4,
    cores_of_machine=4,
    watch=QUIET,
    physical=4,
    governors=("performance",),
    steal_share=0.0,
    overheated=0,
    hottest=(45.0, 100.0),
    swap_used=0,
    memory=16 * GB,
    room=12 * GB,
    quota=None,
    compiler="g++",
    disk_free=50 * GB,
    filesystem="ext4",
    effort=QUIET,
    repeats=(0.004, -0.006, 0.002, -0.001, 0.005),
    left_out=(),
)


def busy(**changes: object) -> dict[str, object]:
    return {"watch": dataclasses.replace(QUIET, **changes)}


def working(**changes: object) -> dict[str, object]:
    return {"effort": dataclasses.replace(QUIET, **changes)}


def finding(name: str, **changes: object):
    checkup = examine(dataclasses.replace(FIT, **changes))
    return next(it for it in checkup.findings if it.name == name)


def test_a_quiet_machine_is_fit_and_every_check_says_so():
    checkup = examine(FIT)
    assert [it.name for it in checkup.findings] == list(CHECKS)
    assert {it.level for it in checkup.findings} == {"ok"}
    assert checkup.fit
    assert sentence(checkup) == "Fit to measure on."


NODE = (Busy("node", 0.6), Busy("node", 0.5), Busy("cc1plus", 0.3), Busy("sshd", 0.01))
CASES = [
    ("other work", busy(busy_cores=1.4, busy=NODE), "unfit", "2 × node 110 %, cc1plus 30 %"),
    ("other work", busy(busy_cores=0.3, busy=NODE[2:]), "warning", "cc1plus 30 %"),
    ("other work", busy(busy_cores=1.0, busy=()), "unfit", "came and went"),
    ("other work", busy(busy_cores=None, busy=NODE), "unfit", "1.4 of 4 cores"),
    ("steal", busy(steal_cores=0.2), "unfit", "0.20 of a core"),
    ("steal", working(steal_cores=0.03), "warning", "0.03 of a core"),
    ("steal", {"steal_share": 0.04}, "note", "4.0 % of all time"),
    ("swap", busy(swapped=5e6), "unfit", "5 MB moved"),
    ("swap", busy(swapped=4096), "warning", "moved"),
    ("swap", {"swap_used": GB}, "note", "1.0 GB in use"),
    ("memory", {"room": 500_000_000}, "unfit", "0.5 GB free"),
    ("memory", {"room": 1_500_000_000}, "warning", "1.5 GB free"),
    ("disk", {"disk_free": 50_000_000}, "unfit", "50 MB"),
    ("disk", {"disk_free": 500_000_000}, "warning", "0.5 GB"),
    ("disk", {"disk_writable": False}, "unfit", "cannot be written"),
    ("disk", {"filesystem": "nfs4"}, "unfit", "nfs4"),
    ("heat", busy(overheated=3), "unfit", "right now"),
    ("heat", working(overheated=3), "unfit", "right now"),
    ("heat", {"hottest": (97.0, 100.0)}, "warning", "97 °C"),
    ("heat", {"overheated": 12}, "note", "12 times"),
    ("CPU quota", working(throttled=2), "unfit", "right now"),
    ("CPU quota", {"quota": 0.5}, "unfit", "0.5 cores"),
    ("CPU quota", {"quota": 2.5}, "warning", "2.5 cores, of 4"),
    ("CPU quota", {"quota": 0.5, "cores": 1}, "unfit", "0.5 cores"),
    ("CPU quota", {"cores": 1}, "warning", "1 core of 4"),
    ("CPU governor", {"governors": ("powersave", "schedutil")}, "warning", "powersave, schedutil"),
    ("SMT", {"physical": 2}, "warning", "4 hardware threads share 2"),
    ("C++ compiler", {"compiler": None}, "note", "torch.compile"),
    ("A/A", {"repeats": (0.2, -0.3, 0.2)}, "unfit", "30 %"),
    ("A/A", {"repeats": (0.03, -0.03, 0.03)}, "warning", "4.4 % (3 pairs)"),
]


@pytest.mark.parametrize(("name", "changes", "level", "words"), CASES)
def test_what_is_wrong_is_found_and_told_what_to_do_about(name, changes, level, words):
    found = finding(name, **changes)
    assert (found.level, words in found.found) == (level, True), found
    assert found.advice or level == "note"


def test_advice_names_the_threads_that_fit():
    assert "--threads 2" in finding("CPU quota", quota=2.5).advice
    assert "--threads 2" in finding("SMT", physical=2).advice


def test_the_worst_comes_first_and_decides():
    checkup = examine(dataclasses.replace(FIT, compiler=None, physical=2, room=1))
    assert [it.name for it in checkup.findings][:3] == ["memory", "SMT", "C++ compiler"]
    assert not checkup.fit
    assert "memory" in sentence(checkup)
    warned = examine(dataclasses.replace(FIT, quota=2.5, physical=2, compiler=None))
    assert warned.fit
    assert sentence(warned).endswith("with wider intervals than need be: CPU quota and SMT.")


def test_what_is_not_told_is_neither_good_nor_bad():
    checkup = examine(Facts(cores=2, cores_of_machine=2, watch=Watch(seconds=1.0), compiler="c++"))
    assert checkup.fit
    assert {it.name for it in checkup.findings} | set(checkup.untold) == set(CHECKS)
    assert {"steal", "other work", "A/A"} <= set(checkup.untold)


SHARES = st.none() | st.floats(0, 100)
WATCHES = st.builds(
    Watch,
    seconds=st.floats(0.1, 10),
    busy=st.lists(st.builds(Busy, st.text(), st.floats(0, 9)), max_size=5).map(tuple),
    busy_cores=SHARES,
    steal_cores=SHARES,
    swapped=SHARES,
    throttled=SHARES,
    overheated=SHARES,
)


@given(
    facts=st.builds(
        Facts,
        cores=st.integers(1, 999),
        cores_of_machine=st.integers(1, 999),
        watch=WATCHES,
        effort=st.none() | WATCHES,
        quota=st.none() | st.floats(0.01, 99),
        hottest=st.none() | st.tuples(st.floats(-20, 200), SHARES),
        repeats=st.lists(st.floats(-9, 9), max_size=9).map(tuple),
    )
)
def test_no_machine_is_too_strange(facts):
    checkup = examine(facts)
    assert {it.name for it in checkup.findings} | set(checkup.untold) == set(CHECKS)
    levels = [LEVELS.index(it.level) for it in checkup.findings]
    assert levels == sorted(levels)
    assert checkup.level == LEVELS[levels[0]]


def test_eighty_columns_hold_it_and_foreign_names_stay_inert():
    names = (Busy("evil\x1b[31m\n[bold]name" * 9, 3.0),)
    checkup = examine(dataclasses.replace(FIT, **busy(busy=names, busy_cores=3.0)))
    output = io.StringIO()
    show_checkup(checkup, Console(file=output, width=80))
    lines = output.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in output.getvalue()
    assert "[bold]name" in output.getvalue()
    assert lines[0].startswith("✗ other work")
    assert lines[-1].startswith("Not fit to measure on now: other work.")


def test_scatter_is_a_deviation_that_outliers_do_not_move():
    normal = [0.01 * x for x in (-1.0, -0.6745, 0.6745, 1.0, -0.6745, 0.6745)]
    assert scatter(tuple(normal)) == pytest.approx(0.01, rel=0.3)
    assert scatter((*normal, 5.0)) == pytest.approx(scatter(tuple(normal)), rel=0.6)


# What is read.


def lay(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def test_counters_of_the_usable_cores_only(tmp_path, monkeypatch):
    lay(
        tmp_path,
        {
            "proc/stat": "cpu  900 9 9 9 9 9 9 9 0 0\n"
            "cpu0 100 20 30 1000 5 1 2 40 0 0\ncpu1 7 7 7 7 7 7 7 7 0 0\nintr 1 2 3",
        },
    )
    second = os.sysconf("SC_CLK_TCK")
    monkeypatch.setattr(time, "process_time", lambda: 0.5)
    counted = sensors.count(frozenset({0}), tmp_path)
    assert counted.busy == 153 / second - 0.5
    assert counted.steal == 40 / second
    assert counted.uptime == 1198 / second
    assert counted.overheated is None
    assert os.getpid() not in counted.processes


def test_what_happened_between_two_readings():
    before = Counted(10.0, {1: ("init", 5.0), 2: ("gone", 9.0)}, 50.0, 1.0, 99.0, 10)
    after = Counted(12.0, {1: ("init", 6.0), 3: ("new", 9.0)}, 53.0, 1.5, 101.0, 10, 4)
    seen = watched(before, after)
    assert seen.seconds == 2.0
    assert seen.busy == (Busy("init", 0.5),)
    assert seen.busy_cores == 1.5
    assert seen.steal_cores == 0.25
    assert seen.swapped == 0
    assert seen.throttled is None


def read(root: Path) -> Facts:
    return sensors.read(root / "results", root, seconds=0.0)


def test_an_empty_system_tells_nothing(tmp_path):
    facts = read(tmp_path)
    assert facts.quota is facts.physical is None
    assert facts.governors == ()
    assert facts.steal_share is None
    assert facts.disk_free


def test_a_laptop(tmp_path):
    cpus = usable()
    files = {}
    for cpu in cpus:
        folder = f"sys/devices/system/cpu/cpu{cpu}"
        files[f"{folder}/cpufreq/scaling_governor"] = "powersave"
        files[f"{folder}/topology/thread_siblings_list"] = "0,99"
        files[f"{folder}/thermal_throttle/core_throttle_count"] = "3"
    facts = read(lay(tmp_path, files))
    assert facts.governors == ("powersave",)
    assert facts.physical == 1
    assert facts.overheated == 3 * len(cpus)


CONTAINERS = {
    "version 2": {
        "proc/self/cgroup": "0::/kube/pod",
        "sys/fs/cgroup/kube/cpu.max": "150000 100000",
        "sys/fs/cgroup/kube/pod/cpu.max": "max 100000",
        "sys/fs/cgroup/kube/pod/cpu.stat": "usage_usec 5\nnr_throttled 7",
        "sys/fs/cgroup/kube/pod/memory.max": "1000000",
        "sys/fs/cgroup/kube/pod/memory.current": "900000",
        "sys/fs/cgroup/kube/pod/memory.stat": "anon 1\ninactive_file 300000",
        "sys/fs/cgroup/kube/memory.max": "max",
    },
    "version 1, the host's path": {
        "proc/self/cgroup": "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n1:name=systemd:/",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "75000",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "50000",
        "sys/fs/cgroup/cpu/cpu.stat": "nr_periods 9\nnr_throttled 7",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000000",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "900000",
        "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 300000",
    },
    "version 2, a path above our own": {
        "proc/self/cgroup": "0::/../other",
        "sys/fs/cgroup/cpu.max": "150000 100000",
        "sys/fs/cgroup/cpu.stat": "nr_throttled 7",
        "sys/fs/cgroup/memory.max": "1000000",
        "sys/fs/cgroup/memory.current": "600000",
    },
}


@pytest.mark.parametrize("files", CONTAINERS.values(), ids=CONTAINERS)
def test_limits_of_a_container(tmp_path, files):
    facts = read(lay(tmp_path, files))
    assert facts.quota == 1.5
    assert cores(tmp_path) == 1
    assert facts.room == 400_000
    assert sensors.count(frozenset({0}), tmp_path).throttled == 7


def test_a_container_without_limits(tmp_path):
    files = {
        "proc/self/cgroup": "0::/\n2:cpu:/",
        "sys/fs/cgroup/cpu.max": "max 100000",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/memory.max": "max",
    }
    assert read(lay(tmp_path, files)).quota is None
    assert cores(tmp_path) == len(usable())


def test_results_in_a_file_cannot_be_written(tmp_path):
    (tmp_path / "results").write_text("")
    assert not read(tmp_path).disk_writable


# What is measured.


def test_probes_of_this_machine():
    ratios = sensors.repeats(threads=1, seconds=0.01)
    assert ratios
    assert all(math.isfinite(it) for it in ratios)


def test_json_says_the_same_as_the_exit_code(tmp_path):
    told = harness("doctor", "--json", "-o", tmp_path / "below")
    content = json.loads(told.stdout)
    assert told.returncode == (0 if content["fit"] else 7), told.stderr
    assert content["fit"] == (content["level"] != "unfit")
    assert content["facts"]["cores"] == len(usable())
    assert bool(told.stderr) == (not content["fit"])
    assert list(tmp_path.iterdir()) == []


def test_the_facts_of_this_machine_can_be_judged(tmp_path, monkeypatch):
    monkeypatch.setattr(sensors, "repeats", lambda threads: (0.01,) * threads)
    facts = collect(tmp_path)
    assert facts.effort is not None
    assert examine(facts).findings


@pytest.mark.parametrize("compilers", [(), ("g++",), ("clang++",), ("mine",)])
@pytest.mark.parametrize("named", [None, "mine"])
def test_the_doctor_and_pytorch_look_for_one_compiler(tmp_path, monkeypatch, compilers, named):
    for name in compilers:
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    if named:
        monkeypatch.setenv("CXX", named)
    else:
        monkeypatch.delenv("CXX", raising=False)
    assert bool(sensors.read(tmp_path, seconds=0.0).compiler) == (not without_compiler())
