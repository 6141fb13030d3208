"""A certificate's key changes with everything that could change the outcome, and with no more."""

from __future__ import annotations

import importlib.metadata
import sys

import pytest

import impls
from harness.adapter import Framework, Own
from harness.certificates import Finding
from harness.frameworks import frameworks
from harness.proof import certificates
from harness.proof.certificates import claim, code_of, key_of, tolerance_of, versions_of
from harness.proof.pool import Proved
from harness.tasks.catalogue import CATALOGUE
from tests.builders import make_setup

TASK = CATALOGUE["digits-mlp"]
DECLARES = """
from harness.adapter import Framework, Own
FRAMEWORK = Framework("Mine", ("numpy",), "", {"eager": "", "other": ""}, "#000000",
                      idioms={"plain": Own("a"), "stock": Own("b", stock="another formula")})
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A framework of one's own, in a folder that can be changed."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "__init__.py").write_text(DECLARES)
    (folder / "adapter.py").write_text("first = 1\n")
    monkeypatch.setattr(impls, "__path__", [*impls.__path__, str(tmp_path)])
    yield folder
    for name in [it for it in sys.modules if it.startswith("impls.mine")]:
        del sys.modules[name]


def key(task=TASK, label="mine:eager", *, quick=False, seed=0, **fields):
    return key_of(claim(task, make_setup(task, label, **fields), quick=quick, seed=seed))


def test_every_part_of_a_claim_counts(mine):
    other = TASK.model_copy(update={"batch_size": 16})
    keys = [
        key(),
        key(other),
        key(label="mine:other"),
        key(label="reference:eager"),
        key(label="mine:plain", lane="idiomatic"),
        key(label="mine:stock", lane="idiomatic"),
        key(threads=2),
        key(dtype="float64"),
        key(dtype="float64", quick=True),
        key(seed=1),
    ]
    assert len(set(keys)) == len(keys)
    assert key() == keys[0]


def test_names_and_twins_do_not_count(mine):
    renamed = TASK.model_copy(update={"name": "renamed", "probes": "something else"})
    assert key(renamed) == key()
    assert key(twin=True) == key()
    assert not claim(TASK, make_setup(twin=True), quick=True).setup.twin


def test_in_float32_a_quick_claim_is_a_full_one(mine):
    assert key(quick=True) == key()
    assert claim(TASK, make_setup(dtype="float64"), quick=True).steps == 10
    assert claim(TASK, make_setup(dtype="float64"), quick=False).steps == 100


def test_a_changed_adapter_asks_for_a_new_certificate(mine):
    before = key()
    (mine / "adapter.py").write_text("first = 2\n")
    changed = key()
    assert changed != before
    (mine / "helper.py").write_text("")
    assert key() not in (before, changed)
    (mine / "helper.py").unlink()
    (mine / "__pycache__").mkdir()
    (mine / "__pycache__" / "adapter.cpython-311.pyc").write_bytes(b"whatever")
    assert key() == changed
    (mine / "adapter.py").write_text("first = 1\n")
    assert key() == before


def test_what_a_proof_rests_on_counts(mine, tmp_path, monkeypatch):
    """A copy of the harness with one file changed is another harness."""
    import shutil

    import harness

    copy = tmp_path / "copy"
    shutil.copytree(next(iter(harness.__path__)), copy)
    monkeypatch.setattr(certificates.harness, "__file__", str(copy / "__init__.py"))
    before = code_of("mine")
    for name in ("differences.py", "tasks/start.py", "adapter.py"):
        path = copy / name
        kept = path.read_text()
        path.write_text(kept + "# changed\n")
        assert code_of("mine") != before, name
        path.write_text(kept)
    (copy / "report" / "page.py").write_text("")
    assert code_of("mine") == before


def test_a_changed_version_asks_for_a_new_certificate(mine, monkeypatch):
    before, real = key(), importlib.metadata.version
    monkeypatch.setattr(
        importlib.metadata, "version", lambda name: "0.0" if name == "numpy" else real(name)
    )
    assert key() != before


def test_the_versions_are_of_everything_installed_under_a_framework():
    found = versions_of(Framework("", ("pytest", "no-such-thing", "pydantic"), "", {}, ""))
    assert {"pytest", "pydantic", "pluggy", "pydantic-core"} <= {
        it.lower().replace("_", "-") for it in found
    }
    assert "no-such-thing" not in found


def test_the_environment_and_the_machine_count(mine, monkeypatch):
    before = key()
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    changed = key()
    assert changed != before
    monkeypatch.setattr(certificates, "machine_of", lambda device: "another processor")
    assert key() not in (before, changed)


def test_the_tolerance_follows_what_a_mode_says_of_its_formula(mine):
    assert isinstance(frameworks()["mine"].idioms["stock"], Own)
    assert tolerance_of(make_setup(label="mine:eager")) == "exact"
    assert tolerance_of(make_setup(label="mine:plain", lane="idiomatic")) == "exact"
    assert tolerance_of(make_setup(label="mine:stock", lane="idiomatic")) == "stock"


def test_a_certificate_says_what_was_shown(mine):
    made = claim(TASK, make_setup(label="mine:eager"), quick=True)
    proved = Proved(seconds=2.0, findings=(Finding(check="loss", ok=True),), rows=32)
    certificate = made.certificate("the key", proved)
    assert certificate.proven
    assert certificate.steps == 0
    assert certificate.rows == 32
    assert certificate.code == code_of("mine")
    assert certificate.framework_version == importlib.metadata.version("numpy")
    assert type(certificate).model_validate_json(certificate.model_dump_json()) == certificate
