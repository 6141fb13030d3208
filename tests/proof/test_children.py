"""A function in a forked child: whatever becomes of it, the parent learns of it and goes on."""

from __future__ import annotations

import faulthandler
import gc
import os
import signal
import sys
import time

import pytest

from harness.adapter import Unsupported
from harness.proof.pool import ChildFailed, in_child


@pytest.fixture(autouse=True)
def _nothing_stays_frozen():
    yield
    gc.unfreeze()


def dies_by(signal_):
    def die():
        faulthandler.disable()  # its report would be mistaken for one of the tests'
        os.kill(os.getpid(), signal_)
        time.sleep(60)
        return ""

    return die


def raises(error):
    def fail():
        raise error

    return fail


def test_an_answer_comes_back_however_long_it_is():
    assert in_child(lambda: "é" * 3_000_000, 60) == "é" * 3_000_000


def test_a_child_has_a_process_and_variables_of_its_own():
    kept = []
    told = in_child(lambda: kept.append(1) or str(os.getpid()), 60)
    assert int(told) != os.getpid()
    assert kept == []


def test_a_child_looks_for_garbage_among_its_own_things_only():
    shared = ["made before the fork"]

    def watched():
        own = ["made in the child"]
        listed = {id(it) for it in gc.get_objects()}
        return f"{id(own) in listed} {id(shared) in listed}"

    assert in_child(watched, 60) == "True False"


@pytest.mark.parametrize(
    ("function", "how"),
    [
        (raises(ValueError("two\nlines")), "ValueError: two lines"),
        (raises(SystemExit(0)), "SystemExit"),
        (dies_by(signal.SIGSEGV), "SIGSEGV"),
        (lambda: os._exit(3), "exited with code 3"),
        (lambda: os._exit(0), "exited with code 0"),
        (raises(MemoryError()), "MemoryError"),
    ],
    ids=["raises", "exits", "crashes", "ends with 3", "ends with 0", "is out of memory"],
)
def test_no_answer_says_how(function, how, capfd):
    with pytest.raises(ChildFailed, match=how):
        in_child(function, 60)


def test_unsupported_stays_unsupported():
    with pytest.raises(Unsupported, match="not on a Monday"):
        in_child(raises(Unsupported("not on a Monday")), 60)


def test_a_child_that_hangs_is_ended():
    with pytest.raises(ChildFailed, match="no result within 0 s"):
        in_child(lambda: time.sleep(60) or "", 0.2)
    with pytest.raises(ChildProcessError):  # nothing is left behind
        os.waitpid(-1, os.WNOHANG)


@pytest.mark.parametrize("keep", [True, False])
def test_what_a_child_imports_its_parent_has_for_the_next_if_it_wants(keep):
    for name in [it for it in sys.modules if it.startswith("xmlrpc")]:
        del sys.modules[name]
    told = in_child(lambda: __import__("xmlrpc.client") and "done", 60, keep_imports=keep)
    assert told == "done"
    assert ("xmlrpc.client" in sys.modules) == keep
