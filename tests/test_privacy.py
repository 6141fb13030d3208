"""Nothing private is ever stored: by texts, and by a whole run whose worker prints all it knows."""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet
import pytest
from PIL import Image

from harness import privacy
from harness.cli.results import export
from harness.environment import CLEARED, NAMES, THREAD_VARIABLES, recorded
from harness.privacy import SECRET_NAMES, clean, cleaned, copy_clean, restored
from harness.records import Run
from harness.report.frames import FORMATS, FRAMES
from harness.runs.config import clean_config, config_of, resolve
from harness.runs.process import WorkerFailed
from harness.runs.store import open_existing
from tests.builders import make_info
from tests.test_cli import ROOT, SHORT, harness

PEM = "-----BEGIN KEY-----\nMIIEpAIBAAKC\n-----END KEY-----"


@pytest.fixture
def anna(monkeypatch, tmp_path):
    """A user with secrets, on a host with a name of its own."""
    for name in [it for it in os.environ if SECRET_NAMES.search(it)]:
        monkeypatch.delenv(name)
    for name, value in {
        "HOME": "/srv/people/anna",
        "USER": "anna",
        "LOGNAME": "anna",
        "NVIDIA_API_KEY": "nvapi-12345678",
        "hf_token": "tok'en\\8",
        "RSA_KEY": PEM,
        "DB_PASS": "pass1",
        "TOKENIZERS_PARALLELISM": "false",
        "PASSES": "abc",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HOSTNAME", raising=False)
    monkeypatch.delenv("SUDO_USER", raising=False)
    monkeypatch.setattr(privacy.socket, "gethostname", lambda: "gpu07.example.org")
    monkeypatch.setattr(privacy, "_account", lambda: "anna")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("key=nvapi-12345678!", "key={secret}!"),
        ("https://x/?k=nvapi-12345678", "https://x/?k={secret}"),
        (repr({"t": "tok'en\\8"}), "{'t': \"{secret}\"}"),
        (json.dumps("tok'en\\8"), '"{secret}"'),
        ("tok%27en%5C8", "{secret}"),
        (f"[{PEM}]", "[{secret}]"),
        (f"[{' '.join(PEM.split(chr(10)))}]", "[{secret} {secret} {secret}]"),
        ("pass1, pass1x, apass1", "{secret}, pass1x, apass1"),
        ("false abc", "false abc"),
        ("/srv/people/anna", "~"),
        ("in /srv/people/anna.", "in ~."),
        ("--task-file=/srv/people/anna/x.toml", "--task-file=~/x.toml"),
        ("-I/srv/people/anna/include", "-I~/include"),
        ("file:///srv/people/anna/x", "file://~/x"),
        (repr("x\n/srv/people/anna\tanna\npass1"), repr("x\n~\t{user}\n{secret}")),
        ("/srv/people/annabel/x", "/srv/people/annabel/x"),
        ("/scratch/anna/x", "/scratch/{user}/x"),
        ("/tmp/pytest-of-anna/x", "/tmp/pytest-of-{user}/x"),
        ("USER=anna, 'anna'", "USER={user}, '{user}'"),
        ("annals and Hannah", "annals and Hannah"),
        ("gpu07 gpu07.example.org gpu070", "{host} {host} gpu070"),
    ],
)
@pytest.mark.usefixtures("anna")
def test_a_text_is_cleaned(text, expected):
    assert clean(text) == expected
    assert clean(expected) == expected


@pytest.mark.parametrize("name", ["root", "test", "max", "ci"])
@pytest.mark.usefixtures("anna")
def test_ordinary_words_stay_where_they_are_no_part_of_a_path(monkeypatch, name):
    monkeypatch.setattr(privacy, "_account", lambda: name)
    monkeypatch.setattr(privacy.socket, "gethostname", lambda: "localhost")
    monkeypatch.setenv("USER", name)
    text = f"{name}(1) is the {name} of localhost, lib{name}"
    assert clean(text) == text
    assert clean(f"/scratch/{name}/x: no {name}") == f"/scratch/{{user}}/x: no {name}"


@pytest.mark.usefixtures("anna")
def test_a_home_that_is_everything_hides_nothing(monkeypatch):
    monkeypatch.setenv("HOME", "/")
    assert clean("/usr/lib") == "/usr/lib"


@pytest.mark.usefixtures("anna")
def test_plain_data_is_cleaned_to_its_depths():
    value = {"a": ("/srv/people/anna", 1, None), "b": [{"c": "pass1"}], "d": True}
    expected = {"a": ("~", 1, None), "b": [{"c": "{secret}"}], "d": True}
    assert cleaned(value) == expected


@pytest.mark.parametrize("path", ["/srv/people/anna/d", "/scratch/anna/d", "/net/gpu07/d", "rel/d"])
@pytest.mark.usefixtures("anna")
def test_a_run_goes_on_with_the_paths_that_it_began_with(monkeypatch, path):
    monkeypatch.setattr(privacy.socket, "gethostname", lambda: "gpu07")
    config = resolve(None, {"data_dir": path, "task_file": path})
    kept = clean_config(config)
    assert "anna" not in str(kept)
    assert "gpu07" not in str(kept)
    run = Run(info=make_info(config=kept), tasks=(), records=(), stopped_by=None, seconds=None)
    assert config_of(run) == config
    assert restored(clean(path)) == path


@pytest.mark.usefixtures("anna")
def test_a_log_keeps_every_other_byte(tmp_path):
    noise = bytes(range(256)) * 100
    source = io.BytesIO(noise + b"\nnvapi-12345678 \xff\n" + PEM.encode())
    copy_clean(source, tmp_path / "log")
    expected = noise + b"\n{secret} \xff\n{secret}\n{secret}\n{secret}"
    assert (tmp_path / "log").read_bytes() == expected


@pytest.mark.usefixtures("anna")
def test_why_a_worker_failed_is_told_without_secrets():
    failure = WorkerFailed("failed", "no such file: /srv/people/anna/nvapi-12345678")
    assert failure.error == str(failure) == "no such file: ~/{secret}"


def test_the_list_has_no_name_of_a_secret():
    assert not [it for it in NAMES if SECRET_NAMES.search(it)]
    assert {"ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "LD_PRELOAD", "PYTHONHASHSEED"} <= NAMES


@pytest.mark.usefixtures("anna")
def test_only_what_reaches_a_worker_is_recorded(monkeypatch):
    for name in (*THREAD_VARIABLES, *CLEARED):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/srv/people/anna/dump")
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")
    monkeypatch.setenv("TORCHX_TOKEN", "y")
    found = recorded()
    assert found["XLA_FLAGS"] == "--xla_dump_to=~/dump"
    assert found["ATEN_CPU_CAPABILITY"] == "default"
    assert not set(found) & {"TORCHX_TOKEN", "NVIDIA_API_KEY", *THREAD_VARIABLES, *CLEARED}


def test_what_an_earlier_version_recorded_is_not_published_again():
    info = make_info(environment={"NVIDIA_API_KEY": "x", "OMP_NUM_THREADS": "2"})
    assert info.environment == {"OMP_NUM_THREADS": "2"}


# A whole run: markers in the environment, in paths, in what a worker prints and raises.

LEAKY = """
from harness.adapter import Framework
FRAMEWORK = Framework("Leaky", ("numpy",), "", {"dump": "prints and raises all it knows"}, "#000")
"""
LEAKY_ADAPTER = """
import getpass, os, socket, sys

class Adapter:
    def __init__(self, task, start, options):
        known = {k: v for k, v in os.environ.items() if "MARKER" in (k + v).upper()}
        text = f"{getpass.getuser()} on {socket.gethostname()}: {known} {__file__}"
        print("x" * 5000, text, file=sys.stderr)
        print(os.environ["HOME"], *known.values(), sep="\\n")
        raise RuntimeError(text[:300] + os.environ["MARKER_API_KEY"] * 40)
"""
SITE = """
import getpass, socket
socket.gethostname = lambda: "markerhost7"
getpass.getuser = lambda: "markerina"
"""
TASK_FILE = """
[[task]]
name = "small"
data = { name = "digits" }
model = { hidden = [8], activation = "tanh" }
loss = "cross-entropy"
optimizer = { name = "sgd", learning_rate = 0.1 }
batch_size = 64
epochs = 2
"""
MARKERS = ("markerhome", "markerina", "markerhost7", "markersecret")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """What a user who is full of markers has published: every file that any command wrote."""
    folder = tmp_path_factory.mktemp("private")
    home = folder / "markerhome"
    leaky, site, out = home / "impls" / "leaky", home / "site", home / "published"
    for each in (leaky, site, out):
        each.mkdir(parents=True)
    (leaky / "__init__.py").write_text(LEAKY)
    (leaky / "adapter.py").write_text(LEAKY_ADAPTER)
    (site / "sitecustomize.py").write_text(SITE)
    (home / "tasks.toml").write_text(TASK_FILE)
    variables = {
        "HOME": str(home),
        "USER": "markerina",
        "LOGNAME": "markerina",
        "HOSTNAME": "markerhost7",
        "PYTHONPATH": os.pathsep.join((str(site), str(ROOT))),
        "SAMESTEP_IMPLS": str(leaky.parent),
        "SAMESTEP_LOCK": str(out / "machine.lock"),
        "MARKER_API_KEY": "markersecret-one",
        "NVIDIA_API_KEY": "markersecret-two",
        "marker_token": "markersecret three\nmarkersecret-line",
        "TORCHX_CREDENTIALS": "markersecret/four",
        "XLA_FLAGS": f"--xla_dump_to={home}/dump",
        "LD_LIBRARY_PATH": "/opt/markerina/markersecret-one",
    }
    results = out / "results"
    chosen = ("-f", "leaky", "-f", "reference", "-t", "small", "--threads", "1", "-o", results)
    chosen += ("--task-file", home / "tasks.toml", "--data-dir", home / "markersecret-two")
    words = (*SHORT, "--seeds", "1")

    def run(code, *command, **more):
        told = harness(*command, cwd=home, **(variables | more))
        assert told.returncode == code, told.stdout + told.stderr
        return told

    run(6, "run", *chosen, *words)
    run(6, "run", *chosen, *words, ONEDNN_MAX_CPU_ISA="SSE41", GOMP_CPU_AFFINITY="0")
    run(5, "verify", *chosen)
    run(6, "baseline", "save", "kept", "--deterministic", *chosen)
    with open_existing(results) as store:
        one, other = store.runs()
    compared = [["--to", str(out / f"compared.{suffix}")] for suffix in ("md", "json", "txt")]
    further = [
        ["report", one],
        *(["compare", one, other, *to] for to in compared),
        ["merge", f"a={one}", f"b={other}"],
    ]
    program = (
        "import json, sys; from harness.__main__ import served; "
        "sys.exit(max(map(served, json.loads(sys.argv[1]))))"
    )
    words = json.dumps([[*it, "-o", str(results)] for it in further])
    told = subprocess.run(
        [sys.executable, "-c", program, words],
        cwd=home,
        env=os.environ | variables,
        capture_output=True,
        text=True,
    )
    assert told.returncode == 0, told.stderr
    for frame, format_ in itertools.product(FRAMES, FORMATS):
        export(one, frame, format_, str(out / f"{frame}.{format_}"), results)
    return out


def content(path: Path) -> bytes:
    """A file as it is, and what it holds in compressed parts."""
    found = path.read_bytes()
    if path.suffix == ".png":
        with Image.open(path) as image:
            image.load()
            found += repr(image.info).encode()
    elif path.suffix == ".parquet":
        table = pyarrow.parquet.read_table(path)
        found += repr((table.schema.metadata, table.to_pylist())).encode()
    return found


def test_no_file_of_a_run_holds_anything_private(published):
    files = [it for it in published.rglob("*") if it.is_file()]
    kinds = {it.suffix for it in files}
    assert kinds >= {".sqlite", ".html", ".md", ".json", ".png", ".svg", ".parquet", ".csv", ".log"}
    for path, marker in itertools.product(files, MARKERS):
        assert marker not in str(path.relative_to(published))
        assert marker.encode() not in content(path), f"{marker} in {path}"


def test_what_is_masked_is_still_there_to_be_understood(published):
    """The worker did print and raise all of it: the search above would have found it."""
    with open_existing(published / "results") as store:
        run = store.load(store.runs()[0])
    (leaky,) = (it for it in run.records if it.setup.framework == "leaky")
    assert leaky.status == "failed"
    for text in (leaky.error, leaky.stderr_tail, run.certificates[0].findings[0].detail):
        assert "{user} on {host}" in text
    assert "'MARKER_API_KEY': '{secret}'" in leaky.stderr_tail
    assert 'File "~/impls/leaky/adapter.py"' in leaky.stderr_tail
    logs = [it.read_text() for it in published.rglob("*.log")]
    assert any("x" * 5000 + " {user} on {host}" in it for it in logs)
    assert "~/tasks.toml" in run.info.command
    assert run.info.config["task_file"] == "~/tasks.toml"
    assert run.info.environment["XLA_FLAGS"] == "--xla_dump_to=~/dump"
    assert run.info.environment["LD_LIBRARY_PATH"] == "/opt/{user}/{secret}"
    assert run.info.commit is None or run.info.commit.endswith("+changes")


def test_a_variable_that_changes_kernels_is_recorded_and_compared(published):
    """The second run had one: it is proven anew, and `compare` says what differs."""
    compared = json.loads((published / "compared.json").read_text())
    (fact,) = (it for it in compared["facts"] if it["what"] == "environment ONEDNN_MAX_CPU_ISA")
    assert (fact["a"], fact["b"]) == (None, "SSE41")
    assert "ONEDNN_MAX_CPU_ISA" in (published / "compared.txt").read_text()
    with open_existing(published / "results") as store:
        before, after = (store.load(it) for it in store.runs()[:2])
    keys = [{it.key for it in run.certificates} for run in (before, after)]
    assert not keys[0] & keys[1]


def test_placement_is_cleared_for_workers_and_read_back(published):
    """The second run asked that OpenMP bind its threads to one core."""
    with open_existing(published / "results") as store:
        before, after = (store.load(it) for it in store.runs()[:2])
    cores = {
        it.settings["cores"]
        for run in (before, after)
        for it in run.records
        if it.setup.framework == "reference"
    }
    assert len(cores) == 1
    assert "GOMP_CPU_AFFINITY" not in after.info.environment
